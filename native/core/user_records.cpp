// SPDX-License-Identifier: Apache-2.0
#include "user_records.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace boxtrace {

namespace {

constexpr uint16_t kExtended = 0xffff;
constexpr size_t kCompactHeader = 10;  // u16 id, u32 time, u32 cpu
constexpr size_t kExtendedHeader = 18; // u16 0xffff, u32 id, u64 time, u32 cpu
constexpr uint64_t kTimeMask = 0xffffffff;

template <typename T> T read(const uint8_t *at) {
    T value;
    std::memcpy(&value, at, sizeof(value));
    return value;
}

// Return the size of the fields, or SIZE_MAX when they exceed what is left.
size_t measure(const std::vector<UserStep> &steps, const uint8_t *data, size_t left) {
    size_t at = 0;
    for (const UserStep &step : steps) {
        size_t size = step.size;
        if (step.kind == UserStep::String) {
            const void *end = std::memchr(data + at, 0, left - at);
            if (!end)
                return SIZE_MAX;
            size = static_cast<size_t>(static_cast<const uint8_t *>(end) - (data + at)) + 1;
        } else if (step.kind == UserStep::Sequence) {
            if (left - at < sizeof(uint32_t))
                return SIZE_MAX;
            const uint64_t elements = read<uint32_t>(data + at);
            size = sizeof(uint32_t) + static_cast<size_t>(elements * step.size); // below 2^32 * 2^16
        }
        if (left - at < size)
            return SIZE_MAX;
        at += size;
    }
    return at;
}

} // namespace

void UserRecords::add(uint32_t id, std::vector<UserStep> steps) {
    if (types_.size() <= id)
        types_.resize(id + 1);
    types_[id] = {true, std::move(steps)};
}

UserPiece UserRecords::check(const uint8_t *data, size_t size, uint64_t last, uint64_t earliest, uint64_t now) const {
    UserPiece piece{0, 0, last, last};
    uint64_t floor = last ? last : earliest;
    while (size - piece.size >= kCompactHeader) {
        const uint8_t *record = data + piece.size;
        const size_t left = size - piece.size;
        uint32_t id = read<uint16_t>(record);
        size_t header = kCompactHeader;
        uint64_t time;
        if (id == kExtended) {
            header = kExtendedHeader;
            if (left < header)
                break;
            id = read<uint32_t>(record + 2);
            time = read<uint64_t>(record + 6);
        } else {
            if (!piece.last)
                break; // nothing tells the upper half of its time
            time = (piece.last & ~kTimeMask) | read<uint32_t>(record + 2);
            if (time < piece.last)
                time += kTimeMask + 1;
        }
        if (time < floor || time > now || id >= types_.size() || !types_[id].known)
            break;
        const size_t fields = measure(types_[id].steps, record + header, left - header);
        if (fields == SIZE_MAX)
            break;
        if (!piece.records++)
            piece.first = time;
        piece.last = floor = time;
        piece.size += header + fields;
    }
    return piece;
}

void copy_ring(uint8_t *out, const uint8_t *ring, size_t size, uint64_t begin, uint64_t end) {
    const size_t length = static_cast<size_t>(end - begin);
    const size_t start = static_cast<size_t>(begin & (size - 1));
    const size_t before_wrap = std::min(length, size - start);
    std::memcpy(out, ring + start, before_wrap);
    std::memcpy(out + before_wrap, ring, length - before_wrap);
}

} // namespace boxtrace
