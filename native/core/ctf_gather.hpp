// Rows whose constant parts are copied to their columns later, many at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_columns.hpp"

namespace boxtrace::ctf {

// The rows of one event class while packets are walked through. Records stay where they are until they are copied.
struct alignas(64) Lane {
    // So many that a column's loop pays off, and so few that they are still in the cache.
    static constexpr size_t kMost = 64;

    const EventPlan *event;
    uint32_t index;                // among the plan's event classes
    size_t row;                    // the next one
    size_t stop;                   // the first row that may not be noted without a look at room and pending rows
    size_t room;                   // rows for which there is room
    size_t copied;                 // rows before this one are in the columns, a multiple of kMost
    size_t packet_first;           // first row of the packet
    int64_t *times;                // ns, the column if there is one
    const uint8_t *records[kMost]; // of rows from copied on: aligned starts of their fixed parts
    const uint8_t *tails[kMost];   // and of their tails, if they have any
};

// The first lines of lanes, which each record touches, lie in different sets of the cache.
static_assert(sizeof(Lane) / 64 % 2 == 1);

// Copy what is pending of an event class, and forget it.
void flush_rows(Columns &columns, Lane &lane);

} // namespace boxtrace::ctf
