// The Python type that events derive from: what most is asked for, without a call of Python code.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "bindings.hpp"
#include "ctf_merge.hpp"

namespace boxtrace::ctf {

// What one call of decode gave, and the Python object of its packets.
struct EventFeed {
    std::shared_ptr<Batch> batch;
    nb::object packets;
};

// Rows of several streams in the order of time. Columns stay where they were decoded: a value becomes an object when
// it is asked for.
class EventRows {
public:
    void add(const Ordered &row, const std::shared_ptr<EventFeed> &feed) {
        if (feeds_.empty() || feeds_.back() != feed)
            feeds_.push_back(feed);
        rows_.push_back({row, feeds_.size() - 1});
    }

    // New references; null with a Python error set.
    PyObject *value(size_t at, int number) const;
    PyObject *place(size_t at) const;

private:
    struct Row {
        Ordered row;
        size_t feed;
    };
    std::vector<Row> rows_;
    std::vector<std::shared_ptr<EventFeed>> feeds_;
};

// One sort of events: borrowed from the tuple (kind, name, columns) that Python made for it.
struct EventSort {
    PyObject *kind;
    PyObject *name;
    PyObject *columns; // dictionary: name to column
};

// The type CtfEvent, new reference; null with a Python error set.
PyObject *make_event_type();
// A new event of a type that derives from it.
PyObject *new_event(PyTypeObject *type, const EventSort &sort, const std::shared_ptr<EventRows> &rows, size_t at,
                    bool clocked, int64_t time);

} // namespace boxtrace::ctf
