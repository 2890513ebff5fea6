/* Two threads wait for a host; each then makes twenty times a system call, an event, and another system call. */
#define _GNU_SOURCE
#include <boxtrace.h>
#include <pthread.h>
#include <unistd.h>

BOXTRACE_EVENT(app, inside, (uint32_t, round))

static void *work(void *unused) {
    while (!boxtrace_enabled(app, inside))
        usleep(10000);
    boxtrace_wait(20000); /* for counters, where such are recorded */
    for (uint32_t round = 0; round < 20; round++) {
        getpgid(0);
        boxtrace_app_inside(round);
        getppid();
        usleep(1000);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    work(NULL);
    pthread_join(thread, NULL);
    sleep(1000);
    return 0;
}
