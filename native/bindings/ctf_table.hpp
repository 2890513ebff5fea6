// The Python type that tables derive from, and how a batch is put into tables: there are hundreds of them in each
// batch. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "bindings.hpp"
#include "ctf_arrow.hpp"

namespace boxtrace::ctf {

// The type CtfTable, new reference; null with a Python error set.
PyObject *make_table_type();
// Add the rows of a batch to the tables of a dictionary, by name; those that are not there yet are made.
// type: of the tables, derived from CtfTable. events: the event class of each table of the batch's plan.
void add_tables(nb::dict tables, nb::type_object type, nb::list events, nb::object source,
                const std::shared_ptr<Batch> &batch);

} // namespace boxtrace::ctf
