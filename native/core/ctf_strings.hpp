// Texts that end with a NUL: where they end, and how short ones are copied. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace boxtrace::ctf {

// Texts are looked at and copied in blocks of so many bytes.
constexpr size_t kTextBlock = 64;

#ifdef __SSE2__
namespace detail {

inline __m128i loaded16(const uint8_t *from) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from)); }
inline uint64_t signs(__m128i bytes) { return static_cast<uint32_t>(_mm_movemask_epi8(bytes)); }

} // namespace detail
#endif

// Bytes before the first NUL; so many as are left if there is none, or if less is left than the block that has it.
inline size_t before_nul(const uint8_t *text, size_t left) {
#ifdef __SSE2__
    using namespace detail;
    const __m128i zero = _mm_setzero_si128();
    for (size_t at = 0; left - at >= kTextBlock; at += kTextBlock) {
        const auto zeros = [&](size_t from) { return signs(_mm_cmpeq_epi8(loaded16(text + at + from), zero)); };
        if (const uint64_t found = zeros(0) | zeros(16) << 16 | zeros(32) << 32 | zeros(48) << 48)
            return at + static_cast<size_t>(std::countr_zero(found));
    }
    return left;
#else
    const void *nul = std::memchr(text, 0, left);
    return nul == nullptr ? left : static_cast<size_t>(static_cast<const uint8_t *>(nul) - text);
#endif
}

// Copy a text of so many bytes, which lies in blocks that can be read as a whole, and for which there is as much room.
// False if it is not ASCII.
inline bool copy_text(const uint8_t *text, size_t size, uint8_t *to) {
#ifdef __SSE2__
    using namespace detail;
    uint64_t any = 0;
    for (size_t at = 0; at < size; at += kTextBlock) {
        uint64_t high = 0;
        for (size_t part = 0; part < kTextBlock; part += 16) {
            const __m128i bytes = loaded16(text + at + part);
            high |= signs(bytes) << part;
            _mm_storeu_si128(reinterpret_cast<__m128i *>(to + at + part), bytes);
        }
        any |= size - at < kTextBlock ? high & ((uint64_t{1} << (size - at)) - 1) : high;
    }
    return any == 0;
#else
    uint8_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits |= text[i];
    std::memcpy(to, text, size);
    return bits < 0x80;
#endif
}

} // namespace boxtrace::ctf
