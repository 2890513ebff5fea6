// Rows whose constant parts are copied to their columns later, many at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_columns.hpp"

namespace boxtrace::ctf {

// The rows of one event class while packets are walked through. Records stay where they are until they are copied.
struct alignas(64) Lane {
    // So many that a column's loop pays off, and so few that they are still in the cache: a multiple of 8.
    static constexpr size_t kMost = 192;

    const EventPlan *event;
    int64_t *times;                // of rows from copied on, ns
    size_t copied;                 // rows before this one are in the columns
    uint32_t pending;              // rows that are noted and not copied
    uint32_t limit;                // so many may be without a look at the room
    uint32_t index;                // among the plan's event classes
    size_t room;                   // rows for which there is room
    size_t packet_first;           // first row of the packet
    const uint8_t *records[kMost]; // of rows from copied on: aligned starts of their fixed parts
    const uint8_t *tails[kMost];   // and of their tails, if they have any; a text ends there

    size_t row() const { return copied + pending; } // the next one
};

// The first lines of lanes, which each record touches, lie in different sets of the cache.
static_assert(sizeof(Lane) / 64 % 2 == 1);

// Copy what is pending of an event class, and forget it. texts: also the texts before the tails.
void flush_rows(Columns &columns, Lane &lane, bool texts = true);

} // namespace boxtrace::ctf
