/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of the contract of abi.h that tells whose events are recorded and how they are counted: selections, the
 * births of containers, event rules.
 */
#pragma once

#include "abi.h"

/* What a selection asks of a task, each kind a question of its own: a task is selected if all are answered by yes. */
enum bt_tracker {
	BT_TRACK_COMMAND,   /* no question: tasks with this mark are selected whatever the others say */
	BT_TRACK_CONTAINER, /* by struct bt_member: pid namespaces and cgroups, with what is inside them */
	BT_TRACK_PID,	    /* by marks */
	/* By the map `trackers`: */
	BT_TRACK_PID_NS,
	BT_TRACK_USER_NS,
	BT_TRACK_CGROUP_NS,
	BT_TRACK_IPC_NS,
	BT_TRACK_MNT_NS,
	BT_TRACK_NET_NS,
	BT_TRACK_TIME_NS,
	BT_TRACK_UTS_NS,
	BT_TRACK_VPID,
	BT_TRACK_UID,
	BT_TRACK_VUID,
	BT_TRACK_GID,
	BT_TRACK_VGID,
	BT_TRACK_PROCNAME,
	BT_TRACK_COUNT,
};

/* Sets of them, as bits. */
enum bt_trackers {
	/* Their answer about a task may be another one after a call of its own. */
	BT_OWN_TRACKERS = 1 << BT_TRACK_UID | 1 << BT_TRACK_GID | 1 << BT_TRACK_CGROUP_NS | 1 << BT_TRACK_IPC_NS |
		1 << BT_TRACK_MNT_NS | 1 << BT_TRACK_NET_NS | 1 << BT_TRACK_TIME_NS | 1 << BT_TRACK_USER_NS |
		1 << BT_TRACK_UTS_NS,
};

enum bt_verdict {
	BT_UNDECIDED, /* yes, unless something else is included */
	BT_INCLUDED,
	BT_EXCLUDED,
	BT_VERDICT_MASK = 3,
	BT_ONLY_ITSELF = 4, /* flag of a namespace: what is nested in it is not meant */
};

/* Why a task is in other namespaces than before, or than its parent. */
enum bt_cause {
	BT_CAUSE_NONE,
	BT_CAUSE_CLONE,
	BT_CAUSE_UNSHARE,
	BT_CAUSE_SETNS,
};

/* What user space is told at once, beside the events. */
enum bt_birth_kind {
	BT_BIRTH_PROCESS = 1, /* the first process of a pid namespace was forked */
	BT_BIRTH_EXEC,	      /* a process executes its first program since it came into its namespaces */
};

enum bt_cgroup_hierarchy {
	BT_CGROUP_V2 = 0xffff, /* else: the index of a v1 controller among css_set.subsys */
};

/* What becomes of an event that is not recorded; the index into bt_rule_count.number. */
enum bt_left_out {
	BT_LEFT_FILTERED,  /* its filter says no */
	BT_LEFT_SAMPLED,   /* its rule wants a sample only */
	BT_LEFT_LIMITED,   /* its rule's rate is used up */
	BT_LEFT_DISCARDED, /* no sub-buffer was free */
	BT_LEFT_COUNT,
};

/* Flags: what becomes of births and deaths besides being recorded. */
enum bt_births {
	BT_BIRTHS_TOLD = 1,	 /* user space is told at once of those in enum bt_birth_kind */
	BT_BIRTHS_ELSEWHERE = 2, /* those by clone are another channel's */
};

enum bt_life {
	BT_LIFE_KNOWN,	/* it was there before, or user space has decided about it */
	BT_LIFE_UNBORN, /* nothing but the runtime has run in there yet; a cgroup may be no container's */
	BT_LIFE_BORN,	/* it executes its program; whether that is wanted is not known yet */
};

/* What is done with pid namespaces that are made in the host's, and with cgroups of containers that have none. */
enum bt_newborn_policy {
	BT_NEWBORN_NOTHING,    /* they are like what is around them */
	BT_NEWBORN_CANDIDATE,  /* recorded from birth on, until user space decides */
	BT_NEWBORN_NOT_WANTED, /* never recorded */
};

/* What is known of a pid namespace or cgroup. */
struct bt_member {
	unsigned int container; /* enum bt_verdict */
	unsigned int account;
	unsigned int life; /* enum bt_life */
	unsigned int tag;  /* of a candidate's records, even; 0 for others. The next one is that of its runtime's */
	unsigned long long born; /* CLOCK_BOOTTIME */
	unsigned long long root; /* address of the root directory that it was born with */
	unsigned int init;	 /* of a container's cgroup: the process that was born in it, on the host */
	unsigned int _pad;
};

/* A candidate is born: an entry of the ring `candidates`. Names are those of its cgroups' directories. */
struct bt_candidate {
	unsigned long long time;   /* CLOCK_MONOTONIC */
	unsigned long long start;  /* of its first process, CLOCK_BOOTTIME */
	unsigned long long cgroup; /* id of the cgroup by which it is known; 0 where that is its pid namespace */
	unsigned int tag;
	unsigned int before; /* tag of what was taken for its birth and was not; 0 if nothing was */
	unsigned int pid;
	unsigned int setting_up;       /* its root directory is the host's: this may not have been its birth yet */
	unsigned int namespaces[8];    /* cgroup, ipc, mnt, net, pid, time, user, uts */
	char unified[BT_CGROUP_NAME];  /* in the hierarchy of version 2 */
	char separate[BT_CGROUP_NAME]; /* in the first hierarchy of version 1 where it is not in the root */
};

/* From this position of a CPU's ring on, records are of this tag. */
struct bt_tag {
	unsigned long long position;
	unsigned long long records; /* of this CPU, before */
	unsigned long long time;    /* of the last record before */
	unsigned long long tag;	    /* low half; high half: the account that they are on. 0 for what is of none */
};

struct bt_tags {
	unsigned long long count;
	unsigned long long consumed; /* written by user space */
	unsigned long long current;
	unsigned long long settled; /* records that are not in bt_cpu.recorded_here any more */
	struct bt_tag entry[BT_TAGS];
};

/* An id of which the map `trackers` has an enum bt_verdict. */
struct bt_track_key {
	unsigned int kind; /* enum bt_tracker */
	unsigned int _pad;
	unsigned long long value[2]; /* a number in the first, or a name */
};

#define BT_REJECTIONS 4096

struct bt_account {
	unsigned long long recorded;
	unsigned long long discarded;
};

/*
 * A container as far as the kernel knows it, by which events are counted by rule and limited: its account if it has
 * one, else the outermost pid namespace beside the host's, with the birth of its first process (CLOCK_BOOTTIME).
 */
struct bt_owner {
	unsigned long long born;
	unsigned int pid_ns;
	unsigned int account;
};

/* Events of one rule and container that were not recorded, on one CPU. */
struct bt_rule_count {
	unsigned long long number[BT_LEFT_COUNT];
};

/* How many events of a rule are wanted, of each container. Changed while recording. */
struct bt_rule {
	unsigned long long interval;  /* ns from one to the next; 0: as many as come */
	unsigned long long tolerance; /* ns by which they may come too early: a burst's worth */
	unsigned int sample;	      /* an event is wanted if a random number is less; 0: all are */
	unsigned int _pad;
};

/* A task's mark: kept in task storage, so that it lives exactly as long as the task. */
struct bt_mark {
	unsigned short pid;	/* enum bt_verdict, by its process id or by descent */
	unsigned short command; /* it is of the command that the recording started */
	unsigned int account;
	unsigned int exiting;	    /* enum bt_verdict when it began to exit; later its namespaces are gone */
	unsigned int late;	    /* bit n: the string that argument n points to could not be read on entry */
	unsigned long long late_mm; /* the memory it is in: another one after a successful execve */
	unsigned long long tag;	    /* when it began to exit */
	unsigned long long renamed; /* CLOCK_MONOTONIC when its name was last about to change */
};

/* A cgroup of any hierarchy: ids of version 1 are counted in each hierarchy from the beginning. */
struct bt_cgroup_key {
	unsigned long long id;
	unsigned int hierarchy;
	unsigned int _pad;
};

/* Kept in task storage from when a process comes into other namespaces until it executes a program. */
struct bt_newborn {
	unsigned int cause; /* enum bt_cause */
};

/* A process from which another one descends. */
struct bt_ancestor {
	unsigned long long start; /* CLOCK_BOOTTIME */
	unsigned int pid;	  /* 0: there is none */
	unsigned int _pad;
	char comm[16];
};

/* One entry of the ring `births`. */
struct bt_birth {
	unsigned int kind; /* enum bt_birth_kind */
	unsigned int pid;
	struct bt_ancestor ancestors[BT_ANCESTORS]; /* the nearest first, in the pid namespace of that one */
};
_Static_assert(sizeof(struct bt_birth) == 8 + BT_ANCESTORS * 32, "no implicit padding");
