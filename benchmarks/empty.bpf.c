// SPDX-License-Identifier: GPL-2.0-only
/* Two programs that do nothing, on every system call: what attaching costs at the least. */
#define SEC(name) __attribute__((section(name), used))

SEC("tp_btf/sys_enter") int empty_enter(unsigned long long *context) { return 0; }

SEC("tp_btf/sys_exit") int empty_exit(unsigned long long *context) { return 0; }

char _license[] SEC("license") = "GPL";
