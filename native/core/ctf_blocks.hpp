// Memory that columns take, and give back when a batch is dropped. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace boxtrace::ctf {

// Blocks of a power of two of bytes. Big ones that are given back are kept for the next batch: memory that the kernel
// has mapped already is several times as fast to fill as memory that it must map first.
uint8_t *acquire_block(size_t capacity);
void release_block(uint8_t *block, size_t capacity);

// Bytes that grow by doubling. What is new is not initialised: a row is written before it counts.
class Bytes {
public:
    Bytes() = default;
    Bytes(const Bytes &) = delete;
    ~Bytes() { release_block(data_, capacity_); }

    uint8_t *data() const { return data_; }
    size_t capacity() const { return capacity_; }
    void reserve(size_t bytes) {
        if (bytes > capacity_)
            grow(bytes);
    }
    void swap(Bytes &other) {
        std::swap(data_, other.data_);
        std::swap(capacity_, other.capacity_);
    }

private:
    void grow(size_t bytes);

    uint8_t *data_ = nullptr;
    size_t capacity_ = 0;
};

} // namespace boxtrace::ctf
