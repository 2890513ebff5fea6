// Decoded rows as lines of text, the rows of several streams in the order of time.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_merge.hpp"
#include "ctf_text_out.hpp"

namespace boxtrace::ctf {

// The numbers are those of boxtrace/ctf/text_plan.py; a test compares them.
enum class TextCode : int64_t { Literal, Number, Real, Truth, Quoted, Hex, Array, Variant, Option };

struct Label {
    int64_t low;
    int64_t high;
    std::string text; // quoted
};

// The number that was shown last, and how.
struct LastNumber {
    uint64_t value = 0;
    uint8_t size = 0; // 0 if there is none
    char text[32];
};

struct TextOp {
    TextCode code;
    int column = -1;
    int base = 10;
    int bits = 64;
    bool sign = false;
    bool labelled = false;
    PaddedText literal;
    LastNumber last;
    std::vector<Label> labels;
    int program = -1;                         // of an element or option
    std::vector<std::pair<int, int>> options; // column and program; column -1 for an option without values
};

struct TextFormat {
    std::vector<std::vector<TextOp>> programs;
    std::vector<int> events;       // program of each event class of the plan, -1 if it is not wanted
    std::vector<PaddedText> heads; // "host name: " of each
};

// Reads a format, or what was added to one: numbers of programs count from the whole's beginning, those of strings not.
void read_text_format(TextFormat &format, std::span<const int64_t> words, const std::vector<std::string> &strings);

class TextMerger {
public:
    explicit TextMerger(bool utc) : utc_(utc) {}

    size_t add_stream(TextFormat format);
    void extend_stream(size_t stream, std::span<const int64_t> words, const std::vector<std::string> &strings) {
        read_text_format(streams_.at(stream).format, words, strings);
    }
    // Memory of the rows that the stream was fed before, all of which were taken.
    std::vector<Ordered> old_order(size_t stream) { return used_up(streams_.at(stream)); }
    // Rows of a stream that come after those it was fed before; packets: the text of each packet's context.
    void feed(size_t stream, std::shared_ptr<Batch> batch, std::vector<Ordered> order,
              const std::vector<std::string> &packets);
    void finish(size_t stream) { streams_.at(stream).finished = true; }
    // Make lines until there are enough bytes, or a stream must be fed: that stream's number, -1 if all are finished,
    // -2 if there is more. They are there until the next call.
    int next(size_t bytes);
    std::string_view text() const { return out_.text(); }

private:
    struct Stream : StreamRows {
        TextFormat format;
        std::shared_ptr<Batch> batch;
        std::vector<PaddedText> packets;
    };

    void line(Stream &stream, const Ordered &row, TextOut &out);
    void stamp(int64_t time, TextOut &out);
    void run(TextFormat &format, int program, Batch &batch, size_t row, TextOut &out);
    void array(TextFormat &format, const TextOp &op, const Column &column, Batch &batch, size_t row, TextOut &out);
    static int option_of(const TextOp &op, const Batch &batch, size_t row);

    std::vector<Stream> streams_;
    TextOut out_; // its memory is used again
    bool utc_;
    bool any_ = false;
    int64_t last_ = 0;
    int64_t second_ = INT64_MIN;
    char clock_[16] = {};
};

} // namespace boxtrace::ctf
