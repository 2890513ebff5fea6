/*
 * What an event of an application costs: user THREADS BATCHES EVENTS. Prints the ns per event of each batch, of each
 * thread. Built with -DUSE_LTTNG it records by LTTng-UST, else by the C client. Between batches it sleeps, so that what
 * records can keep up and no event is lost.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef USE_LTTNG
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "user_lttng.h"
#define EVENT(n) lttng_ust_tracepoint(bench, event, (uint32_t)(n), (uint64_t)(n))
#else
#include <boxtrace.h>
BOXTRACE_EVENT(bench, event, (uint32_t, small), (uint64_t, large))
#define EVENT(n) boxtrace_bench_event((uint32_t)(n), (uint64_t)(n))
#endif

static long batches, events;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void *run(void *unused) {
    for (long batch = 0; batch < batches; batch++) {
        const int64_t begin = now();
        for (long n = 0; n < events; n++)
            EVENT(n);
        printf("%.2f\n", (double)(now() - begin) / (double)events);
        usleep(5000);
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t threads[16];
    const int count = argc > 3 ? atoi(argv[1]) : 0;
    if (count < 1 || count > 16)
        return 2;
    batches = atol(argv[2]);
    events = atol(argv[3]);
    usleep(300000);
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, run, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
