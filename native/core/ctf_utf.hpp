// Texts of other encodings, or not quite right, as UTF-8: what is wrong becomes U+FFFD.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace boxtrace::ctf {

std::string repaired(const uint8_t *bytes, size_t size);
std::string from_utf16(const uint8_t *bytes, size_t size, bool big);
std::string from_utf32(const uint8_t *bytes, size_t size, bool big);

} // namespace boxtrace::ctf
