/* SPDX-License-Identifier: Apache-2.0 */
/* Event types of Python programs, on the C client. An event is put together on the stack, then copied into the ring. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <boxtrace.h>
#include <stdbool.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x030a0000
static inline PyObject *Py_NewRef(PyObject *object) {
    Py_INCREF(object);
    return object;
}

static inline int PyModule_AddObjectRef(PyObject *module, const char *name, PyObject *object) {
    Py_INCREF(object);
    const int failed = PyModule_AddObject(module, name, object);
    if (failed)
        Py_DECREF(object);
    return failed;
}
#endif

enum { MAX_FIELDS = 64, ON_STACK = 2048, TASK = 255 };

struct field {
    uint8_t kind, element, bits;
    uint32_t count;
};

typedef struct {
    PyObject_HEAD vectorcallfunc vectorcall;
    struct boxtrace_event event;
    PyObject *name, *body, *task;
    Py_ssize_t field_count, parameters;
    struct field fields[MAX_FIELDS];
} Event;

/* What is being put together: on the stack, or in memory of its own when it grows. */
struct buffer {
    unsigned char *bytes;
    size_t size, room;
    unsigned char first[ON_STACK];
};

static unsigned char *grow(struct buffer *buffer, size_t size) {
    if (buffer->room - buffer->size < size) {
        const size_t room = 2 * (buffer->size + size);
        unsigned char *bytes = PyMem_Malloc(room);
        if (!bytes) {
            PyErr_NoMemory();
            return NULL;
        }
        memcpy(bytes, buffer->bytes, buffer->size);
        if (buffer->bytes != buffer->first)
            PyMem_Free(buffer->bytes);
        buffer->bytes = bytes;
        buffer->room = room;
    }
    unsigned char *at = buffer->bytes + buffer->size;
    buffer->size += size;
    return at;
}

static int put_number(struct buffer *buffer, const struct field *field, PyObject *value) {
    const size_t size = field->bits / 8;
    unsigned char *at = grow(buffer, size);
    if (!at)
        return -1;
    if (field->element == BOXTRACE_FLOAT) {
        const double number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred())
            return -1;
        const float single = (float)number;
        memcpy(at, size == 4 ? (const void *)&single : (const void *)&number, size);
        return 0;
    }
    int overflow = 0;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (number == -1 && PyErr_Occurred())
        return -1;
    bool fits = !overflow;
    if (field->element == BOXTRACE_SIGNED) {
        fits = fits && (size == 8 || (number >= -(1ll << (field->bits - 1)) && number < 1ll << (field->bits - 1)));
    } else if (size == 8 && overflow > 0) {
        number = (long long)PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred())
            return -1;
        fits = true;
    } else {
        fits = fits && number >= 0 && (size == 8 || number < 1ll << field->bits);
    }
    if (!fits) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit %d bits", value, field->bits);
        return -1;
    }
    memcpy(at, &number, size); /* little-endian, as the protocol is */
    return 0;
}

static int put_string(struct buffer *buffer, PyObject *value) {
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(value, &length);
    PyObject *replaced = NULL;
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        replaced = PyUnicode_AsEncodedString(value, "utf-8", "replace");
        if (replaced) {
            text = PyBytes_AS_STRING(replaced);
            length = PyBytes_GET_SIZE(replaced);
        }
    }
    unsigned char *at = NULL;
    if (text) {
        const char *end = memchr(text, 0, (size_t)length);
        const size_t used = end ? (size_t)(end - text) : (size_t)length;
        at = grow(buffer, used + 1);
        if (at)
            boxtrace_copy_string(at, text, used);
    }
    Py_XDECREF(replaced);
    return at ? 0 : -1;
}

static int put_numbers(struct buffer *buffer, const struct field *field, PyObject *value) {
    PyObject *items = PySequence_Fast(value, "numbers are expected");
    if (!items)
        return -1;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    int result = 0;
    if (field->kind == BOXTRACE_SEQUENCE) {
        const uint32_t number = (uint32_t)count;
        unsigned char *at = grow(buffer, sizeof(number));
        if (at)
            memcpy(at, &number, sizeof(number));
        result = at ? 0 : -1;
    } else if ((uint32_t)count != field->count) {
        PyErr_Format(PyExc_ValueError, "%u numbers are expected, not %zd", field->count, count);
        result = -1;
    }
    for (Py_ssize_t i = 0; i < count && !result; i++)
        result = put_number(buffer, field, PySequence_Fast_GET_ITEM(items, i));
    Py_DECREF(items);
    return result;
}

static int put_task(struct buffer *buffer, PyObject *task) {
    PyObject *name = PyObject_CallNoArgs(task);
    const int result = name ? put_string(buffer, name) : -1;
    Py_XDECREF(name);
    return result;
}

static int put_fields(struct buffer *buffer, const Event *self, PyObject *const *values) {
    for (Py_ssize_t i = 0; i < self->field_count; i++) {
        const struct field *field = &self->fields[i];
        int result;
        switch (field->kind) {
        case TASK:
            result = put_task(buffer, self->task);
            break;
        case BOXTRACE_STRING:
            result = put_string(buffer, *values++);
            break;
        case BOXTRACE_ARRAY:
        case BOXTRACE_SEQUENCE:
            result = put_numbers(buffer, field, *values++);
            break;
        default:
            result = put_number(buffer, field, *values++);
        }
        if (result)
            return -1;
    }
    return 0;
}

static PyObject *call(PyObject *object, PyObject *const *values, size_t flagged, PyObject *keywords) {
    Event *self = (Event *)object;
    if (!__atomic_load_n(&self->event.enabled, __ATOMIC_RELAXED))
        Py_RETURN_NONE;
    if (PyVectorcall_NARGS(flagged) != self->parameters || (keywords && PyTuple_GET_SIZE(keywords)))
        return PyErr_Format(PyExc_TypeError, "%U takes %zd values", self->name, self->parameters);
    struct buffer buffer;
    buffer.bytes = buffer.first;
    buffer.size = 0;
    buffer.room = sizeof(buffer.first);
    const int result = put_fields(&buffer, self, values);
    if (!result) {
        unsigned char *at = boxtrace_begin_at(&self->event, buffer.size, __builtin_return_address(0));
        if (at) {
            memcpy(at, buffer.bytes, buffer.size);
            boxtrace_end();
        }
    }
    if (buffer.bytes != buffer.first)
        PyMem_Free(buffer.bytes);
    if (result)
        return NULL;
    Py_RETURN_NONE;
}

static int init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    Event *self = (Event *)object;
    PyObject *name, *body, *layout, *counts, *task;
    static char *names[] = {"name", "body", "layout", "counts", "task", NULL};
    if (self->body) {
        PyErr_SetString(PyExc_RuntimeError, "an event type is declared once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "USSO!O", names, &name, &body, &layout, &PyList_Type, &counts,
                                     &task))
        return -1;
    const Py_ssize_t count = PyBytes_GET_SIZE(layout) / 3;
    if (count > MAX_FIELDS || PyList_GET_SIZE(counts) != count) {
        PyErr_SetString(PyExc_ValueError, "too many fields");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(layout) + 3 * i;
        const unsigned long elements = PyLong_AsUnsignedLong(PyList_GET_ITEM(counts, i));
        if (PyErr_Occurred())
            return -1;
        self->fields[i] = (struct field){bytes[0], bytes[1], bytes[2], (uint32_t)elements};
        self->parameters += bytes[0] != TASK;
    }
    self->field_count = count;
    self->name = Py_NewRef(name);
    self->body = Py_NewRef(body);
    self->task = Py_NewRef(task);
    self->event.name = PyUnicode_AsUTF8(name);
    self->event.declaration = (const unsigned char *)PyBytes_AS_STRING(body);
    self->event.declaration_size = (uint32_t)PyBytes_GET_SIZE(body);
    Py_INCREF(self); /* the client refers to it until the end of the process */
    boxtrace_register(&self->event);
    Py_BEGIN_ALLOW_THREADS boxtrace_start(); /* has been done, but waits for the host to know it */
    Py_END_ALLOW_THREADS return 0;
}

static PyObject *get_enabled(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(__atomic_load_n(&((Event *)object)->event.enabled, __ATOMIC_RELAXED) != 0);
}

static PyObject *new_event(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments;
    (void)keywords;
    Event *self = (Event *)type->tp_alloc(type, 0);
    if (self)
        self->vectorcall = call;
    return (PyObject *)self;
}

static void dealloc(PyObject *object) {
    Event *self = (Event *)object;
    Py_XDECREF(self->name);
    Py_XDECREF(self->body);
    Py_XDECREF(self->task);
    Py_TYPE(object)->tp_free(object);
}

static PyGetSetDef properties[] = {
    {"enabled", get_enabled, NULL, "Whether somebody records it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject event_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "boxtrace_client._native.Event",
    .tp_basicsize = sizeof(Event),
    .tp_dealloc = dealloc,
    .tp_vectorcall_offset = offsetof(Event, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "An event type; a call records it.",
    .tp_getset = properties,
    .tp_init = init,
    .tp_new = new_event,
};

static PyObject *start(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS boxtrace_start();
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *context_changed(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS boxtrace_context_changed();
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"start", start, METH_NOARGS, "Connect to a host, if there is one, and go on looking for one."},
    {"context_changed", context_changed, METH_NOARGS, "The calling thread's user or group ids have changed."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Event types on the C client.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module || PyType_Ready(&event_type) || PyModule_AddObjectRef(module, "Event", (PyObject *)&event_type)) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
