// SPDX-License-Identifier: Apache-2.0
#include "ctf_blocks.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <vector>

namespace boxtrace::ctf {
namespace {

// Free blocks by the logarithm of their size. Those of some tens of KiB are parts of huge pages: the columns of a batch
// are more pages than the processor knows the places of at a time.
class Pool {
public:
    uint8_t *take(size_t capacity) {
        const std::lock_guard lock(mutex_);
        if (uint8_t *block = last(blocks_, capacity)) {
            kept_ -= capacity;
            return block;
        }
        uint8_t *block = last(empty_, capacity);
        return block == nullptr && is_part(capacity) ? part(capacity) : block;
    }
    bool give(uint8_t *block, size_t capacity) {
        const std::lock_guard lock(mutex_);
        if (kept_ + capacity > kMost) {
            if (!is_part(capacity))
                return false;
            madvise(block, capacity, MADV_DONTNEED);
            empty_[std::bit_width(capacity)].push_back(block);
            return true;
        }
        blocks_[std::bit_width(capacity)].push_back(block);
        kept_ += capacity;
        return true;
    }

private:
    using Blocks = std::array<std::vector<uint8_t *>, 65>;

    static uint8_t *last(Blocks &of, size_t capacity) {
        auto &blocks = of[std::bit_width(capacity)];
        if (blocks.empty())
            return nullptr;
        uint8_t *block = blocks.back();
        blocks.pop_back();
        return block;
    }

    static bool is_part(size_t capacity) { return kHuge && capacity >= kLeastPart && capacity <= kHuge / 2; }

    // A part of the last huge page; what is left of that, if it is too little, becomes free blocks.
    uint8_t *part(size_t capacity) {
        while (left_ < capacity && left_ >= kLeastPart) {
            const size_t largest = std::bit_floor(left_);
            empty_[std::bit_width(largest)].push_back(page_ + kHuge - left_);
            left_ -= largest;
        }
        if (left_ < capacity) {
            page_ = static_cast<uint8_t *>(std::aligned_alloc(kHuge, kHuge));
            left_ = page_ == nullptr ? 0 : kHuge;
            if (page_ == nullptr)
                return nullptr;
            madvise(page_, kHuge, MADV_HUGEPAGE);
        }
        left_ -= capacity;
        return page_ + kHuge - left_ - capacity;
    }

#ifdef __SANITIZE_ADDRESS__
    static constexpr size_t kHuge = 0; // blocks are allocated one by one, so that what lies outside of one is found
#else
    static constexpr size_t kHuge = size_t{2} << 20;
#endif
    static constexpr size_t kLeastPart = size_t{16} << 10;
    static constexpr size_t kMost = size_t{256} << 20;
    uint8_t *page_ = nullptr;
    size_t left_ = 0; // of the page
    std::mutex mutex_;
    Blocks blocks_;
    Blocks empty_; // parts that have only their address
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
