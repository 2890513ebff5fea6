// Filter expressions on decoded rows. Knows what the operators compute, and nothing of how expressions are written.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_decode.hpp"

#include <memory>

namespace boxtrace::ctf {

// The numbers of these enums are the format of boxtrace/filters/columns.py; a test compares them.
enum class FilterCode : int64_t {
    Constant,
    Column,
    PacketValue,
    ToReal,
    Negate,
    Invert,
    Not,
    ShiftLeft,
    ShiftRight,
    And,
    Xor,
    Or,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    Glob,
    All,
    Any
};
enum class ValueType : int64_t { Integer, Real, Text };

// A column on the way to a value; an element of it that is taken, -1 if it is none of an array.
struct FilterStep {
    int column;
    int64_t element;
};

struct FilterNode {
    FilterCode code;
    ValueType type;
    int64_t integer = 0; // a constant, a packet's value by number, the verdict for what a glob matches
    double real = 0;
    std::vector<int> operands;       // nodes before this one
    std::vector<std::string> pieces; // of a text, or what is between a glob's wildcards
    std::vector<FilterStep> steps;
    int space = -1; // of the rows that it looks at
    int depth = 1;
};

// What a filter must be told of packets.
struct PacketValues {
    // For each packet its values in order: 1 and 64 bits of it, or 0 and anything where it is not there.
    std::span<const int64_t> words;
    std::vector<std::string> texts; // the values that are text, by number

    int64_t at(size_t packet, size_t count, size_t value) const { return words[(packet * count + value) * 2 + 1]; }
    bool has(size_t packet, size_t count, size_t value) const { return words[(packet * count + value) * 2] != 0; }
};

// An expression for each event class of a plan.
struct Filter {
    std::shared_ptr<const Plan> plan;
    size_t packet_values = 0;
    std::vector<FilterNode> nodes;
    std::vector<int> events; // node by event class, -1: none of its events is wanted

    // Throws std::invalid_argument where the values do not fit so many packets.
    void check(const PacketValues &values, size_t packets) const;
    // Take out of order what is not wanted.
    void select(const Columns &columns, const PacketValues &packets, std::vector<Ordered> &order) const;
};

// Throws std::invalid_argument where words contradict themselves or the plan.
Filter read_filter(std::shared_ptr<const Plan> plan, std::span<const int64_t> words,
                   const std::vector<std::string> &strings);

} // namespace boxtrace::ctf
