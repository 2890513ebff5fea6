// SPDX-License-Identifier: Apache-2.0
#include "ctf_decode.hpp"

#include "ctf_gather.hpp"
#include "ctf_interpret.hpp"

#include <algorithm>

namespace boxtrace::ctf {
namespace {

// Room to make for rows when there is none left: for as many as the packets will give if they go on like this, so that
// columns are rarely copied.
size_t rows_expected(size_t rows, uint64_t passed, uint64_t total) {
    constexpr size_t kFew = 128; // so many are no sample
    if (rows < kFew || passed == 0)
        return rows + 1;
    const double expected = static_cast<double>(rows) * static_cast<double>(total) / static_cast<double>(passed);
    return std::max(rows + 1, static_cast<size_t>(expected * 1.02));
}

constexpr size_t kAhead = 2048; // bytes; a prefetch beyond the end does no harm
constexpr size_t kLine = 64;

// What must be known of an event class to pass over its records, if nothing but their fixed part need be looked at.
struct Passed {
    Lane *lane = nullptr;
    Lane *noted = nullptr; // the same, null where rows are not wanted
    uint32_t bits = 0;     // of the fixed part
    uint32_t align = 0;    // of its start, in bits; 0 where more must be looked at
};

// Goes through packets record by record. What lies at constant places is only noted, and copied when there is enough.
class Walk {
public:
    Walk(const Plan &plan, Columns &columns, const TimeRange &range, std::vector<Ordered> *order)
        : plan_(plan), columns_(columns), begin_(static_cast<uint64_t>(range.begin)),
          span_(static_cast<uint64_t>(range.end) - begin_), none_(range.end < range.begin), order_(order),
          at_(plan, columns), lanes_(plan.events.size()), passed_by_(plan.small_ids) {
        storage_.reserve(plan.events.size() * sizeof(Lane));
    }

    void begin(const PacketInput &packet, size_t number, const std::vector<int> &slots, size_t packet_columns) {
        at_.data = packet.data;
        at_.pos = packet.body;
        at_.end = packet.end;
        if (packet.clock != kClockGoesOn)
            at_.clock = packet.clock;
        for (size_t i = 0; i < slots.size(); i++)
            at_.set_slot(slots[i], packet.values[packet_columns + i]);
        number_ = static_cast<uint32_t>(number);
    }

    // All records of the packet, or up to one that fails. Passed: bits of the packets before.
    std::optional<Failure> records(uint64_t passed, uint64_t total) {
        before_ = passed;
        total_ = total;
        const HeaderLayout &layout = plan_.header_layout;
        return layout.options.empty() ? walk<Header::Any>()
               : layout.swaps         ? walk<Header::Swapped>()
                                      : walk<Header::Plain>();
    }

    // What all rows of the packet have in common.
    void fill(const PacketInput &packet) {
        for (Lane *lane : wanted_) {
            if (lane->packet_first == lane->row)
                continue;
            for (const auto &[column, value] : lane->event->packet_columns) {
                auto *to = reinterpret_cast<int64_t *>(columns_.numbers(column));
                std::fill(to + lane->packet_first, to + lane->row, packet.values[value]);
            }
            lane->packet_first = lane->row;
        }
    }

    void flush() {
        for (Lane *lane : wanted_)
            flush_rows(columns_, *lane);
    }

    uint64_t clock() const { return at_.clock; }

    uint64_t events = 0;

private:
    // How headers are read: by their program, or at once, with numbers in the other byte order or without.
    enum class Header { Any, Swapped, Plain };

    struct Taken {
        uint64_t id;
        bool has_id;
    };

    template <Header header> std::optional<Failure> walk() {
        const HeaderLayout &layout = plan_.header_layout;
        const uint8_t *const data = at_.data;
        const uint64_t end = at_.end;
        const size_t known = passed_by_.size();
        const bool in_ns = plan_.clocked && plan_.clock.frequency == 1'000'000'000;
        const auto origin = static_cast<uint64_t>(plan_.clock.base);
        const Passed *const passed_by = passed_by_.data();
        // Enough for one batch may come before the end, but not before the first record.
        const uint64_t left = kFullBatch > before_ ? kFullBatch - before_ : 1;
        const uint64_t stop = end > at_.pos && left < end - at_.pos ? at_.pos + left : end;
        uint64_t pos = at_.pos, clock = at_.clock, count = 0;
        std::optional<Failure> failed;
        while (pos < stop) {
            const uint64_t start = pos, clock_before = clock;
            Taken taken;
            if (header != Header::Any && take_header<header>(layout, data, end, pos, clock, taken)) {
                if (taken.id < known) {
                    const Passed &passed = passed_by[taken.id];
                    if (const uint64_t align = passed.align) {
                        const uint64_t from = (pos + align - 1) & -align;
                        pos = from + passed.bits;
                        if (pos > end) {
                            failed = Failure{number_, start, clock_before, {}};
                            break;
                        }
                        if (passed.noted != nullptr)
                            note(*passed.noted, data + (from >> 3),
                                 in_ns ? static_cast<int64_t>(origin + clock) : time_of(clock), start, clock_before,
                                 pos);
                        count++;
                        continue;
                    }
                }
                at_.event_id = taken.id;
                at_.has_event_id = taken.has_id;
            } else {
                at_.pos = start;
                at_.clock = clock_before;
                at_.has_event_id = false;
                at_.empties = kMaxEmptyElements;
                if (plan_.header >= 0 && !at_.run(plan_.programs[plan_.header], 0)) {
                    failed = Failure{number_, start, clock_before, {}};
                    break;
                }
                pos = at_.pos;
                clock = at_.clock;
            }
            at_.pos = pos;
            at_.clock = clock;
            if (!body(start, clock_before) || at_.pos == start) {
                failed = Failure{number_, start, clock_before, unknown_};
                break;
            }
            count++;
            pos = at_.pos;
            clock = at_.clock;
        }
        at_.clock = clock;
        events += count;
        if (!failed && pos < end)
            failed = Failure{number_, pos, clock, {}, true};
        return failed;
    }

    template <Header header> static uint64_t value_at(const Place &place, const uint8_t *base) {
        uint64_t value;
        std::memcpy(&value, base + place.byte, 8);
        if (header == Header::Swapped && place.swap)
            value = swapped(value);
        return value >> place.shift & place.mask;
    }

    // Read a header that is laid out so, at once; false where that is too near to the packet's end.
    template <Header header>
    static bool take_header(const HeaderLayout &layout, const uint8_t *data, uint64_t end, uint64_t &pos,
                            uint64_t &clock, Taken &taken) {
        const uint64_t start = (pos + layout.align - 1) & -uint64_t{layout.align};
        if (start + layout.most > end)
            return false;
        const uint8_t *base = data + (start >> 3);
        __builtin_prefetch(base + kAhead);
        __builtin_prefetch(base + kAhead + kLine);
        const uint64_t selector = value_at<header>(layout.selector, base);
        for (const HeaderOption &option : layout.options) {
            if (selector - option.low > option.span)
                continue;
            // A mask of 0, where there is no such number, changes nothing.
            taken = {option.has_id ? value_at<header>(option.id, base) : UINT64_MAX, option.has_id};
            const uint64_t mask = option.clock.mask;
            const uint64_t value = value_at<header>(option.clock, base), low = clock & mask;
            clock = clock - low + value + (value < low ? mask + 1 : 0);
            pos = start + option.bits;
            return true;
        }
        return false;
    }

    // What follows the header.
    bool body(uint64_t start, uint64_t clock_before) {
        at_.empties = kMaxEmptyElements;
        Lane *lane = lane_of_event();
        if (lane == nullptr) {
            if (at_.has_event_id)
                unknown_ = at_.event_id;
            return false;
        }
        const EventPlan &event = *lane->event;
        // No room is made for what cannot be there.
        if (at_.pos > at_.end || event.least > at_.end - at_.pos)
            return false;
        if (lane->row >= lane->stop)
            go_on(*lane, at_.pos);
        const Program &program = plan_.programs[event.program];
        const uint64_t clock = at_.clock;
        const uint8_t *base = at_.take_fixed(event.fixed);
        if (base == nullptr)
            return false;
        if (event.has_tail) {
            const uint8_t *tail = nullptr;
            if (!at_.step(program[event.fixed.rest], lane->row) || (tail = at_.take_fixed(event.tail)) == nullptr)
                return false;
            if (event.space >= 0)
                lane->tails[lane->row - lane->copied] = tail;
        } else if (!at_.run(program, lane->row, event.fixed.rest)) {
            return false;
        }
        // Empty structures at the end may be aligned beyond it.
        if (at_.pos > at_.end)
            return false;
        if (event.space >= 0 && !none_)
            note(*lane, base, time_of(clock), start, clock_before, at_.pos);
        return true;
    }

    Lane *lane_of_event() {
        const bool small = at_.has_event_id && at_.event_id < passed_by_.size();
        if (small && passed_by_[at_.event_id].lane != nullptr)
            return passed_by_[at_.event_id].lane;
        int index = plan_.only_event;
        if (at_.has_event_id) {
            const auto found = plan_.event_index.find(at_.event_id);
            index = found == plan_.event_index.end() ? -1 : found->second;
        }
        if (index < 0)
            return nullptr;
        Lane *&lane = lanes_[static_cast<size_t>(index)];
        if (lane == nullptr)
            lane = new_lane(static_cast<size_t>(index));
        const FixedPart &fixed = lane->event->fixed;
        const bool fixed_only = fixed.taken.empty() && fixed.rest == plan_.programs[lane->event->program].size();
        if (small)
            passed_by_[at_.event_id] = {lane, lane->event->space < 0 || none_ ? nullptr : lane,
                                        static_cast<uint32_t>(fixed.size * 8), fixed_only ? fixed.align : 0};
        return lane;
    }

    Lane *new_lane(size_t index) {
        const EventPlan &event = plan_.events[index];
        Lane *lane = new (storage_.data() + index * sizeof(Lane)) Lane;
        lane->event = &event;
        lane->index = static_cast<uint32_t>(index);
        lane->row = lane->room = lane->copied = lane->packet_first = 0;
        lane->stop = event.space < 0 ? SIZE_MAX : 0;
        lane->times = nullptr;
        if (event.space >= 0)
            wanted_.push_back(lane);
        return lane;
    }

    // Copy pending rows, and make room for the next ones. at: bit of the packet that is reached.
    void go_on(Lane &lane, uint64_t at) {
        if (lane.row - lane.copied == Lane::kMost)
            flush_rows(columns_, lane);
        if (lane.row >= lane.room) {
            columns_.ensure(lane.event->space, rows_expected(lane.row, before_ + at, total_));
            lane.room = columns_.room(lane.event->space);
            if (lane.event->time_column >= 0)
                lane.times = reinterpret_cast<int64_t *>(columns_.numbers(lane.event->time_column));
        }
        lane.stop = std::min(lane.room, lane.copied + Lane::kMost);
    }

    int64_t time_of(uint64_t clock) const { return plan_.clocked ? plan_.clock.to_ns(clock) : INT64_MIN; }

    // Give a record a row, if it is of the range of times. at: bit of the packet that is reached.
    void note(Lane &lane, const uint8_t *base, int64_t time, uint64_t start, uint64_t clock_before, uint64_t at) {
        if (static_cast<uint64_t>(time) - begin_ > span_)
            return;
        if (lane.row >= lane.stop)
            go_on(lane, at);
        const size_t row = lane.row++;
        lane.records[row - lane.copied] = base;
        if (lane.times != nullptr)
            lane.times[row] = time;
        if (order_ != nullptr)
            order_->push_back({time, lane.index, number_, row, start, clock_before});
    }

    const Plan &plan_;
    Columns &columns_;
    const uint64_t begin_, span_; // of times
    const bool none_;             // the range is empty
    std::vector<Ordered> *order_;
    Interpreter at_;
    uint32_t number_ = 0;
    std::optional<uint64_t> unknown_; // id without event class
    uint64_t before_ = 0, total_ = 0;
    Bytes storage_;                 // of lanes, from blocks that are kept for the next batch
    std::vector<Lane *> lanes_;     // by event class
    std::vector<Passed> passed_by_; // by small ids
    std::vector<Lane *> wanted_;
};

} // namespace

Decoded decode_packets(const Plan &plan, Columns &columns, std::span<const PacketInput> packets,
                       const std::vector<int> &packet_slots, size_t packet_columns, const TimeRange &range,
                       std::vector<Ordered> *order) {
    // Records without time are of every range.
    Walk walk(plan, columns, plan.clocked ? range : TimeRange{}, order);
    Decoded result;
    uint64_t total = 0, passed = 0; // bits of all packets, and of those that were decoded
    for (const PacketInput &packet : packets)
        total = std::min(total + packet.end - std::min(packet.body, packet.end), kFullBatch);
    for (size_t number = 0; number < packets.size() && !result.failure; number++) {
        const PacketInput &packet = packets[number];
        walk.begin(packet, number, packet_slots, packet_columns);
        result.failure = walk.records(passed, total);
        walk.fill(packet);
        passed += packet.end - std::min(packet.body, packet.end);
    }
    walk.flush();
    result.events = walk.events;
    result.clock = walk.clock();
    return result;
}

} // namespace boxtrace::ctf
