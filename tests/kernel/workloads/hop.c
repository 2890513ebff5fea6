/*
 * hop ROUNDS: change the uts namespace on one CPU and be seen on the other, again and again, so that the kernel's
 * objects come to lie where their predecessors lay. Each round is marked by close(0x7000 + ROUND), and the namespace
 * that the task is in then is printed.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void go_to(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv) {
    int rounds = atoi(argv[1]);
    static char inode[1000][32];

    for (int round = 0; round < rounds; round++) {
        go_to(1);
        unshare(CLONE_NEWUTS);
        unshare(CLONE_NEWUTS);
        readlink("/proc/self/ns/uts", inode[round], sizeof(inode[0]) - 1);
        go_to(0);
        syscall(SYS_close, 0x7000 + round);
    }
    for (int round = 0; round < rounds; round++)
        puts(inode[round]);
    return 0;
}
