// SPDX-License-Identifier: Apache-2.0
#include "ctf_columns.hpp"
#include "ctf_strings.hpp"
#include "ctf_utf.hpp"

#include <algorithm>
#include <array>
#include <bit>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace boxtrace::ctf {
namespace {

bool is_ascii(const uint8_t *bytes, size_t size) {
    uint8_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits |= bytes[i];
    return bits < 0x80;
}

constexpr size_t kFirstRows = 64;
constexpr uint64_t kUnseen = uint64_t{16} << 20; // bytes
constexpr size_t kShortText = 16;                // bytes: most are names of programs
constexpr size_t kLine = 64;                     // of the cache

} // namespace

Columns::Columns(const Plan &plan, std::vector<size_t> expected)
    : rows(plan.spaces), plan_(plan), data_(plan.columns.size()), blocks_(plan.spaces), capacity_(plan.spaces),
      expected_(std::move(expected)) {
    expected_.resize(capacity_.size(), kFirstRows);
}

Columns::~Columns() {
    for (size_t space = 0; space < capacity_.size(); space++)
        if (capacity_[space])
            for (const int column : plan_.space_plans[space].texts)
                data_[column].~ColumnData();
}

namespace {

// Puts the buffers of a space's columns into its block.
class Layout {
public:
    Layout(uint8_t *block, size_t before, size_t capacity) : to_(block), before_(before), capacity_(capacity) {}

    // more: rows besides.
    template <typename T> void place(T *&buffer, const PlannedBuffer &planned, size_t more) {
        const size_t each = planned.each;
        const size_t size = (capacity_ + more) * each;
        const size_t old = before_ ? (before_ + more) * each : 0;
        if (old)
            std::memcpy(to_, buffer, old);
        if (planned.zeroed)
            std::memset(to_ + old, 0, size - old);
        buffer = reinterpret_cast<T *>(to_);
        // A line more: buffers of a power of two of bytes would all begin in the same set of the cache.
        to_ += ((size + kLine - 1) & -kLine) + kLine;
    }

private:
    uint8_t *to_;
    size_t before_;
    size_t capacity_;
};

} // namespace

void Columns::grow(int space, size_t rows) {
    const size_t before = capacity_[space];
    const SpacePlan &planned = plan_.space_plans[space];
    // Rows that nobody has seen yet get no more than this: one may have an array of a thousand million elements.
    const size_t unseen = std::min<size_t>(expected_[space], kUnseen / std::max<uint64_t>(planned.widest, 1));
    const size_t capacity = std::bit_ceil(std::max<size_t>(rows, before ? before * 2 : unseen));
    Bytes block;
    // Each buffer may have one more row, be filled up to a line, and is followed by one.
    block.reserve(capacity * planned.row_size + planned.buffers.size() * (2 * kLine + sizeof(int64_t)));
    Layout layout(block.data(), before, capacity);
    for (const PlannedBuffer &buffer : planned.buffers) {
        ColumnData &data = data_[buffer.column];
        switch (buffer.kind) {
        case BufferKind::Values:
            layout.place(data.values, buffer, 0);
            break;
        case BufferKind::Valid:
            layout.place(data.valid, buffer, 0);
            break;
        case BufferKind::Offsets:
            layout.place(data.offsets, buffer, 1);
            if (before == 0)
                data.offsets[0] = 0;
            break;
        }
    }
    for (const int index : planned.fixed_lists)
        ensure(plan_.columns[index].child_space, capacity * static_cast<size_t>(plan_.columns[index].width));
    for (const int index : planned.texts)
        data_[index].content.reserve(capacity * kShortText);
    blocks_[space].swap(block);
    capacity_[space] = capacity;
}

void Columns::set_null(int column, size_t row) {
    const Column &described = plan_.columns[column];
    ColumnData &data = data_[column];
    if (described.nullable)
        data.valid[row] = 0;
    switch (described.kind) {
    case ColumnKind::Text:
    case ColumnKind::Bytes:
    case ColumnKind::List:
        data.offsets[row + 1] = data.offsets[row];
        break;
    case ColumnKind::FixedList:
        for (int i = 0; i < described.width; i++)
            set_null(described.children[0], row * described.width + i);
        break;
    case ColumnKind::Struct:
        for (const int child : described.children)
            set_null(child, row);
        break;
    default:
        break;
    }
}

void Columns::set_bytes(int column, size_t row, const uint8_t *bytes, size_t size) {
    ColumnData &data = data_[column];
    const int64_t start = data.offsets[row];
    data.content.reserve(static_cast<size_t>(start) + size + 1);
    if (size)
        std::memcpy(data.content.data() + start, bytes, size);
    data.offsets[row + 1] = start + static_cast<int64_t>(size);
    set_valid(column, row);
}

#ifdef __SSE2__
namespace {

// Store 16 bytes, and return how many come before a NUL; -1 if they are not ASCII.
int store_short_text(const uint8_t *from, uint8_t *to) {
    const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    const auto zeros = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_setzero_si128())));
    const int size = std::countr_zero(zeros | 1u << 16);
    if (static_cast<unsigned>(_mm_movemask_epi8(text)) & ((1u << size) - 1))
        return -1;
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to), text);
    return size;
}

} // namespace
#endif

ptrdiff_t Columns::set_string(int column, size_t row, const uint8_t *bytes, size_t left) {
#ifdef __SSE2__
    ColumnData &data = data_[column];
    const auto start = static_cast<size_t>(data.offsets[row]);
    size_t room = data.content.capacity();
    uint8_t *to = data.content.data() + start;
    for (size_t at = 0; at + 16 <= left; at += 16) {
        if (start + at + 16 > room) {
            data.content.reserve(start + at + 16);
            room = data.content.capacity();
            to = data.content.data() + start;
        }
        const int size = store_short_text(bytes + at, to + at);
        if (size == 16)
            continue;
        if (size < 0)
            break;
        data.offsets[row + 1] = static_cast<int64_t>(start + at) + size;
        set_valid(column, row);
        return static_cast<ptrdiff_t>(at) + size;
    }
#endif
    const void *nul = std::memchr(bytes, 0, left);
    if (nul == nullptr)
        return -1;
    const auto size = static_cast<const uint8_t *>(nul) - bytes;
    set_text(column, row, bytes, static_cast<size_t>(size), Encoding::Utf8);
    return size;
}

bool Columns::set_short_text(int column, size_t row, const uint8_t *bytes) {
#ifdef __SSE2__
    ColumnData &data = data_[column];
    const int64_t start = data.offsets[row];
    data.content.reserve(static_cast<size_t>(start) + 16);
    const int size = store_short_text(bytes, data.content.data() + start);
    if (size < 0)
        return false;
    data.offsets[row + 1] = start + size;
    set_valid(column, row);
    return true;
#else
    (void)column, (void)row, (void)bytes;
    return false;
#endif
}

void Columns::set_texts(int column, size_t first, std::span<const uint8_t *const> records, size_t offset,
                        size_t length) {
    ColumnData &data = data_[column];
    const uint8_t *const *record = records.data();
    const size_t count = records.size();
    int64_t *ends = data.offsets + first + 1;
    auto start = static_cast<size_t>(ends[-1]);
    size_t i = 0;
    while (i < count) {
        data.content.reserve(start + (count - i) * 16);
#ifdef __SSE2__
        uint8_t *const content = data.content.data();
        for (; i < count; i++) {
            const int size = store_short_text(record[i] + offset, content + start);
            if (size < 0 || (size == 16 && length != 16))
                break;
            start += static_cast<size_t>(size);
            ends[i] = static_cast<int64_t>(start);
        }
        if (i == count)
            return;
#endif
        const uint8_t *text = record[i] + offset;
        const void *nul = std::memchr(text, 0, length);
        const size_t found = nul == nullptr ? length : static_cast<size_t>(static_cast<const uint8_t *>(nul) - text);
        set_text(column, first + i, text, found, Encoding::Utf8);
        start = static_cast<size_t>(ends[i++]);
    }
}

void Columns::set_strings(int column, size_t first, std::span<const uint8_t *const> records, size_t offset,
                          const uint8_t *const *ends) {
    ColumnData &data = data_[column];
    int64_t *to = data.offsets + first + 1;
    auto start = static_cast<size_t>(to[-1]);
    for (size_t i = 0; i < records.size(); i++) {
        const uint8_t *text = records[i] + offset;
        const auto size = static_cast<size_t>(ends[i] - 1 - text);
        data.content.reserve(start + size + kTextBlock);
        if (copy_text(text, size, data.content.data() + start))
            to[i] = static_cast<int64_t>(start + size);
        else
            set_text(column, first + i, text, size, Encoding::Utf8);
        start = static_cast<size_t>(to[i]);
    }
}

void Columns::set_text(int column, size_t row, const uint8_t *bytes, size_t size, Encoding encoding) {
    if (encoding == Encoding::Utf8) {
        if (plan_.columns[column].kind == ColumnKind::Bytes || is_ascii(bytes, size))
            return set_bytes(column, row, bytes, size);
        const std::string text = repaired(bytes, size);
        return set_bytes(column, row, reinterpret_cast<const uint8_t *>(text.data()), text.size());
    }
    const bool big = encoding == Encoding::Utf16Be || encoding == Encoding::Utf32Be;
    const bool wide = encoding == Encoding::Utf32Be || encoding == Encoding::Utf32Le;
    const std::string text = wide ? from_utf32(bytes, size, big) : from_utf16(bytes, size, big);
    set_bytes(column, row, reinterpret_cast<const uint8_t *>(text.data()), text.size());
}

} // namespace boxtrace::ctf
