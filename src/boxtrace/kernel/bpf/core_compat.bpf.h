/* SPDX-License-Identifier: GPL-2.0-only */
/* Where kernels or architectures differ: accessors only, each with the version it is about. */
#pragma once
#include "vmlinux.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "abi.h"

/* include/linux/preempt.h: what preempt_count() is made of. */
#define HARDIRQ_MASK 0x000f0000
#define NMI_MASK 0x00f00000
#define PREEMPT_NEED_RESCHED 0x80000000

extern int LINUX_KERNEL_VERSION __kconfig;
#define KERNEL(major, minor) ((major) << 16 | (minor) << 8)

/*
 * The same task, from which only is read. Since Linux 6.3 the verifier searches all of the kernel's BTF by name for
 * each pointer that is loaded from a trusted structure, on each path (btf_nested_type_is_trusted): more than half of
 * the time that loading took. From an untrusted one it does not; the price is that each load checks its address. So
 * this is for what runs seldom. User space replaces the call by one of bpf_rdonly_cast (a move once it is verified), or
 * by a move.
 */
static __always_inline struct task_struct *untrusted(struct task_struct *task)
{
	register struct task_struct *given asm("r1") = task;
	register u64 type asm("r2") = bpf_core_type_id_kernel(struct task_struct);
	register struct task_struct *same asm("r0");

	asm("call %3" : "=r"(same), "+r"(given), "+r"(type) : "i"(BT_IMM_READ_ONLY) : "r3", "r4", "r5");
	return same;
}

#if defined(__TARGET_ARCH_x86)
#define EPOLL_EVENT_SIZE 12 /* include/uapi/linux/eventpoll.h: packed on x86 only */
#define PREEMPT_COUNT_PER_CPU 1

/*
 * Per CPU, as the run queue is: `distance` is from the one variable to the other. The run queue is found through the
 * running task (CONFIG_FAIR_GROUP_SCHED). Not as __ksym: a kernel without CONFIG_KALLSYMS_ALL would refuse the
 * programs.
 */
static __always_inline u32 preempt_count(s64 distance)
{
	struct rq *queue = BPF_CORE_READ(bpf_get_current_task_btf(), se.cfs_rq, rq);
	u32 count = 0;

	bpf_probe_read_kernel(&count, sizeof(count), (void *)queue + distance);
	return count;
}

/* TIF_NEED_RESCHED; since Linux 6.18 by include/asm-generic/thread_info_tif.h. */
static __always_inline u64 need_resched_flag(void) { return LINUX_KERNEL_VERSION >= KERNEL(6, 18) ? 1 << 4 : 1 << 3; }

#define TS_COMPAT 0x0002 /* arch/x86/include/asm/thread_info.h: a 32-bit system call is in progress */

static __always_inline bool syscall_is_compat(struct task_struct *task) { return task->thread_info.status & TS_COMPAT; }

static __always_inline long syscall_number(struct pt_regs *regs) { return (long)regs->orig_ax; }

/* Arguments as raw registers; of a compat call the low halves. */
static __always_inline void syscall_arguments(struct pt_regs *regs, bool compat, u64 *argument)
{
	if (compat) {
		argument[0] = (u32)regs->bx;
		argument[1] = (u32)regs->cx;
		argument[2] = (u32)regs->dx;
		argument[3] = (u32)regs->si;
		argument[4] = (u32)regs->di;
		argument[5] = (u32)regs->bp;
	} else {
		argument[0] = regs->di;
		argument[1] = regs->si;
		argument[2] = regs->dx;
		argument[3] = regs->r10;
		argument[4] = regs->r8;
		argument[5] = regs->r9;
	}
}

/* One of them, not of a compat call; `i` is a constant. */
static __always_inline u64 syscall_argument(struct pt_regs *regs, int i)
{
	switch (i) {
	case 0:
		return regs->di;
	case 1:
		return regs->si;
	case 2:
		return regs->dx;
	case 3:
		return regs->r10;
	case 4:
		return regs->r8;
	default:
		return regs->r9;
	}
}

static __always_inline bool is_execve(long number, bool compat)
{
	return compat ? number == 11 || number == 358 : number == 59 || number == 322;
}
#elif defined(__TARGET_ARCH_arm64)
#define EPOLL_EVENT_SIZE 16
#define PREEMPT_COUNT_PER_CPU 0
static __always_inline u32 preempt_count(s64 distance) { return bpf_get_current_task_btf()->thread_info.preempt.count; }

/* TIF_NEED_RESCHED, arch/arm64/include/asm/thread_info.h */
static __always_inline u64 need_resched_flag(void) { return 1 << 1; }

#define TIF_32BIT (1UL << 22) /* arch/arm64/include/asm/thread_info.h */

static __always_inline bool syscall_is_compat(struct task_struct *task) { return task->thread_info.flags & TIF_32BIT; }

static __always_inline long syscall_number(struct pt_regs *regs) { return regs->syscallno; }

static __always_inline bool is_execve(long number, bool compat)
{
	return compat ? number == 11 || number == 387 : number == 221 || number == 281;
}

static __always_inline u64 syscall_argument(struct pt_regs *regs, int i) { return i ? regs->regs[i] : regs->orig_x0; }

static __always_inline void syscall_arguments(struct pt_regs *regs, bool compat, u64 *argument)
{
	u64 mask = compat ? 0xffffffff : ~0ULL;

	argument[0] = regs->orig_x0 & mask;
	argument[1] = regs->regs[1] & mask;
	argument[2] = regs->regs[2] & mask;
	argument[3] = regs->regs[3] & mask;
	argument[4] = regs->regs[4] & mask;
	argument[5] = regs->regs[5] & mask;
}
#endif
