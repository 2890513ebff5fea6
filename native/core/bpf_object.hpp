// A BPF object file: opened, configured, loaded and attached through libbpf. Knows no Python.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct bpf_object;
struct btf;
struct bpf_link;
struct bpf_map;
struct bpf_program;

namespace boxtrace {

struct StructField {
    std::string name;
    uint32_t offset; // bytes
    uint32_t size;   // bytes
};

struct ProgramInfo {
    uint64_t run_count;
    uint64_t run_time_ns;
    uint64_t recursion_misses;
    uint32_t verified_insns;
};

// An attachment; detached when destroyed.
class BpfLink {
public:
    explicit BpfLink(bpf_link *link);
    ~BpfLink();
    BpfLink(BpfLink &&other) noexcept;
    BpfLink(const BpfLink &) = delete;
    BpfLink &operator=(const BpfLink &) = delete;
    int fd() const;
    // For iterators: a new descriptor whose reading runs the program over every object.
    int iterate() const;
    void close();

private:
    bpf_link *link_;
};

class BpfObject {
public:
    BpfObject(std::string image, const std::string &name);
    ~BpfObject();
    BpfObject(const BpfObject &) = delete;
    BpfObject &operator=(const BpfObject &) = delete;

    std::vector<std::string> programs() const;
    std::vector<std::string> maps() const;
    std::vector<std::pair<std::string, int64_t>> enum_values(const std::string &name) const;
    std::vector<StructField> struct_fields(const std::string &name) const;
    uint32_t struct_size(const std::string &name) const;

    // Before load().
    void configure_map(const std::string &map, std::optional<uint32_t> max_entries, std::optional<uint32_t> value_size);
    void reuse_map(const std::string &map, int fd);
    void set_data(const std::string &section, std::string_view value);
    void set_function(const std::string &program, const std::string &function);
    void set_autoload(const std::string &program, bool autoload);
    void load();

    // After load().
    int map_fd(const std::string &map) const;
    uint32_t map_value_size(const std::string &map) const;
    int program_fd(const std::string &program) const;
    BpfLink attach(const std::string &program) const;
    BpfLink attach_tracepoint(const std::string &program, const std::string &group, const std::string &event,
                              uint64_t cookie) const;
    // A program of type fentry or fexit, whose function was set by set_function before loading.
    BpfLink attach_function(const std::string &program, uint64_t cookie) const;
    // At a function of a program or library, in all processes that run it.
    BpfLink attach_user_function(const std::string &program, const std::string &path, const std::string &symbol,
                                 uint64_t cookie) const;
    BpfLink attach_user_marker(const std::string &program, const std::string &path, const std::string &provider,
                               const std::string &name, uint64_t cookie) const;
    uint32_t run(const std::string &program, std::string_view context) const;
    ProgramInfo info(const std::string &program) const;

private:
    bpf_map *find_map(const std::string &name) const;
    bpf_program *find_program(const std::string &name) const;
    std::string image_;
    bpf_object *object_;
};

// Map access by descriptor.
// A memory-mappable array of one value, which programs address like global data; the descriptor is the caller's.
int create_array(const std::string &name, uint32_t value_size);
void map_update(int fd, std::string_view key, std::string_view value, uint64_t flags);
bool map_delete(int fd, std::string_view key);
std::optional<std::string> map_lookup(int fd, std::string_view key, size_t value_size);

// A member of a kernel structure, described as far as a value of a constant size needs.
struct TypeMember {
    std::string name;
    uint32_t offset;  // bytes
    uint32_t size;    // bytes, of the whole member
    char kind;        // u unsigned, s signed, c characters, p pointer, t structure, o anything else
    uint32_t count;   // elements of an array, 0 if it is none
    std::string type; // name of the structure, if it has one
};

// Questions to the running kernel's BTF (/sys/kernel/btf/vmlinux).
class KernelBtf {
public:
    KernelBtf();
    ~KernelBtf();
    KernelBtf(const KernelBtf &) = delete;
    KernelBtf &operator=(const KernelBtf &) = delete;
    // Number of arguments of a tracepoint as BPF sees them, -1 if the kernel does not have it.
    int tracepoint_arguments(const std::string &name) const;
    int function_id(const std::string &name) const;
    std::optional<uint32_t> per_cpu(const std::string &name) const;
    // Parameters of a function, with its result (kind o if it has none) as the last; none if there is no such function.
    std::optional<std::vector<TypeMember>> function(const std::string &name) const;
    // Members of a structure in order; empty if the kernel has none of that name.
    std::vector<TypeMember> members(const std::string &structure) const;
    uint32_t size(const std::string &structure) const;
    bool has_member(const std::string &structure, const std::string &member) const;
    std::optional<int64_t> enumerator(const std::string &enumeration, const std::string &name) const;

private:
    TypeMember value(const char *name, uint32_t type) const;
    ::btf *btf_;
};

} // namespace boxtrace
