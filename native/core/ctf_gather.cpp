// SPDX-License-Identifier: Apache-2.0
#include "ctf_gather.hpp"

#include <span>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace boxtrace::ctf {
namespace {

using Records = std::span<const uint8_t *const>;

template <typename T> T loaded(const uint8_t *from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

uint8_t other_order(uint8_t value) { return value; }
uint16_t other_order(uint16_t value) { return __builtin_bswap16(value); }
uint32_t other_order(uint32_t value) { return __builtin_bswap32(value); }
uint64_t other_order(uint64_t value) { return __builtin_bswap64(value); }

template <typename T> T *target(const Columns &columns, int column, size_t first) {
    return reinterpret_cast<T *>(columns.numbers(column)) + first;
}

template <typename T, bool swap> void copy_one(Records records, uint32_t offset, T *__restrict out) {
    for (size_t i = 0; i < records.size(); i++) {
        const T value = loaded<T>(records[i] + offset);
        out[i] = swap ? other_order(value) : value;
    }
}

template <typename T>
void copy_four(Records records, const CopiedNumber *copies, const Columns &columns, size_t first) {
    T *__restrict a = target<T>(columns, copies[0].column, first);
    T *__restrict b = target<T>(columns, copies[1].column, first);
    T *__restrict c = target<T>(columns, copies[2].column, first);
    T *__restrict d = target<T>(columns, copies[3].column, first);
    for (size_t i = 0; i < records.size(); i++) {
        const uint8_t *record = records[i];
        a[i] = loaded<T>(record + copies[0].offset);
        b[i] = loaded<T>(record + copies[1].offset);
        c[i] = loaded<T>(record + copies[2].offset);
        d[i] = loaded<T>(record + copies[3].offset);
    }
}

#ifdef __SSE2__
// Four numbers of 32 bits that follow one another: four records at a time are turned on their side.
void turn_four(Records records, const CopiedNumber *copies, const Columns &columns, size_t first) {
    uint32_t *const out[] = {
        target<uint32_t>(columns, copies[0].column, first), target<uint32_t>(columns, copies[1].column, first),
        target<uint32_t>(columns, copies[2].column, first), target<uint32_t>(columns, copies[3].column, first)};
    const uint32_t offset = copies[0].offset;
    const auto load = [&](size_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(records[i] + offset)); };
    size_t i = 0;
    for (; i + 4 <= records.size(); i += 4) {
        const __m128i r0 = load(i), r1 = load(i + 1), r2 = load(i + 2), r3 = load(i + 3);
        const __m128i low01 = _mm_unpacklo_epi32(r0, r1), low23 = _mm_unpacklo_epi32(r2, r3);
        const __m128i high01 = _mm_unpackhi_epi32(r0, r1), high23 = _mm_unpackhi_epi32(r2, r3);
        const auto store = [&](int column, __m128i values) {
            _mm_storeu_si128(reinterpret_cast<__m128i *>(out[column] + i), values);
        };
        store(0, _mm_unpacklo_epi64(low01, low23));
        store(1, _mm_unpackhi_epi64(low01, low23));
        store(2, _mm_unpacklo_epi64(high01, high23));
        store(3, _mm_unpackhi_epi64(high01, high23));
    }
    for (; i < records.size(); i++)
        for (int column = 0; column < 4; column++)
            out[column][i] = loaded<uint32_t>(records[i] + offset + column * 4);
}
#endif

bool follow_one_another(const CopiedNumber *copies) {
    return copies[1].offset == copies[0].offset + 4 && copies[2].offset == copies[0].offset + 8 &&
           copies[3].offset == copies[0].offset + 12;
}

template <typename T>
void copy_all(Records records, const std::vector<CopiedNumber> &copies, const Columns &columns, size_t first) {
    size_t at = 0;
    while (at + 4 <= copies.size()) {
#ifdef __SSE2__
        if (sizeof(T) == 4 && follow_one_another(&copies[at])) {
            turn_four(records, &copies[at], columns, first);
            at += 4;
            continue;
        }
#endif
        copy_four<T>(records, &copies[at], columns, first);
        at += 4;
    }
    for (; at < copies.size(); at++)
        copy_one<T, false>(records, copies[at].offset, target<T>(columns, copies[at].column, first));
}

template <typename T>
void copy_swapped(Records records, const std::vector<CopiedNumber> &copies, const Columns &columns, size_t first) {
    for (const CopiedNumber &copy : copies)
        copy_one<T, true>(records, copy.offset, target<T>(columns, copy.column, first));
}

void copy_bytes(Records records, const CopiedBytes &bytes, const Columns &columns, size_t first) {
    uint8_t *to = columns.numbers(bytes.column) + first * bytes.size;
    for (const uint8_t *record : records) {
        std::memcpy(to, record + bytes.offset, bytes.size);
        to += bytes.size;
    }
}

void copy_part(Columns &columns, const FixedPart &part, Records records, size_t first) {
    copy_all<uint32_t>(records, part.copies4, columns, first);
    copy_all<uint64_t>(records, part.copies8, columns, first);
    copy_all<uint16_t>(records, part.copies2, columns, first);
    copy_all<uint8_t>(records, part.copies1, columns, first);
    copy_swapped<uint16_t>(records, part.swaps2, columns, first);
    copy_swapped<uint32_t>(records, part.swaps4, columns, first);
    copy_swapped<uint64_t>(records, part.swaps8, columns, first);
    for (const CopiedBytes &bytes : part.bytes)
        copy_bytes(records, bytes, columns, first);
    for (const CopiedText &text : part.texts)
        columns.set_texts(text.column, first, records, text.offset, text.length);
}

} // namespace

void flush_rows(Columns &columns, Lane &lane, bool texts) {
    const EventPlan &event = *lane.event;
    const size_t count = lane.pending;
    // Without a row so far, columns may have no memory.
    if (count) {
        const Records records(lane.records, count);
        copy_part(columns, event.fixed, records, lane.copied);
        if (texts && event.has_text && event.text_column >= 0)
            columns.set_strings(event.text_column, lane.copied, records, event.fixed.size, lane.tails);
        if (event.has_tail)
            copy_part(columns, event.tail, Records(lane.tails, count), lane.copied);
    }
    lane.copied += count;
    lane.pending = lane.limit = 0;
    columns.rows[event.space] = lane.copied;
}

} // namespace boxtrace::ctf
