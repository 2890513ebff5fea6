// What to decode, compiled from a trace's model: programs of instructions, and the columns that they fill.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_layout.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace boxtrace::ctf {

// The numbers of these enums are the plan's format: boxtrace/ctf/plan.py writes the same, and a test compares them.
enum class ColumnKind : int64_t { Integer, Unsigned, Float, Boolean, Text, Bytes, List, FixedList, Struct };
enum class OpCode : int64_t { Run, Bits, Leb128, String, Text, Blob, Align, Array, Variant, Option };
enum class Role : int64_t { None, EventId, Clock };
enum BitsFlag : int64_t { BigEndian = 1, Signed = 2, Reversed = 4, Boolean = 8, Float = 16 };
enum class Encoding : int64_t { Utf8, Utf16Be, Utf16Le, Utf32Be, Utf32Le };

constexpr uint32_t kMaxFloat = 4096; // bits of a number

struct Column {
    ColumnKind kind;
    int width;       // bytes of a number; elements of a fixed list
    bool nullable;   // may have rows without value
    int space;       // whose rows the column has
    int child_space; // of the elements of a list, else -1
    std::string name;
    std::vector<int> children; // of a structure: members; of a list: its element
};

struct Leaf {
    uint32_t offset; // bytes from the start of the run
    uint8_t width;
    bool swap;
    bool sign; // of a value that goes to a slot
    Role role;
    int column;
    int slot;
};

// A leaf that is only copied to its column: of a run's leaves of one width, and in the byte order of this machine.
struct Copy {
    uint32_t offset;
    int column;
};

struct Choice {
    int program;
    int column; // what the option fills, -1 if it is not wanted
    std::vector<std::pair<int64_t, int64_t>> ranges;
};

struct Op {
    OpCode code;
    uint32_t align = 1; // bits
    uint32_t size = 0;  // bits of a number, bytes of a run
    int64_t flags = 0;
    Role role = Role::None;
    int column = -1;
    int slot = -1;      // where the value goes, or where length and selector are
    int64_t length = 0; // constant length where slot is -1
    uint64_t least = 0; // bits that an element takes at least
    int program = -1;   // of an element or an option
    bool by_ranges = false;
    Encoding encoding = Encoding::Utf8;
    std::vector<Leaf> leaves; // those that are not among the copies
    std::vector<Copy> copies1, copies2, copies4, copies8;
    Strided strided; // of an array
    std::vector<Choice> choices;
};

using Program = std::vector<Op>;

struct EventPlan {
    int program = -1;
    int space = -1;                                  // where its rows go, -1 if they are not wanted
    int time_column = -1;                            // ns
    std::vector<std::pair<int, int>> packet_columns; // column, number of the packet's value
    FixedPart fixed;
    uint64_t least = 0;    // bits that a record takes at least, after the header
    bool has_tail = false; // one operation comes after the fixed part, and then only what the tail has
    FixedPart tail;
    bool has_text = false; // that operation is a text that ends with a NUL, and the tail begins behind it
    int text_column = -1;  // what it fills, -1 if it is not wanted
};

// Time of a clock value: base + cycles in ns, in double precision unless the frequency is 1 GHz.
struct Clock {
    int64_t base = 0;
    uint64_t frequency = 1'000'000'000;
    int64_t to_ns(uint64_t cycles) const {
        // A damaged time stamp may be anything: unsigned, so that the sum is defined.
        return static_cast<int64_t>(static_cast<uint64_t>(base) +
                                    (frequency == 1'000'000'000 ? cycles : duration(cycles)));
    }
    uint64_t duration(uint64_t cycles) const; // ns
};

// A buffer of a column whose size follows from the number of rows.
enum class BufferKind : uint8_t { Values, Valid, Offsets };
struct PlannedBuffer {
    int column;
    uint32_t each; // bytes of a row
    BufferKind kind;
    bool zeroed; // new rows are zeros
};

constexpr uint64_t kWidest = uint64_t{1} << 48;

// The columns of a space, and how much room their rows take.
struct SpacePlan {
    std::vector<PlannedBuffer> buffers;
    std::vector<int> texts; // columns that have bytes besides: texts and byte strings
    std::vector<int> fixed_lists;
    size_t row_size = 0; // bytes
    uint64_t widest = 0; // the same with what arrays of constant length hold, but not more than kWidest
};

struct Plan {
    std::vector<Column> columns;
    std::vector<Program> programs;
    int spaces = 0;
    int slots = 0;
    int header = -1;
    int only_event = -1; // index in events where records do not tell their class
    bool clocked = false;
    Clock clock;
    std::vector<EventPlan> events;
    std::unordered_map<uint64_t, int> event_index; // by event id
    std::vector<int> tables;                       // struct column of each wanted event class, in the order asked for
    // What follows from the above.
    size_t small_ids = 0; // event ids below this are few enough for a table
    std::vector<SpacePlan> space_plans;
    std::vector<int> table_spaces; // of tables
    HeaderLayout header_layout;
};

// Reads a plan of 64-bit words and a list of names, or what was added to one: numbers in it count from the whole's
// beginning, but for those of names. Throws std::invalid_argument where it contradicts itself.
Plan read_plan(std::span<const int64_t> words, const std::vector<std::string> &names, Plan before = {});

} // namespace boxtrace::ctf
