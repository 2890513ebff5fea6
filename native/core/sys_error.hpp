// The one error type of the core: an errno, what was tried, and (for BPF loads) the kernel's own words.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stdexcept>
#include <string>

namespace boxtrace {

class SysError : public std::runtime_error {
public:
    SysError(int error, const std::string &what, std::string log = {});
    int error;
    std::string log;
};

} // namespace boxtrace
