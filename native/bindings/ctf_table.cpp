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
    PyObject *parts; // list of tuples: batch, number of the table in it, event class
    Py_ssize_t length;
};

TableObject &table_of(PyObject *self) { return *reinterpret_cast<TableObject *>(self); }

void deallocate(PyObject *self) {
    TableObject &table = table_of(self);
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(table.name);
    Py_XDECREF(table.event);
    Py_XDECREF(table.source);
    Py_XDECREF(table.parts);
    type->tp_free(self);
    Py_DECREF(type);
}

// Steals the reference to parts, which may be null where an error is set.
PyObject *new_table(PyTypeObject *type, PyObject *name, PyObject *event, PyObject *source, PyObject *parts,
                    Py_ssize_t length) {
    PyObject *self = parts == nullptr ? nullptr : type->tp_alloc(type, 0);
    if (self == nullptr) {
        Py_XDECREF(parts);
        return nullptr;
    }
    TableObject &table = table_of(self);
    table.name = Py_NewRef(name);
    table.event = Py_NewRef(event);
    table.source = Py_NewRef(source);
    table.parts = parts;
    table.length = length;
    return self;
}

PyObject *construct(PyTypeObject *type, PyObject *arguments, PyObject *) {
    PyObject *name, *event, *source, *parts;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "UOOO!n", &name, &event, &source, &PyList_Type, &parts, &length))
        return nullptr;
    return new_table(type, name, event, source, Py_NewRef(parts), length);
}

Py_ssize_t length_of(PyObject *self) { return table_of(self).length; }

PyMemberDef members[] = {
    {"name", T_OBJECT_EX, offsetof(TableObject, name), READONLY, "Name of the type of events."},
    {"_event", T_OBJECT_EX, offsetof(TableObject, event), READONLY, "The first event class of that name."},
    {"_source", T_OBJECT_EX, offsetof(TableObject, source), READONLY, "How the rows of that class are decoded."},
    {"_parts", T_OBJECT_EX, offsetof(TableObject, parts), READONLY, "Batches, each with a table and its event class."},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void *>(deallocate)},
    {Py_tp_new, reinterpret_cast<void *>(construct)},
    {Py_sq_length, reinterpret_cast<void *>(length_of)},
    {Py_tp_members, members},
    {0, nullptr},
};

PyType_Spec spec = {"boxtrace._native.CtfTable", sizeof(TableObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    slots};

// Add a part to the table of its name, or make that table. False with a Python error set.
bool add_part(PyObject *tables, PyTypeObject *type, PyObject *event, PyObject *source, nb::object part,
              Py_ssize_t rows) {
    static PyObject *const attribute = PyUnicode_InternFromString("name");
    const nb::object name = nb::steal(PyObject_GetAttr(event, attribute));
    if (!name.is_valid())
        return false;
    if (PyObject *found = PyDict_GetItemWithError(tables, name.ptr())) {
        if (!PyObject_TypeCheck(found, type)) {
            PyErr_SetString(PyExc_TypeError, "not a table");
            return false;
        }
        table_of(found).length += rows;
        return PyList_Append(table_of(found).parts, part.ptr()) == 0;
    }
    if (PyErr_Occurred())
        return false;
    PyObject *parts = PyList_New(1);
    if (parts != nullptr)
        PyList_SET_ITEM(parts, 0, part.release().ptr());
    const nb::object table = nb::steal(new_table(type, name.ptr(), event, source, parts, rows));
    return table.is_valid() && PyDict_SetItem(tables, name.ptr(), table.ptr()) == 0;
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
        nb::object part = nb::make_tuple(object, number, event);
        if (!add_part(tables.ptr(), wanted, event.ptr(), source.ptr(), std::move(part), static_cast<Py_ssize_t>(rows)))
            throw nb::python_error();
    }
}

} // namespace boxtrace::ctf
