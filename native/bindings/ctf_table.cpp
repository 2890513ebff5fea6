// SPDX-License-Identifier: Apache-2.0
#include "ctf_table.hpp"

#include <nanobind/stl/shared_ptr.h>

#include <cstddef>
#include <structmember.h>

namespace boxtrace::ctf {
namespace {

// Tables refer to their source and batches, and nothing refers back to them: they need no garbage collector.
struct TableObject {
    PyObject ob_base;
    PyObject *name;
    PyObject *event;
    PyObject *source;
    PyObject *parts; // list of tuples: batch, number of the table in it, event class; null where there is one part
    PyObject *batch; // of the only part
    PyObject *batch_event;
    size_t number;
    Py_ssize_t length;
};

TableObject &table_of(PyObject *self) { return *reinterpret_cast<TableObject *>(self); }

void deallocate(PyObject *self) {
    TableObject &table = table_of(self);
    PyTypeObject *type = Py_TYPE(self);
    for (PyObject *object : {table.name, table.event, table.source, table.parts, table.batch, table.batch_event})
        Py_XDECREF(object);
    type->tp_free(self);
    Py_DECREF(type);
}

// A table without parts; null where an error is set.
PyObject *new_table(PyTypeObject *type, PyObject *name, PyObject *event, PyObject *source, Py_ssize_t length) {
    PyObject *self = type->tp_alloc(type, 0);
    if (self == nullptr)
        return nullptr;
    TableObject &table = table_of(self);
    table.name = Py_NewRef(name);
    table.event = Py_NewRef(event);
    table.source = Py_NewRef(source);
    table.length = length;
    return self;
}

PyObject *construct(PyTypeObject *type, PyObject *arguments, PyObject *) {
    PyObject *name, *event, *source, *parts;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "UOOO!n", &name, &event, &source, &PyList_Type, &parts, &length))
        return nullptr;
    PyObject *self = new_table(type, name, event, source, length);
    if (self != nullptr)
        table_of(self).parts = Py_NewRef(parts);
    return self;
}

Py_ssize_t length_of(PyObject *self) { return table_of(self).length; }

nb::object part_of(PyObject *batch, size_t number, PyObject *event) {
    return nb::make_tuple(nb::borrow(batch), number, nb::borrow(event));
}

// The list of parts, which is made when it is asked for, or when there is a second one.
PyObject *parts_of(TableObject &table) {
    if (table.parts == nullptr) {
        nb::list parts;
        if (table.batch != nullptr)
            parts.append(part_of(table.batch, table.number, table.batch_event));
        table.parts = parts.release().ptr();
        Py_CLEAR(table.batch);
        Py_CLEAR(table.batch_event);
    }
    return table.parts;
}

PyObject *get_parts(PyObject *self, void *) {
    try {
        return Py_NewRef(parts_of(table_of(self)));
    } catch (nb::python_error &error) {
        error.restore();
        return nullptr;
    }
}

PyMemberDef members[] = {
    {"name", T_OBJECT_EX, offsetof(TableObject, name), READONLY, "Name of the type of events."},
    {"_event", T_OBJECT_EX, offsetof(TableObject, event), READONLY, "The first event class of that name."},
    {"_source", T_OBJECT_EX, offsetof(TableObject, source), READONLY, "How the rows of that class are decoded."},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"_parts", get_parts, nullptr, "Batches, each with the number of a table in it and its event class.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void *>(deallocate)},
    {Py_tp_new, reinterpret_cast<void *>(construct)},
    {Py_sq_length, reinterpret_cast<void *>(length_of)},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"boxtrace._native.CtfTable", sizeof(TableObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    slots};

// Add a part to the table of its event class's name, or make that table.
void add_part(PyObject *tables, PyTypeObject *type, PyObject *source, PyObject *batch, size_t number, PyObject *event,
              Py_ssize_t rows) {
    static PyObject *const attribute = PyUnicode_InternFromString("name");
    const nb::object name = nb::steal(PyObject_GetAttr(event, attribute));
    if (!name.is_valid())
        throw nb::python_error();
    if (PyObject *found = PyDict_GetItemWithError(tables, name.ptr())) {
        if (!PyObject_TypeCheck(found, type))
            throw nb::type_error("not a table");
        TableObject &table = table_of(found);
        nb::borrow<nb::list>(parts_of(table)).append(part_of(batch, number, event));
        table.length += rows;
        return;
    }
    if (PyErr_Occurred())
        throw nb::python_error();
    const nb::object made = nb::steal(new_table(type, name.ptr(), event, source, rows));
    if (!made.is_valid())
        throw nb::python_error();
    TableObject &table = table_of(made.ptr());
    table.batch = Py_NewRef(batch);
    table.batch_event = Py_NewRef(event);
    table.number = number;
    if (PyDict_SetItem(tables, name.ptr(), made.ptr()) != 0)
        throw nb::python_error();
}

} // namespace

PyObject *make_table_type() { return PyType_FromSpec(&spec); }

void add_tables(nb::dict tables, nb::type_object type, nb::list events, nb::object source,
                const std::shared_ptr<Batch> &batch) {
    PyObject *base = nb::module_::import_("boxtrace._native").attr("CtfTable").ptr();
    auto *wanted = reinterpret_cast<PyTypeObject *>(type.ptr());
    if (!PyType_IsSubtype(wanted, reinterpret_cast<PyTypeObject *>(base)))
        throw nb::type_error("not a type of tables");
    if (events.size() < batch->plan->tables.size())
        throw nb::index_error();
    const nb::object object = nb::cast(batch);
    for (size_t number = 0; number < batch->plan->tables.size(); number++) {
        const size_t rows = table_rows(*batch, number);
        if (rows == 0)
            continue;
        const nb::object event = nb::borrow(PyList_GET_ITEM(events.ptr(), number));
        add_part(tables.ptr(), wanted, source.ptr(), object.ptr(), number, event.ptr(), static_cast<Py_ssize_t>(rows));
    }
}

} // namespace boxtrace::ctf
