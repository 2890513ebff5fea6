// SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"

#include "bpf_object.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

using namespace boxtrace;
using namespace nb::literals;

namespace {

nb::list tuples(const std::vector<TypeMember> &members) {
    nb::list result;
    for (const TypeMember &member : members)
        result.append(nb::make_tuple(member.name, member.offset, member.size, std::string(1, member.kind), member.count,
                                     member.type));
    return result;
}

} // namespace

void bind_bpf(nb::module_ &module) {
    nb::class_<BpfLink>(module, "BpfLink")
        .def_prop_ro("fd", &BpfLink::fd)
        .def("iterate", &BpfLink::iterate)
        .def("close", &BpfLink::close);

    nb::class_<ProgramInfo>(module, "ProgramInfo")
        .def_ro("run_count", &ProgramInfo::run_count)
        .def_ro("run_time_ns", &ProgramInfo::run_time_ns)
        .def_ro("recursion_misses", &ProgramInfo::recursion_misses)
        .def_ro("verified_insns", &ProgramInfo::verified_insns);

    nb::class_<BpfObject>(module, "BpfObject")
        .def(
            "__init__",
            [](BpfObject *self, nb::bytes image, const std::string &name) {
                new (self) BpfObject(std::string(view(image)), name);
            },
            "image"_a, "name"_a)
        .def_prop_ro("programs", &BpfObject::programs)
        .def_prop_ro("maps", &BpfObject::maps)
        .def("enum_values", &BpfObject::enum_values, "name"_a)
        .def(
            "struct_fields",
            [](const BpfObject &self, const std::string &name) {
                nb::dict fields;
                for (const StructField &field : self.struct_fields(name))
                    fields[field.name.c_str()] = nb::make_tuple(field.offset, field.size);
                return fields;
            },
            "name"_a)
        .def("struct_size", &BpfObject::struct_size, "name"_a)
        .def("configure_map", &BpfObject::configure_map, "name"_a, nb::kw_only(), "max_entries"_a = nb::none(),
             "value_size"_a = nb::none())
        .def("reuse_map", &BpfObject::reuse_map, "name"_a, "fd"_a)
        .def(
            "set_data",
            [](BpfObject &self, const std::string &section, nb::bytes value) { self.set_data(section, view(value)); },
            "section"_a, "value"_a)
        .def("set_autoload", &BpfObject::set_autoload, "program"_a, "autoload"_a)
        .def("load", &BpfObject::load, nb::call_guard<nb::gil_scoped_release>())
        .def("map_fd", &BpfObject::map_fd, "name"_a)
        .def("map_value_size", &BpfObject::map_value_size, "name"_a)
        .def("program_fd", &BpfObject::program_fd, "name"_a)
        .def("attach", &BpfObject::attach, "program"_a)
        .def("attach_tracepoint", &BpfObject::attach_tracepoint, "program"_a, "group"_a, "event"_a, "cookie"_a)
        .def("set_function", &BpfObject::set_function, "program"_a, "function"_a)
        .def("attach_function", &BpfObject::attach_function, "program"_a, "cookie"_a)
        .def("attach_user_function", &BpfObject::attach_user_function, "program"_a, "path"_a, "symbol"_a, "cookie"_a)
        .def("attach_user_marker", &BpfObject::attach_user_marker, "program"_a, "path"_a, "provider"_a, "name"_a,
             "cookie"_a)
        .def(
            "run",
            [](const BpfObject &self, const std::string &program, nb::bytes context) {
                return self.run(program, view(context));
            },
            "program"_a, "context"_a = nb::bytes(""))
        .def("info", &BpfObject::info, "program"_a);

    module.def("create_array", &create_array, "name"_a, "value_size"_a);
    module.def(
        "map_update",
        [](int fd, nb::bytes key, nb::bytes value, uint64_t flags) { map_update(fd, view(key), view(value), flags); },
        "fd"_a, "key"_a, "value"_a, "flags"_a = 0);
    module.def("map_delete", [](int fd, nb::bytes key) { return map_delete(fd, view(key)); }, "fd"_a, "key"_a);
    module.def(
        "map_lookup",
        [](int fd, nb::bytes key, size_t value_size) -> nb::object {
            auto value = map_lookup(fd, view(key), value_size);
            return value ? nb::object(nb::bytes(value->data(), value->size())) : nb::none();
        },
        "fd"_a, "key"_a, "value_size"_a);

    nb::class_<KernelBtf>(module, "KernelBtf")
        .def(nb::init<>())
        .def("tracepoint_arguments", &KernelBtf::tracepoint_arguments, "name"_a)
        .def("function_id", &KernelBtf::function_id, "name"_a)
        .def("per_cpu", &KernelBtf::per_cpu, "name"_a)
        .def(
            "members",
            [](const KernelBtf &self, const std::string &structure) { return tuples(self.members(structure)); },
            "structure"_a)
        .def(
            "function",
            [](const KernelBtf &self, const std::string &name) -> nb::object {
                auto values = self.function(name);
                return values ? nb::object(tuples(*values)) : nb::none();
            },
            "name"_a)
        .def("size", &KernelBtf::size, "structure"_a)
        .def("has_member", &KernelBtf::has_member, "structure"_a, "member"_a)
        .def("enumerator", &KernelBtf::enumerator, "enumeration"_a, "name"_a);
}
