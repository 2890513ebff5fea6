// SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"

#include "sys_error.hpp"

NB_MODULE(_native, module) {
    // What still lives when Python ends, such as a trace in a global variable, is not worth a word to its user.
    nb::set_leak_warnings(false);
    // SysError becomes OSError(errno, message) with the kernel's log as attribute "log".
    nb::register_exception_translator([](const std::exception_ptr &pointer, void *) {
        try {
            std::rethrow_exception(pointer);
        } catch (const boxtrace::SysError &error) {
            nb::object exception = nb::steal(PyObject_CallFunction(PyExc_OSError, "is", error.error, error.what()));
            exception.attr("log") = nb::str(error.log.c_str(), error.log.size());
            PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(exception.ptr())), exception.ptr());
        }
    });
    bind_bpf(module);
    bind_ctf(module);
    bind_files(module);
    bind_memory(module);
    bind_user(module);
}
