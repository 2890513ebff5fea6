"""Virtual machines with other kernels, for tests and for counting instructions: qemu without acceleration."""
