/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of an application that gives its events to a boxtrace host; docs/protocol.md says how.
 *
 * A thread of its own (all signals blocked) talks to the host and provides rings ahead of need; the threads that record
 * only ever touch memory, and write to an eventfd now and then. What they share with it:
 *
 * - `session`: a number in memory that the kernel zeroes in forked children, so that a child never writes to its
 *   parent's rings, whatever call forked it. It is 0 without a host, and different with each.
 * - `counted` of a slot: 0 when it has no counters. Only the connection's thread puts some there, and then does not
 * touch them; the slot's owner reads and closes them, so that it never reads a descriptor that has become another
 * file's.
 * - `slots`: the rings. A slot's `claim` decides who may touch its memory: the thread that moved it from FREE, or from
 *   CLOSED, to BUSY or OWNED. Only the connection's thread maps and unmaps, and only what it made BUSY.
 */
#define _GNU_SOURCE
#include "boxtrace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum message {
    HELLO = 1,
    WELCOME,
    REFUSED,
    REGISTER,
    TYPE,
    ENABLE,
    RINGS,
    RING,
    CONTEXT,
};
static const uint32_t OPTIONAL = 0x80000000u; /* a bit of the type: who does not know the message ignores it */
static const uint32_t COUNTED_SOON = UINT32_MAX;
static const uint32_t CONTEXTS = 0x8000000au, COUNTERS = 0x8000000bu;

enum {
    MAGIC = 0x52545842,
    VERSION = 1,
    MESSAGE_MAX = 16384,
    SLOTS = 1024,
    SPARE_RINGS = 4,
    RETRY_MS = 1000,
    START_MS = 1500,
    EXTENDED_ID = 0xffff,
    CONTROL_SIZE = 4096,
    YOUNG_NS = 50000000,
    BLOCK_NS = 100000,
    CONTEXT_IP = 1, /* bits of the contexts that a host wants in each record */
    CONTEXT_COUNTER = 2,
    COUNTERS_MAX = 8,
    HIGH_DESCRIPTOR = 500,
    DESCRIPTORS_MAX = 8, /* of one message */
};

/* The beginning of a ring's memory. */
struct shared {
    uint64_t committed;
    uint64_t lost;
    uint32_t vtid, pad0;
    uint64_t pthread_id;
    uint8_t pad1[32];
    uint32_t state, pad2[15];
    uint64_t released;
    uint64_t stamped;
    uint32_t known;
};
_Static_assert(offsetof(struct shared, state) == 64 && offsetof(struct shared, released) == 128, "docs/protocol.md");

enum { STATE_FREE, STATE_OWNED, STATE_CLOSED };
enum claim { EMPTY, FREE, OWNED, CLOSED, BUSY };

struct slot {
    uint32_t claim;
    uint32_t session;
    uint32_t index; /* the host's number for it */
    struct shared *shared;
    unsigned char *data;
    uint64_t size, offset; /* of the data; where they begin in the descriptor */
    uint32_t contexts;     /* that records have before their fields */
    uint32_t context_size;
    uint32_t vtid;    /* of the owner */
    uint32_t counted; /* thread whose counters these are, 0 for none, COUNTED_SOON while they are put there */
    int counters[COUNTERS_MAX];
};

struct thread {
    struct slot *slot;
    uint64_t position; /* of what is reserved; shared->committed follows it */
    uint64_t published;
    uint64_t last_time;
    uint64_t since;
    uint32_t session;
    uint32_t depth; /* records begun and not ended: more than one in signal handlers only */
};

#ifdef __GLIBC__ /* keeps room in each thread's first block for libraries that are loaded later; musl has none */
static __thread struct thread self __attribute__((tls_model("initial-exec")));
#else
static __thread struct thread self;
#endif
static struct slot slots[SLOTS];
static uint32_t slot_count;
static uint32_t *session; /* NULL before the start */
static int64_t clock_offset;
static uint32_t max_record;
static uint32_t contexts;
static uint64_t *lost_without_ring;
static int wake_fd = -1; /* the host's */
static int kick_fd = -1; /* the connection thread's */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct boxtrace_event *events;
static int host_fd = -1;
static uint32_t connection; /* `session` of the connection in use, 0 before WELCOME */
static uint32_t rings_asked;
static bool no_more_rings;
static bool started;
static bool alone;   /* no host was there the last time */
static bool settled; /* every registered event has its answer, and there are rings */
static pthread_key_t thread_key;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- recording ----------------------------------------------------------------------------------------------------
 */

static inline uint64_t clock_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + (uint64_t)clock_offset;
}

#ifdef __GLIBC__
#define HAVE_RSEQ __GLIBC_PREREQ(2, 35)
#else
#define HAVE_RSEQ 0
#endif
#if HAVE_RSEQ /* the kernel keeps the CPU's number in each thread's memory */
#include <sys/rseq.h>
static inline uint32_t cpu_now(void) {
    const struct rseq *area = (const struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    const uint32_t cpu = __atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED);
    return likely(cpu < 0x80000000u) ? cpu : (uint32_t)sched_getcpu();
}
#else
static inline uint32_t cpu_now(void) { return (uint32_t)sched_getcpu(); }
#endif

/* Atomic towards signal handlers of this thread, which is all that is needed: no other thread writes there. */
static inline bool local_compare_exchange(uint64_t *word, uint64_t expected, uint64_t value) {
#ifdef __x86_64__
    bool same;
    __asm__ volatile("cmpxchgq %3, %1" : "=@ccz"(same), "+m"(*word), "+a"(expected) : "r"(value) : "memory");
    return same;
#else
    return __atomic_compare_exchange_n(word, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
#endif
}

static inline void local_increment(uint64_t *word) {
#ifdef __x86_64__
    __asm__ volatile("incq %0" : "+m"(*word) : : "memory");
#else
    __atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
#endif
}

/*
 * Move a descriptor of ours to a high number. Programs that close what they have not opened, as daemons do when they
 * start, then find their own files at the low ones, and we do not take one of those for ours.
 */
static int move_up(int fd) {
    const int moved = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
    if (moved < 0)
        return fd;
    close(fd);
    return moved;
}

static void notify(int fd) {
    const int saved = errno;
    const uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0) {
        /* It is full: its reader is about to wake. */
    }
    errno = saved;
}

static bool current(uint32_t number) {
    return session && number && __atomic_load_n(session, __ATOMIC_ACQUIRE) == number;
}

/* For the slot's owner, and who has made it BUSY. */
static void close_counters(struct slot *slot) {
    const uint32_t counted = __atomic_load_n(&slot->counted, __ATOMIC_ACQUIRE);
    if (!counted || counted == COUNTED_SOON)
        return;
    for (int i = 0; i < COUNTERS_MAX; i++)
        if (slot->contexts & CONTEXT_COUNTER << i)
            close(slot->counters[i]);
    __atomic_store_n(&slot->counted, 0, __ATOMIC_RELEASE);
}

/* Give a ring back. Its memory may still be read by the host, and is unmapped by the connection's thread. */
static void close_slot(struct slot *slot) {
    if (current(slot->session)) {
        __atomic_store_n(&slot->shared->state, STATE_CLOSED, __ATOMIC_RELEASE);
        notify(wake_fd);
    }
    __atomic_store_n(&slot->claim, CLOSED, __ATOMIC_RELEASE);
}

static bool claim_slot(struct slot *slot, uint32_t number) {
    uint32_t expected = FREE;
    if (__atomic_compare_exchange_n(&slot->claim, &expected, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        if (slot->session == number)
            return true;
        __atomic_store_n(&slot->claim, FREE, __ATOMIC_RELEASE);
        return false;
    }
    if (expected != CLOSED ||
        !__atomic_compare_exchange_n(&slot->claim, &expected, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    if (slot->session == number && __atomic_load_n(&slot->shared->state, __ATOMIC_ACQUIRE) == STATE_FREE)
        return true;
    __atomic_store_n(&slot->claim, CLOSED, __ATOMIC_RELEASE);
    return false;
}

static void sleep_ns(long ns) {
    const struct timespec time = {0, ns};
    nanosleep(&time, NULL);
}

/* Find the thread a ring. */
static __attribute__((noinline, cold)) struct slot *attach(struct thread *thread) {
    if (thread->depth || !session)
        return NULL;
    const uint32_t number = __atomic_load_n(session, __ATOMIC_ACQUIRE);
    if (!number)
        return NULL;
    thread->depth++; /* signal handlers do not attach meanwhile */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (thread->slot && thread->session == thread->slot->session)
        close_slot(thread->slot);
    thread->slot = NULL;
    struct slot *found = NULL;
    const uint32_t count = __atomic_load_n(&slot_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count && !found; i++)
        if (claim_slot(&slots[i], number))
            found = &slots[i];
    if (found) {
        struct shared *shared = found->shared;
        thread->position = thread->published = __atomic_load_n(&shared->committed, __ATOMIC_RELAXED);
        thread->last_time = 0;
        thread->session = number;
        thread->since = clock_now();
        shared->vtid = (uint32_t)syscall(SYS_gettid);
        shared->pthread_id = (uint64_t)(uintptr_t)pthread_self();
        close_counters(found); /* that came too late for another thread */
        __atomic_store_n(&found->vtid, shared->vtid, __ATOMIC_RELAXED);
        __atomic_store_n(&found->claim, OWNED, __ATOMIC_RELEASE);
        __atomic_store_n(&shared->state, STATE_OWNED, __ATOMIC_RELEASE);
        pthread_setspecific(thread_key, thread);
        notify(wake_fd);
    }
    notify(kick_fd); /* more rings may be needed */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    thread->slot = found;
    thread->depth--;
    if (found && found->contexts >= CONTEXT_COUNTER)
        while (__atomic_load_n(&found->counted, __ATOMIC_ACQUIRE) != found->vtid && current(number) &&
               clock_now() - thread->since < YOUNG_NS)
            sleep_ns(BLOCK_NS);
    return found;
}

static __attribute__((noinline, cold)) void count_without_ring(void) {
    uint64_t *lost = __atomic_load_n(&lost_without_ring, __ATOMIC_ACQUIRE);
    if (lost && session && __atomic_load_n(session, __ATOMIC_RELAXED))
        __atomic_fetch_add(lost, 1, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) unsigned char *put_contexts(const struct slot *slot, unsigned char *at,
                                                             const void *ip) {
    if (slot->contexts & CONTEXT_IP) {
        const uint64_t address = (uintptr_t)ip;
        memcpy(at, &address, sizeof(address));
        at += sizeof(address);
    }
    const int saved = errno;
    const bool counted = __atomic_load_n(&slot->counted, __ATOMIC_ACQUIRE) == slot->vtid;
    for (int i = 0; i < COUNTERS_MAX; i++) {
        uint64_t value = UINT64_MAX; /* unknown */
        if (!(slot->contexts & CONTEXT_COUNTER << i))
            continue;
        if (counted && read(slot->counters[i], &value, sizeof(value)) != sizeof(value))
            value = UINT64_MAX;
        memcpy(at, &value, sizeof(value));
        at += sizeof(value);
    }
    errno = saved;
    return at;
}

static inline __attribute__((always_inline)) unsigned char *begin(const struct boxtrace_event *event, size_t size,
                                                                  const void *ip) {
    struct thread *thread = &self;
    struct slot *slot = thread->slot;
    if (unlikely(!slot || thread->session != __atomic_load_n(session, __ATOMIC_ACQUIRE)) &&
        (!(slot = attach(thread)))) {
        count_without_ring();
        return NULL;
    }
    thread->depth++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (;;) {
        const uint64_t position = __atomic_load_n(&thread->position, __ATOMIC_RELAXED);
        const uint64_t last = __atomic_load_n(&thread->last_time, __ATOMIC_RELAXED);
        const uint64_t now = clock_now();
        const bool extended = unlikely(now - last > UINT32_MAX || !last || event->id >= EXTENDED_ID);
        const uint64_t total = (extended ? 18 : 10) + (uint64_t)slot->context_size + size;
        const uint64_t released = __atomic_load_n(&slot->shared->released, __ATOMIC_ACQUIRE);
        if (unlikely(size > max_record || total > max_record || position + total - released > slot->size)) {
            local_increment(&slot->shared->lost);
            boxtrace_end();
            return NULL;
        }
        if (unlikely(!local_compare_exchange(&thread->position, position, position + total)))
            continue;
        __atomic_store_n(&thread->last_time, now, __ATOMIC_RELAXED);
        unsigned char *at = slot->data + (position & (slot->size - 1));
        const uint32_t cpu = cpu_now();
        if (unlikely(extended)) {
            const uint16_t marker = EXTENDED_ID;
            memcpy(at, &marker, 2);
            memcpy(at + 2, &event->id, 4);
            memcpy(at + 6, &now, 8);
            memcpy(at + 14, &cpu, 4);
            at += 18;
        } else {
            const uint16_t id = (uint16_t)event->id;
            const uint32_t time = (uint32_t)now;
            memcpy(at, &id, 2);
            memcpy(at + 2, &time, 4);
            memcpy(at + 6, &cpu, 4);
            at += 10;
        }
        return unlikely(slot->context_size) ? put_contexts(slot, at, ip) : at;
    }
}

unsigned char *boxtrace_begin_at(const struct boxtrace_event *event, size_t size, const void *ip) {
    return begin(event, size, ip);
}

unsigned char *boxtrace_begin(const struct boxtrace_event *event, size_t size) {
    return begin(event, size, __builtin_return_address(0));
}

void boxtrace_end(void) {
    struct thread *thread = &self;
    struct slot *slot = thread->slot;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (unlikely(--thread->depth || !slot))
        return; /* who was interrupted publishes this record with its own */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint64_t position;
    do { /* a handler between the two lines has published more than we know of */
        position = __atomic_load_n(&thread->position, __ATOMIC_RELAXED);
        __atomic_store_n(&slot->shared->committed, position, __ATOMIC_RELEASE);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    } while (unlikely(position != __atomic_load_n(&thread->position, __ATOMIC_RELAXED)));
    if (unlikely((position ^ thread->published) & -(slot->size / 4)))
        notify(wake_fd);
    thread->published = position;
}

/* The thread ends. A host needs a moment to look up a young thread in /proc. */
static void end_thread(void *argument) {
    struct thread *thread = argument;
    struct slot *slot = thread->slot;
    if (!slot)
        return;
    thread->slot = NULL;
    if (current(thread->session))
        while (!__atomic_load_n(&slot->shared->known, __ATOMIC_ACQUIRE) && clock_now() - thread->since < YOUNG_NS)
            sleep_ns(BLOCK_NS);
    close_counters(slot);
    close_slot(slot);
}

/* ---- the connection -----------------------------------------------------------------------------------------------
 */

struct header {
    uint32_t type, token;
};

struct hello {
    struct header header;
    uint32_t magic;
    uint16_t oldest, newest;
    char name[32];
};

struct welcome {
    struct header header;
    uint32_t magic;
    uint16_t version, reserved;
    int64_t clock_offset;
    uint32_t max_types, max_rings, max_record, contexts;
};

struct type {
    struct header header;
    uint32_t id, enabled, error, reserved;
};

struct ring {
    struct header header;
    uint32_t index, error;
    uint64_t size, data;
};

struct counters {
    struct header header;
    uint32_t index, vtid;
};

struct ask {
    struct header header;
    uint32_t number, reserved;
    uint64_t position;
};

enum { UNASKED, ASKED, ANSWERED };

/* Send without waiting. One that cannot be sent now is sent when the host has read what it got. */
static enum sent { BROKEN, LATER, SENT } tell(const void *message, size_t size) {
    ssize_t sent;
    do
        sent = send(host_fd, message, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 ? SENT : errno == EAGAIN ? LATER : BROKEN;
}

static unsigned char *put(unsigned char *at, const unsigned char *end, const void *bytes, size_t size) {
    if (!at || (size_t)(end - at) < size)
        return NULL;
    if (size)
        memcpy(at, bytes, size);
    return at + size;
}

static unsigned char *put_text(unsigned char *at, const unsigned char *end, const char *text) {
    const size_t length = strlen(text);
    const uint8_t size = (uint8_t)length;
    return length > 255 ? NULL : put(put(at, end, &size, 1), end, text, length);
}

static unsigned char *put_field(unsigned char *at, const unsigned char *end, const struct boxtrace_field *field) {
    const struct boxtrace_scalar *element = &field->element;
    const uint8_t kind = field->kind ? field->kind : element->kind;
    const uint16_t labels = (uint16_t)field->count;
    at = put_text(put(at, end, &kind, 1), end, field->name);
    switch (kind) {
    case BOXTRACE_UNSIGNED:
    case BOXTRACE_SIGNED:
        return put(put(at, end, &element->bits, 1), end, &element->base, 1);
    case BOXTRACE_FLOAT:
        return put(at, end, &element->bits, 1);
    case BOXTRACE_TEXT:
        return put(at, end, &field->count, 4);
    case BOXTRACE_ARRAY:
        at = put(at, end, &field->count, 4);
        return put(at, end, element, 3);
    case BOXTRACE_SEQUENCE:
        return put(at, end, element, 3);
    case BOXTRACE_ENUMERATION: {
        const uint8_t is_signed = element->kind == BOXTRACE_SIGNED;
        at = put(put(put(at, end, &element->bits, 1), end, &is_signed, 1), end, &labels, 2);
        for (uint32_t i = 0; i < field->count; i++) {
            at = put(put(at, end, &field->labels[i].first, 8), end, &field->labels[i].last, 8);
            at = put_text(at, end, field->labels[i].name);
        }
        return at;
    }
    default:
        return at;
    }
}

static unsigned char *put_event(unsigned char *at, const unsigned char *end, const struct boxtrace_event *event) {
    const uint16_t sizes[2] = {(uint16_t)strlen(event->name), (uint16_t)event->field_count};
    at = put(put(at, end, &event->loglevel, 4), end, sizes, sizeof(sizes));
    at = put(at, end, event->name, sizes[0]);
    for (uint32_t i = 0; i < event->field_count; i++)
        at = put_field(at, end, &event->fields[i]);
    return at;
}

/* Ask for the number of an event type, which holds the token meanwhile. One that is too long stays disabled. */
static enum sent ask_type(struct boxtrace_event *event, uint32_t token) {
    unsigned char message[MESSAGE_MAX];
    const unsigned char *end = message + sizeof(message);
    const struct header header = {REGISTER, token};
    unsigned char *at = put(message, end, &header, sizeof(header));
    if (event->declaration)
        at = put(at, end, event->declaration, event->declaration_size);
    else
        at = put_event(at, end, event);
    event->id = token;
    event->state = at ? ASKED : ANSWERED;
    const enum sent sent = at ? tell(message, (size_t)(at - message)) : SENT;
    if (sent == LATER)
        event->state = UNASKED;
    return sent;
}

static struct boxtrace_event *find_event(uint32_t token) {
    struct boxtrace_event *event = events;
    while (event && (event->state != ASKED || event->id != token))
        event = event->next;
    return event;
}

static enum sent ask_types(void) {
    static uint32_t token;
    enum sent sent = SENT;
    for (struct boxtrace_event *event = events; event && sent == SENT; event = event->next)
        if (event->state == UNASKED)
            sent = ask_type(event, ++token);
    return sent;
}

/* Rings that a thread could take at once. Who looks is the one who unmaps them. */
static uint32_t count_free_rings(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < slot_count; i++) {
        const struct slot *slot = &slots[i];
        const uint32_t claim = __atomic_load_n(&slot->claim, __ATOMIC_ACQUIRE);
        count += slot->session == connection &&
                 (claim == FREE ||
                  (claim == CLOSED && __atomic_load_n(&slot->shared->state, __ATOMIC_RELAXED) == STATE_FREE));
    }
    return count;
}

static enum sent ask_rings(void) {
    const uint32_t there = count_free_rings() + rings_asked;
    const struct ask ask = {{RINGS, 0}, SPARE_RINGS - there, 0, 0};
    if (no_more_rings || there >= SPARE_RINGS)
        return SENT;
    const enum sent sent = tell(&ask, sizeof(ask.header) + sizeof(ask.number));
    if (sent == SENT)
        rings_asked += ask.number;
    return sent;
}

/* Map a ring, its data twice in a row, into the first empty slot. */
static void add_ring(const struct ring *ring, int fd) {
    struct slot *slot = slots;
    while (slot < slots + SLOTS && __atomic_load_n(&slot->claim, __ATOMIC_RELAXED) != EMPTY)
        slot++;
    if (slot == slots + SLOTS || ring->size > SIZE_MAX / 4 || ring->data > 65536 || (ring->size & (ring->size - 1)))
        return;
    const size_t length = (size_t)(ring->data + 2 * ring->size);
    char *base = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return;
    if (mmap(base, ring->data + ring->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        mmap(base + ring->data + ring->size, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             (off_t)ring->data) == MAP_FAILED) {
        munmap(base, length);
        return;
    }
    slot->session = connection;
    slot->index = ring->index;
    slot->shared = (struct shared *)base;
    slot->data = (unsigned char *)base + ring->data;
    slot->size = ring->size;
    slot->offset = ring->data;
    slot->contexts = contexts;
    slot->context_size = 8 * (uint32_t)__builtin_popcount(contexts);
    __atomic_store_n(&slot->claim, FREE, __ATOMIC_RELEASE);
    if ((uint32_t)(slot - slots) >= slot_count)
        __atomic_store_n(&slot_count, (uint32_t)(slot - slots) + 1, __ATOMIC_RELEASE);
}

static void unmap_slot(struct slot *slot) {
    close_counters(slot);
    munmap(slot->shared, (size_t)(slot->offset + 2 * slot->size));
    __atomic_store_n(&slot->claim, EMPTY, __ATOMIC_RELEASE);
}

/* Unmap the rings of hosts that are gone, but for those that a thread may still be writing to. */
static void sweep(void) {
    for (uint32_t i = 0; i < slot_count; i++) {
        struct slot *slot = &slots[i];
        uint32_t claim = __atomic_load_n(&slot->claim, __ATOMIC_RELAXED);
        if ((claim == FREE || claim == CLOSED) &&
            __atomic_compare_exchange_n(&slot->claim, &claim, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            if (current(slot->session))
                __atomic_store_n(&slot->claim, claim, __ATOMIC_RELEASE);
            else
                unmap_slot(slot);
        }
    }
}

/* Take the counters of a ring's owner; returns whether they are of use. */
static bool add_counters(const struct counters *counters, const int descriptors[DESCRIPTORS_MAX]) {
    for (uint32_t i = 0; i < slot_count; i++) {
        struct slot *slot = &slots[i];
        uint32_t count = 0, none = 0;
        if (slot->session != connection || slot->index != counters->index ||
            __atomic_load_n(&slot->claim, __ATOMIC_ACQUIRE) != OWNED ||
            __atomic_load_n(&slot->vtid, __ATOMIC_RELAXED) != counters->vtid ||
            !__atomic_compare_exchange_n(&slot->counted, &none, COUNTED_SOON, false, __ATOMIC_ACQUIRE,
                                         __ATOMIC_RELAXED))
            continue;
        for (int bit = 0; bit < COUNTERS_MAX; bit++)
            if (slot->contexts & CONTEXT_COUNTER << bit)
                slot->counters[bit] = move_up(descriptors[count++]);
        __atomic_store_n(&slot->counted, counters->vtid, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

/* Receive one message with its descriptors; returns its size, 0 at the end, -1 where there is none yet. */
static ssize_t receive(void *message, size_t size, int descriptors[DESCRIPTORS_MAX]) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec vector = {message, size};
    struct msghdr parts = {0};
    parts.msg_iov = &vector;
    parts.msg_iovlen = 1;
    parts.msg_control = &control;
    parts.msg_controllen = sizeof(control);
    for (int i = 0; i < DESCRIPTORS_MAX; i++)
        descriptors[i] = -1;
    const ssize_t received = recvmsg(host_fd, &parts, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received < 0)
        return errno == EAGAIN || errno == EINTR ? -1 : 0;
    struct cmsghdr *first = CMSG_FIRSTHDR(&parts);
    if (first && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
        memcpy(descriptors, CMSG_DATA(first), first->cmsg_len - CMSG_LEN(0));
    return received;
}

/* With the lock held: tell who waits in boxtrace_wait. */
static void settle(void) {
    bool all = connection && !rings_asked;
    for (const struct boxtrace_event *event = events; event && all; event = event->next)
        all = event->state == ANSWERED;
    settled = all;
    pthread_cond_broadcast(&changed);
}

static bool take_welcome(const struct welcome *welcome, int descriptors[DESCRIPTORS_MAX]) {
    static uint32_t sessions;
    if (connection || welcome->version != VERSION || descriptors[1] < 0)
        return false;
    /* In place of the last one: a thread may be about to count there. */
    uint64_t *control = mmap(lost_without_ring, CONTROL_SIZE, PROT_READ | PROT_WRITE,
                             MAP_SHARED | (lost_without_ring ? MAP_FIXED : 0), descriptors[0], 0);
    if (control == MAP_FAILED)
        return false;
    __atomic_store_n(&lost_without_ring, control, __ATOMIC_RELEASE);
    if (wake_fd < 0) {
        wake_fd = move_up(descriptors[1]);
        descriptors[1] = -1;
    } else if (dup3(descriptors[1], wake_fd, O_CLOEXEC) < 0) {
        return false;
    }
    contexts = welcome->contexts & (CONTEXT_IP | ((1u << COUNTERS_MAX) - 1) * CONTEXT_COUNTER);
    const struct ask ask = {{CONTEXTS, 0}, contexts, 0, 0};
    if (contexts && tell(&ask, sizeof(ask.header) + sizeof(ask.number)) != SENT)
        return false;
    clock_offset = welcome->clock_offset;
    max_record = welcome->max_record;
    connection = ++sessions;
    __atomic_store_n(session, connection, __ATOMIC_RELEASE);
    return true;
}

/* With the lock held: take what the host said. Returns false when the connection is to end. */
static bool take(const void *message, size_t size, int descriptors[DESCRIPTORS_MAX]) {
    const struct header *header = message;
    const struct type *type = message;
    const struct ring *ring = message;
    if (size < sizeof(*header))
        return false;
    if (header->type == COUNTERS) {
        if (size >= sizeof(struct counters) && add_counters(message, descriptors))
            for (int i = 0; i < DESCRIPTORS_MAX; i++)
                descriptors[i] = -1; /* not to be closed */
        return size >= sizeof(struct counters);
    }
    switch (header->type) {
    case WELCOME:
        return size >= sizeof(struct welcome) && take_welcome(message, descriptors);
    case TYPE: {
        struct boxtrace_event *event = size < sizeof(*type) ? NULL : find_event(header->token);
        if (event) {
            event->state = ANSWERED;
            event->id = type->error ? UINT32_MAX : type->id;
            __atomic_store_n(&event->enabled, !type->error && type->enabled, __ATOMIC_RELEASE);
        }
        return size >= sizeof(*type);
    }
    case ENABLE:
        for (struct boxtrace_event *event = events; event && size >= 16; event = event->next)
            if (event->state == ANSWERED && event->id == type->id)
                __atomic_store_n(&event->enabled, type->enabled, __ATOMIC_RELEASE);
        return size >= 16;
    case RING:
        if (size < sizeof(*ring))
            return false;
        rings_asked -= rings_asked > 0;
        if (ring->error || descriptors[0] < 0)
            no_more_rings = true;
        else
            add_ring(ring, descriptors[0]);
        return true;
    default:
        return (header->type & OPTIONAL) != 0;
    }
}

/* With the lock held: read all that the host has sent. */
static bool take_all(void) {
    uint64_t message[MESSAGE_MAX / 8];
    for (;;) {
        int descriptors[DESCRIPTORS_MAX];
        const ssize_t size = receive(message, sizeof(message), descriptors);
        const bool goes_on = size > 0 && take(message, (size_t)size, descriptors);
        for (int i = 0; i < DESCRIPTORS_MAX; i++)
            if (descriptors[i] >= 0)
                close(descriptors[i]);
        if (!goes_on)
            return size < 0;
    }
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {0};
    address.sun_family = AF_UNIX;
    const size_t length = strlen(path);
    if (length >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, length);
    const int fd = move_up(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    /* The host's backlog being full is like no host: the next try comes soon. */
    if (fd >= 0 && (fcntl(fd, F_SETFL, O_NONBLOCK) || connect(fd, (struct sockaddr *)&address, sizeof(address)))) {
        close(fd);
        return -1;
    }
    return fd;
}

static int find_host(void) {
    const char *chosen = secure_getenv("BOXTRACE_SOCKET");
    if (chosen)
        return connect_to(chosen);
    const int fd = connect_to("/run/boxtrace-user.sock");
    return fd >= 0 ? fd : connect_to("/dev/boxtrace-user.sock");
}

static void drain_kicks(void) {
    uint64_t count;
    if (read(kick_fd, &count, sizeof(count)) < 0 && errno == EBADF) /* the program has closed it */
        kick_fd = move_up(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* Talk to a host until one of the two ends it. */
static void converse(void) {
    const struct hello hello = {{HELLO, 0}, MAGIC, VERSION, VERSION, "boxtrace-c " BOXTRACE_VERSION};
    pthread_mutex_lock(&lock);
    enum sent sent = tell(&hello, sizeof(hello));
    pthread_mutex_unlock(&lock);
    while (sent != BROKEN) {
        struct pollfd polled[2] = {{host_fd, (short)(sent == LATER ? POLLIN | POLLOUT : POLLIN), 0},
                                   {kick_fd, POLLIN, 0}};
        poll(polled, 2, -1);
        drain_kicks();
        pthread_mutex_lock(&lock);
        if (!take_all())
            sent = BROKEN;
        else if (connection && (sent = ask_rings()) == SENT) /* before the types: an enabled one needs a ring */
            sent = ask_types();
        settle();
        pthread_mutex_unlock(&lock);
    }
}

static void end_connection(void) {
    pthread_mutex_lock(&lock);
    if (host_fd >= 0)
        close(host_fd);
    host_fd = -1;
    __atomic_store_n(session, 0, __ATOMIC_RELEASE);
    for (struct boxtrace_event *event = events; event; event = event->next) {
        __atomic_store_n(&event->enabled, 0, __ATOMIC_RELEASE);
        event->state = UNASKED;
    }
    connection = rings_asked = 0;
    no_more_rings = settled = false;
    alone = true;
    sweep();
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void *serve(void *unused) {
    for (;;) {
        host_fd = find_host();
        if (host_fd >= 0)
            converse();
        end_connection();
        struct pollfd polled = {kick_fd, POLLIN, 0};
        poll(&polled, 1, RETRY_MS);
        drain_kicks();
    }
    return unused;
}

/* With the lock held, or in a child that has just been forked. */
static void start_thread(void) {
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    kick_fd = move_up(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    alone = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (kick_fd < 0 || pthread_create(&thread, &attributes, serve, NULL))
        alone = true; /* no tracing, then */
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void in_parent(void) { pthread_mutex_unlock(&lock); }

/* A child is another client: it forgets the parent's connection, and makes its own. */
static void in_child(void) {
    const bool was_traced = connection != 0;
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&changed, NULL);
    close(host_fd);
    close(kick_fd);
    close(wake_fd);
    host_fd = kick_fd = wake_fd = -1;
    for (struct boxtrace_event *event = events; event; event = event->next) {
        event->enabled = 0;
        event->state = UNASKED;
    }
    for (uint32_t i = 0; i < slot_count; i++) {
        if (slots[i].claim != EMPTY && !self.depth) {
            close_counters(&slots[i]);
            munmap(slots[i].shared, (size_t)(slots[i].offset + 2 * slots[i].size));
        }
        slots[i].claim = EMPTY;
    }
    slot_count = connection = rings_asked = 0;
    no_more_rings = settled = false;
    self.slot = NULL;
    start_thread();
    if (was_traced)
        boxtrace_wait(START_MS);
}

void boxtrace_start(void) {
    pthread_mutex_lock(&lock);
    const char *chosen = secure_getenv("BOXTRACE_SOCKET");
    if (!started && (!chosen || *chosen)) {
        started = true;
        session = mmap(NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (session == MAP_FAILED || madvise(session, CONTROL_SIZE, MADV_WIPEONFORK) ||
            pthread_key_create(&thread_key, end_thread) || pthread_atfork(before_fork, in_parent, in_child)) {
            session = NULL;
            alone = true;
        } else {
            start_thread();
        }
    }
    pthread_mutex_unlock(&lock);
    boxtrace_wait(START_MS);
}

void boxtrace_wait(unsigned int milliseconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const uint64_t ns = (uint64_t)until.tv_nsec + milliseconds * 1000000ull;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    pthread_mutex_lock(&lock);
    while (started && !settled && !alone && pthread_cond_timedwait(&changed, &lock, &until) == 0) {
    }
    pthread_mutex_unlock(&lock);
}

void boxtrace_register(struct boxtrace_event *event) {
    pthread_mutex_lock(&lock);
    event->state = UNASKED;
    event->next = events;
    events = event;
    settled = false;
    if (kick_fd >= 0)
        notify(kick_fd);
    pthread_mutex_unlock(&lock);
}

void boxtrace_unregister(struct boxtrace_event *event) {
    pthread_mutex_lock(&lock);
    struct boxtrace_event **link = &events;
    while (*link && *link != event)
        link = &(*link)->next;
    if (*link)
        *link = event->next;
    event->enabled = 0;
    pthread_mutex_unlock(&lock);
}

void boxtrace_context_changed(void) {
    struct thread *thread = &self;
    struct slot *slot = thread->slot;
    if (!slot || !current(thread->session))
        return;
    const struct ask ask = {{CONTEXT, 0}, slot->index, 0, thread->position};
    pthread_mutex_lock(&lock);
    const bool told = connection == thread->session && tell(&ask, sizeof(ask)) == SENT;
    pthread_mutex_unlock(&lock);
    const uint64_t begin = clock_now();
    while (told && __atomic_load_n(&slot->shared->stamped, __ATOMIC_ACQUIRE) < ask.position &&
           clock_now() - begin < 2 * (uint64_t)YOUNG_NS)
        sleep_ns(BLOCK_NS);
}
