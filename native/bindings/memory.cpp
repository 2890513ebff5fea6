// Ordered access to memory that BPF programs on other CPUs write. SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"

#include <atomic>
#include <cstdint>
#include <nanobind/nanobind.h>

using namespace nb::literals;

namespace {

// A writable buffer (an mmap), held for as long as this object lives.
class SharedWords {
public:
    explicit SharedWords(nb::object buffer) {
        if (PyObject_GetBuffer(buffer.ptr(), &view_, PyBUF_WRITABLE))
            throw nb::python_error();
    }
    ~SharedWords() { PyBuffer_Release(&view_); }
    SharedWords(const SharedWords &) = delete;
    SharedWords &operator=(const SharedWords &) = delete;

    uint64_t load(size_t offset) const {
        return std::atomic_ref<uint64_t>(word(offset)).load(std::memory_order_acquire);
    }
    void store(size_t offset, uint64_t value) {
        std::atomic_ref<uint64_t>(word(offset)).store(value, std::memory_order_release);
    }

private:
    uint64_t &word(size_t offset) const {
        if (offset % 8 || offset + 8 > static_cast<size_t>(view_.len))
            throw nb::index_error("offset is not that of a 64-bit word in the buffer");
        return *reinterpret_cast<uint64_t *>(static_cast<char *>(view_.buf) + offset);
    }
    Py_buffer view_{};
};

} // namespace

void bind_memory(nb::module_ &module) {
    nb::class_<SharedWords>(module, "SharedWords")
        .def(nb::init<nb::object>(), "buffer"_a)
        .def("load", &SharedWords::load, "offset"_a)
        .def("store", &SharedWords::store, "offset"_a, "value"_a);
}
