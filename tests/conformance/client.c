/* What the conformance suite asks a client to do, with the C client (tests/conformance/README.md). */
#include <boxtrace.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

BOXTRACE_ENUM(colours, {"RED", -5, -1}, {"GREEN", 0, 0}, {"BLUE", 1, 100});
BOXTRACE_EVENT_LEVEL(conformance, fields, 6, (uint8_t, u8), (int16_t, i16), (uint32_t, u32), (int64_t, i64),
                     (hex64, address), (float, f32), (double, f64), (string, text),
                     (enumeration, int8_t, colour, colours), (array, uint16_t, 3, triple), (sequence, int32_t, numbers),
                     (text, 8, tag))
BOXTRACE_EVENT(conformance, count, (uint64_t, n))
BOXTRACE_EVENT(conformance, large, (string, text))
BOXTRACE_MARK(conformance, mark)

static void count(uint64_t number) {
    for (uint64_t n = 0; n < number; n++)
        boxtrace_conformance_count(n);
}

static void *run_thread(void *number) {
    count(*(uint64_t *)number);
    return NULL;
}

static uint64_t handled;

static void handle(int number) {
    (void)number;
    boxtrace_conformance_mark();
    handled++;
}

static __attribute__((constructor)) void before_main(void) {
    if (getenv("CONFORMANCE_EARLY"))
        boxtrace_conformance_mark();
}

int main(int argc, char **argv) {
    const char *scenario = argc > 1 ? argv[1] : "";
    uint64_t number = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (!strcmp(scenario, "fields")) {
        const uint16_t triple[3] = {1, 2, 65535};
        const int32_t numbers[2] = {-1, 2147483647};
        boxtrace_conformance_fields(255, -32768, 4294967295u, INT64_MIN, 0xdeadbeef, 1.5f, -2.25, "caf\xc3\xa9", -3,
                                    triple, numbers, 2, "tag");
        boxtrace_conformance_fields(0, 0, 0, 0, 0, 0, 0, "", 100, triple, numbers, 0, "12345678");
    } else if (!strcmp(scenario, "count")) {
        count(number);
    } else if (!strcmp(scenario, "threads")) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, run_thread, &number);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    } else if (!strcmp(scenario, "fork")) {
        boxtrace_conformance_count(1);
        if (fork() == 0) {
            boxtrace_conformance_count(2);
            _exit(0);
        }
        wait(NULL);
        boxtrace_conformance_count(3);
    } else if (!strcmp(scenario, "large")) {
        char *text = (char *)malloc(1 << 20);
        memset(text, 'x', (1 << 20) - 1);
        text[(1 << 20) - 1] = 0;
        boxtrace_conformance_count(1);
        boxtrace_conformance_large(text);
        boxtrace_conformance_count(2);
        free(text);
    } else if (!strcmp(scenario, "signals")) {
        const struct itimerval interval = {{0, 100}, {0, 100}};
        signal(SIGALRM, handle);
        setitimer(ITIMER_REAL, &interval, NULL);
        count(number);
        signal(SIGALRM, SIG_IGN);
        printf("%llu\n", (unsigned long long)handled);
    } else if (!strcmp(scenario, "forever")) {
        for (uint64_t n = 0;; n++) {
            boxtrace_conformance_count(n);
            usleep((useconds_t)number);
        }
    } else if (strcmp(scenario, "nothing")) {
        fprintf(stderr, "unknown scenario %s\n", scenario);
        return 2;
    }
    return 0;
}
