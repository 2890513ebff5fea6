/* Emits as many plain and rich events as its arguments say. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "demo_tp.h"
#include <stdlib.h>

int main(int argc, char **argv) {
    short numbers[8] = {1, -2, 3, -4, 5, -6, 7, -8};
    for (int i = 0; i < atoi(argv[1]); i++)
        lttng_ust_tracepoint(demo, tick, i);
    for (int i = 0; i < atoi(argv[argc - 1]); i++)
        lttng_ust_tracepoint(demo, rich, i, "h\xc3\xa9\"llo\n", numbers, i % 8);
    return 0;
}
