// Numbers as they lie in packets. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

static_assert(std::endian::native == std::endian::little, "runs are copied as they are in little-endian packets");

namespace boxtrace::ctf {

inline uint64_t load(const uint8_t *at, unsigned width, bool swap) {
    uint64_t value = 0;
    switch (width) {
    case 1:
        return *at;
    case 2: {
        uint16_t raw;
        std::memcpy(&raw, at, 2);
        return swap ? __builtin_bswap16(raw) : raw;
    }
    case 4: {
        uint32_t raw;
        std::memcpy(&raw, at, 4);
        return swap ? __builtin_bswap32(raw) : raw;
    }
    default:
        std::memcpy(&value, at, 8);
        return swap ? __builtin_bswap64(value) : value;
    }
}

inline uint16_t swapped(uint16_t value) { return __builtin_bswap16(value); }
inline uint32_t swapped(uint32_t value) { return __builtin_bswap32(value); }
inline uint64_t swapped(uint64_t value) { return __builtin_bswap64(value); }

inline uint64_t extended(uint64_t value, unsigned size) {
    if (size >= 64)
        return value;
    const uint64_t half = uint64_t{1} << (size - 1);
    return (value ^ half) - half;
}

inline uint64_t reversed(uint64_t value, unsigned size) {
    uint64_t result = 0;
    for (unsigned i = 0; i < size; i++)
        result |= (value >> i & 1) << (size - 1 - i);
    return result;
}

inline double from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 0x1F;
    const int mantissa = bits & 0x3FF;
    const double sign = bits >> 15 ? -1.0 : 1.0;
    if (exponent == 31)
        return mantissa ? std::copysign(NAN, sign) : sign * INFINITY;
    return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}

// A number of 128 bits or more in units of 32 bits, the least significant first; of its mantissa the first 112 bits
// count.
inline double from_wide(const uint32_t *units, unsigned size, unsigned width) {
    const auto bits = [&](unsigned first, unsigned count) { // at most 64
        uint64_t value = 0;
        for (unsigned i = count; i-- > 0;)
            value = value << 1 | (units[(first + i) >> 5] >> ((first + i) & 31) & 1);
        return value;
    };
    const unsigned fraction = size - 1 - width;
    const uint64_t exponent = bits(fraction, width), top = bits(fraction - 48, 48), low = bits(fraction - 112, 64);
    const double sign = bits(size - 1, 1) ? -1.0 : 1.0;
    if (exponent == (uint64_t{1} << width) - 1) {
        bool any = false;
        for (unsigned i = 0; i < fraction; i++)
            any |= units[i >> 5] >> (i & 31) & 1;
        return any ? std::copysign(NAN, sign) : sign * INFINITY;
    }
    const double part = std::ldexp(static_cast<double>(top), -48) + std::ldexp(static_cast<double>(low), -112);
    const auto power = static_cast<int64_t>(std::max<uint64_t>(exponent, 1)) - ((int64_t{1} << (width - 1)) - 1);
    constexpr int64_t kFar = 1 << 20;
    return sign * std::ldexp((exponent ? 1.0 : 0.0) + part, static_cast<int>(std::clamp(power, -kFar, kFar)));
}

} // namespace boxtrace::ctf
