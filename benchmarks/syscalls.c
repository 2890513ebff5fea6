/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes getppid system calls in batches: syscalls CPU BATCHES CALLS
 *
 * Prints its process id and waits for a line on standard input; then prints how long each batch took, in ns of
 * CLOCK_MONOTONIC. CPU -1 leaves the choice of a CPU to the scheduler.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s CPU BATCHES CALLS\n", argv[0]);
        return 2;
    }
    int cpu = atoi(argv[1]), batches = atoi(argv[2]);
    long calls = atol(argv[3]);
    cpu_set_t set;

    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set)) {
            perror("sched_setaffinity");
            return 1;
        }
    }
    long long *took = calloc((size_t)batches, sizeof(*took));
    if (!took)
        return 1;
    printf("%d\n", getpid());
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    for (int batch = 0; batch < batches; batch++) {
        long long start = now();
        for (long call = 0; call < calls; call++)
            syscall(SYS_getppid);
        took[batch] = now() - start;
    }
    for (int batch = 0; batch < batches; batch++)
        printf("%lld\n", took[batch]);
    free(took);
    return 0;
}
