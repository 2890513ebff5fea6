// Decoded columns as Arrow arrays, without copying them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "arrow_abi.h"
#include "ctf_columns.hpp"

namespace boxtrace::ctf {

// The columns that one call of decode_packets filled. Arrays exported from it keep it alive.
struct Batch {
    explicit Batch(std::shared_ptr<const Plan> of, std::vector<size_t> expected = {})
        : plan(std::move(of)), columns(*plan, std::move(expected)) {}
    Batch(const Batch &) = delete;
    std::shared_ptr<const Plan> plan;
    Columns columns;
};

// A table is the number of an event class among those that were asked for.
size_t table_rows(const Batch &batch, size_t table);
void export_schema(const Plan &plan, size_t table, ArrowSchema *out);
void export_array(const std::shared_ptr<Batch> &batch, size_t table, ArrowArray *out);
// Rows of one table of a batch.
struct Rows {
    std::shared_ptr<Batch> batch;
    size_t table;
};

// A stream of one array for each part that has rows. Their columns are those of the plan's table.
void export_stream(std::shared_ptr<const Plan> plan, size_t table, std::vector<Rows> parts, ArrowArrayStream *out);

} // namespace boxtrace::ctf
