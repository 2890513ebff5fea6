// Text that grows, and the parts that lines of events are made of. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace boxtrace::ctf {

// Text that is copied often: with bytes after it that may be copied, too.
class PaddedText {
public:
    static constexpr size_t kPad = 32;

    PaddedText() : PaddedText(std::string_view()) {}
    explicit PaddedText(std::string_view text) : bytes_(text), size_(text.size()) { bytes_.resize(size_ + kPad); }
    const char *data() const { return bytes_.data(); }
    size_t size() const { return size_; }

private:
    std::string bytes_;
    size_t size_;
};

class TextOut {
public:
    std::string_view text() const { return {start_.get(), size()}; }
    size_t size() const { return static_cast<size_t>(at_ - start_.get()); }
    void clear() { at_ = start_.get(); }

    // Room for so many bytes: where they go. Tell by advance how many they were.
    char *room(size_t bytes) {
        if (static_cast<size_t>(end_ - at_) < bytes)
            grow(bytes);
        return at_;
    }
    void advance(char *to) { at_ = to; }

    void put(char c) {
        *room(1) = c;
        at_++;
    }
    void put(std::string_view text) {
        std::memcpy(room(text.size()), text.data(), text.size());
        at_ += text.size();
    }
    void put(const PaddedText &text) {
        char *to = room(text.size() + PaddedText::kPad);
        std::memcpy(to, text.data(), PaddedText::kPad);
        if (text.size() > PaddedText::kPad)
            std::memcpy(to + PaddedText::kPad, text.data() + PaddedText::kPad, text.size() - PaddedText::kPad);
        at_ = to + text.size();
    }
    template <typename T> void put_decimal(T value) {
        char *to = room(24);
        at_ = std::to_chars(to, to + 24, value).ptr;
    }
    // Nine digits.
    void put_fraction(uint64_t ns) {
        char *to = room(9);
        for (int i = 8; i >= 0; i--, ns /= 10)
            to[i] = static_cast<char>('0' + ns % 10);
        at_ = to + 9;
    }
    // In quotes, with the escapes of babeltrace2.
    void put_quoted(const uint8_t *text, size_t size);

private:
    void grow(size_t bytes);

    std::unique_ptr<char[]> start_;
    char *at_ = nullptr;
    char *end_ = nullptr;
};

} // namespace boxtrace::ctf
