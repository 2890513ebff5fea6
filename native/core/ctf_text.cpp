// SPDX-License-Identifier: Apache-2.0
#include "ctf_text.hpp"

#include <charconv>
#include <cstdio>
#include <ctime>
#include <stdexcept>

namespace boxtrace::ctf {
namespace {

uint64_t mask(int bits) { return bits >= 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1; }

void put_number(TextOut &out, const TextOp &op, uint64_t value) {
    char *to = out.room(80);
    switch (op.base) {
    case 10:
        return op.sign ? out.put_decimal(static_cast<int64_t>(value)) : out.put_decimal(value);
    case 16: {
        to[0] = '0';
        to[1] = 'x';
        char *end = std::to_chars(to + 2, to + 80, value & mask((op.bits + 3) / 4 * 4), 16).ptr;
        for (char *at = to + 2; at < end; at++)
            if (*at >= 'a')
                *at = static_cast<char>(*at - 32);
        return out.advance(end);
    }
    case 8: {
        *to = '0';
        const uint64_t shown = op.sign ? value & mask((op.bits + 2) / 3 * 3) : value;
        return out.advance(std::to_chars(to + 1, to + 80, shown, 8).ptr);
    }
    default:
        *to++ = '0';
        *to++ = 'b';
        for (int bit = op.bits; bit-- > 0;)
            *to++ = static_cast<char>('0' + (value >> bit & 1));
        return out.advance(to);
    }
}

void put_labels(TextOut &out, const TextOp &op, uint64_t value) {
    out.put("( ");
    bool any = false;
    for (const Label &label : op.labels) {
        const bool in = op.sign
                            ? label.low <= static_cast<int64_t>(value) && static_cast<int64_t>(value) <= label.high
                            : static_cast<uint64_t>(label.low) <= value && value <= static_cast<uint64_t>(label.high);
        if (!in)
            continue;
        if (any)
            out.put(", ");
        out.put(label.text);
        any = true;
    }
    if (!any)
        out.put("<unknown>");
    out.put(" : container = ");
    put_number(out, op, value);
    out.put(" )");
}

// Contexts are mostly those of the event before: what was put then is copied.
void put_again(TextOut &out, TextOp &op, uint64_t value) {
    LastNumber &last = op.last;
    if (last.size && last.value == value) {
        char *to = out.room(sizeof last.text);
        std::memcpy(to, last.text, sizeof last.text);
        return out.advance(to + last.size);
    }
    const size_t before = out.size();
    op.labelled ? put_labels(out, op, value) : put_number(out, op, value);
    const std::string_view shown = out.text().substr(before);
    last.size = 0;
    if (shown.size() <= sizeof last.text) {
        std::memcpy(last.text, shown.data(), shown.size());
        last.size = static_cast<uint8_t>(shown.size());
        last.value = value;
    }
}

void put_real(TextOut &out, const Column &column, const ColumnData &data, size_t row) {
    double value;
    if (column.width == 4) {
        float narrow;
        std::memcpy(&narrow, data.values + row * 4, 4);
        value = static_cast<double>(narrow);
    } else {
        std::memcpy(&value, data.values + row * 8, 8);
    }
    char *to = out.room(32);
    out.advance(to + std::snprintf(to, 32, "%g", value));
}

void put_bytes(TextOut &out, const uint8_t *bytes, size_t size) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    char *to = out.room(size * 3 + 3);
    *to++ = '{';
    for (size_t i = 0; i < size; i++) {
        *to++ = ' ';
        *to++ = kDigits[bytes[i] >> 4];
        *to++ = kDigits[bytes[i] & 15];
    }
    *to++ = ' ';
    *to++ = '}';
    out.advance(to);
}

class Words {
public:
    Words(std::span<const int64_t> words, const std::vector<std::string> &strings) : words_(words), strings_(strings) {}
    int64_t next() {
        if (at_ >= words_.size())
            throw std::invalid_argument("the text format ends too early");
        return words_[at_++];
    }
    size_t count() {
        const int64_t value = next();
        if (value < 0 || static_cast<uint64_t>(value) > words_.size())
            throw std::invalid_argument("a count is wrong");
        return static_cast<size_t>(value);
    }
    const std::string &string() { return strings_.at(static_cast<size_t>(next())); }

private:
    std::span<const int64_t> words_;
    const std::vector<std::string> &strings_;
    size_t at_ = 0;
};

} // namespace

void read_text_format(TextFormat &format, std::span<const int64_t> words, const std::vector<std::string> &strings) {
    Words reader(words, strings);
    const size_t programs = format.programs.size() + reader.count();
    for (size_t i = format.programs.size(); i < programs; i++) {
        std::vector<TextOp> program(reader.count());
        for (TextOp &op : program) {
            op.code = static_cast<TextCode>(reader.next());
            op.column = static_cast<int>(reader.next());
            op.base = static_cast<int>(reader.next());
            op.bits = static_cast<int>(reader.next());
            op.sign = reader.next() != 0;
            op.labelled = reader.next() != 0;
            op.literal = PaddedText(reader.string());
            op.program = static_cast<int>(reader.next());
            if (op.program >= static_cast<int>(i))
                throw std::invalid_argument("a text program comes later");
            op.labels.resize(reader.count());
            for (Label &label : op.labels) {
                label.low = reader.next();
                label.high = reader.next();
                label.text = reader.string();
            }
            op.options.resize(reader.count());
            for (auto &[column, option] : op.options) {
                column = static_cast<int>(reader.next());
                option = static_cast<int>(reader.next());
                if (option < 0 || option >= static_cast<int>(i))
                    throw std::invalid_argument("an option comes later");
            }
        }
        format.programs.push_back(std::move(program));
    }
    const size_t events = reader.count();
    for (size_t i = 0; i < events; i++) {
        format.events.push_back(static_cast<int>(reader.next()));
        if (format.events.back() >= static_cast<int>(programs))
            throw std::invalid_argument("no such text program");
        format.heads.emplace_back(reader.string());
    }
}

size_t TextMerger::add_stream(TextFormat format) {
    Stream stream;
    stream.format = std::move(format);
    streams_.push_back(std::move(stream));
    return streams_.size() - 1;
}

void TextMerger::feed(size_t stream, std::shared_ptr<Batch> batch, std::vector<Ordered> order,
                      const std::vector<std::string> &packets) {
    Stream &to = streams_.at(stream);
    to.batch = std::move(batch);
    to.order = std::move(order);
    to.packets.clear();
    for (const std::string &text : packets)
        to.packets.emplace_back(text);
    to.at = 0;
    for (const Ordered &row : to.order)
        if (row.event >= to.format.events.size() || row.packet >= to.packets.size())
            throw std::invalid_argument("the rows are of another plan");
}

int TextMerger::next(size_t bytes) {
    out_.clear();
    return merge_rows(streams_, [&](Stream &stream, const Ordered &row) {
        line(stream, row, out_);
        return out_.size() < bytes;
    });
}

void TextMerger::line(Stream &stream, const Ordered &row, TextOut &out) {
    if (stream.batch->plan->clocked)
        stamp(row.time, out);
    out.put(stream.format.heads[row.event]);
    out.put(stream.packets[row.packet]);
    run(stream.format, stream.format.events[row.event], *stream.batch, row.row, out);
    out.put('\n');
}

void TextMerger::stamp(int64_t time, TextOut &out) {
    out.put('[');
    if (time < 0) {
        const auto positive = uint64_t{0} - static_cast<uint64_t>(time);
        out.put('-');
        out.put_decimal(positive / 1'000'000'000);
        out.put('.');
        out.put_fraction(positive % 1'000'000'000);
    } else {
        const int64_t second = time / 1'000'000'000;
        if (second != second_) {
            second_ = second;
            const time_t moment = second;
            std::tm broken{};
            utc_ ? gmtime_r(&moment, &broken) : localtime_r(&moment, &broken);
            std::snprintf(clock_, sizeof clock_, "%02d:%02d:%02d.", broken.tm_hour % 100, broken.tm_min % 100,
                          broken.tm_sec % 100);
        }
        out.put(std::string_view(clock_));
        out.put_fraction(static_cast<uint64_t>(time % 1'000'000'000));
    }
    out.put("] (+");
    if (any_) {
        const uint64_t delta = static_cast<uint64_t>(time) - static_cast<uint64_t>(last_);
        out.put_decimal(delta / 1'000'000'000);
        out.put('.');
        out.put_fraction(delta % 1'000'000'000);
    } else {
        out.put("?.?????????");
    }
    any_ = true;
    last_ = time;
    out.put(") ");
}

void TextMerger::run(TextFormat &format, int program, Batch &batch, size_t row, TextOut &out) {
    for (TextOp &op : format.programs[program]) {
        out.put(op.literal);
        if (op.code == TextCode::Literal)
            continue;
        const Column *column = op.column < 0 ? nullptr : &batch.plan->columns[op.column];
        const ColumnData *data = op.column < 0 ? nullptr : &batch.columns.at(op.column);
        switch (op.code) {
        case TextCode::Number:
            put_again(out, op, number_at(*column, data->values, row));
            break;
        case TextCode::Real:
            put_real(out, *column, *data, row);
            break;
        case TextCode::Truth:
            out.put(data->values[row] ? "true" : "false");
            break;
        case TextCode::Quoted:
        case TextCode::Hex: {
            const auto size = static_cast<size_t>(data->offsets[row + 1] - data->offsets[row]);
            const uint8_t *bytes = data->content.data() + data->offsets[row];
            op.code == TextCode::Quoted ? out.put_quoted(bytes, size) : put_bytes(out, bytes, size);
            break;
        }
        case TextCode::Array:
            array(format, op, *column, batch, row, out);
            break;
        case TextCode::Variant:
            out.put("{ ");
            if (const int chosen = option_of(op, batch, row); chosen >= 0)
                run(format, chosen, batch, row, out);
            out.put(" }");
            break;
        case TextCode::Option:
            if (data->valid[row]) {
                out.put("{ ");
                run(format, op.program, batch, row, out);
                out.put(" }");
            } else {
                out.put("<none>");
            }
            break;
        case TextCode::Literal:
            break;
        }
    }
}

int TextMerger::option_of(const TextOp &op, const Batch &batch, size_t row) {
    int chosen = -1;
    for (const auto &[option, text] : op.options) {
        if (option >= 0 && batch.columns.at(option).valid[row])
            return text;
        if (option < 0 && chosen < 0)
            chosen = text;
    }
    return chosen;
}

void TextMerger::array(TextFormat &format, const TextOp &op, const Column &column, Batch &batch, size_t row,
                       TextOut &out) {
    size_t start = row * static_cast<size_t>(column.width), length = static_cast<size_t>(column.width);
    if (column.kind == ColumnKind::List) {
        const int64_t *offsets = batch.columns.at(op.column).offsets;
        start = static_cast<size_t>(offsets[row]);
        length = static_cast<size_t>(offsets[row + 1]) - start;
    }
    out.put('[');
    for (size_t i = 0; i < length; i++) {
        out.put(i ? ", [" : " [");
        out.put_decimal(i);
        out.put("] = ");
        run(format, op.program, batch, start + i, out);
    }
    out.put(" ]");
}

} // namespace boxtrace::ctf
