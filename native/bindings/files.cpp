// Small files of the kernel's file systems. SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"

#include "small_files.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

using namespace nb::literals;

namespace {

nb::list read_entries(const std::string &directory, const std::vector<std::string> &files,
                      const std::vector<std::string> &links) {
    std::vector<boxtrace::Entry> entries;
    {
        nb::gil_scoped_release released;
        entries = boxtrace::read_entries(directory, files, links);
    }
    nb::list found;
    for (const boxtrace::Entry &entry : entries)
        if (entry.error)
            found.append(entry.error);
        else
            found.append(nb::bytes(entry.content.data(), entry.content.size()));
    return found;
}

} // namespace

void bind_files(nb::module_ &module) {
    module.def("read_entries", &read_entries, "directory"_a, "files"_a, "links"_a);
    module.def("read_inodes", &boxtrace::read_inodes, "paths"_a, nb::call_guard<nb::gil_scoped_release>());
    module.def("namespaces_around", &boxtrace::namespaces_around, "path"_a, nb::call_guard<nb::gil_scoped_release>());
}
