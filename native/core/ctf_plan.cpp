// SPDX-License-Identifier: Apache-2.0
#include "ctf_plan.hpp"

#include <algorithm>
#include <stdexcept>

namespace boxtrace::ctf {
namespace {

class Reader {
public:
    explicit Reader(std::span<const int64_t> words) : words_(words) {}

    int64_t next() {
        if (at_ >= words_.size())
            throw std::invalid_argument("the plan ends too early");
        return words_[at_++];
    }
    int index() { return static_cast<int>(next()); }
    // A count of things that follow, each of one word at least.
    size_t count() {
        const int64_t value = next();
        if (value < 0 || static_cast<uint64_t>(value) > words_.size())
            throw std::invalid_argument("a count is wrong");
        return static_cast<size_t>(value);
    }
    bool done() const { return at_ == words_.size(); }

private:
    std::span<const int64_t> words_;
    size_t at_ = 0;
};

std::vector<std::pair<int64_t, int64_t>> read_ranges(Reader &reader) {
    std::vector<std::pair<int64_t, int64_t>> ranges(reader.count());
    for (auto &[low, high] : ranges) {
        low = reader.next();
        high = reader.next();
    }
    return ranges;
}

Leaf read_leaf(Reader &reader) {
    Leaf leaf{};
    leaf.offset = static_cast<uint32_t>(reader.next());
    leaf.width = static_cast<uint8_t>(reader.next());
    leaf.swap = reader.next() != 0;
    leaf.sign = reader.next() != 0;
    leaf.role = static_cast<Role>(reader.next());
    leaf.column = reader.index();
    leaf.slot = reader.index();
    return leaf;
}

Op read_op(Reader &reader) {
    Op op{};
    op.code = static_cast<OpCode>(reader.next());
    op.align = static_cast<uint32_t>(reader.next());
    op.size = static_cast<uint32_t>(reader.next());
    op.flags = reader.next();
    op.role = static_cast<Role>(reader.next());
    op.column = reader.index();
    op.slot = reader.index();
    op.length = reader.next();
    op.least = static_cast<uint64_t>(reader.next());
    op.program = reader.index();
    op.by_ranges = reader.next() != 0;
    op.encoding = static_cast<Encoding>(reader.next());
    const size_t leaves = reader.count();
    for (size_t i = 0; i < leaves; i++)
        op.leaves.push_back(read_leaf(reader));
    const size_t choices = reader.count();
    for (size_t i = 0; i < choices; i++) {
        const int program = reader.index();
        const int column = reader.index();
        op.choices.push_back({program, column, read_ranges(reader)});
    }
    return op;
}

void check(bool condition, const char *what) {
    if (!condition)
        throw std::invalid_argument(what);
}

void check_op(const Plan &plan, const Op &op, int self) {
    const auto column = [&](int index) { return index >= -1 && index < static_cast<int>(plan.columns.size()); };
    const auto slot = [&](int index) { return index >= -1 && index < plan.slots; };
    // A program calls only programs before it: no cycles.
    const auto program = [&](int index) { return index >= 0 && index < self; };
    check(op.align != 0 && (op.align & (op.align - 1)) == 0, "an alignment is not a power of two");
    check(column(op.column) && slot(op.slot), "a column or slot is not there");
    const bool wide = op.flags & Float && op.size >= 128 && op.size <= kMaxFloat && op.size % 32 == 0;
    check(op.code != OpCode::Bits || (op.size >= 1 && (op.size <= 64 || wide)), "a size is wrong");
    check(op.length >= 0, "a length is negative");
    if (op.code == OpCode::Array || op.code == OpCode::Option)
        check(program(op.program), "a program is not there");
    for (const auto &leaf : op.leaves) {
        check(column(leaf.column) && slot(leaf.slot), "a leaf's column or slot is not there");
        check(leaf.width == 1 || leaf.width == 2 || leaf.width == 4 || leaf.width == 8, "a leaf's width is wrong");
        check(uint64_t{leaf.offset} + leaf.width <= op.size, "a leaf lies outside its run");
    }
    for (const auto &choice : op.choices)
        check(program(choice.program) && column(choice.column), "an option's program or column is not there");
}

// Take the leaves that are only copied out of the others.
void split_copies(const Plan &plan, Op &op) {
    std::vector<Leaf> rest;
    for (const Leaf &leaf : op.leaves) {
        const bool plain =
            leaf.column >= 0 && leaf.slot < 0 && leaf.role == Role::None && !plan.columns[leaf.column].nullable;
        if (!plain || (leaf.swap && leaf.width > 1)) {
            rest.push_back(leaf);
            continue;
        }
        auto &copies = leaf.width == 1   ? op.copies1
                       : leaf.width == 2 ? op.copies2
                       : leaf.width == 4 ? op.copies4
                                         : op.copies8;
        copies.push_back({leaf.offset, leaf.column});
    }
    op.leaves = std::move(rest);
}

constexpr uint64_t kSmallIds = 1 << 16;

uint64_t product(uint64_t a, uint64_t b) {
    uint64_t result;
    return __builtin_mul_overflow(a, b, &result) ? kWidest : std::min(result, kWidest);
}

// Bits that an operation takes at least, wherever it begins.
uint64_t least_bits(const Op &op) {
    const auto length = static_cast<uint64_t>(op.slot >= 0 ? 0 : op.length);
    switch (op.code) {
    case OpCode::Run:
        return uint64_t{op.size} * 8;
    case OpCode::Bits:
        return op.size;
    case OpCode::Text:
    case OpCode::Blob:
        return product(length, 8);
    case OpCode::Array:
        return product(length, op.least);
    default:
        return 0;
    }
}

// Add the buffers of a column to its space.
void plan_buffers(SpacePlan &space, const Column &column, int number) {
    const auto add = [&](size_t each, BufferKind kind, bool zeroed) {
        space.buffers.push_back({number, static_cast<uint32_t>(each), kind, zeroed});
        space.row_size += each;
        space.widest += each;
    };
    switch (column.kind) {
    case ColumnKind::Integer:
    case ColumnKind::Unsigned:
    case ColumnKind::Float:
        add(static_cast<size_t>(column.width), BufferKind::Values, column.nullable);
        break;
    case ColumnKind::Boolean:
        add(1, BufferKind::Values, true);
        break;
    case ColumnKind::Text:
    case ColumnKind::Bytes:
        space.texts.push_back(number);
        [[fallthrough]];
    case ColumnKind::List:
        add(sizeof(int64_t), BufferKind::Offsets, false);
        break;
    case ColumnKind::FixedList:
        space.fixed_lists.push_back(number);
        break;
    case ColumnKind::Struct:
        break;
    }
    if (column.nullable)
        add(1, BufferKind::Valid, true);
}

bool is_copied_text(const Plan &plan, const Op &op, int space) {
    if (op.code != OpCode::String || op.encoding != Encoding::Utf8)
        return false;
    return op.column < 0 || (plan.columns[op.column].space == space && !plan.columns[op.column].nullable);
}

// Find out what the decoder would otherwise have to at each record: of what comes after these numbers.
void prepare(Plan &plan, size_t columns, size_t programs, size_t events) {
    for (size_t program = programs; program < plan.programs.size(); program++)
        for (Op &op : plan.programs[program])
            if (op.code == OpCode::Array && op.column >= 0)
                op.strided = strided(plan, op.program);
    for (const auto &[id, index] : plan.event_index)
        plan.small_ids = std::max<size_t>(plan.small_ids, std::min<uint64_t>(id, kSmallIds - 1) + 1);
    plan.space_plans.resize(static_cast<size_t>(plan.spaces));
    for (size_t number = columns; number < plan.columns.size(); number++) {
        const Column &column = plan.columns[number];
        SpacePlan &space = plan.space_plans[static_cast<size_t>(column.space)];
        plan_buffers(space, column, static_cast<int>(number));
        if (column.kind == ColumnKind::FixedList)
            space.widest += product(static_cast<uint64_t>(column.width),
                                    plan.space_plans[static_cast<size_t>(column.child_space)].widest);
        space.widest = std::min(space.widest, kWidest);
    }
    for (size_t number = events; number < plan.events.size(); number++) {
        EventPlan &event = plan.events[number];
        const size_t size = plan.programs[event.program].size();
        for (const Op &op : plan.programs[event.program])
            event.least = std::min(event.least + least_bits(op), kWidest);
        event.fixed = fixed_part(plan, event.program, event.space);
        if (event.fixed.rest < size) {
            event.tail = fixed_part(plan, event.program, event.space, event.fixed.rest + 1);
            event.has_tail = event.tail.rest == size && event.tail.taken.empty();
            const Op &op = plan.programs[event.program][event.fixed.rest];
            event.has_text = event.has_tail && event.tail.align <= 8 && event.fixed.taken.empty() &&
                             is_copied_text(plan, op, event.space);
            event.text_column = op.column;
        }
    }
    for (size_t number = plan.table_spaces.size(); number < plan.tables.size(); number++)
        plan.table_spaces.push_back(plan.columns[plan.tables[number]].space);
    plan.header_layout = header_layout(plan);
}

} // namespace

uint64_t Clock::duration(uint64_t cycles) const {
    const double exact = 1e9 * static_cast<double>(cycles) / static_cast<double>(frequency);
    return exact < 0x1p63 ? static_cast<uint64_t>(exact) : INT64_MAX;
}

Plan read_plan(std::span<const int64_t> words, const std::vector<std::string> &names, Plan before) {
    Reader reader(words);
    Plan plan = std::move(before);
    const size_t old_columns = plan.columns.size(), old_programs = plan.programs.size();
    const size_t old_events = plan.events.size();
    const int old_spaces = plan.spaces, old_slots = plan.slots;
    plan.spaces = reader.index();
    plan.slots = reader.index();
    plan.header = reader.index();
    plan.only_event = reader.index();
    plan.clocked = reader.next() != 0;
    plan.clock.base = reader.next();
    plan.clock.frequency = static_cast<uint64_t>(reader.next());
    check(plan.spaces >= old_spaces && plan.slots >= old_slots && plan.clock.frequency != 0,
          "the plan's head is wrong");
    const size_t columns = old_columns + reader.count();
    for (size_t i = old_columns; i < columns; i++) {
        Column column{};
        column.kind = static_cast<ColumnKind>(reader.next());
        column.width = reader.index();
        column.nullable = reader.next() != 0;
        column.space = reader.index();
        column.child_space = reader.index();
        column.name = names.at(static_cast<size_t>(reader.next()));
        const size_t children = reader.count();
        for (size_t child = 0; child < children; child++) {
            column.children.push_back(reader.index());
            check(column.children.back() >= 0 && column.children.back() < static_cast<int>(i), "a child comes later");
        }
        check(column.space >= 0 && column.space < plan.spaces && column.child_space < plan.spaces, "no such rows");
        plan.columns.push_back(std::move(column));
    }
    const size_t programs = old_programs + reader.count();
    for (size_t i = old_programs; i < programs; i++) {
        Program program;
        const size_t ops = reader.count();
        for (size_t op = 0; op < ops; op++) {
            program.push_back(read_op(reader));
            check_op(plan, program.back(), static_cast<int>(i));
            split_copies(plan, program.back());
        }
        plan.programs.push_back(std::move(program));
    }
    const size_t events = old_events + reader.count();
    for (size_t i = old_events; i < events; i++) {
        EventPlan event;
        plan.event_index.emplace(static_cast<uint64_t>(reader.next()), static_cast<int>(i));
        event.program = reader.index();
        event.space = reader.index();
        event.time_column = reader.index();
        check(event.program >= 0 && event.program < static_cast<int>(programs), "an event's program is not there");
        const size_t values = reader.count();
        for (size_t value = 0; value < values; value++) {
            const int column = reader.index();
            event.packet_columns.emplace_back(column, reader.index());
        }
        plan.events.push_back(std::move(event));
    }
    const size_t tables = reader.count();
    for (size_t i = 0; i < tables; i++)
        plan.tables.push_back(reader.index());
    check(reader.done(), "the plan is too long");
    prepare(plan, old_columns, old_programs, old_events);
    return plan;
}

} // namespace boxtrace::ctf
