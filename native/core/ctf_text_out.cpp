// SPDX-License-Identifier: Apache-2.0
#include "ctf_text_out.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace boxtrace::ctf {
namespace {

bool is_escaped(uint8_t c) { return c < 0x20 || c == 0x7F || c == '\\' || c == '"' || c == '\'' || c == '?'; }

// Copy what needs no escape from the beginning, and return how much that is.
size_t copy_plain(const uint8_t *text, size_t size, char *to) {
    size_t at = 0;
#ifdef __SSE2__
    for (; at + 16 <= size; at += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(text + at));
        const auto is = [&](char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
        const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
        const __m128i marks = _mm_or_si128(_mm_or_si128(is('\\'), is('"')), _mm_or_si128(is('\''), is('?')));
        const auto special =
            static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(control, marks), is(0x7F))));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to + at), bytes);
        if (special)
            return at + static_cast<size_t>(std::countr_zero(special));
    }
#endif
    for (; at < size && !is_escaped(text[at]); at++)
        to[at] = static_cast<char>(text[at]);
    return at;
}

std::string escaped(uint8_t c) {
    constexpr std::string_view kNamed = "\a\b\t\n\v\f\r\x1b", kNames = "abtnvfre";
    const auto found = kNamed.find(static_cast<char>(c));
    if (found != std::string_view::npos)
        return {'\\', kNames[found]};
    if (c >= 0x20 && c != 0x7F)
        return {'\\', static_cast<char>(c)};
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\x%02x", c);
    return hex;
}

} // namespace

void TextOut::grow(size_t bytes) {
    const size_t used = size();
    const size_t capacity = std::bit_ceil(std::max<size_t>(used + bytes, 4096));
    auto grown = std::make_unique_for_overwrite<char[]>(capacity);
    if (used)
        std::memcpy(grown.get(), start_.get(), used);
    start_ = std::move(grown);
    at_ = start_.get() + used;
    end_ = start_.get() + capacity;
}

void TextOut::put_quoted(const uint8_t *text, size_t size) {
    put('"');
    while (size) {
        char *to = room(size);
        const size_t plain = copy_plain(text, size, to);
        at_ = to + plain;
        if (plain == size)
            break;
        put(escaped(text[plain]));
        text += plain + 1;
        size -= plain + 1;
    }
    put('"');
}

} // namespace boxtrace::ctf
