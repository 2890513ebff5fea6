// SPDX-License-Identifier: Apache-2.0
#include "ctf_utf.hpp"

namespace boxtrace::ctf {
namespace {

void put_utf8(std::string &out, uint32_t code) {
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        code = 0xFFFD;
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xC0 | code >> 6);
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        out += static_cast<char>(0xE0 | code >> 12);
        out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        out += static_cast<char>(0xF0 | code >> 18);
        out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
        out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    }
}

// Length of the valid UTF-8 sequence at the start, 0 if there is none; wrong: how many bytes one U+FFFD replaces.
size_t sequence(const uint8_t *bytes, size_t size, size_t *wrong) {
    const uint8_t first = bytes[0];
    *wrong = 1;
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xF0 && first <= 0xF4 ? 4 : first >= 0xE0 && first < 0xF0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    uint8_t low = 0x80, high = 0xBF;
    if (first == 0xE0)
        low = 0xA0;
    if (first == 0xED)
        high = 0x9F;
    if (first == 0xF0)
        low = 0x90;
    if (first == 0xF4)
        high = 0x8F;
    for (size_t i = 1; i < length; i++) {
        if (i >= size || bytes[i] < low || bytes[i] > high) {
            *wrong = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

} // namespace

std::string repaired(const uint8_t *bytes, size_t size) {
    std::string out;
    for (size_t at = 0; at < size;) {
        size_t wrong;
        const size_t length = sequence(bytes + at, size - at, &wrong);
        if (length) {
            out.append(reinterpret_cast<const char *>(bytes + at), length);
            at += length;
        } else {
            put_utf8(out, 0xFFFD);
            at += wrong;
        }
    }
    return out;
}

std::string from_utf16(const uint8_t *bytes, size_t size, bool big) {
    std::string out;
    const auto unit = [&](size_t at) -> uint32_t {
        return big ? bytes[at] << 8 | bytes[at + 1] : bytes[at + 1] << 8 | bytes[at];
    };
    size_t at = 0;
    for (; at + 2 <= size; at += 2) {
        uint32_t code = unit(at);
        if (code >= 0xD800 && code < 0xDC00 && at + 4 <= size) {
            const uint32_t low = unit(at + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                at += 2;
            }
        }
        put_utf8(out, code);
    }
    if (at < size)
        put_utf8(out, 0xFFFD);
    return out;
}

std::string from_utf32(const uint8_t *bytes, size_t size, bool big) {
    std::string out;
    size_t at = 0;
    for (; at + 4 <= size; at += 4) {
        uint32_t code = 0;
        for (int i = 0; i < 4; i++)
            code = code << 8 | bytes[at + (big ? i : 3 - i)];
        put_utf8(out, code);
    }
    if (at < size)
        put_utf8(out, 0xFFFD);
    return out;
}

} // namespace boxtrace::ctf
