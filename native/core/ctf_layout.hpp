// What of a plan's records lies at constant places, found once when the plan is read.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace boxtrace::ctf {

struct Plan;
struct Leaf;

// A number within 8 bytes that may be loaded from byte on. A mask of 0: there is none.
struct Place {
    uint32_t byte = 0;
    uint8_t shift = 0;
    bool swap = false; // then the number is at the top of the 8 bytes in the other byte order
    uint64_t mask = 0;
};

struct HeaderOption {
    uint64_t low; // values of the selector: from low to low + span
    uint64_t span;
    Place id; // the selector itself, if it is one
    Place clock;
    uint32_t bits; // from the start of the header
    bool has_id = false;
};

// A header that is an event id and a time stamp, perhaps after a number that tells which of several forms they have:
// what tracers write. Without options it is another one.
struct HeaderLayout {
    uint32_t align = 8;
    uint64_t most = 0; // bits that must be there, so that every place can be loaded
    Place selector;
    bool whole = false; // it ends at a whole byte in each form
    bool large = false; // LTTng's, without gaps: 16 bits of id, 32 of time; or 16 ones, 32 bits of id, 64 of time
    std::vector<HeaderOption> options;
};

struct CopiedNumber {
    uint32_t offset;
    int column;
};

// Numbers one after another, such as the elements of an array.
struct CopiedBytes {
    uint32_t offset;
    uint32_t size; // of a row
    int column;
};

struct CopiedText {
    uint32_t offset;
    uint32_t length;
    int column;
};

// What every record of an event class begins with, or what comes after its only part of no constant size: offsets are
// bytes from its aligned start. Numbers and texts are copied for many records at once, a column after the other.
struct FixedPart {
    uint32_t align = 1; // bits
    uint64_t size = 0;  // bytes
    std::vector<CopiedNumber> copies1, copies2, copies4, copies8;
    std::vector<CopiedNumber> swaps2, swaps4, swaps8;
    std::vector<CopiedBytes> bytes;
    std::vector<CopiedText> texts; // UTF-8, 16 bytes or more
    std::vector<Leaf> taken;       // what has a slot or a role
    size_t rest = 0;               // number of the program's first operation that is not of this part
};

// What an array's elements are, if they are alike in size and only copied; offsets are from an element's start.
struct Strided {
    uint64_t size = 0; // bytes of an element, 0 where it is not so
    std::vector<CopiedNumber> copies1, copies2, copies4, copies8;
    std::vector<CopiedBytes> bytes;
};

Strided strided(const Plan &plan, int element);
HeaderLayout header_layout(const Plan &plan);
// space: of the rows, -1 if no column is wanted. from: the program's first operation that is looked at.
FixedPart fixed_part(const Plan &plan, int program, int space, size_t from = 0);

} // namespace boxtrace::ctf
