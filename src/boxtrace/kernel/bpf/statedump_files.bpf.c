// SPDX-License-Identifier: GPL-2.0-only
/*
 * What already existed: open files, and on request the memory maps of processes, one run of an iterator program for
 * each of them. Paths are what d_path gives to the reader of the iterator, as in /proc: those of another mount
 * namespace begin at its own root.
 */
#define BT_PREEMPT_DEPTH 0
#define BT_INTERRUPTIBLE 1
#include "record.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define O_CLOEXEC 02000000
#define BITS_PER_LONG 64

/* What is remembered from one run to the next. User space runs one dump at a time. */
struct dump_room {
	u64 task;
	u64 start_time;
	u32 selected;
	u32 length; /* of the name, with its NUL */
	u8 name[BT_STRING_MAX];
};

BT_MAP(BPF_MAP_TYPE_ARRAY, dump_room, __uint(max_entries, 1); __type(key, u32); __type(value, struct dump_room););
/* Tables that several processes may share: which thread's run dumped each. */
BT_MAP(BPF_MAP_TYPE_HASH, dumped_tables, __uint(map_flags, BPF_F_NO_PREALLOC); __uint(max_entries, 16384);
       __type(key, u64); __type(value, u32););

static __always_inline bool room_selects(struct dump_room *room, struct task_struct *task)
{
	if (config.dump_all)
		return true;
	if (room->task != (u64)task || room->start_time != task->start_boottime) {
		room->selected = task_selected(task);
		room->start_time = task->start_boottime;
		room->task = (u64)task;
	}
	return room->selected;
}

/* The path of a file, or at least its name, as a string of room->length bytes. */
static __always_inline void room_name(struct dump_room *room, struct file *file)
{
	long length = -1;

	if (file) {
		length = bpf_d_path(&file->f_path, (char *)room->name, BT_STRING_MAX);
		if (length <= 0)
			length = bpf_probe_read_kernel_str(room->name, BT_STRING_MAX, file->f_path.dentry->d_name.name);
	}
	if (length <= 0 || length > BT_STRING_MAX) {
		room->name[0] = 0;
		length = 1;
	}
	room->length = length;
}

static __always_inline void put_name(u8 *at, struct dump_room *room)
{
	u32 length = room->length;

	asm volatile("" : "+r"(length)); /* else the comparison is made of another register than the call's */
	length &= 2 * BT_STRING_MAX - 1;
	if (length <= BT_STRING_MAX)
		bpf_probe_read_kernel(at, length, room->name);
}

struct bpf_map;

static long forget_table(struct bpf_map *map, u64 *table, u32 *tid, void *unused)
{
	bpf_map_delete_elem(map, table);
	return 0;
}

/* Has another process's run dumped this table already? */
static __always_inline bool table_dumped(struct files_struct *files, struct task_struct *task)
{
	u64 table = (u64)files;
	u32 tid = task->pid, *first;

	if (files->count.counter <= 1)
		return false;
	first = bpf_map_lookup_elem(&dumped_tables, &table);
	if (first)
		return *first != tid;
	bpf_map_update_elem(&dumped_tables, &table, &tid, BPF_NOEXIST);
	return false;
}

static __always_inline u32 descriptor_flags(struct files_struct *files, struct file *file, u32 fd)
{
	u32 flags = file->f_flags & ~O_CLOEXEC;
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), files->fdt->close_on_exec + fd / BITS_PER_LONG);
	return word >> (fd % BITS_PER_LONG) & 1 ? flags | O_CLOEXEC : flags;
}

SEC("iter/task_file")
int statedump_file(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task, *current = bpf_get_current_task_btf();
	u16 id = config.event_id[BT_EV_STATEDUMP_FILE_DESCRIPTOR];
	struct file *file = context->file;
	struct files_struct *files;
	struct dump_room *room;
	struct bt_event event;
	struct bt_cpu *cpu;
	u32 key = 0;
	u8 *at;

	if (context->meta->seq_num == 0)
		bpf_for_each_map_elem(&dumped_tables, forget_table, NULL, 0);
	if (!task || !file || !id)
		return 0;
	room = bpf_map_lookup_elem(&dump_room, &key);
	cpu = cpu_current(current);
	files = untrusted(task)->files;
	if (!room || !files || !room_selects(room, task) || table_dumped(files, task))
		return 0;
	room_name(room, file);
	at = event_begin_any(&event, cpu, id, 8 + 4 + 4 + 4 + room->length);
	if (!at)
		return 0;
	PUT(at, u64, (u64)files);
	PUT(at, s32, context->fd);
	PUT(at, u32, descriptor_flags(files, file, context->fd));
	PUT(at, u32, file->f_mode);
	put_name(at, room);
	event_commit(&event);
	return 0;
}

SEC("iter/task_vma")
int statedump_map(struct bpf_iter__task_vma *context)
{
	struct task_struct *task = context->task, *current = bpf_get_current_task_btf();
	u16 id = config.event_id[BT_EV_STATEDUMP_VM_MAP];
	struct vm_area_struct *vma = context->vma;
	struct dump_room *room;
	struct bt_event event;
	struct bt_cpu *cpu;
	struct file *file;
	u32 key = 0;
	u8 *at;

	if (!task || !vma || !id || task->pid != task->tgid)
		return 0;
	room = bpf_map_lookup_elem(&dump_room, &key);
	cpu = cpu_current(current);
	if (!room || !room_selects(room, task))
		return 0;
	file = vma->vm_file;
	room_name(room, file);
	at = event_begin_any(&event, cpu, id, 4 + 5 * 8 + room->length);
	if (!at)
		return 0;
	PUT(at, s32, task->tgid);
	PUT(at, u64, vma->vm_start);
	PUT(at, u64, vma->vm_end);
	PUT(at, u64, vma->vm_flags);
	PUT(at, u64, file ? file->f_inode->i_ino : 0);
	PUT(at, u64, file ? vma->vm_pgoff << config.page_shift : 0);
	put_name(at, room);
	event_commit(&event);
	return 0;
}
