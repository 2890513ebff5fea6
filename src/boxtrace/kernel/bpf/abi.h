/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between the BPF programs and boxtrace.kernel. Python reads these layouts and numbers from the object's
 * BTF when it loads it, so there is no second definition. Sizes are in bytes, times in ns of CLOCK_MONOTONIC.
 */
#pragma once

enum bt_limit {
	BT_CONTEXT_MAX = 344,	 /* largest context block of an event, without call stacks */
	BT_CONTEXT_PLAIN = 72,	 /* largest one of whole 32-bit words that needs nothing but a copy */
	BT_COMPACT_HEADER = 6,	 /* of an event: u16 id, u32 time */
	BT_CONTEXT_USUAL = 68,	 /* the default ones */
	BT_RECORD_SLACK = 16384, /* room behind a sub-buffer, for the verifier only: no record reaches into it */
	BT_STRING_MAX = 4096,	 /* longest string copied into a record, with its NUL */
	BT_PAYLOAD_MAX = 12288,	 /* a payload that is collected before its size is known: no step begins behind this */
	BT_PAYLOAD_ROOM = 16384,
	BT_STRUCT_MAX = 512, /* of a structure that is copied whole */
	BT_STEPS = 16,	     /* of a layout, at most */
	BT_PROBES = 1024,    /* that one recording may define */
	BT_PROBE_VALUES = 12,
	BT_ARGUMENTS = 6,      /* of a system call */
	BT_COMPAT_BASE = 1024, /* index of compat system call 0 in the table of system calls */
	BT_SYSCALLS = 2048,    /* entries of that table */
	BT_CPUS = 1024,	       /* that there may be; a power of two */
	BT_ACCOUNTS = 1024,    /* containers that are counted apart; account 0 is everything else */
	BT_ABSENT = 0xffff,    /* a context that is not recorded */
	BT_HOSTNAME = 65,      /* bytes, with the NUL */
	BT_COUNTERS = 8,       /* perf counters among the contexts, at most */
	BT_EMIT_MAX = 7672,    /* longest payload of an event that user space makes */
	BT_STACK_DEPTH = 128,  /* addresses of a call stack, at most */
	BT_STACK_SLOTS = 8,    /* events of one CPU whose call stacks are being collected at the same time */
	BT_COPIES = 32,	       /* of a tracepoint's record into its event */
	BT_RECORD_MAX = 8192,  /* longest payload that they make; a power of two */
	BT_CGROUP_PATH = 1024, /* longest path of a cgroup, with its NUL; a power of two */
	BT_TAGS = 8192,	       /* changes of the tag on one CPU that user space has not seen; a power of two */
	BT_CGROUP_NAME = 112,  /* longest name of a cgroup's directory that user space is told, with its NUL */
	BT_ANCESTORS = 6,      /* of a newborn: the steps in which runc clones, runc itself, who started it */
	BT_RULES = 64,	  /* event rules of a channel that are counted apart; a power of two; 0 is everything else */
	BT_OWNERS = 1024, /* containers of which that is counted apart; 0 is everything else */
	BT_NOWHERE = 1 << 30,  /* an index that no map has, nor if less than BT_RULES is added */
	BT_PRECONDITIONS = 16, /* of filters, that are known for a whole interval */
};

/* Immediates of instructions that user space replaces by numbers of the recording before it loads the programs. */
enum bt_immediate {
	BT_IMM_SUBBUF_ORDER = 0x5ca1ab01, /* log2 of a sub-buffer's size */
	BT_IMM_SUBBUF_SIZE = 0x5ca1ab02,
	BT_IMM_SUBBUF_MASK = 0x5ca1ab03,    /* the size less 1 */
	BT_IMM_SUBBUF_NUMBERS = 0x5ca1ab04, /* how many a CPU has, less 1 */
	BT_IMM_CONTEXT_SIZE = 0x5ca1ab05,
	BT_IMM_READ_ONLY = 0x5ca1ab06,	    /* of a call, which is replaced as a whole: core_compat.bpf.h, untrusted */
	BT_IMM_FILTERED = 0x5ca1ab07,	    /* whether there are filters */
	BT_IMM_SUBBUFS_DIRECT = 0x5ca1ab08, /* how many sub-buffers are in one value; 0: they are in `packets` */
	BT_IMM_SUBBUF_STRIDE = 0x5ca1ab09,  /* from one sub-buffer to the next */
	BT_IMM_COUNTS_DIRECT = 0x5ca1ab0a,  /* how many counts are in one value; 0: they are in `rule_counts` */
	BT_IMM_RESULT_SIZE = 0x5ca1ab0b,    /* of a record that is a system call's result, with header and contexts */
	BT_IMM_CONTEXTS_USUAL = 0x5ca1ab0c, /* whether the contexts are the default ones: BT_CONTEXT_USUAL bytes */
	BT_IMM_PROCNAME = 0x5ca1ab0d,	    /* offset of this default context */
	BT_IMM_PPID = 0x5ca1ab0e,
	/* Addresses: of values of arrays that user space has made. */
	BT_IMM_SUBBUFS = 0x5ca1ab0f,
	BT_IMM_COUNTS = 0x5ca1ab10,
};

/* Context fields, in the order of LTTng's default listing; the index into bt_config.context_offset. */
enum bt_context {
	BT_CTX_PROCNAME,
	BT_CTX_PID,
	BT_CTX_TID,
	BT_CTX_VPID,
	BT_CTX_VTID,
	BT_CTX_PPID,
	BT_CTX_CGROUP_NS,
	BT_CTX_IPC_NS,
	BT_CTX_MNT_NS,
	BT_CTX_NET_NS,
	BT_CTX_PID_NS,
	BT_CTX_TIME_NS,
	BT_CTX_USER_NS,
	BT_CTX_UTS_NS,
	BT_CTX_PRIO,
	BT_CTX_NICE,
	BT_CTX_VPPID,
	BT_CTX_HOSTNAME,
	BT_CTX_UID,
	BT_CTX_EUID,
	BT_CTX_SUID,
	BT_CTX_GID,
	BT_CTX_EGID,
	BT_CTX_SGID,
	BT_CTX_VUID,
	BT_CTX_VEUID,
	BT_CTX_VSUID,
	BT_CTX_VGID,
	BT_CTX_VEGID,
	BT_CTX_VSGID,
	BT_CTX_CPU_ID,
	BT_CTX_NEED_RESCHEDULE,
	BT_CTX_PREEMPTIBLE,
	BT_CTX_INTERRUPTIBLE,
	BT_CTX_MIGRATABLE,
	BT_CTX_CGROUP_ID,
	BT_CTX_CONTAINER,
	BT_CTX_COUNT,
};

/* Bits of bt_config.context_groups: which contexts beyond the default ones there are, so that the rest costs nothing.
 */
enum bt_context_group {
	BT_GROUP_IDS = 1,	  /* users and groups, cpu_id */
	BT_GROUP_VIRTUAL_IDS = 2, /* the same in the task's user namespace */
	BT_GROUP_LIVE = 4,	  /* any that is read for each event */
};

enum bt_callstack {
	BT_CALLSTACK_KERNEL = 1,
	BT_CALLSTACK_USER = 2,
};

/* Events other than system calls; the index into bt_config.event_id, where 0 means not recorded. */
enum bt_event_kind {
	BT_EV_NONE,
	BT_EV_SYSCALL_ENTRY_UNKNOWN,
	BT_EV_SYSCALL_EXIT_UNKNOWN,
	BT_EV_COMPAT_SYSCALL_ENTRY_UNKNOWN,
	BT_EV_COMPAT_SYSCALL_EXIT_UNKNOWN,
	BT_EV_SYSCALL_LATE_STRING,
	BT_EV_SCHED_SWITCH,
	BT_EV_SCHED_WAKING,
	BT_EV_SCHED_WAKEUP,
	BT_EV_SCHED_WAKEUP_NEW,
	BT_EV_SCHED_MIGRATE_TASK,
	BT_EV_SCHED_PROCESS_FORK,
	BT_EV_SCHED_PROCESS_EXEC,
	BT_EV_SCHED_PROCESS_EXIT,
	BT_EV_SCHED_PROCESS_FREE,
	BT_EV_NAMESPACE_CHANGE,
	BT_EV_NAMESPACE_EXEC,
	BT_EV_NAMESPACE_EXIT,
	BT_EV_CGROUP_MKDIR,
	BT_EV_CGROUP_RMDIR,
	BT_EV_CGROUP_RENAME,
	BT_EV_CGROUP_FREEZE,
	BT_EV_CGROUP_UNFREEZE,
	BT_EV_CGROUP_ATTACH_TASK,
	BT_EV_CGROUP_TRANSFER_TASKS,
	BT_EV_CGROUP_NOTIFY_POPULATED,
	BT_EV_CGROUP_NOTIFY_FROZEN,
	BT_EV_OOM_VICTIM,
	BT_EV_STATEDUMP_PROCESS_STATE,
	BT_EV_STATEDUMP_PID_NS,
	BT_EV_STATEDUMP_USER_NS,
	BT_EV_STATEDUMP_CGROUP_NS,
	BT_EV_STATEDUMP_IPC_NS,
	BT_EV_STATEDUMP_MNT_NS,
	BT_EV_STATEDUMP_NET_NS,
	BT_EV_STATEDUMP_UTS_NS,
	BT_EV_STATEDUMP_TIME_NS,
	BT_EV_STATEDUMP_FILE_DESCRIPTOR,
	BT_EV_STATEDUMP_VM_MAP,
	BT_EV_COUNT,
};

/* Constants of one recording, fixed before the programs are loaded. */
struct bt_config {
	long long preempt_count;    /* its distance from the CPU's run queue, 0 if not known */
	unsigned long long pages;   /* where the kernel keeps the address of its array of struct page, 0 if not known */
	unsigned int subbuf_size;   /* a power of two */
	unsigned int subbuf_order;  /* its log2 */
	unsigned int num_subbuf;    /* per CPU, a power of two */
	unsigned int packet_header; /* bytes before the first record of a packet */
	unsigned int follow;	    /* marks of --pid are inherited by forked processes, not only by threads */
	unsigned int accounts;	    /* count recorded and discarded events per container */
	unsigned int newborns;	    /* containers that start later may be candidates */
	unsigned int context_size;
	unsigned int cgroup_hierarchy;
	unsigned int overwrite;		  /* reuse the oldest sub-buffer when none is free (flight recorder) */
	unsigned int exit_has_group_dead; /* sched_process_exit passes group_dead (Linux >= 6.16) */
	unsigned int context_groups;	  /* enum bt_context_group */
	unsigned int callstacks;	  /* enum bt_callstack: behind the context block, in this order */
	unsigned int cpus;
	unsigned int counters;	       /* how many perf counters among the contexts */
	unsigned int dump_all;	       /* the state dump is not limited to what is selected */
	unsigned int page_shift;       /* log2 of the page size */
	unsigned int context_extended; /* the context block is not plain, or there are call stacks */
	unsigned int births;	       /* enum bt_births */
	unsigned int rules;	       /* event rules, with 0; 0 if they are not told apart */
	unsigned int limited;	       /* some of them may have limits */
	unsigned int _pad;
	unsigned int oom_has_task;		    /* oom/mark_victim passes the task (Linux >= 6.9), not its number */
	unsigned short counter_offset[BT_COUNTERS]; /* of each, in the context block */
	unsigned short context_offset[(BT_CTX_COUNT + 3) & ~3]; /* in the context block, or BT_ABSENT */
	unsigned short event_id[(BT_EV_COUNT + 3) & ~3];
};
_Static_assert(sizeof(struct bt_config) % 8 == 0, "no implicit padding");

/*
 * One CPU's ring: BPF reserves at `position`, user space frees sub-buffers by counting `released` up. Positions count
 * bytes since the start and never wrap. What follows `task` caches the contexts and the selection of the task that ran
 * last, valid while the five words that identify them still agree.
 */
struct bt_cpu {
	unsigned long long position;
	unsigned long long last_time;
	unsigned long long discarded; /* events lost so far because no sub-buffer was free */
	unsigned int first_packet;    /* index of this CPU's first sub-buffer */
	unsigned int first_account;   /* index of this CPU's account 0 */
	unsigned long long task;
	unsigned long long start_time;
	unsigned long long thread_pid;
	unsigned long long nsproxy;
	unsigned long long cred;
	unsigned long long generation;
	unsigned int selected;
	unsigned int account;
	unsigned short unmapped; /* the task's user namespace has not got both its maps yet */
	unsigned short settled;	 /* no container is born by the task as long as it stays in its cgroup */
	unsigned int rejecting;	 /* bits of the preconditions that the task does not meet, as of `admitted_at` */
	unsigned long long context[BT_CONTEXT_MAX / 8]; /* 64-bit words, so that it is copied by such */
	unsigned long long filled;   /* the task that they are of: those of who is not selected are seldom wanted */
	unsigned long long released; /* written by user space, once for each sub-buffer */
	/* Events of `account` that are not in the map of accounts yet. */
	unsigned long long recorded_here;
	unsigned long long discarded_here;
	/*
	 * What system calls need not find out again until the CPU runs another task (interval.bpf.h). The first two are
	 * generations: who is selected, or not, is known as of this one.
	 */
	unsigned long long admitted_at;
	unsigned long long rejected_at;
	/*
	 * Of the call that the task is in: bt_syscall.exit_plain, or bt_syscall.exit_rejected if a filter has
	 * rejected the entry and does so with the exit; 0 if neither is known.
	 */
	unsigned long long exit_known;
	unsigned int first_count; /* index of this CPU's first entry in `rule_counts` */
	unsigned int counts_at;	  /* index there of the task's container; BT_NOWHERE if it is not found out yet */
	/* As `rejected_at`, but for what a call of the task's own may change (bt_syscall.alters_either). */
	unsigned long long rejected_so_far_at;
};
_Static_assert(sizeof(struct bt_cpu) == 512, "eight cache lines");
_Static_assert(__builtin_offsetof(struct bt_cpu, released) % 64 == 0, "not among what every event reads");

/*
 * What is known of a sub-buffer; it lies right behind it, where no record reaches. Nothing here is ever set back: a
 * sub-buffer that is used for the n-th time (from 0) is complete when (n + 1) * its size have been committed, modulo
 * 2^32. Its first bytes are left free for the packet header of the trace format, which user space writes.
 */
struct bt_packet {
	unsigned long long commit; /* low half: bytes committed; high half: records */
	unsigned long long begin;
	unsigned long long end;
	unsigned long long content;   /* bytes used, header included */
	unsigned long long discarded; /* bt_cpu.discarded when the packet was closed */
	unsigned long long sequence;  /* number of the packet on its CPU, from 0 */
	unsigned long long before;    /* commit when the packet was begun */
};

/*
 * A system call of the table; all zero where the number is unknown, ids 0 where it is not recorded. A record of
 * registers alone is told by the sizes here, any other by a layout.
 */
struct bt_syscall {
	unsigned short entry_id;
	unsigned short exit_id;
	unsigned short entry_layout; /* index in `layouts`; 0: registers alone */
	unsigned short exit_layout;
	unsigned char known;
	unsigned char entry_size;      /* sum of the sizes */
	unsigned char exit_size;       /* the same, without the result */
	unsigned char entry_arguments; /* how many registers to look at */
	unsigned char exit_arguments;
	unsigned char entry[BT_ARGUMENTS]; /* bytes of each register, 0 for one that is left out */
	unsigned char exit[BT_ARGUMENTS];
	unsigned char cause;	     /* enum bt_cause: the call changes the caller's namespaces when it returns 0 */
	unsigned char alters;	     /* who calls it may have other namespaces, credentials or ids when it returns */
	unsigned char alters_either; /* so may who calls what has this number, native or 32-bit */
	/* Of what alters nothing; for the rest these are 0. */
	unsigned short entry_plain; /* entry_id if nothing but `entry_asks` is asked, and the record is registers */
	unsigned short exit_plain;  /* exit_id if nothing is asked that the entry does not, and it is the result */
	unsigned short entry_asks;  /* bit of the precondition of the entry's filter, which may be all of it */
	unsigned short exit_asks;
	unsigned short entry_tested; /* entry_id if registers are tested, instead of entry_plain */
	unsigned short exit_tested;
	unsigned char entry_rule;
	unsigned char exit_rule;
	unsigned short entry_whole; /* bytes of a usual record of the entry, with header and contexts */
	unsigned char _pad2[4];
	unsigned long long entry_commit; /* what it adds to bt_packet.commit: 1 << 32 | entry_whole */
	/* exit_rule << 32, if the exit's filter is rejected by the precondition that the entry's is; else 0. */
	unsigned long long exit_rejected;
};
_Static_assert(sizeof(struct bt_syscall) == 64, "no implicit padding");

/* How a value of a system call's record is collected. */
enum bt_step_kind {
	BT_STEP_NONE,
	BT_STEP_INTEGER,	/* the register */
	BT_STEP_RESULT,		/* what the call returned, s64 */
	BT_STEP_STRING,		/* NUL-terminated */
	BT_STEP_SEQUENCE,	/* u32 number of elements, elements */
	BT_STEP_FIXED,		/* `size` bytes; with limit 1: u8 0 or 1, and in that case they */
	BT_STEP_SOCKADDR,	/* u16 family, u16 port, two sequences of address bytes, path */
	BT_STEP_FDSET,		/* u8 number of bytes, bytes */
	BT_STEP_FDSET_OVERFLOW, /* u8: the set is larger than what is recorded */
	BT_STEP_POLLFDS,	/* u32 number, with size 1 a u8 overflow, then 7 bytes each */
	BT_STEP_EPOLL_EVENT,	/* 17 bytes */
	BT_STEP_EPOLL_EVENTS,	/* u32 number, u8 overflow, 17 bytes each */
	BT_STEP_STRINGS,	/* u32 number, strings of a NULL-terminated array */
};

enum bt_count {
	BT_COUNT_CONSTANT,
	BT_COUNT_ARGUMENT, /* operand is a register */
	BT_COUNT_RESULT,
	BT_COUNT_POINTED, /* operand is a register that points to the number, 32 bits */
};

struct bt_step {
	unsigned char kind;
	unsigned char argument;
	unsigned short size;
	unsigned char count;
	unsigned char operand;
	unsigned short limit;
};

struct bt_layout {
	unsigned int steps;
	unsigned int _pad;
	struct bt_step step[BT_STEPS];
};

/* An event that the user defined; the attachment's cookie is its number. */
struct bt_probe {
	unsigned short event_id;
	unsigned short payload; /* bytes */
	unsigned char has_ip;	/* the record begins with the instruction's address */
	unsigned char _pad[3];
	unsigned char size[BT_PROBE_VALUES]; /* bytes of each value, 0 after the last */
	unsigned int pid_ns;		     /* only tasks in this pid namespace, or nested in it; 0 for any */
	unsigned int pid_ns_level;
};
_Static_assert(sizeof(struct bt_probe) == 28, "no implicit padding");

/* A CPU's work space for a record whose size is not known beforehand. */
struct bt_scratch {
	unsigned long long argument[8];
	unsigned long long result;
	unsigned int word;     /* bytes of the caller's pointers */
	unsigned int used;     /* bytes of payload so far */
	unsigned int elements; /* of the array that is being collected */
	unsigned int late;     /* a string could not be read */
	unsigned char payload[BT_PAYLOAD_ROOM + 4352];
};

/* Call stacks of an event that is being recorded. */
struct bt_stacks {
	unsigned int taken;
	unsigned int bytes[2]; /* of the kernel's and of the user's */
	unsigned int _pad;
	unsigned long long frames[2][BT_STACK_DEPTH];
};

/* Changed while recording. */
struct bt_control {
	unsigned long long generation; /* counts changes of the selection, from 1: cached verdicts of others are void */
	unsigned int tracepoints;      /* whether those that are attached are recorded */
	unsigned int trackers;	       /* bits by enum bt_tracker: the questions that are asked; 0: the whole host */
	unsigned int including;	       /* those that only what is included answers by yes */
	unsigned int newborn;	       /* enum bt_newborn_policy */
	unsigned int own_changes_seen; /* whether programs run when a task changes its own users or namespaces */
};

/* How a field of an event comes about; `source` is an offset in the kernel's record. */
enum bt_copy_kind {
	BT_COPY_BYTES,	    /* `size` bytes as they are */
	BT_COPY_INTEGER,    /* an integer of `width` bytes, plus `add`, as one of `size` bytes */
	BT_COPY_BIT,	    /* bit number `add` of an integer of `width` bytes, as one byte */
	BT_COPY_STRING,	    /* a dynamic string */
	BT_COPY_TEXT,	    /* a dynamic string without its NUL behind its length, an integer of `size` bytes */
	BT_COPY_COMM,	    /* a dynamic string in 16 bytes */
	BT_COPY_CHARACTERS, /* a string in `size` bytes of the record itself */
	BT_COPY_POINTED,    /* a string that the record has the address of */
	BT_COPY_SEQUENCE,   /* dynamic elements of 1 << `width` bytes behind their number, an integer of `size` bytes */
	BT_COPY_RWBS,	    /* letters of a block request as enum bt_rwbs */
	BT_COPY_TID,	    /* of the running task */
	BT_COPY_PAGE,	    /* the address of the struct page of a page frame number, 0 where it has none */
	BT_COPY_NETWORK,    /* the headers of a packet whose struct sk_buff the record has the address of */
	BT_COPY_RELATIVE = 0x80, /* dynamic data is found from its locator's end on, not from the record's start */
};

/* Flags in bt_copy.width. */
enum bt_copy_width {
	BT_COPY_SWAPPED = 0x40, /* the integer is written big-endian */
	BT_COPY_SIGNED = 0x80,	/* the integer is extended by its sign */
};

/* LTTng's numbers. */
enum bt_rwbs {
	BT_RWBS_WRITE = 1 << 0,
	BT_RWBS_DISCARD = 1 << 1,
	BT_RWBS_READ = 1 << 2,
	BT_RWBS_RAHEAD = 1 << 3,
	BT_RWBS_SYNC = 1 << 5,
	BT_RWBS_META = 1 << 6,
	BT_RWBS_SECURE = 1 << 7,
	BT_RWBS_FLUSH = 1 << 8,
	BT_RWBS_FUA = 1 << 9,
	BT_RWBS_PREFLUSH = 1 << 10,
};

struct bt_copy {
	unsigned short source;
	unsigned short size;
	unsigned char kind;
	unsigned char width;
	short add;
};
_Static_assert(sizeof(struct bt_copy) == 8, "no implicit padding");

/* A tracepoint that is recorded. */
struct bt_tracepoint {
	unsigned short id;
	unsigned short count;
	unsigned short _pad[2];
	struct bt_copy copies[BT_COPIES];
};
_Static_assert(sizeof(struct bt_tracepoint) == 8 * (1 + BT_COPIES), "no implicit padding");

/* A CPU's work space for the payload of a tracepoint's event. */
struct bt_draft {
	unsigned int used;   /* bytes of payload so far */
	unsigned int failed; /* there is no room for all, or the record is not what its description says */
	unsigned char payload[2 * BT_RECORD_MAX + 64]; /* a copy may begin anywhere in the first half and be as long */
};

/* What the state dump tells user space of a thread: the number of its process, and namespaces that have a dump of their
 * own. */
struct bt_dumped {
	unsigned int tgid;
	unsigned int mnt_ns;
	unsigned int net_ns;
};

/* An event that user space makes. */
struct bt_emitted {
	unsigned int id;
	unsigned int size;
	unsigned char payload[BT_EMIT_MAX];
};

/* Context of the program `flush`. */
struct bt_flush {
	unsigned int cpu;
	unsigned int force; /* also close a packet without records */
};
