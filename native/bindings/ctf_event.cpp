// SPDX-License-Identifier: Apache-2.0
#include "ctf_event.hpp"

#include <cstddef>
#include <new>

namespace boxtrace::ctf {
namespace {

// Events refer to their kinds and rows and nothing refers back to them: they need no garbage collector.
struct EventObject {
    PyObject ob_base;
    PyObject *kind;
    PyObject *name;
    PyObject *columns;
    PyObject *record; // as Python decoded it, null until it is asked for
    std::shared_ptr<EventRows> rows;
    size_t at;
    int64_t time;
    bool clocked;
};

EventObject &event_of(PyObject *self) { return *reinterpret_cast<EventObject *>(self); }

void deallocate(PyObject *self) {
    EventObject &event = event_of(self);
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(event.kind);
    Py_XDECREF(event.name);
    Py_XDECREF(event.columns);
    Py_XDECREF(event.record);
    event.rows.~shared_ptr();
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *refuse(PyTypeObject *, PyObject *, PyObject *) {
    PyErr_SetString(PyExc_TypeError, "events come from a trace");
    return nullptr;
}

PyObject *subscript(PyObject *self, PyObject *name) {
    const EventObject &event = event_of(self);
    PyObject *column = PyDict_GetItemWithError(event.columns, name);
    if (column != nullptr)
        return event.rows->value(event.at, static_cast<int>(PyLong_AsLong(column)));
    if (PyErr_Occurred())
        return nullptr;
    return PyObject_CallMethod(self, "_other", "O", name);
}

PyObject *timestamp(PyObject *self, void *) {
    const EventObject &event = event_of(self);
    if (!event.clocked)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(event.time);
}

PyObject *value(PyObject *self, PyObject *column) {
    const long number = PyLong_AsLong(column);
    if (number == -1 && PyErr_Occurred())
        return nullptr;
    return event_of(self).rows->value(event_of(self).at, static_cast<int>(number));
}

PyObject *place(PyObject *self, PyObject *) { return event_of(self).rows->place(event_of(self).at); }

PyObject *get_kind(PyObject *self, void *) { return Py_NewRef(event_of(self).kind); }
PyObject *get_name(PyObject *self, void *) { return Py_NewRef(event_of(self).name); }

PyObject *get_record(PyObject *self, void *) {
    PyObject *record = event_of(self).record;
    return Py_NewRef(record == nullptr ? Py_None : record);
}

int set_record(PyObject *self, PyObject *record, void *) {
    Py_XSETREF(event_of(self).record, Py_XNewRef(record));
    return 0;
}

PyGetSetDef properties[] = {
    {"_kind", get_kind, nullptr, "What its sort of event has in common.", nullptr},
    {"_record", get_record, set_record, "The event as Python decoded it; None until then.", nullptr},
    {"name", get_name, nullptr, "Name of the event's class.", nullptr},
    {"timestamp", timestamp, nullptr,
     "ns from the clock's origin (the Unix epoch, for LTTng's traces and ours); None without a clock.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef methods[] = {
    {"_value", value, METH_O, "Return the value in a column of numbers, truth values or text."},
    {"_place", place, METH_NOARGS, "Return packets, the event's packet among them, its bit there, and the clock."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void *>(deallocate)},
    {Py_tp_new, reinterpret_cast<void *>(refuse)},
    {Py_mp_subscript, reinterpret_cast<void *>(subscript)},
    {Py_tp_getset, properties},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"boxtrace._native.CtfEvent", sizeof(EventObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    slots};

PyObject *text(const ColumnData &data, size_t row) {
    const int64_t start = data.offsets[row];
    const auto *bytes = reinterpret_cast<const char *>(data.content.data() + start);
    return PyUnicode_DecodeUTF8(bytes, data.offsets[row + 1] - start, "surrogateescape");
}

PyObject *floating(const Column &column, const ColumnData &data, size_t row) {
    if (column.width == 4) {
        float narrow;
        std::memcpy(&narrow, data.values + row * 4, 4);
        return PyFloat_FromDouble(static_cast<double>(narrow));
    }
    double wide;
    std::memcpy(&wide, data.values + row * 8, 8);
    return PyFloat_FromDouble(wide);
}

} // namespace

PyObject *EventRows::value(size_t at, int number) const {
    const Row &row = rows_[at];
    const Batch &batch = *feeds_[row.feed]->batch;
    if (number < 0 || static_cast<size_t>(number) >= batch.plan->columns.size() ||
        batch.plan->columns[static_cast<size_t>(number)].space != batch.plan->events[row.row.event].space) {
        PyErr_SetString(PyExc_IndexError, "the event has no such column");
        return nullptr;
    }
    const Column &column = batch.plan->columns[static_cast<size_t>(number)];
    const ColumnData &data = batch.columns.at(number);
    switch (column.kind) {
    case ColumnKind::Integer:
        return PyLong_FromLongLong(static_cast<int64_t>(number_at(column, data.values, row.row.row)));
    case ColumnKind::Unsigned:
        return PyLong_FromUnsignedLongLong(number_at(column, data.values, row.row.row));
    case ColumnKind::Boolean:
        return PyBool_FromLong(data.values[row.row.row]);
    case ColumnKind::Float:
        return floating(column, data, row.row.row);
    case ColumnKind::Bytes:
        return text(data, row.row.row);
    default:
        PyErr_SetString(PyExc_TypeError, "the column has no simple values");
        return nullptr;
    }
}

PyObject *EventRows::place(size_t at) const {
    const Row &row = rows_[at];
    return Py_BuildValue("OIKK", feeds_[row.feed]->packets.ptr(), row.row.packet,
                         static_cast<unsigned long long>(row.row.position),
                         static_cast<unsigned long long>(row.row.clock));
}

PyObject *make_event_type() { return PyType_FromSpec(&spec); }

PyObject *new_event(PyTypeObject *type, const EventSort &sort, const std::shared_ptr<EventRows> &rows, size_t at,
                    bool clocked, int64_t time) {
    PyObject *self = type->tp_alloc(type, 0);
    if (self == nullptr)
        return nullptr;
    // Types made in Python want the collector to look at what is of them; it would spend its time on nothing.
    if (PyType_IS_GC(type))
        PyObject_GC_UnTrack(self);
    EventObject &event = event_of(self);
    event.kind = Py_NewRef(sort.kind);
    event.name = Py_NewRef(sort.name);
    event.columns = Py_NewRef(sort.columns);
    new (&event.rows) std::shared_ptr<EventRows>(rows);
    event.at = at;
    event.time = time;
    event.clocked = clocked;
    return self;
}

} // namespace boxtrace::ctf
