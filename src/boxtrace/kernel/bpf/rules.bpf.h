/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Event rules: how many of their events are wanted of each container, and how many were left out, for which reason.
 * Code for it is there only in a recording that tells rules apart (config.rules); a container is looked up only when
 * one of its events is limited or left out.
 */
#pragma once
#include "select.bpf.h"

#define BT_FILTER_IDS 16384
#define BUCKET_EPOCH (1ULL << 62) /* ahead of what is subtracted from a time: an empty bucket is one of long ago */
#define BUCKET_TRIES 4

struct bt_rule_ids {
	unsigned char rule[BT_FILTER_IDS]; /* by event id */
};

const volatile struct bt_rule_ids rule_ids __attribute__((section(".rodata.rules"), weak)) = {};
volatile struct bt_rule rules[BT_RULES] __attribute__((section(".data.rules"), weak)) = {};

static __always_inline u32 rule_of(u32 id) { return id < BT_FILTER_IDS ? rule_ids.rule[id] & (BT_RULES - 1) : 0; }

/* Find or make the number of the running task's container. */
static __always_inline u32 owner_look_up(struct bt_cpu *cpu)
{
	struct bt_owner key = {.account = cpu->account};
	struct pid *pid = bpf_get_current_task_btf()->thread_pid;
	struct pid_namespace *ns;
	u32 *found, number;

	if (!key.account && pid && pid->level) {
		pid_at(pid, 1, &ns);
		key.pid_ns = ns_inum(ns);
		key.born = BPF_CORE_READ(ns, child_reaper, start_boottime);
	}
	if (!key.account && !key.pid_ns)
		return 0;
	found = bpf_map_lookup_elem(&owners, &key);
	if (found)
		return *found;
	if (last_owner >= BT_OWNERS - 1)
		return 0;
	number = __sync_fetch_and_add(&last_owner, 1) + 1;
	if (number >= BT_OWNERS || bpf_map_update_elem(&owners, &key, &number, BPF_NOEXIST)) {
		found = bpf_map_lookup_elem(&owners, &key); /* another CPU was faster */
		return found ? *found : 0;
	}
	bpf_map_update_elem(&owner_keys, &number, &key, BPF_ANY);
	return number;
}

/* Index of the running task's container among the counts of its CPU. Global: verified once. */
__weak int rules_find(struct bt_cpu *cpu)
{
	u32 at;

	if (!cpu)
		return 0;
	at = READ_ONCE(cpu->counts_at);
	if (unlikely(at == BT_NOWHERE)) {
		at = cpu->first_count + owner_look_up(cpu) * config.rules;
		WRITE_ONCE(cpu->counts_at, at);
	}
	return at;
}

/* The entry of all counts with this index, where they are addressed directly; `none` is where to go if there is none.
 */
#define rule_count_direct(index, none)                                                                                 \
	({                                                                                                             \
		JUMP_IF(index, ">=", BT_IMM_COUNTS_DIRECT, none);                                                      \
		(struct bt_rule_count *)ADDRESS(BT_IMM_COUNTS) + index;                                                \
	})

/* The same wherever they are; NULL if there is none. */
static __always_inline struct bt_rule_count *rule_count_at(u64 index)
{
	u32 key = index;

	if (!IMMEDIATE(BT_IMM_COUNTS_DIRECT))
		return bpf_map_lookup_elem(&rule_counts, &key);
	return rule_count_direct(index, none);
none:
	return NULL;
}

/* An event of a rule is left out. */
static __noinline int rule_count(struct bt_cpu *cpu, u32 rule, enum bt_left_out why)
{
	struct bt_rule_count *count = rule_count_at((u32)(rules_find(cpu) + rule));

	if (count && why < BT_LEFT_COUNT)
		__sync_fetch_and_add(&count->number[why], 1);
	return 0;
}

/* The same for what is frequent: a filter says no. */
static __always_inline void rule_filtered(struct bt_cpu *cpu, u32 rule)
{
	u64 index = (u64)READ_ONCE(cpu->counts_at) + rule;

	if (!IMMEDIATE(BT_IMM_COUNTS_DIRECT))
		goto general;
	__sync_fetch_and_add(&rule_count_direct(index, general)->number[BT_LEFT_FILTERED], 1);
	return;
general:
	rule_count(cpu, rule, BT_LEFT_FILTERED);
}

/*
 * Is an event of this rule due? Each that passes is due an interval after the one before, or now, if that is later; as
 * many as have not come may come early. One word for all CPUs.
 */
static __always_inline bool bucket_take(struct bt_cpu *cpu, u32 rule, u64 interval, u64 tolerance)
{
	u32 index = rules_find(cpu) - cpu->first_count + rule;
	u64 *bucket = bpf_map_lookup_elem(&buckets, &index), now = bpf_ktime_get_ns() + BUCKET_EPOCH, due, last;

	if (!bucket)
		return true;
	for (int i = 0; i < BUCKET_TRIES; i++) {
		last = READ_ONCE(*bucket);
		due = (last > now - tolerance ? last : now - tolerance) + interval;
		if (due > now)
			return false;
		if (__sync_val_compare_and_swap(bucket, last, due) == last)
			return true;
	}
	return false;
}

/* Does its rule want one more event of the running task's container? */
static __noinline int rule_admits(struct bt_cpu *cpu, u32 id)
{
	u32 rule = rule_of(id), sample = rules[rule].sample;
	u64 interval = rules[rule].interval;

	if (sample && bpf_get_prandom_u32() >= sample)
		return rule_count(cpu, rule, BT_LEFT_SAMPLED);
	if (interval && !bucket_take(cpu, rule, interval, rules[rule].tolerance))
		return rule_count(cpu, rule, BT_LEFT_LIMITED);
	return 1;
}

static __always_inline bool rule_passes(struct bt_cpu *cpu, u32 id) { return !config.limited || rule_admits(cpu, id); }

/* There is no room for an event in the ring, and it is not counted there yet. */
static __always_inline void event_discard(struct bt_cpu *cpu, u32 id)
{
	ring_discard(cpu);
	if (config.rules)
		rule_count(cpu, rule_of(id), BT_LEFT_DISCARDED);
}
