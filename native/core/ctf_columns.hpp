// Columns while they are filled: buffers in the layout of Arrow, indexed by row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_blocks.hpp"
#include "ctf_plan.hpp"

#include <cstring>
#include <memory>
#include <new>

namespace boxtrace::ctf {

// One column's buffers; those whose size follows from the number of rows lie in the block of their space. Rows are
// written at their number, so that a row that is given up is simply written again.
struct ColumnData {
    uint8_t *values;  // numbers; one byte per boolean
    uint8_t *valid;   // one byte per row that may be null
    int64_t *offsets; // one more than rows
    Bytes content;    // of texts and byte strings
};

// The number in a row, as 64 bits: extended by its sign if the column has one.
inline uint64_t number_at(const Column &column, const uint8_t *values, size_t row) {
    const bool sign = column.kind == ColumnKind::Integer;
    switch (column.width) {
    case 1:
        return sign ? static_cast<uint64_t>(static_cast<int8_t>(values[row])) : values[row];
    case 2: {
        uint16_t value;
        std::memcpy(&value, values + row * 2, 2);
        return sign ? static_cast<uint64_t>(static_cast<int16_t>(value)) : value;
    }
    case 4: {
        uint32_t value;
        std::memcpy(&value, values + row * 4, 4);
        return sign ? static_cast<uint64_t>(static_cast<int32_t>(value)) : value;
    }
    default: {
        uint64_t value;
        std::memcpy(&value, values + row * 8, 8);
        return value;
    }
    }
}

// Elements that are all zeros.
template <typename T> class Zeroed {
public:
    explicit Zeroed(size_t count) {
        bytes_.reserve(count * sizeof(T));
        if (count)
            std::memset(bytes_.data(), 0, count * sizeof(T));
    }
    T &operator[](size_t index) { return reinterpret_cast<T *>(bytes_.data())[index]; }
    const T &operator[](size_t index) const { return reinterpret_cast<const T *>(bytes_.data())[index]; }

private:
    Bytes bytes_;
};

// The rows of all columns of a plan.
class Columns {
public:
    // expected: rows to make room for in each space as soon as it has one, such as the room of a batch before.
    explicit Columns(const Plan &plan, std::vector<size_t> expected = {});
    Columns(const Columns &) = delete;
    ~Columns();

    // Make room for rows up to (not including) this number in every column of the space.
    void ensure(int space, size_t rows) {
        if (rows > capacity_[space])
            grow(space, rows);
    }
    // How many rows there is room for.
    size_t room(int space) const { return capacity_[space]; }
    const std::vector<size_t> &rooms() const { return capacity_; }
    ColumnData &at(int column) { return data_[column]; }
    const ColumnData &at(int column) const { return data_[column]; }
    // Give the row no value, in this column and in those inside it.
    void set_null(int column, size_t row);
    void set_valid(int column, size_t row) {
        if (plan_.columns[column].nullable)
            data_[column].valid[row] = 1;
    }
    // Numbers of a column; they move when its space grows.
    uint8_t *numbers(int column) const { return data_[column].values; }
    // Append bytes as the row's text; invalid UTF-8 is replaced unless the column is one of bytes.
    void set_text(int column, size_t row, const uint8_t *bytes, size_t size, Encoding encoding);
    // The UTF-8 before a NUL among so many bytes as the row's text: how many bytes it has, -1 where there is no NUL.
    ptrdiff_t set_string(int column, size_t row, const uint8_t *bytes, size_t left);
    // The texts of rows that follow one another: UTF-8 of length bytes (16 or more) at an offset of each record, up to
    // a NUL.
    void set_texts(int column, size_t first, std::span<const uint8_t *const> records, size_t offset, size_t length);
    // The texts of rows that follow one another: UTF-8 from an offset of each record on, and a NUL, which is followed
    // by the byte at its end. The blocks that a text lies in can be read as a whole (ctf_strings.hpp).
    void set_strings(int column, size_t first, std::span<const uint8_t *const> records, size_t offset,
                     const uint8_t *const *ends);
    // A text of UTF-8 in 16 bytes, up to a NUL, which is what names of processes are. False if it is not that
    // simple.
    bool set_short_text(int column, size_t row, const uint8_t *bytes);
    void set_bytes(int column, size_t row, const uint8_t *bytes, size_t size);

    std::vector<size_t> rows; // by space

private:
    void grow(int space, size_t rows);

    const Plan &plan_;
    Zeroed<ColumnData> data_;   // without values all its pointers are null
    std::vector<Bytes> blocks_; // by space
    std::vector<size_t> capacity_;
    std::vector<size_t> expected_;
};

} // namespace boxtrace::ctf
