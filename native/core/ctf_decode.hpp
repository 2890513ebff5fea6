// Decodes packets into columns, as a plan says. Knows no Python, and trusts nothing that a packet holds.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_columns.hpp"

#include <optional>

namespace boxtrace::ctf {

// Clock value of a packet that does not tell: that of the end of the packet before.
constexpr uint64_t kClockGoesOn = UINT64_MAX;

struct PacketInput {
    const uint8_t *data;   // of the packet
    uint64_t end;          // bits of content
    uint64_t body;         // bit where the first event record begins
    uint64_t clock;        // value of the clock there
    const int64_t *values; // values that packet columns and slots take, in the order of the plan
};

struct TimeRange {
    int64_t begin = INT64_MIN;
    int64_t end = INT64_MAX;
};

// A row in the order of its stream.
struct Ordered {
    int64_t time; // ns, the least number in a stream without clock
    uint32_t event;
    uint32_t packet;
    uint64_t row;
    uint64_t position; // bit of the packet where the record begins
    uint64_t clock;    // value of the clock there
};

// Where decoding stopped before the end: the packet's number among those given.
struct Failure {
    size_t packet;
    uint64_t position;                // bit of the packet where the record begins that was not decoded
    uint64_t clock;                   // value of the clock there
    std::optional<uint64_t> event_id; // the record's, if the plan has no event class of that id
    bool full = false;                // nothing is wrong: enough was decoded for one batch
};

// Bits of records after which a batch is full: its columns still fit in a cache. What is left of the packets is still
// decoded if it is less than half as much: many small tables cost more than a few that are larger.
constexpr uint64_t kFullBatch = uint64_t{2} << 23;
constexpr uint64_t kMostBatch = kFullBatch / 2 * 3;

struct Decoded {
    std::optional<Failure> failure;
    uint64_t events = 0; // records seen, wanted or not
    uint64_t clock = 0;  // value at the end
};

// order: if not null, gets every row. packet_slots: slots that take the packet's values after those of the packet
// columns, in order.
Decoded decode_packets(const Plan &plan, Columns &columns, std::span<const PacketInput> packets,
                       const std::vector<int> &packet_slots, size_t packet_columns, const TimeRange &range,
                       std::vector<Ordered> *order = nullptr);

} // namespace boxtrace::ctf
