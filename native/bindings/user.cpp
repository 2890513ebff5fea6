// Records of applications, taken out of shared memory. SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"

#include "user_records.hpp"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <tuple>
#include <utility>

using namespace nb::literals;

namespace {

// The memory of a Python object, held while this lives.
class Buffer {
public:
    Buffer(nb::handle object, int flags) {
        if (PyObject_GetBuffer(object.ptr(), &view_, flags))
            throw nb::python_error();
    }
    ~Buffer() { PyBuffer_Release(&view_); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    uint8_t *data() const { return static_cast<uint8_t *>(view_.buf); }
    size_t size() const { return static_cast<size_t>(view_.len); }

private:
    Py_buffer view_{};
};

void add(boxtrace::UserRecords &records, uint32_t id, const std::vector<std::pair<uint32_t, uint32_t>> &parts) {
    std::vector<boxtrace::UserStep> steps;
    for (const auto &[kind, size] : parts) {
        if (kind > boxtrace::UserStep::Sequence || size > 0xffff)
            throw nb::value_error("no such part of a record");
        steps.push_back({static_cast<boxtrace::UserStep::Kind>(kind), size});
    }
    records.add(id, std::move(steps));
}

std::tuple<size_t, uint64_t, uint64_t, uint64_t> take(const boxtrace::UserRecords &records, nb::object ring,
                                                      size_t data, uint64_t begin, uint64_t end, nb::object out,
                                                      size_t at, uint64_t last, uint64_t earliest, uint64_t now) {
    Buffer source(ring, PyBUF_SIMPLE);
    Buffer target(out, PyBUF_WRITABLE);
    const size_t size = source.size() - data;
    if (data > source.size() || size & (size - 1) || end - begin > size || at > target.size() ||
        target.size() - at < end - begin)
        throw nb::value_error("positions do not fit the ring or the room for its content");
    boxtrace::UserPiece piece;
    {
        nb::gil_scoped_release released;
        boxtrace::copy_ring(target.data() + at, source.data() + data, size, begin, end);
        piece = records.check(target.data() + at, static_cast<size_t>(end - begin), last, earliest, now);
    }
    return {piece.size, piece.records, piece.first, piece.last};
}

} // namespace

void bind_user(nb::module_ &module) {
    nb::class_<boxtrace::UserRecords>(module, "UserRecords")
        .def(nb::init<>())
        .def("add", &add, "id"_a, "parts"_a)
        .def("take", &take, "ring"_a, "data"_a, "begin"_a, "end"_a, "out"_a, "at"_a, nb::kw_only(), "last"_a,
             "earliest"_a, "now"_a);
}
