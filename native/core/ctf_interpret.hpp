// Carries out programs of a plan, one operation after the other: for what does not lie at constant places.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_columns.hpp"
#include "ctf_numbers.hpp"

#include <array>

namespace boxtrace::ctf {

constexpr uint64_t kMaxEmptyElements = 1 << 16; // as in boxtrace/ctf/cursor.py

class Interpreter {
public:
    Interpreter(const Plan &plan, Columns &columns) : plan_(plan), columns_(columns), slots_(plan.slots) {}

    const uint8_t *data = nullptr;
    uint64_t pos = 0;
    uint64_t end = 0;
    uint64_t clock = 0;
    uint64_t event_id = 0;
    bool has_event_id = false;
    uint64_t empties = 0; // how many more elements a record may have that may take no room

    void set_slot(int slot, int64_t value) { slots_[slot] = value; }

    // False where the packet does not hold what the program asks for.
    [[nodiscard]] bool run(const Program &program, size_t row, size_t from = 0) {
        for (size_t at = from; at < program.size(); at++)
            if (!step(program[at], row))
                return false;
        return true;
    }

    // The part of a record that lies at constant places: where it begins, null where the packet ends before it does.
    const uint8_t *take_fixed(const FixedPart &fixed) {
        align(fixed.align);
        if (fixed.size && !has(fixed.size * 8))
            return nullptr;
        const uint8_t *base = data + (pos >> 3);
        for (const Leaf &leaf : fixed.taken)
            take_leaf(leaf, base);
        pos += fixed.size * 8;
        return base;
    }

    bool step(const Op &op, size_t row) {
        switch (op.code) {
        case OpCode::Run:
            return run_leaves(op, row);
        case OpCode::Bits:
            return bits(op, row);
        case OpCode::Leb128:
            return leb128(op, row);
        case OpCode::String:
            return string(op, row);
        case OpCode::Text:
            return text(op, row);
        case OpCode::Blob:
            return blob(op, row);
        case OpCode::Align:
            align(op.align);
            return true;
        case OpCode::Array:
            return array(op, row);
        case OpCode::Variant:
            return variant(op, row);
        case OpCode::Option:
            return option(op, row);
        }
        return false;
    }

private:
    void take_leaf(const Leaf &leaf, const uint8_t *base) {
        const uint64_t value = load(base + leaf.offset, leaf.width, leaf.swap);
        if (leaf.slot >= 0)
            slots_[leaf.slot] = static_cast<int64_t>(leaf.sign ? extended(value, leaf.width * 8u) : value);
        take(leaf.role, value, leaf.width * 8u);
    }

    void align(uint64_t to) { pos = (pos + to - 1) & -to; }
    bool has(uint64_t bits) const { return pos <= end && bits <= end - pos; }

    void take(Role role, uint64_t value, unsigned size) {
        if (role == Role::EventId) {
            event_id = value;
            has_event_id = true;
        } else if (role == Role::Clock) {
            if (size >= 64) {
                clock = value;
            } else {
                const uint64_t span = uint64_t{1} << size;
                const uint64_t low = clock & (span - 1);
                clock = clock - low + value + (value < low ? span : 0);
            }
        }
    }

    bool run_leaves(const Op &op, size_t row) {
        align(op.align);
        if (!has(uint64_t{op.size} * 8))
            return false;
        const uint8_t *base = data + (pos >> 3);
        for (const Copy &copy : op.copies4)
            std::memcpy(columns_.numbers(copy.column) + row * 4, base + copy.offset, 4);
        for (const Copy &copy : op.copies8)
            std::memcpy(columns_.numbers(copy.column) + row * 8, base + copy.offset, 8);
        for (const Copy &copy : op.copies2)
            std::memcpy(columns_.numbers(copy.column) + row * 2, base + copy.offset, 2);
        for (const Copy &copy : op.copies1)
            columns_.numbers(copy.column)[row] = base[copy.offset];
        for (const Leaf &leaf : op.leaves) {
            const uint8_t *at = base + leaf.offset;
            if (leaf.column >= 0) {
                uint8_t *to = columns_.numbers(leaf.column);
                switch (leaf.width) {
                case 1:
                    to[row] = *at;
                    break;
                case 2:
                    store<uint16_t>(to, row, at, leaf.swap);
                    break;
                case 4:
                    store<uint32_t>(to, row, at, leaf.swap);
                    break;
                default:
                    store<uint64_t>(to, row, at, leaf.swap);
                }
                columns_.set_valid(leaf.column, row);
            }
            if (leaf.slot >= 0 || leaf.role != Role::None)
                take_leaf(leaf, base);
        }
        pos += uint64_t{op.size} * 8;
        return true;
    }

    template <typename T> static void store(uint8_t *to, size_t row, const uint8_t *at, bool swap) {
        T value;
        std::memcpy(&value, at, sizeof(T));
        if (swap)
            value = swapped(value);
        std::memcpy(to + row * sizeof(T), &value, sizeof(T));
    }

    // Any number of bits at any bit: at most 64 here.
    uint64_t extract(unsigned size, bool big) {
        const uint64_t first = pos >> 3;
        const unsigned skip = pos & 7;
        const unsigned bytes = (skip + size + 7) >> 3;
        unsigned __int128 raw = 0;
        if (big) {
            for (unsigned i = 0; i < bytes; i++)
                raw = raw << 8 | data[first + i];
            raw >>= bytes * 8 - skip - size;
        } else {
            for (unsigned i = bytes; i-- > 0;)
                raw = raw << 8 | data[first + i];
            raw >>= skip;
        }
        pos += size;
        const auto value = static_cast<uint64_t>(raw);
        return size >= 64 ? value : value & ((uint64_t{1} << size) - 1);
    }

    bool bits(const Op &op, size_t row) {
        align(op.align);
        if (!has(op.size))
            return false;
        const bool big = op.flags & BigEndian;
        if (op.flags & Float)
            return floating(op, big, row);
        uint64_t value = extract(op.size, big);
        if (op.flags & Reversed)
            value = reversed(value, op.size);
        const uint64_t plain = value;
        if (op.flags & Boolean)
            value = value != 0;
        if (op.flags & Signed)
            value = extended(value, op.size);
        keep(op, row, value);
        take(op.role, plain, op.size);
        return true;
    }

    void keep(const Op &op, size_t row, uint64_t value) {
        if (op.slot >= 0)
            slots_[op.slot] = static_cast<int64_t>(value);
        if (op.column < 0)
            return;
        const int width = plan_.columns[op.column].width;
        std::memcpy(columns_.numbers(op.column) + row * width, &value, width);
        columns_.set_valid(op.column, row);
    }

    double wide(const Op &op, bool big) {
        std::array<uint32_t, kMaxFloat / 32> units;
        const unsigned count = op.size / 32;
        for (unsigned i = 0; i < count; i++)
            units[big ? count - 1 - i : i] = static_cast<uint32_t>(extract(32, big));
        if (op.flags & Reversed) {
            std::reverse(units.begin(), units.begin() + count);
            for (unsigned i = 0; i < count; i++)
                units[i] = static_cast<uint32_t>(reversed(units[i], 32));
        }
        // IEEE 754-2008, table 3.5
        const auto width = static_cast<unsigned>(std::lround(4 * std::log2(static_cast<double>(op.size)))) - 13;
        return from_wide(units.data(), op.size, width);
    }

    bool floating(const Op &op, bool big, size_t row) {
        double value = 0;
        uint64_t raw = 0;
        if (op.size > 64) {
            value = wide(op, big);
        } else {
            raw = extract(op.size, big);
            if (op.flags & Reversed)
                raw = reversed(raw, op.size);
        }
        if (op.column < 0)
            return true;
        uint8_t *to = columns_.numbers(op.column);
        if (op.size == 32) {
            std::memcpy(to + row * 4, &raw, 4);
        } else if (op.size == 16) {
            const auto narrow = static_cast<float>(from_half(static_cast<uint16_t>(raw)));
            std::memcpy(to + row * 4, &narrow, 4);
        } else {
            if (op.size == 64)
                value = std::bit_cast<double>(raw);
            std::memcpy(to + row * 8, &value, 8);
        }
        columns_.set_valid(op.column, row);
        return true;
    }

    bool leb128(const Op &op, size_t row) {
        align(8);
        unsigned __int128 value = 0;
        unsigned shift = 0;
        uint8_t byte;
        do {
            if (shift > 70 || !has(8))
                return false;
            byte = data[pos >> 3];
            pos += 8;
            value |= static_cast<unsigned __int128>(byte & 0x7F) << shift;
            shift += 7;
        } while (byte & 0x80);
        if (op.flags & Signed) {
            auto number = static_cast<__int128>(value);
            if (byte & 0x40)
                number -= static_cast<__int128>(1) << shift;
            if (number < INT64_MIN || number > INT64_MAX)
                return false;
            value = static_cast<uint64_t>(static_cast<int64_t>(number));
        } else if (value >> 64) {
            return false;
        }
        keep(op, row, static_cast<uint64_t>(value));
        take(op.role, static_cast<uint64_t>(value), 64);
        return true;
    }

    static size_t unit_of(Encoding encoding) {
        if (encoding == Encoding::Utf8)
            return 1;
        return encoding == Encoding::Utf16Be || encoding == Encoding::Utf16Le ? 2 : 4;
    }

    // Bytes before the first code unit that is zero; size if there is none.
    static size_t before_nul(const uint8_t *bytes, size_t size, size_t unit) {
        if (unit == 1) {
            const void *nul = std::memchr(bytes, 0, size);
            return nul == nullptr ? size : static_cast<size_t>(static_cast<const uint8_t *>(nul) - bytes);
        }
        for (size_t at = 0; at + unit <= size; at += unit) {
            const bool zero = std::all_of(bytes + at, bytes + at + unit, [](uint8_t byte) { return byte == 0; });
            if (zero)
                return at;
        }
        return size;
    }

    bool string(const Op &op, size_t row) {
        align(8);
        if (!has(8))
            return false;
        const uint8_t *start = data + (pos >> 3);
        const size_t left = (end - pos) >> 3;
        if (op.encoding == Encoding::Utf8 && op.column >= 0) {
            const ptrdiff_t size = columns_.set_string(op.column, row, start, left);
            pos += static_cast<uint64_t>(size + 1) * 8;
            return size >= 0;
        }
        const size_t unit = unit_of(op.encoding);
        const size_t size = before_nul(start, left, unit);
        if (size + unit > left)
            return false;
        if (op.column >= 0)
            columns_.set_text(op.column, row, start, size, op.encoding);
        pos += (size + unit) * 8;
        return true;
    }

    uint64_t length_of(const Op &op) const { return static_cast<uint64_t>(op.slot >= 0 ? slots_[op.slot] : op.length); }

    bool text(const Op &op, size_t row) {
        align(8);
        const uint64_t length = length_of(op);
        if (length > UINT64_MAX / 8 || !has(length * 8))
            return false;
        const uint8_t *start = data + (pos >> 3);
        const bool name = length == 16 && op.encoding == Encoding::Utf8;
        if (op.column >= 0 && !(name && columns_.set_short_text(op.column, row, start))) {
            const size_t size = before_nul(start, length, unit_of(op.encoding));
            columns_.set_text(op.column, row, start, size, op.encoding);
        }
        pos += length * 8;
        return true;
    }

    bool blob(const Op &op, size_t row) {
        align(8);
        const uint64_t length = length_of(op);
        if (length > UINT64_MAX / 8 || !has(length * 8))
            return false;
        if (op.column >= 0)
            columns_.set_bytes(op.column, row, data + (pos >> 3), length);
        pos += length * 8;
        return true;
    }

    bool array(const Op &op, size_t row) {
        align(op.align);
        const uint64_t length = length_of(op);
        if (op.least) {
            if (length > UINT64_MAX / op.least || !has(length * op.least))
                return false;
        } else {
            if (length > empties)
                return false;
            empties -= length;
        }
        const Program &element = plan_.programs[op.program];
        size_t first = 0;
        if (op.column >= 0) {
            const Column &column = plan_.columns[op.column];
            if (column.kind == ColumnKind::List) {
                int64_t *offset = columns_.at(op.column).offsets;
                first = static_cast<size_t>(offset[row]);
                offset[row + 1] = static_cast<int64_t>(first + length);
            } else {
                first = row * length;
            }
            columns_.ensure(column.child_space, first + length);
            columns_.set_valid(op.column, row);
        }
        if (op.strided.size && has(length * op.strided.size * 8)) {
            copy_strided(op.strided, first, length);
            return true;
        }
        for (uint64_t i = 0; i < length; i++)
            if (!run(element, first + i))
                return false;
        return true;
    }

    template <typename T>
    void copy_column(const Strided &strided, const CopiedNumber &copy, size_t first, size_t rows) {
        const uint8_t *from = data + (pos >> 3) + copy.offset;
        uint8_t *to = columns_.numbers(copy.column) + first * sizeof(T);
        if (rows == 1) {
            std::memcpy(to, from, sizeof(T));
            return;
        }
        if (strided.size == sizeof(T) && rows) {
            std::memcpy(to, from, rows * sizeof(T));
            return;
        }
        for (size_t i = 0; i < rows; i++)
            std::memcpy(to + i * sizeof(T), from + i * strided.size, sizeof(T));
    }

    void copy_strided(const Strided &strided, size_t first, size_t rows) {
        for (const CopiedNumber &copy : strided.copies1)
            copy_column<uint8_t>(strided, copy, first, rows);
        for (const CopiedNumber &copy : strided.copies2)
            copy_column<uint16_t>(strided, copy, first, rows);
        for (const CopiedNumber &copy : strided.copies4)
            copy_column<uint32_t>(strided, copy, first, rows);
        for (const CopiedNumber &copy : strided.copies8)
            copy_column<uint64_t>(strided, copy, first, rows);
        for (const CopiedBytes &bytes : strided.bytes) {
            const uint8_t *from = data + (pos >> 3) + bytes.offset;
            uint8_t *to = columns_.numbers(bytes.column) + first * bytes.size;
            for (size_t i = 0; i < rows; i++)
                std::memcpy(to + i * bytes.size, from + i * strided.size, bytes.size);
        }
        pos += rows * strided.size * 8;
    }

    bool variant(const Op &op, size_t row) {
        const int64_t selector = slots_[op.slot];
        const bool sign = op.flags & Signed;
        const Choice *chosen = nullptr;
        for (const Choice &choice : op.choices) {
            const bool matches = chosen == nullptr && within(choice.ranges, selector, sign);
            if (matches)
                chosen = &choice;
            else if (choice.column >= 0)
                columns_.set_null(choice.column, row);
        }
        if (chosen == nullptr)
            return false;
        if (op.column >= 0)
            columns_.set_valid(op.column, row);
        if (chosen->column >= 0)
            columns_.set_valid(chosen->column, row);
        return run(plan_.programs[chosen->program], row);
    }

    static bool within(const std::vector<std::pair<int64_t, int64_t>> &ranges, int64_t value, bool sign) {
        return std::any_of(ranges.begin(), ranges.end(), [&](const auto &range) {
            if (sign)
                return range.first <= value && value <= range.second;
            const auto number = static_cast<uint64_t>(value);
            return static_cast<uint64_t>(range.first) <= number && number <= static_cast<uint64_t>(range.second);
        });
    }

    bool option(const Op &op, size_t row) {
        const int64_t selector = slots_[op.slot];
        const bool there = op.by_ranges ? within(op.choices[0].ranges, selector, op.flags & Signed) : selector != 0;
        if (!there) {
            if (op.column >= 0)
                columns_.set_null(op.column, row);
            return true;
        }
        if (op.column >= 0)
            columns_.set_valid(op.column, row);
        return run(plan_.programs[op.program], row);
    }

    const Plan &plan_;
    Columns &columns_;
    std::vector<int64_t> slots_;
};

} // namespace boxtrace::ctf
