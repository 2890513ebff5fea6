/* System calls that are not made as usual, each known by its number; x86-64 only. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static long compat_call(long number) {
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static void handler(int number) { (void)number; }

static void forbid(int number) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(void) {
    signal(SIGUSR1, handler);
    for (int i = 0; i < 30; i++)
        compat_call(20); /* getpid of 32-bit programs, writev of 64-bit ones */
    for (int i = 0; i < 20; i++)
        syscall(SYS_getpid); /* 39: mkdir of 32-bit programs */
    for (int i = 0; i < 5; i++)
        compat_call(1000);
    for (int i = 0; i < 6; i++)
        syscall(900 + i, 1, 2, 3, 4, 5, 6);
    syscall(100000);
    syscall(-5L);
    syscall(0x40000000 + SYS_getpid); /* x32, which kernels seldom have */
    raise(SIGUSR1); /* its handler returns through rt_sigreturn */
    forbid(SYS_getuid);
    for (int i = 0; i < 4; i++)
        syscall(SYS_getuid);
    return 0;
}
