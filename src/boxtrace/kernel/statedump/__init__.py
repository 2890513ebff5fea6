"""What already exists when a recording begins: processes, files, memory, networks, mounts, devices."""
