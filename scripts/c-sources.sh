#!/bin/sh
# Print the C and C++ sources of the project, each ended by a zero byte.
cd "$(dirname "$0")/.." || exit
exec find native src/boxtrace client tests/conformance benchmarks \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' \) -print0
