// SPDX-License-Identifier: Apache-2.0
#include "ctf_filter.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string_view>

namespace boxtrace::ctf {
namespace {

constexpr int kDeepest = 256; // the tree is walked recursively

// Nothing between the pieces, or anything. There are two of them or more.
bool glob_matches(const std::vector<std::string> &pieces, std::string_view text) {
    const std::string &first = pieces.front(), &last = pieces.back();
    if (text.size() < first.size() + last.size() || !text.starts_with(first) || !text.ends_with(last))
        return false;
    std::string_view left = text.substr(first.size(), text.size() - first.size() - last.size());
    for (size_t i = 1; i + 1 < pieces.size(); i++) {
        const size_t found = left.find(pieces[i]);
        if (found == std::string_view::npos)
            return false;
        left.remove_prefix(found + pieces[i].size());
    }
    return true;
}

template <typename T> bool compare(FilterCode code, const T &left, const T &right) {
    switch (code) {
    case FilterCode::Less:
        return left < right;
    case FilterCode::LessEqual:
        return left <= right;
    case FilterCode::Greater:
        return left > right;
    case FilterCode::GreaterEqual:
        return left >= right;
    case FilterCode::Equal:
        return left == right;
    default:
        return left != right;
    }
}

// Computes the nodes of one row. A value that is not there makes the whole expression false, whatever is around it.
class Verdict {
public:
    Verdict(const Filter &filter, const Columns &columns, size_t row, const PacketValues &values, size_t packet)
        : filter_(filter), columns_(columns), row_(row), values_(values), packet_(packet) {}

    bool of(int root) {
        const bool wanted = truth(root);
        return wanted && !undecided_;
    }

private:
    const FilterNode &node(int number) const { return filter_.nodes[static_cast<size_t>(number)]; }

    bool truth(int number) { return node(number).type == ValueType::Real ? real(number) != 0 : integer(number) != 0; }

    // The row of a node's value in its last column; false where there is none.
    bool locate(const FilterNode &node, size_t &row) {
        row = row_;
        for (const FilterStep &step : node.steps) {
            const Column &column = filter_.plan->columns[static_cast<size_t>(step.column)];
            const ColumnData &data = columns_.at(step.column);
            undecided_ |= column.nullable && !data.valid[row];
            if (undecided_)
                return false;
            if (step.element < 0)
                continue;
            const auto element = static_cast<size_t>(step.element);
            if (column.kind == ColumnKind::FixedList) {
                row = row * static_cast<size_t>(column.width) + element;
                continue;
            }
            const auto start = static_cast<size_t>(data.offsets[row]), end = static_cast<size_t>(data.offsets[row + 1]);
            undecided_ |= element >= end - start;
            if (undecided_)
                return false;
            row = start + element;
        }
        return true;
    }

    // The 64 bits of a value of the packet.
    int64_t packet_value(const FilterNode &node) {
        const auto number = static_cast<size_t>(node.integer);
        undecided_ |= !values_.has(packet_, filter_.packet_values, number);
        return values_.at(packet_, filter_.packet_values, number);
    }

    int64_t column_integer(const FilterNode &node) {
        size_t row;
        if (!locate(node, row))
            return 0;
        const int number = node.steps.back().column;
        const Column &column = filter_.plan->columns[static_cast<size_t>(number)];
        const uint8_t *values = columns_.at(number).values;
        return column.kind == ColumnKind::Boolean ? values[row] : static_cast<int64_t>(number_at(column, values, row));
    }

    int64_t integer(int number) {
        const FilterNode &at = node(number);
        const auto left = [&] { return integer(at.operands[0]); };
        const auto right = [&] { return integer(at.operands[1]); };
        switch (at.code) {
        case FilterCode::Constant:
            return at.integer;
        case FilterCode::Column:
            return column_integer(at);
        case FilterCode::PacketValue:
            return packet_value(at);
        case FilterCode::Negate:
            return static_cast<int64_t>(uint64_t{0} - static_cast<uint64_t>(left()));
        case FilterCode::Invert:
            return ~left();
        case FilterCode::Not:
            return !truth(at.operands[0]);
        case FilterCode::ShiftLeft:
        case FilterCode::ShiftRight:
            return shifted(at.code == FilterCode::ShiftLeft, static_cast<uint64_t>(left()), right());
        case FilterCode::And:
            return left() & right();
        case FilterCode::Xor:
            return left() ^ right();
        case FilterCode::Or:
            return left() | right();
        case FilterCode::Glob:
            return glob_matches(at.pieces, text(at.operands[0])) == (at.integer != 0);
        case FilterCode::All:
            return std::ranges::all_of(at.operands, [&](int term) { return truth(term); });
        case FilterCode::Any:
            return std::ranges::any_of(at.operands, [&](int term) { return truth(term); });
        default:
            return compared(at);
        }
    }

    int64_t shifted(bool to_left, uint64_t value, int64_t count) {
        if (count < 0 || count > 63) {
            undecided_ = true;
            return 0;
        }
        return static_cast<int64_t>(to_left ? value << count : value >> count);
    }

    bool compared(const FilterNode &at) {
        const int left = at.operands[0], right = at.operands[1];
        switch (node(left).type) {
        case ValueType::Integer:
            return compare(at.code, integer(left), integer(right));
        case ValueType::Real:
            return compare(at.code, real(left), real(right));
        default:
            return compare(at.code, text(left), text(right));
        }
    }

    double real(int number) {
        const FilterNode &at = node(number);
        switch (at.code) {
        case FilterCode::Constant:
            return at.real;
        case FilterCode::ToReal:
            return static_cast<double>(integer(at.operands[0]));
        case FilterCode::Negate:
            return -real(at.operands[0]);
        case FilterCode::PacketValue:
            return std::bit_cast<double>(packet_value(at));
        default:
            break;
        }
        size_t row;
        if (!locate(at, row))
            return 0;
        const int column = at.steps.back().column;
        const uint8_t *values = columns_.at(column).values;
        if (filter_.plan->columns[static_cast<size_t>(column)].width == 4) {
            float narrow;
            std::memcpy(&narrow, values + row * 4, 4);
            return static_cast<double>(narrow);
        }
        double wide;
        std::memcpy(&wide, values + row * 8, 8);
        return wide;
    }

    std::string_view text(int number) {
        const FilterNode &at = node(number);
        if (at.code == FilterCode::Constant)
            return at.pieces[0];
        if (at.code == FilterCode::PacketValue) {
            const int64_t number = packet_value(at);
            return undecided_ ? std::string_view() : values_.texts[static_cast<size_t>(number)];
        }
        size_t row;
        if (!locate(at, row))
            return {};
        const ColumnData &data = columns_.at(at.steps.back().column);
        const int64_t start = data.offsets[row];
        return {reinterpret_cast<const char *>(data.content.data()) + start,
                static_cast<size_t>(data.offsets[row + 1] - start)};
    }

    const Filter &filter_;
    const Columns &columns_;
    const size_t row_;
    const PacketValues &values_;
    const size_t packet_;
    bool undecided_ = false;
};

void check(bool condition, const char *what) {
    if (!condition)
        throw std::invalid_argument(what);
}

class FilterReader {
public:
    FilterReader(Filter &filter, std::span<const int64_t> words, const std::vector<std::string> &strings)
        : filter_(filter), words_(words), strings_(strings) {}

    void read() {
        filter_.packet_values = count();
        const size_t nodes = count();
        for (size_t i = 0; i < nodes; i++) {
            FilterNode node = read_node();
            check_node(node);
            filter_.nodes.push_back(std::move(node));
        }
        const auto &planned = filter_.plan->events;
        check(count() == planned.size(), "the filter is for another plan");
        for (const EventPlan &event : planned) {
            const int root = number(-1, nodes, "an expression is not there");
            if (root >= 0) {
                const FilterNode &node = filter_.nodes[static_cast<size_t>(root)];
                check(node.type != ValueType::Text, "text is neither true nor false");
                check(node.space < 0 || node.space == event.space, "an expression is of other rows");
            }
            filter_.events.push_back(root);
        }
        check(at_ == words_.size(), "the filter is too long");
    }

private:
    int64_t next() {
        check(at_ < words_.size(), "the filter ends too early");
        return words_[at_++];
    }
    size_t count() {
        const int64_t value = next();
        check(value >= 0 && static_cast<uint64_t>(value) <= words_.size(), "a count is wrong");
        return static_cast<size_t>(value);
    }
    // From least up to (not including) end.
    int number(int64_t least, size_t end, const char *what) {
        const int64_t value = next();
        check(value >= least && value < static_cast<int64_t>(end), what);
        return static_cast<int>(value);
    }

    FilterNode read_node() {
        FilterNode node{};
        node.code = static_cast<FilterCode>(next());
        node.type = static_cast<ValueType>(next());
        node.integer = next();
        node.real = std::bit_cast<double>(node.integer);
        node.operands.resize(count());
        for (int &operand : node.operands) {
            operand = number(0, filter_.nodes.size(), "an operand comes later");
            const FilterNode &below = filter_.nodes[static_cast<size_t>(operand)];
            node.depth = std::max(node.depth, below.depth + 1);
            check(node.space < 0 || below.space < 0 || node.space == below.space, "operands are of several rows");
            node.space = std::max(node.space, below.space);
        }
        check(node.depth <= kDeepest, "the expression is too deep");
        node.pieces.resize(count());
        for (std::string &piece : node.pieces)
            piece = strings_.at(static_cast<size_t>(next()));
        node.steps.resize(count());
        for (FilterStep &step : node.steps) {
            step.column = number(0, filter_.plan->columns.size(), "a column is not there");
            step.element = next();
        }
        return node;
    }

    ValueType operand(const FilterNode &node, size_t number) const {
        return filter_.nodes[static_cast<size_t>(node.operands.at(number))].type;
    }

    void check_node(FilterNode &node) const {
        const auto operands = [&](size_t count, ValueType type) {
            check(node.operands.size() == count, "there are too few operands or too many");
            for (size_t i = 0; i < count; i++)
                check(operand(node, i) == type, "an operand's type is wrong");
        };
        const auto terms = [&] {
            for (size_t i = 0; i < node.operands.size(); i++)
                check(operand(node, i) != ValueType::Text, "text is neither true nor false");
        };
        ValueType result = ValueType::Integer;
        switch (node.code) {
        case FilterCode::Constant:
            check(node.type != ValueType::Text || node.pieces.size() == 1, "a text is not there");
            [[fallthrough]];
        case FilterCode::Column:
            result = node.type;
            if (node.code == FilterCode::Column)
                check_steps(node);
            break;
        case FilterCode::PacketValue:
            check(node.integer >= 0 && static_cast<size_t>(node.integer) < filter_.packet_values, "no such value");
            result = node.type;
            break;
        case FilterCode::ToReal:
            result = ValueType::Real;
            operands(1, ValueType::Integer);
            break;
        case FilterCode::Negate:
            result = node.type == ValueType::Real ? ValueType::Real : ValueType::Integer;
            operands(1, result);
            break;
        case FilterCode::Invert:
            operands(1, ValueType::Integer);
            break;
        case FilterCode::Not:
            check(node.operands.size() == 1, "one operand is wanted");
            terms();
            break;
        case FilterCode::ShiftLeft:
        case FilterCode::ShiftRight:
        case FilterCode::And:
        case FilterCode::Xor:
        case FilterCode::Or:
            operands(2, ValueType::Integer);
            break;
        case FilterCode::Less:
        case FilterCode::LessEqual:
        case FilterCode::Greater:
        case FilterCode::GreaterEqual:
        case FilterCode::Equal:
        case FilterCode::NotEqual:
            check(node.operands.size() == 2, "two operands are compared");
            operands(2, operand(node, 0));
            break;
        case FilterCode::Glob:
            operands(1, ValueType::Text);
            check(node.pieces.size() >= 2, "a pattern without wildcard");
            break;
        case FilterCode::All:
        case FilterCode::Any:
            terms();
            break;
        default:
            check(false, "no such operator");
        }
        check(node.type == result, "a value's type is wrong");
        const bool valued =
            node.code == FilterCode::Constant || node.code == FilterCode::PacketValue || node.code == FilterCode::Glob;
        check(valued || node.integer == 0, "a value that has no meaning");
    }

    void check_steps(FilterNode &node) const {
        check(!node.steps.empty(), "a column is not there");
        const auto &columns = filter_.plan->columns;
        node.space = columns[static_cast<size_t>(node.steps[0].column)].space;
        for (size_t i = 0; i < node.steps.size(); i++) {
            const auto &[number, element] = node.steps[i];
            const Column &column = columns[static_cast<size_t>(number)];
            const bool last = i + 1 == node.steps.size();
            if (element >= 0)
                check(column.kind == ColumnKind::List ||
                          (column.kind == ColumnKind::FixedList && element < column.width),
                      "an element is not there");
            check(last || (column.kind == ColumnKind::Struct) == (element < 0), "a column has no parts");
            check(last || std::ranges::count(column.children, node.steps[i + 1].column), "a part is of another column");
            check(!last || element < 0, "an array is no value");
        }
        const ColumnKind kind = columns[static_cast<size_t>(node.steps.back().column)].kind;
        const bool whole = kind == ColumnKind::Integer || kind == ColumnKind::Unsigned || kind == ColumnKind::Boolean;
        check(node.type == ValueType::Integer ? whole
              : node.type == ValueType::Real  ? kind == ColumnKind::Float
                                              : kind == ColumnKind::Bytes || kind == ColumnKind::Text,
              "a column is of another type");
    }

    Filter &filter_;
    std::span<const int64_t> words_;
    const std::vector<std::string> &strings_;
    size_t at_ = 0;
};

} // namespace

void Filter::check(const PacketValues &values, size_t packets) const {
    boxtrace::ctf::check(values.words.size() == packets * packet_values * 2, "packets' values are missing");
    for (const FilterNode &node : nodes)
        if (node.code == FilterCode::PacketValue && node.type == ValueType::Text)
            for (size_t packet = 0; packet < packets; packet++) {
                const auto number = static_cast<size_t>(node.integer);
                const auto text = static_cast<uint64_t>(values.at(packet, packet_values, number));
                const bool there = values.has(packet, packet_values, number);
                boxtrace::ctf::check(!there || text < values.texts.size(), "a packet's text is not there");
            }
}

void Filter::select(const Columns &columns, const PacketValues &packets, std::vector<Ordered> &order) const {
    std::erase_if(order, [&](const Ordered &row) {
        const int root = events[row.event];
        return root < 0 || !Verdict(*this, columns, row.row, packets, row.packet).of(root);
    });
}

Filter read_filter(std::shared_ptr<const Plan> plan, std::span<const int64_t> words,
                   const std::vector<std::string> &strings) {
    Filter filter;
    filter.plan = std::move(plan);
    FilterReader(filter, words, strings).read();
    return filter;
}

} // namespace boxtrace::ctf
