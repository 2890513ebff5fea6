/* Records two types of events with the tracer that barectf generates, to the file that its argument names. When a packet
 * is full, the back end is said to be full every third time, so that events are discarded. */
#include "demo.h"
#include <stdio.h>

static FILE *out;
static uint64_t now = 1000;
static int asked;
static uint8_t buffer[512];
static struct demo_odd_ctx tracer;

static uint64_t ticks(void *data) {
    (void)data;
    return now += 7;
}

static int is_full(void *data) {
    (void)data;
    return ++asked % 3 == 0;
}

static void open_packet(void *data) {
    (void)data;
    demo_odd_open_packet(&tracer, 3);
}

static void close_packet(void *data) {
    (void)data;
    demo_odd_close_packet(&tracer);
    fwrite(buffer, 1, sizeof buffer, out);
}

int main(int argc, char **argv) {
    const struct demo_platform_callbacks callbacks = {ticks, is_full, open_packet, close_packet};
    const char *texts[] = {"", "a", "caf\xc3\xa9", "tab\there"};
    const int8_t fixed[] = {-64, 0, 63};
    uint16_t many[7];
    if (argc != 2 || (out = fopen(argv[1], "wb")) == NULL)
        return 1;
    demo_init(&tracer, buffer, sizeof buffer, callbacks, NULL);
    open_packet(NULL);
    for (int i = 0; i < 1000; i++) {
        for (int j = 0; j < i % 7; j++)
            many[j] = (uint16_t)(i * 31 + j & 0xfff);
        demo_odd_trace_mixed(&tracer, i % 32, i % 2048, i % 8 - 4, -(int64_t)i * 1000000007, i & 0x1fff, i / 3.0, i % 16,
                             texts[i % 4], fixed, i % 7, many);
        if (i % 5 == 0)
            demo_odd_trace_empty(&tracer, i % 32, i % 2048);
    }
    if (demo_packet_is_open(&tracer) && !demo_packet_is_empty(&tracer))
        close_packet(NULL);
    return fclose(out);
}
