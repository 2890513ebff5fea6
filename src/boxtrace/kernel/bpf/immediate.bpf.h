/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers of a recording in the instructions themselves (enum bt_immediate): put there before the programs are loaded.
 */
#pragma once
#include "abi.h"

/* An operation with an immediate that user space puts into the code: a number in memory would have to be loaded. */
#define WITH_IMMEDIATE(x, operator, immediate) asm(" %0 " operator" %1" : "+r"(x) : "i"(immediate))

/* A jump after a comparison with such a number. */
#define JUMP_IF(x, operator, immediate, label) asm goto("if %0 " operator" %1 goto %l2" ::"r"(x), "i"(immediate)::label)

/* An address that user space puts into the code. */
#define ADDRESS(immediate)                                                                                             \
	({                                                                                                             \
		void *_address;                                                                                        \
		asm volatile("%0 = %1 ll" : "=r"(_address) : "i"(immediate));                                          \
		_address;                                                                                              \
	})

/* Such a number. */
#define IMMEDIATE(immediate)                                                                                           \
	({                                                                                                             \
		u64 _number;                                                                                           \
		asm volatile("%0 = %1" : "=r"(_number) : "i"(immediate));                                              \
		_number;                                                                                               \
	})

/* COMMIT (ring.bpf.h) of a size that is such a number. */
#define COMMIT_IMMEDIATE(immediate)                                                                                    \
	({                                                                                                             \
		u64 _commit;                                                                                           \
		asm volatile("%0 = %1 ll" : "=r"(_commit) : "i"((immediate) | 1ULL << 32));                            \
		_commit;                                                                                               \
	})
