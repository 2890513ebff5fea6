// SPDX-License-Identifier: Apache-2.0
#include "ctf_blocks.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

namespace boxtrace::ctf {
namespace {

// Free blocks by the logarithm of their size.
class Pool {
public:
    uint8_t *take(size_t capacity) {
        const std::lock_guard lock(mutex_);
        auto &blocks = blocks_[std::bit_width(capacity)];
        if (blocks.empty())
            return nullptr;
        uint8_t *block = blocks.back();
        blocks.pop_back();
        kept_ -= capacity;
        return block;
    }
    bool give(uint8_t *block, size_t capacity) {
        const std::lock_guard lock(mutex_);
        if (kept_ + capacity > kMost)
            return false;
        blocks_[std::bit_width(capacity)].push_back(block);
        kept_ += capacity;
        return true;
    }

private:
    static constexpr size_t kMost = size_t{256} << 20;
    std::mutex mutex_;
    std::array<std::vector<uint8_t *>, 65> blocks_;
    size_t kept_ = 0;
};

Pool &pool() {
    // Never destroyed: arrays that Python frees at exit still give their blocks back.
    static Pool *const only = new Pool;
    return *only;
}

constexpr size_t kPooled = 64;
constexpr size_t kLine = 64; // of the cache

} // namespace

uint8_t *acquire_block(size_t capacity) {
    uint8_t *block = capacity >= kPooled ? pool().take(capacity) : nullptr;
    if (block == nullptr)
        block = static_cast<uint8_t *>(capacity < kLine ? std::malloc(capacity) : std::aligned_alloc(kLine, capacity));
    if (block == nullptr)
        throw std::bad_alloc();
    return block;
}

void release_block(uint8_t *block, size_t capacity) {
    if (block == nullptr || (capacity >= kPooled && pool().give(block, capacity)))
        return;
    std::free(block);
}

void Bytes::grow(size_t bytes) {
    const size_t capacity = std::bit_ceil(std::max<size_t>(bytes, 256));
    uint8_t *grown = acquire_block(capacity);
    if (capacity_)
        std::memcpy(grown, data_, capacity_);
    release_block(data_, capacity_);
    data_ = grown;
    capacity_ = capacity;
}

} // namespace boxtrace::ctf
