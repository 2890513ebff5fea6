// SPDX-License-Identifier: Apache-2.0
#include "ctf_decode.hpp"

#include "ctf_gather.hpp"
#include "ctf_interpret.hpp"
#include "ctf_strings.hpp"

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

// How much of a record must be looked at to pass over it.
enum class Form : uint8_t { Other, Fixed, Text };

// What must be known of an event class to pass over its records.
struct Passed {
    Lane *lane = nullptr;
    uint32_t bytes = 0; // of the fixed part
    uint16_t tail = 0;  // bytes after a text
    uint8_t beyond = 0; // the fixed part begins at a multiple of one byte more than this
    Form form = Form::Other;
};

struct Taken {
    uint64_t id;
    bool has_id;
    uint32_t bits; // of the header
};

template <typename T> T loaded(const uint8_t *from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

// A large header, as HeaderLayout tells.
struct LargeHeader {
    static constexpr size_t beyond = 0;

    bool take(const uint8_t *base, uint64_t &clock, Taken &taken) const {
        const auto id = loaded<uint16_t>(base);
        if (id != UINT16_MAX) {
            taken = {id, true, 48};
            clock += loaded<uint32_t>(base + 2) - static_cast<uint32_t>(clock);
        } else {
            taken = {loaded<uint32_t>(base + 2), true, 112};
            clock = loaded<uint64_t>(base + 6);
        }
        return true;
    }
};

// Any other header that is laid out.
struct LaidHeader {
    explicit LaidHeader(const HeaderLayout &of) : layout(of), beyond(of.align / 8 - 1) {}
    const HeaderLayout &layout;
    const size_t beyond;

    static uint64_t value_at(const Place &place, const uint8_t *base) {
        const auto value = loaded<uint64_t>(base + place.byte);
        return (place.swap ? swapped(value) : value) >> place.shift & place.mask;
    }

    // False where no form of the header has such a selector.
    bool take(const uint8_t *base, uint64_t &clock, Taken &taken) const {
        const uint64_t selector = value_at(layout.selector, base);
        for (const HeaderOption &option : layout.options) {
            if (selector - option.low > option.span)
                continue;
            // A mask of 0, where there is no such number, changes nothing.
            taken = {option.has_id ? value_at(option.id, base) : UINT64_MAX, option.has_id, option.bits};
            clock += (value_at(option.clock, base) - clock) & option.clock.mask;
            return true;
        }
        return false;
    }
};

// Goes through packets record by record. What lies at constant places is only noted, and copied when there is enough.
class Walk {
public:
    Walk(const Plan &plan, Columns &columns, const TimeRange &range, std::vector<Ordered> *order)
        : plan_(plan), columns_(columns), begin_(static_cast<uint64_t>(range.begin)),
          span_(static_cast<uint64_t>(range.end) - begin_), none_(range.end < range.begin),
          in_ns_(plan.clocked && plan.clock.frequency == 1'000'000'000), order_(order), at_(plan, columns),
          lanes_(plan.events.size()), passed_by_(plan.small_ids) {
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

    // All records of the packet, or up to one that fails. Passed: bits of the packets before; total: to decode.
    std::optional<Failure> records(uint64_t passed, uint64_t total) {
        before_ = passed;
        total_ = total;
        const HeaderLayout &layout = plan_.header_layout;
        return layout.large ? walk(LargeHeader()) : walk(LaidHeader(layout));
    }

    // What all rows of the packet have in common.
    void fill(const PacketInput &packet) {
        for (Lane *lane : wanted_) {
            const size_t row = lane->row();
            if (lane->packet_first == row)
                continue;
            for (const auto &[column, value] : lane->event->packet_columns) {
                auto *to = reinterpret_cast<int64_t *>(columns_.numbers(column));
                std::fill(to + lane->packet_first, to + row, packet.values[value]);
            }
            lane->packet_first = row;
        }
    }

    void flush() {
        for (Lane *lane : wanted_)
            flush_rows(columns_, *lane);
    }

    uint64_t clock() const { return at_.clock; }

    uint64_t events = 0;

private:
    template <typename Header> std::optional<Failure> walk(const Header &header) {
        // Enough for one batch may come before the end, but not before the first record.
        const uint64_t left = total_ > before_ ? total_ - before_ : 1;
        const uint64_t stop = at_.end > at_.pos && left < at_.end - at_.pos ? at_.pos + left : at_.end;
        const bool all = order_ == nullptr && span_ == UINT64_MAX;
        while (at_.pos < stop) {
            if (plan_.header_layout.whole && at_.pos % 8 == 0)
                all ? pass<true>(header, stop) : pass<false>(header, stop);
            if (at_.pos >= stop)
                break;
            const uint64_t start = at_.pos, clock = at_.clock;
            if (!record(header)) {
                at_.clock = clock;
                return Failure{number_, start, clock, unknown_};
            }
            events++;
        }
        if (at_.pos < at_.end)
            return Failure{number_, at_.pos, at_.clock, {}, true};
        return {};
    }

    // Passes over records of which little must be looked at. Stops where one needs more, or fails.
    template <bool all, typename Header> void pass(const Header &header, uint64_t stop) {
        const uint8_t *const data = at_.data;
        const size_t end = at_.end >> 3, most = (plan_.header_layout.most + 7) >> 3;
        if (end < most)
            return;
        const size_t last = std::min<size_t>(end - most, (stop - 1) >> 3); // where a header may begin
        const size_t known = passed_by_.size();
        const Passed *const passed_by = passed_by_.data();
        const auto origin = static_cast<uint64_t>(plan_.clock.base);
        const bool in_ns = in_ns_;
        size_t pos = at_.pos >> 3;
        uint64_t clock = at_.clock, count = 0;
        for (;; count++) {
            const size_t start = (pos + header.beyond) & ~header.beyond;
            if (start > last)
                break;
            const uint8_t *base = data + start;
            __builtin_prefetch(base + kAhead);
            __builtin_prefetch(base + kAhead + kLine);
            Taken taken;
            uint64_t now = clock;
            if (!header.take(base, now, taken) || taken.id >= known)
                break;
            const Passed &passed = passed_by[taken.id];
            if (passed.form == Form::Other)
                break;
            const size_t from = (start + (taken.bits >> 3) + passed.beyond) & ~size_t{passed.beyond};
            size_t next = from + passed.bytes;
            const uint8_t *tail = nullptr;
            if (passed.form == Form::Text) {
                if (next > end)
                    break;
                next += before_nul(data + next, end - next) + 1;
                tail = data + next;
                next += passed.tail;
            }
            if (next > end)
                break;
            const int64_t time = in_ns ? static_cast<int64_t>(origin + now) : time_of(now);
            if (all)
                row_of(*passed.lane, data + from, tail, time, next * 8);
            else
                note(*passed.lane, data + from, tail, time, pos * 8, clock, next * 8);
            pos = next;
            clock = now;
        }
        at_.pos = pos * 8;
        at_.clock = clock;
        events += count;
    }

    // Any record, from where the last one ended. False where it fails.
    template <typename Header> bool record(const Header &header) {
        const uint64_t start = at_.pos, clock_before = at_.clock;
        if (!take_header(header)) {
            at_.has_event_id = false;
            at_.empties = kMaxEmptyElements;
            if (plan_.header >= 0 && !at_.run(plan_.programs[plan_.header], 0))
                return false;
        }
        return body(start, clock_before) && at_.pos != start;
    }

    // Read a header that is laid out at once; false where it is not, or that is too near to the packet's end.
    template <typename Header> bool take_header(const Header &header) {
        const HeaderLayout &layout = plan_.header_layout;
        const uint64_t start = (at_.pos + layout.align - 1) & -uint64_t{layout.align};
        Taken taken;
        if (layout.options.empty() || start + layout.most > at_.end ||
            !header.take(at_.data + (start >> 3), at_.clock, taken))
            return false;
        at_.event_id = taken.id;
        at_.has_event_id = taken.has_id;
        at_.pos = start + taken.bits;
        return true;
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
        // A text is copied at once here, and those before it come first.
        const bool has_text = event.has_text && event.space >= 0;
        if (has_text && lane->pending)
            flush_rows(columns_, *lane);
        if (lane->pending == lane->limit)
            go_on(*lane, at_.pos);
        const size_t row = lane->row();
        const Program &program = plan_.programs[event.program];
        const uint64_t clock = at_.clock;
        const uint8_t *base = at_.take_fixed(event.fixed);
        if (base == nullptr)
            return false;
        const uint8_t *tail = nullptr;
        if (event.has_tail) {
            if (!at_.step(program[event.fixed.rest], row) || (tail = at_.take_fixed(event.tail)) == nullptr)
                return false;
        } else if (!at_.run(program, row, event.fixed.rest)) {
            return false;
        }
        // Empty structures at the end may be aligned beyond it.
        if (at_.pos > at_.end)
            return false;
        if (event.space >= 0 && !none_)
            note(*lane, base, tail, time_of(clock), start, clock_before, at_.pos);
        if (has_text && lane->pending)
            flush_rows(columns_, *lane, false);
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
        if (small)
            passed_by_[at_.event_id] = passed(*lane);
        return lane;
    }

    Passed passed(Lane &lane) const {
        const EventPlan &event = *lane.event;
        const FixedPart &fixed = event.fixed;
        const uint32_t to = std::max<uint32_t>(fixed.align / 8, 1);
        const bool ends = fixed.rest == plan_.programs[event.program].size();
        const bool text = event.has_text && event.tail.size <= UINT16_MAX;
        const bool quick = fixed.taken.empty() && to <= UINT8_MAX && !(none_ && event.space >= 0);
        const Form form = !quick ? Form::Other : ends ? Form::Fixed : text ? Form::Text : Form::Other;
        return {&lane, static_cast<uint32_t>(fixed.size), static_cast<uint16_t>(event.tail.size),
                static_cast<uint8_t>(to - 1), form};
    }

    Lane *new_lane(size_t index) {
        const EventPlan &event = plan_.events[index];
        Lane *lane = new (storage_.data() + index * sizeof(Lane)) Lane;
        lane->event = &event;
        lane->index = static_cast<uint32_t>(index);
        lane->pending = lane->limit = 0;
        lane->room = lane->copied = lane->packet_first = 0;
        lane->times = nowhere_;
        if (event.space >= 0)
            wanted_.push_back(lane);
        return lane;
    }

    // Copy pending rows, and make room for the next ones. at: bit of the packet that is reached.
    [[gnu::noinline]] void go_on(Lane &lane, uint64_t at) {
        const EventPlan &event = *lane.event;
        if (event.space < 0) {
            lane.pending = 0;
            lane.limit = Lane::kMost;
            return;
        }
        if (lane.pending == Lane::kMost)
            flush_rows(columns_, lane);
        const size_t row = lane.row();
        if (row >= lane.room) {
            columns_.ensure(event.space, rows_expected(row, before_ + at, total_));
            lane.room = columns_.room(event.space);
        }
        lane.limit = static_cast<uint32_t>(std::min(lane.room - lane.copied, Lane::kMost));
        if (event.time_column >= 0)
            lane.times = reinterpret_cast<int64_t *>(columns_.numbers(event.time_column)) + lane.copied;
    }

    int64_t time_of(uint64_t clock) const { return plan_.clocked ? plan_.clock.to_ns(clock) : INT64_MIN; }

    // Give a record a row, and return it. at: bit of the packet that is reached.
    size_t row_of(Lane &lane, const uint8_t *base, const uint8_t *tail, int64_t time, uint64_t at) {
        if (lane.pending == lane.limit)
            go_on(lane, at);
        const uint32_t pending = lane.pending;
        lane.records[pending] = base;
        if (tail != nullptr)
            lane.tails[pending] = tail;
        lane.times[pending] = time;
        lane.pending = pending + 1;
        return lane.copied + pending;
    }

    // The same if the record is of the range of times.
    void note(Lane &lane, const uint8_t *base, const uint8_t *tail, int64_t time, uint64_t start, uint64_t clock_before,
              uint64_t at) {
        if (static_cast<uint64_t>(time) - begin_ > span_)
            return;
        const size_t row = row_of(lane, base, tail, time, at);
        if (order_ != nullptr && lane.event->space >= 0)
            order_->push_back({time, lane.index, number_, row, start, clock_before});
    }

    const Plan &plan_;
    Columns &columns_;
    const uint64_t begin_, span_; // of times
    const bool none_;             // the range is empty
    const bool in_ns_;            // the clock's cycles are ns
    std::vector<Ordered> *order_;
    Interpreter at_;
    uint32_t number_ = 0;
    std::optional<uint64_t> unknown_; // id without event class
    uint64_t before_ = 0, total_ = 0;
    int64_t nowhere_[Lane::kMost];  // gets times that are not wanted
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
    uint64_t total = 0, passed = 0; // bits to decode, and of the packets that were decoded
    for (const PacketInput &packet : packets)
        total += packet.end - std::min(packet.body, packet.end);
    if (total > kMostBatch)
        total = kFullBatch;
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
