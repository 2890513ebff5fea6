/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Filters of event rules. boxtrace.kernel.filters compiles them and puts the code in place of `filter_code` before the
 * object is loaded; what that code is given is defined in boxtrace.filters.inputs.
 */
#pragma once
#include "rules.bpf.h"
#include "task.bpf.h"

/* What a filter is given beside contexts. In the upper four bits of its slot; the others are its number. */
enum bt_filter_kind {
	BT_FILTER_CONTEXTS = 1,	 /* nothing: it is tested before anything is known of the event */
	BT_FILTER_REGISTERS = 2, /* a system call's registers, laid out as struct bt_scratch begins */
	BT_FILTER_COLLECTED = 3, /* struct bt_scratch */
	BT_FILTER_INTERVAL = 4,	 /* nothing, and of contexts only those that hold for an interval: preconditions */
	BT_FILTER_TASKS = 5,	 /* struct task_payload */
	BT_FILTER_DRAFTED = 6,	 /* the payload of struct bt_draft */
};

struct bt_filters {
	unsigned int active;
	unsigned int live;		    /* a filter looks at contexts that are read afresh for each event */
	unsigned int preconditions;	    /* how many there are */
	unsigned short slot[BT_FILTER_IDS]; /* by event id; 0: no filter */
};

const volatile struct bt_filters filters __attribute__((section(".rodata.filters"), weak)) = {};

/*
 * Room for the code of all filters of one kind: jumps to the next instruction, which the kernel takes out. No argument
 * may be the same constant in all calls: the compiler would not pass it, and the next one in its register.
 */
#define FILTER_CODE(name)                                                                                              \
	static __noinline int name(const void *contexts, const void *payload, u32 number)                              \
	{                                                                                                              \
		int verdict = 1;                                                                                       \
		asm volatile(".rept 1020; goto +0; .endr" : "+r"(verdict) : "r"(contexts), "r"(payload), "r"(number)); \
		return verdict;                                                                                        \
	}
FILTER_CODE(filter_code_contexts)

/*
 * What the filter of an event says, if it is of this kind. Where programs can be preempted another task of this CPU may
 * have come between; then the contexts are not this task's, nothing is known, and the event passes.
 */
#define filter_verdict(cpu, task, id, payload, kind, code)                                                             \
	({                                                                                                             \
		int _verdict = 1;                                                                                      \
		u32 _slot = (id) < BT_FILTER_IDS ? filters.slot[id] : 0;                                               \
		if (_slot >> 12 == (kind)) {                                                                           \
			if (filters.live)                                                                              \
				context_live(task, (u8 *)(cpu)->context);                                              \
			_verdict = code((cpu)->context, payload, _slot & 0xfff);                                       \
			barrier();                                                                                     \
			if (unlikely(READ_ONCE((cpu)->task) != (u64)(task)))                                           \
				_verdict = 1;                                                                          \
			if (!_verdict)                                                                                 \
				rule_count(cpu, rule_of(id), BT_LEFT_FILTERED);                                        \
		}                                                                                                      \
		_verdict;                                                                                              \
	})

static __noinline int filter_contexts(struct bt_cpu *cpu, struct task_struct *task, u32 id)
{
	return filter_verdict(cpu, task, id, cpu->context, BT_FILTER_CONTEXTS, filter_code_contexts);
}

/* Has an event a filter? Asked again rather than remembered: the stack is full. */
static __always_inline bool filter_tests(u32 id) { return filters.active && id < BT_FILTER_IDS && filters.slot[id]; }

static __always_inline bool filter_passes(struct bt_cpu *cpu, struct task_struct *task, u32 id)
{
	return !filters.active || filter_contexts(cpu, task, id);
}

/* Is an event wanted, as far as contexts and how many there were tell? */
static __always_inline bool event_wanted(struct bt_cpu *cpu, struct task_struct *task, u32 id)
{
	return filter_passes(cpu, task, id) && rule_passes(cpu, id);
}
