// SPDX-License-Identifier: Apache-2.0
#include "ctf_arrow.hpp"

#include <cerrno>

namespace boxtrace::ctf {
namespace {

// What buffers point to when a column never had a value.
alignas(64) const uint8_t kNothing[64] = {};

std::string format_of(const Column &column) {
    switch (column.kind) {
    case ColumnKind::Integer:
        return column.width == 1 ? "c" : column.width == 2 ? "s" : column.width == 4 ? "i" : "l";
    case ColumnKind::Unsigned:
        return column.width == 1 ? "C" : column.width == 2 ? "S" : column.width == 4 ? "I" : "L";
    case ColumnKind::Float:
        return column.width == 4 ? "f" : "g";
    case ColumnKind::Boolean:
        return "b";
    case ColumnKind::Text:
        return "U";
    case ColumnKind::Bytes:
        return "Z";
    case ColumnKind::List:
        return "+L";
    case ColumnKind::FixedList:
        return "+w:" + std::to_string(column.width);
    case ColumnKind::Struct:
        return "+s";
    }
    return "n";
}

struct SchemaOwner {
    std::string format;
    std::string name;
    std::vector<ArrowSchema> children;
    std::vector<ArrowSchema *> pointers;
};

void release_schema(ArrowSchema *schema) {
    auto *owner = static_cast<SchemaOwner *>(schema->private_data);
    for (auto &child : owner->children)
        if (child.release != nullptr)
            child.release(&child);
    schema->release = nullptr;
    delete owner;
}

void fill_schema(const Plan &plan, int index, ArrowSchema *out) {
    const Column &column = plan.columns[index];
    auto *owner = new SchemaOwner{format_of(column), column.name, {}, {}};
    owner->children.resize(column.children.size());
    for (size_t i = 0; i < column.children.size(); i++) {
        fill_schema(plan, column.children[i], &owner->children[i]);
        owner->pointers.push_back(&owner->children[i]);
    }
    *out = {owner->format.c_str(),
            owner->name.c_str(),
            nullptr,
            column.nullable ? ARROW_FLAG_NULLABLE : 0,
            static_cast<int64_t>(owner->children.size()),
            owner->pointers.data(),
            nullptr,
            release_schema,
            owner};
}

struct ArrayOwner {
    std::shared_ptr<Batch> batch;
    std::vector<uint8_t> valid;  // bits
    std::vector<uint8_t> values; // bits of booleans
    std::vector<const void *> buffers;
    std::vector<ArrowArray> children;
    std::vector<ArrowArray *> pointers;
};

void release_array(ArrowArray *array) {
    auto *owner = static_cast<ArrayOwner *>(array->private_data);
    for (auto &child : owner->children)
        if (child.release != nullptr)
            child.release(&child);
    array->release = nullptr;
    delete owner;
}

std::vector<uint8_t> packed(const uint8_t *bytes, size_t rows, int64_t *zeros) {
    std::vector<uint8_t> bits((rows + 7) / 8 + 1);
    int64_t ones = 0;
    for (size_t row = 0; row < rows; row++)
        if (bytes[row]) {
            bits[row >> 3] |= static_cast<uint8_t>(1 << (row & 7));
            ones++;
        }
    *zeros = static_cast<int64_t>(rows) - ones;
    return bits;
}

const void *buffer(const void *bytes) { return bytes == nullptr ? kNothing : bytes; }

void fill_array(const std::shared_ptr<Batch> &batch, int index, size_t rows, ArrowArray *out) {
    const Column &column = batch->plan->columns[index];
    const ColumnData &data = batch->columns.at(index);
    auto *owner = new ArrayOwner{batch, {}, {}, {}, {}, {}};
    int64_t nulls = 0;
    if (column.nullable && rows) {
        owner->valid = packed(data.valid, rows, &nulls);
        owner->buffers.push_back(nulls ? owner->valid.data() : nullptr);
    } else {
        owner->buffers.push_back(nullptr);
    }
    size_t child_rows = rows;
    switch (column.kind) {
    case ColumnKind::Boolean: {
        int64_t ignored;
        owner->values = packed(data.values, rows, &ignored);
        owner->buffers.push_back(owner->values.data());
        break;
    }
    case ColumnKind::Text:
    case ColumnKind::Bytes:
        owner->buffers.push_back(buffer(data.offsets));
        owner->buffers.push_back(buffer(data.content.data()));
        break;
    case ColumnKind::List:
        owner->buffers.push_back(buffer(data.offsets));
        child_rows = rows ? static_cast<size_t>(data.offsets[rows]) : 0;
        break;
    case ColumnKind::FixedList:
        child_rows = rows * column.width;
        break;
    case ColumnKind::Struct:
        break;
    default:
        owner->buffers.push_back(buffer(data.values));
    }
    owner->children.resize(column.children.size());
    for (size_t i = 0; i < column.children.size(); i++) {
        fill_array(batch, column.children[i], child_rows, &owner->children[i]);
        owner->pointers.push_back(&owner->children[i]);
    }
    *out = {static_cast<int64_t>(rows),
            nulls,
            0,
            static_cast<int64_t>(owner->buffers.size()),
            static_cast<int64_t>(owner->children.size()),
            owner->buffers.data(),
            owner->pointers.data(),
            nullptr,
            release_array,
            owner};
}

struct StreamOwner {
    std::shared_ptr<const Plan> plan;
    size_t table;
    std::vector<Rows> parts;
    size_t at;
};

int stream_schema(ArrowArrayStream *stream, ArrowSchema *out) {
    const auto *owner = static_cast<StreamOwner *>(stream->private_data);
    try {
        export_schema(*owner->plan, owner->table, out);
    } catch (const std::bad_alloc &) {
        return ENOMEM;
    }
    return 0;
}

int stream_next(ArrowArrayStream *stream, ArrowArray *out) {
    auto *owner = static_cast<StreamOwner *>(stream->private_data);
    *out = {};
    try {
        while (owner->at < owner->parts.size()) {
            const Rows part = std::move(owner->parts[owner->at++]);
            if (table_rows(*part.batch, part.table) == 0)
                continue;
            export_array(part.batch, part.table, out);
            break;
        }
    } catch (const std::bad_alloc &) {
        return ENOMEM;
    }
    return 0;
}

const char *stream_error(ArrowArrayStream *) { return nullptr; }

void release_stream(ArrowArrayStream *stream) {
    delete static_cast<StreamOwner *>(stream->private_data);
    stream->release = nullptr;
}

} // namespace

size_t table_rows(const Batch &batch, size_t table) { return batch.columns.rows[batch.plan->table_spaces.at(table)]; }

void export_schema(const Plan &plan, size_t table, ArrowSchema *out) { fill_schema(plan, plan.tables.at(table), out); }

void export_array(const std::shared_ptr<Batch> &batch, size_t table, ArrowArray *out) {
    fill_array(batch, batch->plan->tables.at(table), table_rows(*batch, table), out);
}

void export_stream(std::shared_ptr<const Plan> plan, size_t table, std::vector<Rows> parts, ArrowArrayStream *out) {
    *out = {stream_schema, stream_next, stream_error, release_stream,
            new StreamOwner{std::move(plan), table, std::move(parts), 0}};
}

} // namespace boxtrace::ctf
