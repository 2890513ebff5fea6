// SPDX-License-Identifier: Apache-2.0
#include "ctf_layout.hpp"
#include "ctf_plan.hpp"

#include <algorithm>

namespace boxtrace::ctf {
namespace {

constexpr uint32_t kLoad = 64; // bits that are loaded for any number

struct Number {
    Place place;
    Role role;
    int slot;
};

// Numbers one after another from an aligned start.
class Numbers {
public:
    Numbers(uint32_t align, uint32_t at) : bits(at), align_(align) {}

    // False where there is something else.
    bool add(const Op &op) {
        if (op.align > align_ || (op.code != OpCode::Align && op.code != OpCode::Run && op.code != OpCode::Bits))
            return false;
        bits = (bits + op.align - 1) & -op.align;
        if (op.code == OpCode::Bits) {
            const bool plain = (op.flags & ~BigEndian) == 0 && op.column < 0;
            if (!plain || !add(bits, op.size, op.flags & BigEndian, op.role, op.slot))
                return false;
            bits += op.size;
        } else if (op.code == OpCode::Run) {
            for (const Leaf &leaf : op.leaves) {
                const bool plain = leaf.column < 0 && !(leaf.sign && leaf.slot >= 0);
                if (!plain || !add(bits + leaf.offset * 8, leaf.width * 8u, leaf.swap, leaf.role, leaf.slot))
                    return false;
            }
            bits += op.size * 8;
        }
        return true;
    }

    uint32_t bits;
    std::vector<Number> found;

private:
    bool add(uint32_t bit, uint32_t size, bool big, Role role, int slot) {
        const uint32_t shift = bit & 7;
        if (shift + size > kLoad || (big && (shift || size % 8)))
            return false;
        const uint64_t mask = size == 64 ? UINT64_MAX : (uint64_t{1} << size) - 1;
        found.push_back({{bit >> 3, static_cast<uint8_t>(big ? kLoad - size : shift), big, mask}, role, slot});
        return true;
    }

    uint32_t align_;
};

// Whether records refer to a field of the header otherwise than by the header's own variant.
bool is_needed(const Plan &plan, int slot) {
    for (int number = 0; number < static_cast<int>(plan.programs.size()); number++)
        for (const Op &op : plan.programs[number]) {
            const bool refers = op.code == OpCode::Text || op.code == OpCode::Blob || op.code == OpCode::Array ||
                                op.code == OpCode::Variant || op.code == OpCode::Option;
            if (refers && op.slot == slot && number != plan.header)
                return true;
        }
    return false;
}

// The last number of a role, as the last one counts; false where the numbers do more than that.
bool take_roles(const Plan &plan, const std::vector<Number> &numbers, HeaderOption &option) {
    for (const Number &number : numbers) {
        if (number.slot >= 0 && is_needed(plan, number.slot))
            return false;
        if (number.role == Role::Clock && option.clock.mask)
            return false;
        if (number.role != Role::None)
            (number.role == Role::Clock ? option.clock : option.id) = number.place;
    }
    return true;
}

std::vector<HeaderOption> read_options(const Plan &plan, const Op &variant, const Numbers &common, uint32_t align) {
    std::vector<HeaderOption> options;
    for (const Choice &choice : variant.choices) {
        Numbers numbers(align, common.bits);
        for (const Op &op : plan.programs[choice.program])
            if (!numbers.add(op))
                return {};
        for (const auto &[low, high] : choice.ranges) {
            const auto first = static_cast<uint64_t>(low);
            options.push_back({first, static_cast<uint64_t>(high) - first, {}, {}, numbers.bits});
            if (!take_roles(plan, numbers.found, options.back()))
                return {};
        }
    }
    return options;
}

bool is_large(const HeaderLayout &layout) {
    const auto is = [](const Place &place, uint32_t byte, unsigned size) {
        return place.byte == byte && !place.shift && !place.swap && place.mask == UINT64_MAX >> (kLoad - size);
    };
    if (layout.align != 8 || layout.options.size() != 2 || !is(layout.selector, 0, 16))
        return false;
    const HeaderOption &brief = layout.options[0], &whole = layout.options[1];
    return brief.low == 0 && brief.span == UINT16_MAX - 1 && is(brief.id, 0, 16) && is(brief.clock, 2, 32) &&
           brief.bits == 48 && whole.low == UINT16_MAX && is(whole.id, 2, 32) && is(whole.clock, 6, 64) &&
           whole.bits == 112;
}

} // namespace

HeaderLayout header_layout(const Plan &plan) {
    const HeaderLayout other;
    HeaderLayout layout;
    if (plan.header < 0)
        return other;
    const Program &program = plan.programs[plan.header];
    for (const Op &op : program)
        layout.align = std::max(layout.align, op.align);
    // The start is aligned for all of it, or distances would depend on where it is.
    if (program.empty() || std::max<uint32_t>(program[0].align, 8) != layout.align)
        return other;
    Numbers common(layout.align, 0);
    size_t at = 0;
    while (at < program.size() && program[at].code != OpCode::Variant)
        if (!common.add(program[at++]))
            return other;
    HeaderOption only{0, UINT64_MAX, {}, {}, common.bits};
    if (!take_roles(plan, common.found, only))
        return other;
    if (at == program.size()) {
        layout.options.push_back(only);
    } else {
        const Op &variant = program[at];
        const auto selector = std::find_if(common.found.begin(), common.found.end(),
                                           [&](const Number &number) { return number.slot == variant.slot; });
        if (at + 1 != program.size() || variant.column >= 0 || (variant.flags & Signed) || only.clock.mask ||
            selector == common.found.end() || (only.id.mask && selector->role != Role::EventId))
            return other;
        layout.selector = selector->place;
        layout.options = read_options(plan, variant, common, layout.align);
        if (selector->role == Role::EventId)
            for (HeaderOption &option : layout.options)
                if (!option.id.mask)
                    option.id = layout.selector;
    }
    layout.whole = !layout.options.empty();
    for (HeaderOption &option : layout.options) {
        option.has_id = option.id.mask != 0;
        layout.whole &= option.bits % 8 == 0;
        layout.most = std::max<uint64_t>(layout.most, option.bits + kLoad);
    }
    layout.large = is_large(layout);
    return layout;
}

namespace {

class Fixed {
public:
    Fixed(const Plan &plan, int space) : plan_(plan), space_(space) {}

    // False where the operation is not at a constant place, or does more than a copy.
    bool add(const Op &op) {
        const bool aligned = op.align <= part.align;
        if (op.code == OpCode::Align)
            return aligned && move(op.align, 0);
        if (op.code == OpCode::Run)
            return aligned && run(op);
        if (op.code == OpCode::Array)
            return aligned && array(op);
        const bool sized = (op.code == OpCode::Text || op.code == OpCode::Blob) && op.slot < 0 && part.align >= 8;
        if (!sized || op.length < 0 || op.length > (int64_t{1} << 24))
            return false;
        if (op.column >= 0) {
            if (op.code == OpCode::Blob || op.encoding != Encoding::Utf8 || op.length < 16 || !is_own(op.column))
                return false;
            move(8, 0);
            part.texts.push_back({offset(), static_cast<uint32_t>(op.length), op.column});
        }
        return move(8, static_cast<uint64_t>(op.length));
    }

    FixedPart part;

private:
    uint32_t offset() const { return static_cast<uint32_t>(part.size); }
    bool is_own(int column) const { return plan_.columns[column].space == space_ && !plan_.columns[column].nullable; }
    bool move(uint32_t align, uint64_t bytes) {
        const uint64_t to = std::max<uint64_t>(align / 8, 1);
        part.size = (part.size + to - 1) & -to;
        part.size += bytes;
        return part.size < (uint64_t{1} << 28);
    }
    bool run(const Op &op) {
        const auto other = [&](const auto &item) { return item.column >= 0 && !is_own(item.column); };
        for (const auto *copies : {&op.copies1, &op.copies2, &op.copies4, &op.copies8})
            if (std::any_of(copies->begin(), copies->end(), other))
                return false;
        if (std::any_of(op.leaves.begin(), op.leaves.end(), other))
            return false;
        if (!move(op.align, 0))
            return false;
        append(part.copies1, op.copies1);
        append(part.copies2, op.copies2);
        append(part.copies4, op.copies4);
        append(part.copies8, op.copies8);
        for (Leaf leaf : op.leaves) {
            leaf.offset += offset();
            if (leaf.column >= 0)
                target(leaf).push_back({leaf.offset, leaf.column});
            if (leaf.slot >= 0 || leaf.role != Role::None)
                part.taken.push_back(leaf);
        }
        return move(8, op.size);
    }
    // An array whose length is constant, of numbers without gaps.
    bool array(const Op &op) {
        const Program &element = plan_.programs[op.program];
        if (op.slot >= 0 || op.length > (int64_t{1} << 20) || element.size() != 1 || element[0].code != OpCode::Run)
            return false;
        const Op &number = element[0];
        const auto alone = [&](const std::vector<Copy> &copies, uint32_t width) {
            return copies.size() == 1 && copies[0].offset == 0 && number.size == width;
        };
        if (number.align > op.align || (number.size * 8) % number.align != 0 || !move(op.align, 0))
            return false;
        const uint64_t size = static_cast<uint64_t>(op.length) * number.size;
        const size_t copies =
            number.copies1.size() + number.copies2.size() + number.copies4.size() + number.copies8.size();
        if (!number.leaves.empty() || copies != (op.column >= 0 ? 1 : 0))
            return false;
        if (op.column >= 0) {
            const bool packed = alone(number.copies1, 1) || alone(number.copies2, 2) || alone(number.copies4, 4) ||
                                alone(number.copies8, 8);
            const Column &list = plan_.columns[op.column];
            if (!packed || !is_own(op.column) || list.kind != ColumnKind::FixedList)
                return false;
            if (size)
                part.bytes.push_back({offset(), static_cast<uint32_t>(size), list.children[0]});
        }
        return move(8, size);
    }
    void append(std::vector<CopiedNumber> &to, const std::vector<Copy> &copies) const {
        for (const Copy &copy : copies)
            to.push_back({copy.offset + offset(), copy.column});
    }
    std::vector<CopiedNumber> &target(const Leaf &leaf) {
        switch (leaf.width) {
        case 1:
            return part.copies1;
        case 2:
            return leaf.swap ? part.swaps2 : part.copies2;
        case 4:
            return leaf.swap ? part.swaps4 : part.copies4;
        default:
            return leaf.swap ? part.swaps8 : part.copies8;
        }
    }

    const Plan &plan_;
    int space_;
};

} // namespace

Strided strided(const Plan &plan, int element) {
    const Program &ops = plan.programs[element];
    int space = -1;
    for (const Op &op : ops)
        for (const auto *copies : {&op.copies1, &op.copies2, &op.copies4, &op.copies8})
            for (const Copy &copy : *copies)
                space = plan.columns[copy.column].space;
    Strided result;
    const FixedPart part = fixed_part(plan, element, space);
    const bool whole = space >= 0 && part.rest == ops.size() && part.texts.empty() && part.taken.empty();
    const bool swaps = !part.swaps2.empty() || !part.swaps4.empty() || !part.swaps8.empty();
    if (whole && !swaps && part.size && part.size % std::max<uint32_t>(part.align / 8, 1) == 0)
        result = {part.size, part.copies1, part.copies2, part.copies4, part.copies8, part.bytes};
    return result;
}

FixedPart fixed_part(const Plan &plan, int program, int space, size_t from) {
    const Program &ops = plan.programs[program];
    Fixed fixed(plan, space);
    fixed.part.align = from < ops.size() ? ops[from].align : 1;
    fixed.part.rest = from;
    FixedPart part = fixed.part;
    while (part.rest < ops.size() && fixed.add(ops[part.rest])) {
        fixed.part.rest++;
        part = fixed.part;
    }
    for (auto *copies : {&part.copies1, &part.copies2, &part.copies4, &part.copies8})
        std::sort(copies->begin(), copies->end(), [](const auto &a, const auto &b) { return a.offset < b.offset; });
    return part;
}

} // namespace boxtrace::ctf
