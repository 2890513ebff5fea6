// What every binding file shares. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nanobind/nanobind.h>
#include <string_view>

namespace nb = nanobind;

inline std::string_view view(const nb::bytes &bytes) { return {static_cast<const char *>(bytes.data()), bytes.size()}; }

void bind_bpf(nb::module_ &module);
void bind_ctf(nb::module_ &module);
void bind_files(nb::module_ &module);
void bind_memory(nb::module_ &module);
void bind_user(nb::module_ &module);
