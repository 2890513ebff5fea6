// SPDX-License-Identifier: Apache-2.0
#include "small_files.hpp"

#include "sys_error.hpp"

#include <cerrno>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace boxtrace {

namespace {

class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor() {
        if (number_ >= 0)
            close(number_);
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor(Descriptor &&other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor &operator=(Descriptor &&other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    int get() const { return number_; }

private:
    int number_;
};

Entry failed() { return {.error = errno, .content = {}}; }

Entry read_file(int directory, const std::string &path) {
    Descriptor file(openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0)
        return failed();
    Entry entry;
    char buffer[1 << 14];
    while (ssize_t count = read(file.get(), buffer, sizeof(buffer))) {
        if (count < 0)
            return failed();
        entry.content.append(buffer, static_cast<size_t>(count));
    }
    return entry;
}

Entry read_link(int directory, const std::string &path) {
    char buffer[1 << 12];
    ssize_t count = readlinkat(directory, path.c_str(), buffer, sizeof(buffer));
    if (count < 0)
        return failed();
    return {.error = 0, .content = std::string(buffer, static_cast<size_t>(count))};
}

} // namespace

std::vector<Entry> read_entries(const std::string &directory, const std::vector<std::string> &files,
                                const std::vector<std::string> &links) {
    Descriptor opened(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (opened.get() < 0)
        throw SysError(errno, directory);
    std::vector<Entry> found;
    found.reserve(files.size() + links.size());
    for (const std::string &path : files)
        found.push_back(read_file(opened.get(), path));
    for (const std::string &path : links)
        found.push_back(read_link(opened.get(), path));
    // Of a process that is gone the kernel says "permission denied" for links.
    for (size_t at = files.size(); at < found.size() && !files.empty(); at++)
        if (found[at].error == EACCES)
            if (int gone = read_file(opened.get(), files.back()).error)
                found[at].error = gone;
    return found;
}

std::vector<uint64_t> read_inodes(const std::vector<std::string> &paths) {
    std::vector<uint64_t> found;
    found.reserve(paths.size());
    for (const std::string &path : paths) {
        struct stat status;
        found.push_back(stat(path.c_str(), &status) ? 0 : status.st_ino);
    }
    return found;
}

std::vector<uint64_t> namespaces_around(const std::string &path) {
    Descriptor inner(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (inner.get() < 0)
        throw SysError(errno, path);
    std::vector<uint64_t> found;
    for (;;) {
        Descriptor outer(ioctl(inner.get(), NS_GET_PARENT));
        struct stat status;
        if (outer.get() < 0 || fstat(outer.get(), &status)) {
            if (errno == EPERM)
                return found; // the initial one, or one outside of the caller's
            throw SysError(errno, path);
        }
        found.push_back(status.st_ino);
        inner = std::move(outer);
    }
}

} // namespace boxtrace
