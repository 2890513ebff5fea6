/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boxtrace: static tracepoints for applications, in C11 and C++11 (GCC and Clang).
 *
 *     #include <boxtrace.h>
 *
 *     BOXTRACE_ENUM(demo_levels, {"LOW", 0, 9}, {"HIGH", 10, 99});
 *     BOXTRACE_EVENT(demo, request, (uint32_t, id), (string, path), (enumeration, uint8_t, level, demo_levels),
 *                    (array, uint8_t, 4, key), (sequence, double, samples))
 *
 *     boxtrace_demo_request(7, "/index", 12, key, samples, 3);
 *
 * declares the event demo:request and the function that records it. A field is (TYPE, name) with TYPE one of int8_t to
 * int64_t, uint8_t to uint64_t, hex8 to hex64 (unsigned, shown in hexadecimal), float, double, string; or
 * (text, SIZE, name), (array, TYPE, COUNT, name), (sequence, TYPE, name), which takes a pointer and a number of
 * elements, or (enumeration, TYPE, name, labels). At most 16 fields. BOXTRACE_EVENT_IP adds where it was called. While
 * nobody records, a call is a load and a branch beside the evaluation of its arguments; boxtrace_enabled(demo, request)
 * tells whether somebody does.
 *
 * Link with boxtrace.c, and with boxtrace_contexts.c if `boxtrace record --user-context` is to be of use; or with the
 * library, which has both. Recording is wait-free, and permitted in signal handlers, before main and in forked
 * children. Each source file that has the declaration has its own copy of it, which costs a few bytes and is otherwise
 * not noticed.
 */
#ifndef BOXTRACE_H
#define BOXTRACE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BOXTRACE_VERSION "1.0.0"

#ifdef __cplusplus
extern "C" {
#endif

#define BOXTRACE_API __attribute__((visibility("default")))

enum boxtrace_kind {
    BOXTRACE_UNSIGNED = 1,
    BOXTRACE_SIGNED,
    BOXTRACE_FLOAT,
    BOXTRACE_STRING,
    BOXTRACE_ENUMERATION,
    BOXTRACE_ARRAY,
    BOXTRACE_SEQUENCE,
    BOXTRACE_TEXT,
    BOXTRACE_TEXT_SEQUENCE,
};

/* One label of an enumeration: what it is called, and the first and last value that it stands for. */
struct boxtrace_label {
    const char *name;
    int64_t first, last;
};

struct boxtrace_scalar {
    uint8_t kind; /* BOXTRACE_UNSIGNED, _SIGNED or _FLOAT */
    uint8_t bits;
    uint8_t base;
};

struct boxtrace_field {
    const char *name;
    uint8_t kind;                   /* 0 for a number */
    struct boxtrace_scalar element; /* the number, or those that the field is made of */
    uint32_t count;                 /* elements of an array, bytes of a text, labels of an enumeration */
    const struct boxtrace_label *labels;
};

/* An event type. Must stay in place while it is registered; `enabled` is for reading only. */
struct boxtrace_event {
    uint32_t enabled;
    uint32_t id;
    const char *name;
    const struct boxtrace_field *fields;
    uint32_t field_count;
    int32_t loglevel;
    uint32_t state; /* private, as is `next` */
    struct boxtrace_event *next;
    /* For languages that declare at run time: the body of REGISTER (docs/protocol.md) in place of all the above. */
    const unsigned char *declaration;
    uint32_t declaration_size;
};

/* Have an event type known to hosts, until it is unregistered. Not in signal handlers. */
BOXTRACE_API void boxtrace_register(struct boxtrace_event *event);
BOXTRACE_API void boxtrace_unregister(struct boxtrace_event *event);

/*
 * Wait until a host, if there is one, knows all registered events, and has given the calling thread its counters if
 * such were asked for; at most so long. A program does so by itself when it starts, and a forked child, up to 1.5 s.
 */
BOXTRACE_API void boxtrace_wait(unsigned int milliseconds);

/*
 * Begin a record with so many bytes of fields. Returns where to write them, and boxtrace_end() must follow; or NULL
 * when it cannot be recorded (it is counted then), and it must not. `ip` is the place in the program, for a host that
 * wants to know; boxtrace_begin() takes that which it is called from.
 */
BOXTRACE_API unsigned char *boxtrace_begin_at(const struct boxtrace_event *event, size_t size, const void *ip);
BOXTRACE_API unsigned char *boxtrace_begin(const struct boxtrace_event *event, size_t size);
BOXTRACE_API void boxtrace_end(void);

/* The calling thread's namespaces or credentials have changed: what it records from now on has the new ones. */
BOXTRACE_API void boxtrace_context_changed(void);

/* Run first among the constructors of a program, by BOXTRACE_EVENT. Waits as above, but not twice for a host in vain.
 */
BOXTRACE_API void boxtrace_start(void);

#ifdef BOXTRACE_EXTENSION
/* What boxtrace_contexts.c adds to boxtrace.c where it is linked with it; not for programs. `slot` numbers a ring. */
enum { BOXTRACE_SLOTS = 1024, BOXTRACE_DESCRIPTORS = 8 };
struct boxtrace_extension {
    uint32_t contexts; /* a bit for each that it can write (docs/protocol.md) */
    /* In the owner of the ring, or when it has none: it is another thread's now, or, with 0, nobody's. */
    void (*own)(long slot, uint32_t vtid);
    /* In the owner: whether all is there that can be written; write it, and return where the fields begin. */
    int (*ready)(long slot, uint32_t contexts);
    unsigned char *(*write)(long slot, uint32_t contexts, unsigned char *at, const void *ip);
    /* In the connection's thread: take the counters of a ring's owner. Those that it keeps become -1. */
    void (*take)(long slot, uint32_t contexts, uint32_t vtid, int descriptors[BOXTRACE_DESCRIPTORS]);
};
extern const struct boxtrace_extension boxtrace_extension __attribute__((weak, visibility("hidden")));
#endif

#ifdef __cplusplus
}
#endif

#define BOXTRACE_CAT_(a, b) a##b
#define BOXTRACE_CAT(a, b) BOXTRACE_CAT_(a, b)
#define BOXTRACE_COUNT_(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, n, ...) n
#define BOXTRACE_COUNT(...) BOXTRACE_COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define BOXTRACE_COMMA() ,
#define BOXTRACE_NOTHING()
/* Apply m to each field, with the separator s between them. */
#define BOXTRACE_EACH(m, s, ...) BOXTRACE_CAT(BOXTRACE_EACH_, BOXTRACE_COUNT(__VA_ARGS__))(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_1(m, s, f) m f
#define BOXTRACE_EACH_2(m, s, f, ...) m f s() BOXTRACE_EACH_1(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_3(m, s, f, ...) m f s() BOXTRACE_EACH_2(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_4(m, s, f, ...) m f s() BOXTRACE_EACH_3(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_5(m, s, f, ...) m f s() BOXTRACE_EACH_4(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_6(m, s, f, ...) m f s() BOXTRACE_EACH_5(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_7(m, s, f, ...) m f s() BOXTRACE_EACH_6(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_8(m, s, f, ...) m f s() BOXTRACE_EACH_7(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_9(m, s, f, ...) m f s() BOXTRACE_EACH_8(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_10(m, s, f, ...) m f s() BOXTRACE_EACH_9(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_11(m, s, f, ...) m f s() BOXTRACE_EACH_10(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_12(m, s, f, ...) m f s() BOXTRACE_EACH_11(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_13(m, s, f, ...) m f s() BOXTRACE_EACH_12(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_14(m, s, f, ...) m f s() BOXTRACE_EACH_13(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_15(m, s, f, ...) m f s() BOXTRACE_EACH_14(m, s, __VA_ARGS__)
#define BOXTRACE_EACH_16(m, s, f, ...) m f s() BOXTRACE_EACH_15(m, s, __VA_ARGS__)

/* Numbers: the C type, its kind, and the shape of a field that begins with this word. */
#define BOXTRACE_C_int8_t int8_t
#define BOXTRACE_C_int16_t int16_t
#define BOXTRACE_C_int32_t int32_t
#define BOXTRACE_C_int64_t int64_t
#define BOXTRACE_C_uint8_t uint8_t
#define BOXTRACE_C_uint16_t uint16_t
#define BOXTRACE_C_uint32_t uint32_t
#define BOXTRACE_C_uint64_t uint64_t
#define BOXTRACE_C_hex8 uint8_t
#define BOXTRACE_C_hex16 uint16_t
#define BOXTRACE_C_hex32 uint32_t
#define BOXTRACE_C_hex64 uint64_t
#define BOXTRACE_C_float float
#define BOXTRACE_C_double double
#define BOXTRACE_N_int8_t {BOXTRACE_SIGNED, 8, 10}
#define BOXTRACE_N_int16_t {BOXTRACE_SIGNED, 16, 10}
#define BOXTRACE_N_int32_t {BOXTRACE_SIGNED, 32, 10}
#define BOXTRACE_N_int64_t {BOXTRACE_SIGNED, 64, 10}
#define BOXTRACE_N_uint8_t {BOXTRACE_UNSIGNED, 8, 10}
#define BOXTRACE_N_uint16_t {BOXTRACE_UNSIGNED, 16, 10}
#define BOXTRACE_N_uint32_t {BOXTRACE_UNSIGNED, 32, 10}
#define BOXTRACE_N_uint64_t {BOXTRACE_UNSIGNED, 64, 10}
#define BOXTRACE_N_hex8 {BOXTRACE_UNSIGNED, 8, 16}
#define BOXTRACE_N_hex16 {BOXTRACE_UNSIGNED, 16, 16}
#define BOXTRACE_N_hex32 {BOXTRACE_UNSIGNED, 32, 16}
#define BOXTRACE_N_hex64 {BOXTRACE_UNSIGNED, 64, 16}
#define BOXTRACE_N_float {BOXTRACE_FLOAT, 32, 0}
#define BOXTRACE_N_double {BOXTRACE_FLOAT, 64, 0}
#define BOXTRACE_S_int8_t number
#define BOXTRACE_S_int16_t number
#define BOXTRACE_S_int32_t number
#define BOXTRACE_S_int64_t number
#define BOXTRACE_S_uint8_t number
#define BOXTRACE_S_uint16_t number
#define BOXTRACE_S_uint32_t number
#define BOXTRACE_S_uint64_t number
#define BOXTRACE_S_hex8 number
#define BOXTRACE_S_hex16 number
#define BOXTRACE_S_hex32 number
#define BOXTRACE_S_hex64 number
#define BOXTRACE_S_float number
#define BOXTRACE_S_double number
#define BOXTRACE_S_string string
#define BOXTRACE_S_text text
#define BOXTRACE_S_array array
#define BOXTRACE_S_sequence sequence
#define BOXTRACE_S_enumeration enumeration

/* Parameters of the recording function. */
#define BOXTRACE_PARAMETER(k, ...) BOXTRACE_CAT(BOXTRACE_P_, BOXTRACE_S_##k)(k, __VA_ARGS__)
#define BOXTRACE_P_number(k, n) BOXTRACE_C_##k n
#define BOXTRACE_P_string(k, n) const char *n
#define BOXTRACE_P_text(k, c, n) const char *n
#define BOXTRACE_P_array(k, e, c, n) const BOXTRACE_C_##e *n
#define BOXTRACE_P_sequence(k, e, n) const BOXTRACE_C_##e *n, size_t n##_count
#define BOXTRACE_P_enumeration(k, e, n, l) BOXTRACE_C_##e n

/* The same, passed on. */
#define BOXTRACE_ARGUMENT(k, ...) BOXTRACE_CAT(BOXTRACE_A_, BOXTRACE_S_##k)(k, __VA_ARGS__)
#define BOXTRACE_A_number(k, n) n
#define BOXTRACE_A_string(k, n) n
#define BOXTRACE_A_text(k, c, n) n
#define BOXTRACE_A_array(k, e, c, n) n
#define BOXTRACE_A_sequence(k, e, n) n, n##_count
#define BOXTRACE_A_enumeration(k, e, n, l) n

/* Adds up the size of the record. */
#define BOXTRACE_MEASURE(k, ...) BOXTRACE_CAT(BOXTRACE_M_, BOXTRACE_S_##k)(k, __VA_ARGS__)
#define BOXTRACE_M_number(k, n) boxtrace_size += sizeof(n);
#define BOXTRACE_M_string(k, n)                                                                                        \
    const size_t n##_length = n ? strlen(n) : 0;                                                                       \
    boxtrace_size += n##_length + 1;
#define BOXTRACE_M_text(k, c, n) boxtrace_size += (c);
#define BOXTRACE_M_array(k, e, c, n) boxtrace_size += (c) * sizeof(*n);
#define BOXTRACE_M_sequence(k, e, n) boxtrace_size += sizeof(uint32_t) + n##_count * sizeof(*n);
#define BOXTRACE_M_enumeration(k, e, n, l) boxtrace_size += sizeof(n);

/* Writes the field. */
#define BOXTRACE_WRITE(k, ...) BOXTRACE_CAT(BOXTRACE_W_, BOXTRACE_S_##k)(k, __VA_ARGS__)
#define BOXTRACE_W_number(k, n)                                                                                        \
    memcpy(boxtrace_at, &n, sizeof(n));                                                                                \
    boxtrace_at += sizeof(n);
#define BOXTRACE_W_string(k, n)                                                                                        \
    boxtrace_copy_string(boxtrace_at, n, n##_length);                                                                  \
    boxtrace_at += n##_length + 1;
#define BOXTRACE_W_text(k, c, n)                                                                                       \
    boxtrace_copy_text(boxtrace_at, n, (c));                                                                           \
    boxtrace_at += (c);
#define BOXTRACE_W_array(k, e, c, n)                                                                                   \
    memcpy(boxtrace_at, n, (c) * sizeof(*n));                                                                          \
    boxtrace_at += (c) * sizeof(*n);
#define BOXTRACE_W_sequence(k, e, n)                                                                                   \
    boxtrace_copy_sequence(boxtrace_at, n, n##_count, sizeof(*n));                                                     \
    boxtrace_at += sizeof(uint32_t) + n##_count * sizeof(*n);
#define BOXTRACE_W_enumeration(k, e, n, l) BOXTRACE_W_number(k, n)

/* Describes the field. */
#define BOXTRACE_FIELD(k, ...) BOXTRACE_CAT(BOXTRACE_F_, BOXTRACE_S_##k)(k, __VA_ARGS__)
#define BOXTRACE_F_number(k, n) {#n, 0, BOXTRACE_N_##k, 0, 0}
#define BOXTRACE_F_string(k, n) {#n, BOXTRACE_STRING, {0, 0, 0}, 0, 0}
#define BOXTRACE_F_text(k, c, n) {#n, BOXTRACE_TEXT, {0, 0, 0}, (c), 0}
#define BOXTRACE_F_array(k, e, c, n) {#n, BOXTRACE_ARRAY, BOXTRACE_N_##e, (c), 0}
#define BOXTRACE_F_sequence(k, e, n) {#n, BOXTRACE_SEQUENCE, BOXTRACE_N_##e, 0, 0}
#define BOXTRACE_F_enumeration(k, e, n, l)                                                                             \
    {#n, BOXTRACE_ENUMERATION, BOXTRACE_N_##e, (uint32_t)(sizeof(l) / sizeof((l)[0])), l}

static inline __attribute__((unused)) void boxtrace_copy_string(unsigned char *at, const char *text, size_t length) {
    if (length)
        memcpy(at, text, length);
    at[length] = 0;
}

static inline __attribute__((unused)) void boxtrace_copy_text(unsigned char *at, const char *text, size_t size) {
    const char *end = text ? (const char *)memchr(text, 0, size) : text;
    const size_t length = end ? (size_t)(end - text) : text ? size : 0;
    if (length)
        memcpy(at, text, length);
    memset(at + length, 0, size - length);
}

static inline __attribute__((unused)) void boxtrace_copy_sequence(unsigned char *at, const void *elements, size_t count,
                                                                  size_t size) {
    const uint32_t number = (uint32_t)count;
    memcpy(at, &number, sizeof(number));
    if (count)
        memcpy(at + sizeof(number), elements, count * size);
}

/* Name the values of an enumeration: BOXTRACE_ENUM(labels, {"NAME", first, last}, ...); */
#define BOXTRACE_ENUM(labels, ...) static const struct boxtrace_label labels[] __attribute__((unused)) = {__VA_ARGS__}

#define BOXTRACE_DECLARE_(provider, event, loglevel, fields, count)                                                    \
    static struct boxtrace_event boxtrace_event_##provider##_##event = {                                               \
        0, 0, #provider ":" #event, fields, (uint32_t)(count), loglevel, 0, 0, 0, 0};                                  \
    __attribute__((constructor(101), unused)) static void boxtrace_register_##provider##_##event(void) {               \
        boxtrace_register(&boxtrace_event_##provider##_##event);                                                       \
    }                                                                                                                  \
    __attribute__((destructor(101), unused)) static void boxtrace_unregister_##provider##_##event(void) {              \
        boxtrace_unregister(&boxtrace_event_##provider##_##event);                                                     \
    }                                                                                                                  \
    __attribute__((constructor(102), unused)) static void boxtrace_start_##provider##_##event(void) {                  \
        boxtrace_start();                                                                                              \
    }

/* Whether an event is being recorded. */
#define boxtrace_enabled(provider, event)                                                                              \
    __builtin_expect(__atomic_load_n(&boxtrace_event_##provider##_##event.enabled, __ATOMIC_RELAXED) != 0, 0)

/* What BOXTRACE_EVENT_IP adds: a field and its value. */
#define BOXTRACE_IP_FIELD() {"ip", 0, BOXTRACE_N_hex64, 0, 0},
#define BOXTRACE_IP_SIZE() sizeof(uint64_t)
#define BOXTRACE_IP_WRITE()                                                                                            \
    const uint64_t boxtrace_ip = (uint64_t)(uintptr_t)__builtin_return_address(0);                                     \
    memcpy(boxtrace_at, &boxtrace_ip, sizeof(boxtrace_ip));                                                            \
    boxtrace_at += sizeof(boxtrace_ip);
#define BOXTRACE_NO_FIELD()
#define BOXTRACE_NO_SIZE() 0
#define BOXTRACE_NO_WRITE()

/* That a call before it is no jump, which would leave no address behind. */
#define BOXTRACE_STAY() __asm__ volatile("")

#define BOXTRACE_DEFINE_(provider, event, loglevel, more, ...)                                                         \
    static const struct boxtrace_field boxtrace_fields_##provider##_##event[] = {                                      \
        BOXTRACE_##more##_FIELD() BOXTRACE_EACH(BOXTRACE_FIELD, BOXTRACE_COMMA, __VA_ARGS__)};                         \
    BOXTRACE_DECLARE_(provider, event, loglevel, boxtrace_fields_##provider##_##event,                                 \
                      sizeof(boxtrace_fields_##provider##_##event) / sizeof(boxtrace_fields_##provider##_##event[0]))  \
    static __attribute__((noinline, unused)) void boxtrace_record_##provider##_##event(                                \
        BOXTRACE_EACH(BOXTRACE_PARAMETER, BOXTRACE_COMMA, __VA_ARGS__)) {                                              \
        size_t boxtrace_size = BOXTRACE_##more##_SIZE();                                                               \
        BOXTRACE_EACH(BOXTRACE_MEASURE, BOXTRACE_NOTHING, __VA_ARGS__)                                                 \
        unsigned char *boxtrace_at =                                                                                   \
            boxtrace_begin_at(&boxtrace_event_##provider##_##event, boxtrace_size, __builtin_return_address(0));       \
        if (!boxtrace_at)                                                                                              \
            return;                                                                                                    \
        BOXTRACE_##more##_WRITE() BOXTRACE_EACH(BOXTRACE_WRITE, BOXTRACE_NOTHING, __VA_ARGS__)(void) boxtrace_at;      \
        boxtrace_end();                                                                                                \
    }                                                                                                                  \
    static inline __attribute__((unused)) void boxtrace_##provider##_##event(                                          \
        BOXTRACE_EACH(BOXTRACE_PARAMETER, BOXTRACE_COMMA, __VA_ARGS__)) {                                              \
        if (boxtrace_enabled(provider, event)) {                                                                       \
            boxtrace_record_##provider##_##event(BOXTRACE_EACH(BOXTRACE_ARGUMENT, BOXTRACE_COMMA, __VA_ARGS__));       \
            BOXTRACE_STAY();                                                                                           \
        }                                                                                                              \
    }

/* Declare an event with fields, of a loglevel (LTTng's numbers: 3 error, 4 warning, 6 info, 14 debug). */
#define BOXTRACE_EVENT_LEVEL(provider, event, loglevel, ...)                                                           \
    BOXTRACE_DEFINE_(provider, event, loglevel, NO, __VA_ARGS__)

/* Declare an event with fields. */
#define BOXTRACE_EVENT(provider, event, ...) BOXTRACE_DEFINE_(provider, event, -1, NO, __VA_ARGS__)

/* The same with a field `ip` before them, which tells the place in the program: the address after the call. */
#define BOXTRACE_EVENT_IP(provider, event, ...) BOXTRACE_DEFINE_(provider, event, -1, IP, __VA_ARGS__)

/* Declare an event without fields. */
#define BOXTRACE_MARK(provider, event)                                                                                 \
    BOXTRACE_DECLARE_(provider, event, -1, 0, 0)                                                                       \
    static inline __attribute__((unused)) void boxtrace_##provider##_##event(void) {                                   \
        if (boxtrace_enabled(provider, event) && boxtrace_begin(&boxtrace_event_##provider##_##event, 0))              \
            boxtrace_end();                                                                                            \
    }

#endif
