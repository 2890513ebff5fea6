/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of a recording, shared by all programs (weak: every program file has them, the linker keeps one). */
#pragma once
#include "vmlinux.bpf.h"
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "abi_selection.h"

/* Not volatile, so that a value is loaded once: a weak symbol's initial value is not taken for the final one. */
const struct bt_config config __attribute__((section(".rodata.config"), weak)) = {};
volatile struct bt_control control __attribute__((section(".data.control"), weak)) = {.generation = 1};

/* What is done with newborn pid namespaces; nothing, and no code for it, in a recording that does not begin with rules.
 */
#define NEWBORNS (config.newborns ? control.newborn : BT_NEWBORN_NOTHING)

/* Tasks whose mark says that a string is late: as long as there is none, nobody looks for marks. */
volatile unsigned int late_tasks __attribute__((section(".data.late"), weak)) = 0;

/* The highest tag that a candidate has got, how many have been born, and the addresses of the root directory and mount
 * namespace of who records.
 */
volatile unsigned int last_tag __attribute__((section(".data.tag"), weak)) = 0;
volatile unsigned int births_so_far __attribute__((section(".data.tag"), weak)) = 0;
volatile unsigned long long host_root __attribute__((section(".data.tag"), weak)) = 0;
volatile unsigned long long host_mounts __attribute__((section(".data.tag"), weak)) = 0;

/* What every event needs is not looked up but addressed: global data, which user space maps as it does arrays. */
struct bt_cpu cpus[BT_CPUS] __attribute__((section(".data.cpus"), weak)) = {};
const struct bt_syscall syscalls[BT_SYSCALLS] __attribute__((section(".rodata.syscalls"), weak)) = {};

/* Who was rejected lately (select.bpf.h). */
volatile unsigned long long rejections[BT_REJECTIONS] __attribute__((section(".data.rejected"), weak)) = {};

/* How many numbers of owners have been given away (rules.bpf.h). */
volatile unsigned int last_owner __attribute__((section(".data.owners"), weak)) = 0;

#define BT_MAP(map_type, name, ...)                                                                                    \
	struct {                                                                                                       \
		__uint(type, map_type);                                                                                \
		__VA_ARGS__                                                                                            \
	} name SEC(".maps") __attribute__((weak))

/*
 * Sub-buffers, num_subbuf for each possible CPU; sized before loading, if they are not in an array of one value
 * (BT_IMM_SUBBUFS).
 */
BT_MAP(BPF_MAP_TYPE_ARRAY, packets, __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 1); __type(key, u32);
       __uint(value_size, 4096););
/* BT_ACCOUNTS for each possible CPU. */
BT_MAP(BPF_MAP_TYPE_ARRAY, accounts, __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 1); __type(key, u32);
       __type(value, struct bt_account););
/* What is left out by each rule and container: BT_OWNERS * config.rules for each possible CPU; or in BT_IMM_COUNTS. */
BT_MAP(BPF_MAP_TYPE_ARRAY, rule_counts, __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 1); __type(key, u32);
       __type(value, struct bt_rule_count););
/* When the last event of a rule and container that its rate let pass would have been due. */
BT_MAP(BPF_MAP_TYPE_ARRAY, buckets, __uint(max_entries, 1); __type(key, u32); __type(value, u64););
BT_MAP(BPF_MAP_TYPE_HASH, owners, __uint(max_entries, BT_OWNERS); __uint(map_flags, BPF_F_NO_PREALLOC);
       __type(key, struct bt_owner); __type(value, u32););
/* The same the other way round, for user space. */
BT_MAP(BPF_MAP_TYPE_ARRAY, owner_keys, __uint(max_entries, BT_OWNERS); __type(key, u32);
       __type(value, struct bt_owner););
/* What is selected, and whose account it is on: by inode number of a pid namespace, by kernfs id of a cgroup. */
BT_MAP(BPF_MAP_TYPE_HASH, pid_namespaces, __uint(max_entries, 16384); __type(key, u32);
       __type(value, struct bt_member););
BT_MAP(BPF_MAP_TYPE_HASH, cgroups, __uint(max_entries, 16384); __type(key, u64); __type(value, struct bt_member););
/* What else is selected: enum bt_verdict by kind and id. Those of BT_TRACK_PID are there only while mark_tasks runs. */
BT_MAP(BPF_MAP_TYPE_HASH, trackers, __uint(max_entries, 131072); __uint(map_flags, BPF_F_NO_PREALLOC);
       __type(key, struct bt_track_key); __type(value, u32););
BT_MAP(BPF_MAP_TYPE_TASK_STORAGE, marks, __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int);
       __type(value, struct bt_mark););
/* Tells user space that a packet is complete. */
BT_MAP(BPF_MAP_TYPE_RINGBUF, wakeups, __uint(max_entries, 4096););
/* Used by programs that cannot interrupt each other: those of system calls, and exec. */
BT_MAP(BPF_MAP_TYPE_PERCPU_ARRAY, scratch, __uint(max_entries, 1); __type(key, u32); __type(value, struct bt_scratch););
/* Entry 0 is never used; sized before loading. */
BT_MAP(BPF_MAP_TYPE_ARRAY, layouts, __uint(max_entries, 1); __type(key, u32); __type(value, struct bt_layout););
BT_MAP(BPF_MAP_TYPE_ARRAY, probes, __uint(max_entries, BT_PROBES); __type(key, u32); __type(value, struct bt_probe););
/* Whose records are where, while it is not known whether they are wanted: one for each possible CPU. */
BT_MAP(BPF_MAP_TYPE_ARRAY, tags, __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 1); __type(key, u32);
       __type(value, struct bt_tags););
BT_MAP(BPF_MAP_TYPE_RINGBUF, candidates, __uint(max_entries, 1 << 18););
/* Tells user space of births at once; when it is full, of some it does not. */
BT_MAP(BPF_MAP_TYPE_RINGBUF, births, __uint(max_entries, 1 << 18););
BT_MAP(BPF_MAP_TYPE_TASK_STORAGE, newborns, __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int);
       __type(value, struct bt_newborn););
/* Cgroups of what is selected, of all hierarchies: the events about them, and about those below them, are wanted. */
BT_MAP(BPF_MAP_TYPE_HASH, watched_cgroups, __uint(max_entries, 16384); __type(key, struct bt_cgroup_key);
       __type(value, u32););
