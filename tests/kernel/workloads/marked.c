/* Calls work() as often as its argument says; each call passes the USDT marker boxtrace_test:step(i, -3 * i). */
#include <stdlib.h>
#include <sys/sdt.h>

__attribute__((noinline)) int work(int i) {
    DTRACE_PROBE2(boxtrace_test, step, i, -3L * i);
    return i + 1;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 1, sum = 0;

    for (int i = 0; i < count; i++)
        sum += work(i);
    return sum < 0;
}
