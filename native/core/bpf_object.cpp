// SPDX-License-Identifier: Apache-2.0
#include "bpf_object.hpp"

#include "sys_error.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace boxtrace {

SysError::SysError(int error, const std::string &what, std::string log)
    : std::runtime_error(what), error(error), log(std::move(log)) {}

namespace {

thread_local std::string *log_sink = nullptr;

int collect_log(enum libbpf_print_level level, const char *format, va_list arguments) {
    if (!log_sink || level == LIBBPF_DEBUG)
        return 0;
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(nullptr, 0, format, again);
    va_end(again);
    if (length > 0) {
        size_t end = log_sink->size();
        log_sink->resize(end + length + 1);
        vsnprintf(log_sink->data() + end, length + 1, format, arguments);
        log_sink->resize(end + length);
    }
    return length;
}

// Collects what libbpf prints while it lives; libbpf would print it to stderr.
class LogCapture {
public:
    LogCapture() {
        libbpf_set_print(collect_log);
        log_sink = &text;
    }
    ~LogCapture() { log_sink = nullptr; }
    std::string text;
};

[[noreturn]] void fail(int error, const std::string &what, const LogCapture &log) {
    throw SysError(error < 0 ? -error : error, what, log.text);
}

const struct btf_type *find_struct(const struct btf *btf, const std::string &name) {
    int id = btf__find_by_name_kind(btf, name.c_str(), BTF_KIND_STRUCT);
    if (id < 0)
        throw SysError(ENOENT, "no struct " + name + " in the object's BTF");
    return btf__type_by_id(btf, id);
}

} // namespace

BpfLink::BpfLink(bpf_link *link) : link_(link) {}
BpfLink::~BpfLink() { close(); }
BpfLink::BpfLink(BpfLink &&other) noexcept : link_(std::exchange(other.link_, nullptr)) {}

int BpfLink::fd() const { return link_ ? bpf_link__fd(link_) : -1; }

int BpfLink::iterate() const {
    int fd = bpf_iter_create(this->fd());
    if (fd < 0)
        throw SysError(errno, "bpf_iter_create");
    return fd;
}

void BpfLink::close() {
    if (link_)
        bpf_link__destroy(std::exchange(link_, nullptr));
}

BpfObject::BpfObject(std::string image, const std::string &name) : image_(std::move(image)) {
    LogCapture log;
    // The kernel's own types, named: for one that it lacks, libbpf would look into those of every module, which takes
    // CAP_SYS_ADMIN. No program reads a module's types.
    LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name.c_str(),
                .btf_custom_path = "/sys/kernel/btf/vmlinux");
    object_ = bpf_object__open_mem(image_.data(), image_.size(), &options);
    if (!object_)
        fail(errno, "cannot open BPF object " + name, log);
}

BpfObject::~BpfObject() { bpf_object__close(object_); }

bpf_map *BpfObject::find_map(const std::string &name) const {
    bpf_map *map = bpf_object__find_map_by_name(object_, name.c_str());
    if (!map)
        throw SysError(ENOENT, "no BPF map " + name);
    return map;
}

bpf_program *BpfObject::find_program(const std::string &name) const {
    bpf_program *program = bpf_object__find_program_by_name(object_, name.c_str());
    if (!program)
        throw SysError(ENOENT, "no BPF program " + name);
    return program;
}

std::vector<std::string> BpfObject::programs() const {
    std::vector<std::string> names;
    bpf_program *program;
    bpf_object__for_each_program(program, object_) names.emplace_back(bpf_program__name(program));
    return names;
}

std::vector<std::string> BpfObject::maps() const {
    std::vector<std::string> names;
    bpf_map *map;
    bpf_object__for_each_map(map, object_) names.emplace_back(bpf_map__name(map));
    return names;
}

std::vector<std::pair<std::string, int64_t>> BpfObject::enum_values(const std::string &name) const {
    const struct btf *btf = bpf_object__btf(object_);
    int id = btf__find_by_name_kind(btf, name.c_str(), BTF_KIND_ENUM);
    if (id < 0)
        throw SysError(ENOENT, "no enum " + name + " in the object's BTF");
    const struct btf_type *type = btf__type_by_id(btf, id);
    const struct btf_enum *values = btf_enum(type);
    std::vector<std::pair<std::string, int64_t>> result;
    for (int i = 0; i < btf_vlen(type); i++)
        result.emplace_back(btf__name_by_offset(btf, values[i].name_off), values[i].val);
    return result;
}

std::vector<StructField> BpfObject::struct_fields(const std::string &name) const {
    const struct btf *btf = bpf_object__btf(object_);
    const struct btf_type *type = find_struct(btf, name);
    const struct btf_member *members = btf_members(type);
    std::vector<StructField> result;
    for (int i = 0; i < btf_vlen(type); i++) {
        auto size = btf__resolve_size(btf, members[i].type);
        result.push_back({btf__name_by_offset(btf, members[i].name_off), btf_member_bit_offset(type, i) / 8,
                          static_cast<uint32_t>(size < 0 ? 0 : size)});
    }
    return result;
}

uint32_t BpfObject::struct_size(const std::string &name) const {
    return find_struct(bpf_object__btf(object_), name)->size;
}

void BpfObject::configure_map(const std::string &name, std::optional<uint32_t> max_entries,
                              std::optional<uint32_t> value_size) {
    LogCapture log;
    bpf_map *map = find_map(name);
    int error = 0;
    if (value_size)
        error = bpf_map__set_value_size(map, *value_size);
    if (!error && max_entries)
        error = bpf_map__set_max_entries(map, *max_entries);
    if (error)
        fail(error, "cannot resize BPF map " + name, log);
}

void BpfObject::reuse_map(const std::string &name, int fd) {
    LogCapture log;
    int error = bpf_map__reuse_fd(find_map(name), fd);
    if (error)
        fail(error, "cannot reuse BPF map " + name, log);
}

void BpfObject::set_data(const std::string &section, std::string_view value) {
    bpf_map *map = find_map(section);
    size_t size = 0;
    const char *initial = static_cast<const char *>(bpf_map__initial_value(map, &size));
    if (!initial || size < value.size())
        throw SysError(E2BIG, "section " + section + " is smaller than its value");
    std::string whole(initial, size);
    whole.replace(0, value.size(), value);
    if (int error = bpf_map__set_initial_value(map, whole.data(), whole.size()))
        throw SysError(-error, "cannot set section " + section);
}

void BpfObject::set_autoload(const std::string &program, bool autoload) {
    bpf_program__set_autoload(find_program(program), autoload);
}

void BpfObject::load() {
    LogCapture log;
    int error = bpf_object__load(object_);
    if (error)
        fail(error, std::string("cannot load BPF object ") + bpf_object__name(object_), log);
}

int BpfObject::map_fd(const std::string &map) const { return bpf_map__fd(find_map(map)); }
uint32_t BpfObject::map_value_size(const std::string &map) const { return bpf_map__value_size(find_map(map)); }
int BpfObject::program_fd(const std::string &program) const { return bpf_program__fd(find_program(program)); }

BpfLink BpfObject::attach(const std::string &program) const {
    LogCapture log;
    bpf_link *link = bpf_program__attach(find_program(program));
    if (!link)
        fail(errno, "cannot attach BPF program " + program, log);
    return BpfLink(link);
}

BpfLink BpfObject::attach_tracepoint(const std::string &program, const std::string &group, const std::string &event,
                                     uint64_t cookie) const {
    LogCapture log;
    LIBBPF_OPTS(bpf_tracepoint_opts, options, .bpf_cookie = cookie);
    bpf_link *link = bpf_program__attach_tracepoint_opts(find_program(program), group.c_str(), event.c_str(), &options);
    if (!link)
        fail(errno, "cannot attach BPF program " + program + " to tracepoint " + group + ":" + event, log);
    return BpfLink(link);
}

void BpfObject::set_function(const std::string &program, const std::string &function) {
    LogCapture log;
    int error = bpf_program__set_attach_target(find_program(program), 0, function.c_str());
    if (error)
        fail(error, "there is no kernel function " + function + " to attach to", log);
}

BpfLink BpfObject::attach_function(const std::string &program, uint64_t cookie) const {
    LogCapture log;
    LIBBPF_OPTS(bpf_trace_opts, options, .cookie = cookie);
    bpf_link *link = bpf_program__attach_trace_opts(find_program(program), &options);
    if (!link)
        fail(errno, "cannot attach BPF program " + program, log);
    return BpfLink(link);
}

BpfLink BpfObject::attach_user_function(const std::string &program, const std::string &path, const std::string &symbol,
                                        uint64_t cookie) const {
    LogCapture log;
    LIBBPF_OPTS(bpf_uprobe_opts, options, .bpf_cookie = cookie, .func_name = symbol.c_str());
    bpf_link *link = bpf_program__attach_uprobe_opts(find_program(program), -1, path.c_str(), 0, &options);
    if (!link)
        fail(errno, "cannot attach to " + symbol + " in " + path, log);
    return BpfLink(link);
}

BpfLink BpfObject::attach_user_marker(const std::string &program, const std::string &path, const std::string &provider,
                                      const std::string &name, uint64_t cookie) const {
    LogCapture log;
    LIBBPF_OPTS(bpf_usdt_opts, options, .usdt_cookie = cookie);
    bpf_link *link =
        bpf_program__attach_usdt(find_program(program), -1, path.c_str(), provider.c_str(), name.c_str(), &options);
    if (!link)
        fail(errno, "cannot attach to " + provider + ":" + name + " in " + path, log);
    return BpfLink(link);
}

uint32_t BpfObject::run(const std::string &program, std::string_view context) const {
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context.data(),
                .ctx_size_in = static_cast<uint32_t>(context.size()));
    if (bpf_prog_test_run_opts(program_fd(program), &options))
        throw SysError(errno, "cannot run BPF program " + program);
    return options.retval;
}

ProgramInfo BpfObject::info(const std::string &program) const {
    struct bpf_prog_info info = {};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program_fd(program), &info, &size))
        throw SysError(errno, "no information on BPF program " + program);
    return {info.run_cnt, info.run_time_ns, info.recursion_misses, info.verified_insns};
}

int create_array(const std::string &name, uint32_t value_size) {
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name.c_str(), sizeof(uint32_t), value_size, 1, &options);
    if (fd < 0)
        throw SysError(-fd, "cannot create BPF map " + name);
    return fd;
}

void map_update(int fd, std::string_view key, std::string_view value, uint64_t flags) {
    if (bpf_map_update_elem(fd, key.data(), value.data(), flags))
        throw SysError(errno, "cannot update BPF map");
}

bool map_delete(int fd, std::string_view key) {
    if (!bpf_map_delete_elem(fd, key.data()))
        return true;
    if (errno == ENOENT)
        return false;
    throw SysError(errno, "cannot delete from BPF map");
}

std::optional<std::string> map_lookup(int fd, std::string_view key, size_t value_size) {
    std::string value(value_size, '\0');
    if (!bpf_map_lookup_elem(fd, key.data(), value.data()))
        return value;
    if (errno == ENOENT)
        return std::nullopt;
    throw SysError(errno, "cannot read BPF map");
}

KernelBtf::KernelBtf() {
    LogCapture log;
    btf_ = btf__load_vmlinux_btf();
    if (!btf_)
        fail(errno, "no BTF of the running kernel", log);
}

KernelBtf::~KernelBtf() { btf__free(btf_); }

int KernelBtf::tracepoint_arguments(const std::string &name) const {
    int id = btf__find_by_name_kind(btf_, ("btf_trace_" + name).c_str(), BTF_KIND_TYPEDEF);
    if (id < 0)
        return -1;
    const struct btf_type *type = btf__type_by_id(btf_, id);
    while (btf_is_typedef(type) || btf_is_ptr(type))
        type = btf__type_by_id(btf_, type->type);
    return btf_is_func_proto(type) ? btf_vlen(type) - 1 : -1; // the first is the tracepoint's private data
}

int KernelBtf::function_id(const std::string &name) const {
    int id = btf__find_by_name_kind(btf_, name.c_str(), BTF_KIND_FUNC);
    return id < 0 ? 0 : id;
}

std::optional<uint32_t> KernelBtf::per_cpu(const std::string &name) const {
    int section = btf__find_by_name_kind(btf_, ".data..percpu", BTF_KIND_DATASEC);
    int variable = btf__find_by_name_kind(btf_, name.c_str(), BTF_KIND_VAR);
    if (section < 0 || variable < 0)
        return std::nullopt;
    const struct btf_type *type = btf__type_by_id(btf_, section);
    const struct btf_var_secinfo *places = btf_var_secinfos(type);
    for (int i = 0; i < btf_vlen(type); i++)
        if (places[i].type == static_cast<uint32_t>(variable))
            return places[i].offset;
    return std::nullopt;
}

uint32_t KernelBtf::size(const std::string &structure) const {
    int id = btf__find_by_name_kind(btf_, structure.c_str(), BTF_KIND_STRUCT);
    return id < 0 ? 0 : btf__type_by_id(btf_, id)->size;
}

std::vector<TypeMember> KernelBtf::members(const std::string &structure) const {
    std::vector<TypeMember> result;
    int id = btf__find_by_name_kind(btf_, structure.c_str(), BTF_KIND_STRUCT);
    if (id < 0)
        return result;
    const struct btf_type *type = btf__type_by_id(btf_, id);
    const struct btf_member *members = btf_members(type);
    for (int i = 0; i < btf_vlen(type); i++) {
        TypeMember member = value(btf__name_by_offset(btf_, members[i].name_off), members[i].type);
        member.offset = btf_member_bit_offset(type, i) / 8;
        if (btf_member_bitfield_size(type, i))
            member.kind = 'o';
        result.push_back(std::move(member));
    }
    return result;
}

TypeMember KernelBtf::value(const char *name, uint32_t type) const {
    TypeMember member = {name, 0, 0, 'o', 0, {}};
    auto whole = btf__resolve_size(btf_, type);
    member.size = whole < 0 ? 0 : whole;
    const struct btf_type *element = btf__type_by_id(btf_, btf__resolve_type(btf_, type));
    if (btf_is_array(element)) {
        member.count = btf_array(element)->nelems;
        element = btf__type_by_id(btf_, btf__resolve_type(btf_, btf_array(element)->type));
    }
    if (btf_is_ptr(element)) {
        member.kind = 'p';
    } else if (btf_is_any_enum(element)) {
        member.kind = 'u';
    } else if (btf_is_struct(element)) {
        member.kind = 't';
        member.type = btf__name_by_offset(btf_, element->name_off);
    } else if (btf_is_int(element) && btf_int_bits(element) % 8 == 0) {
        member.kind = member.count && element->size == 1 ? 'c' : btf_int_encoding(element) & BTF_INT_SIGNED ? 's' : 'u';
    }
    return member;
}

std::optional<std::vector<TypeMember>> KernelBtf::function(const std::string &name) const {
    int id = btf__find_by_name_kind(btf_, name.c_str(), BTF_KIND_FUNC);
    if (id < 0)
        return std::nullopt;
    const struct btf_type *proto = btf__type_by_id(btf_, btf__type_by_id(btf_, id)->type);
    const struct btf_param *params = btf_params(proto);
    std::vector<TypeMember> result;
    for (int i = 0; i < btf_vlen(proto); i++)
        result.push_back(value(btf__name_by_offset(btf_, params[i].name_off), params[i].type));
    result.push_back(proto->type ? value("ret", proto->type) : TypeMember{"ret", 0, 0, 'o', 0, {}});
    return result;
}

bool KernelBtf::has_member(const std::string &structure, const std::string &member) const {
    int id = btf__find_by_name_kind(btf_, structure.c_str(), BTF_KIND_STRUCT);
    if (id < 0)
        return false;
    const struct btf_type *type = btf__type_by_id(btf_, id);
    const struct btf_member *members = btf_members(type);
    for (int i = 0; i < btf_vlen(type); i++)
        if (member == btf__name_by_offset(btf_, members[i].name_off))
            return true;
    return false;
}

std::optional<int64_t> KernelBtf::enumerator(const std::string &enumeration, const std::string &name) const {
    int id = btf__find_by_name_kind(btf_, enumeration.c_str(), BTF_KIND_ENUM);
    if (id < 0)
        return std::nullopt;
    const struct btf_type *type = btf__type_by_id(btf_, id);
    const struct btf_enum *values = btf_enum(type);
    for (int i = 0; i < btf_vlen(type); i++)
        if (name == btf__name_by_offset(btf_, values[i].name_off))
            return values[i].val;
    return std::nullopt;
}

} // namespace boxtrace
