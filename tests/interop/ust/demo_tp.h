/* Tracepoints of the test application: every field type of LTTng-UST. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER demo
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./demo_tp.h"
#if !defined(DEMO_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define DEMO_TP_H
#include <lttng/tracepoint.h>

/* clang-format off */
LTTNG_UST_TRACEPOINT_EVENT(demo, tick,
    LTTNG_UST_TP_ARGS(int, n),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer(int, n, n)
        lttng_ust_field_integer_hex(unsigned long, product, (unsigned long)n * 7919)))

LTTNG_UST_TRACEPOINT_ENUM(demo, color,
    LTTNG_UST_TP_ENUM_VALUES(lttng_ust_field_enum_value("RED", 0) lttng_ust_field_enum_range("SOME", 1, 5)))

LTTNG_UST_TRACEPOINT_EVENT(demo, rich,
    LTTNG_UST_TP_ARGS(int, n, const char *, text, short *, numbers, int, length),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer(int, n, n)
        lttng_ust_field_string(string, text)
        lttng_ust_field_float(double, wide, n * 1.25 - 3)
        lttng_ust_field_float(float, narrow, (float)n / 3)
        lttng_ust_field_array(short, array, numbers, 4)
        lttng_ust_field_sequence(short, sequence, numbers, unsigned int, length)
        lttng_ust_field_array_text(char, array_text, text, 4)
        lttng_ust_field_sequence_text(char, sequence_text, text, size_t, 5)
        lttng_ust_field_integer_network(int, network, n)
        lttng_ust_field_enum(demo, color, int, color, n % 8)))
/* clang-format on */
#endif
#include <lttng/tracepoint-event.h>
