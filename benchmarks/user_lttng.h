/* The benchmark's event for LTTng-UST. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER bench
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./user_lttng.h"
#if !defined(USER_LTTNG_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define USER_LTTNG_H
#include <lttng/tracepoint.h>
LTTNG_UST_TRACEPOINT_EVENT(bench, event, LTTNG_UST_TP_ARGS(uint32_t, small, uint64_t, large),
                           LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(uint32_t, small, small)
                                                   lttng_ust_field_integer(uint64_t, large, large)))
#endif
#include <lttng/tracepoint-event.h>
