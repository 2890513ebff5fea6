// Small files of the kernel's file systems, several with one call. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace boxtrace {

// What a file holds or a link says, or else why it cannot be read (errno).
struct Entry {
    int error = 0;
    std::string content;
};

// Read files, then links; their paths begin at a directory, of which a descriptor is held meanwhile: in one of
// /proc/PID everything is of the same process. SysError when it cannot be opened.
std::vector<Entry> read_entries(const std::string &directory, const std::vector<std::string> &files,
                                const std::vector<std::string> &links);

// Return the inode number of each path; 0 where there is none.
std::vector<uint64_t> read_inodes(const std::vector<std::string> &paths);

// Return the inode numbers of the namespaces around a pid or user namespace, its parent first, as far as this process
// may see (ioctl_ns(2)). SysError when it cannot be opened.
std::vector<uint64_t> namespaces_around(const std::string &path);

} // namespace boxtrace
