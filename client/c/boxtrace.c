/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of an application that gives its events to a boxtrace host; docs/protocol.md says how.
 *
 * A thread of its own (all signals blocked) talks to the host and provides rings ahead of need; the threads that record
 * only ever touch memory, and write to an eventfd now and then. What they share with it:
 *
 * - `session`: a number in memory that the kernel zeroes in forked children, so that a child never writes to its
 *   parent's rings, whatever call forked it. It is 0 without a host, and different with each.
 * - `slots`: the rings. Who has moved a slot's `claim` from FREE to TAKEN may touch its memory, and moves it back. Only
 *   the connection's thread maps and unmaps.
 *
 * boxtrace_contexts.c, if it is linked, writes the contexts that differ from event to event.
 */
#define _GNU_SOURCE
#define BOXTRACE_EXTENSION
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 35)
#define HAVE_RSEQ
#include <sys/rseq.h>
#endif
#endif

enum { HELLO = 1, WELCOME, REFUSED, REGISTER, TYPE, ENABLE, RINGS, RING, CONTEXT }; /* types of messages */
static const uint32_t CONTEXTS = 0x8000000au, COUNTERS = 0x8000000bu; /* bit 31: who does not know it ignores it */
enum { MAGIC = 0x52545842, VERSION = 1, HELLO_SIZE = 48, MESSAGE_MAX = 16384, EXTENDED_ID = 0xffff };
enum { SPARE_RINGS = 4, SPARE_RINGS_MAX = 64, HIGH_DESCRIPTOR = 500, PAGE = 4096, STACK = 128 * 1024 };
enum { RETRY_MS = 1000, START_MS = 1500, YOUNG_NS = 50000000, BLOCK_NS = 100000 };

/* The beginning of a ring's memory. */
struct shared {
    uint64_t committed, lost;
    uint32_t vtid, pad0;
    uint64_t pthread_id;
    uint8_t pad1[32];
    uint32_t state, pad2[15];
    uint64_t released, stamped;
    uint32_t known;
};
_Static_assert(offsetof(struct shared, state) == 64 && offsetof(struct shared, known) == 144, "docs/protocol.md");

/* What a record begins with. */
struct __attribute__((packed, may_alias)) compact {
    uint16_t id;
    uint32_t time, cpu;
};
struct __attribute__((packed, may_alias)) extended {
    uint16_t marker;
    uint32_t id;
    uint64_t time;
    uint32_t cpu;
};

enum { EMPTY, FREE, TAKEN };
enum { STATE_FREE, STATE_OWNED, STATE_CLOSED };

struct __attribute__((aligned(64))) slot {
    unsigned int claim;
    uint32_t session, index, contexts, context_size; /* index: the host's number for it */
    struct shared *shared;
    unsigned char *data;
    uint64_t size;
    size_t mapped;
};

struct thread {
    struct slot *slot;
    uint64_t position; /* of what is reserved; shared->committed follows it */
    uint64_t published;
    uint64_t last_time;
    uint32_t session;
    uint32_t depth; /* records begun and not ended: more than one in signal handlers only */
};

#ifdef __GLIBC__ /* keeps room in each thread's first block for libraries that are loaded later; musl has none */
__attribute__((tls_model("initial-exec")))
#endif
static __thread struct thread self;
static struct slot slots[BOXTRACE_SLOTS];
static uint32_t slot_count;
static uint32_t *session; /* NULL before the start */
static uint64_t clock_offset;
static uint32_t max_record;
static uint64_t *lost_without_ring;
static int wake_fd = -1; /* the host's */
static int kick_fd = -1; /* the connection thread's */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* what follows; no event takes it */
static struct boxtrace_event *events;
static int host_fd = -1;
static uint32_t connection; /* `session` of the connection in use, 0 before WELCOME */
static uint32_t contexts;   /* that its records have */
static uint32_t rings_asked;
static bool no_more_rings;
static bool started;
static bool settled; /* there is no host, or every registered event has its answer, and there are rings */
static bool stalled; /* somebody has waited for the host in vain */
static pthread_key_t thread_key;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define load(where) __atomic_load_n(where, __ATOMIC_ACQUIRE)
#define store(where, value) __atomic_store_n(where, value, __ATOMIC_RELEASE)

/* ---- recording ----------------------------------------------------------------------------------------------------
 */

static inline uint64_t monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint32_t cpu_now(void) {
#ifdef HAVE_RSEQ /* the kernel keeps the number in each thread's memory */
    const struct rseq *area = (const struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    const uint32_t cpu = __atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED);
    if (likely(cpu < 0x80000000u))
        return cpu;
#endif
    return (uint32_t)sched_getcpu();
}

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

static void notify(int fd) {
    const int saved = errno;
    const uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0) {
        /* It is full: its reader is about to wake. */
    }
    errno = saved;
}

static void sleep_a_little(void) { nanosleep(&(struct timespec){0, BLOCK_NS}, NULL); }

static inline bool current(const struct slot *slot) { return load(session) == slot->session; }

/* Give a ring back. Its memory may still be read by the host, and is unmapped by the connection's thread. */
static void close_slot(struct slot *slot) {
    if (slot->contexts)
        boxtrace_extension.own(slot - slots, 0);
    if (current(slot)) {
        store(&slot->shared->state, STATE_CLOSED);
        notify(wake_fd);
    }
    store(&slot->claim, FREE);
}

static bool take_slot(struct slot *slot) {
    unsigned int is_free = FREE;
    return __atomic_compare_exchange_n(&slot->claim, &is_free, TAKEN, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static struct slot *find_ring(uint32_t number) {
    const uint32_t count = load(&slot_count);
    for (struct slot *slot = slots; slot < slots + count; slot++)
        if (take_slot(slot)) {
            if (slot->session == number && load(&slot->shared->state) == STATE_FREE)
                return slot;
            store(&slot->claim, FREE);
        }
    return NULL;
}

/* Have the thread own a ring of the host that is there. */
static __attribute__((noinline, cold)) struct slot *attach(struct thread *thread) {
    const uint32_t number = session ? load(session) : 0;
    if (thread->depth || !number)
        return NULL;
    thread->depth++; /* signal handlers do not attach meanwhile */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (thread->slot)
        close_slot(thread->slot);
    thread->slot = NULL;
    struct slot *slot = find_ring(number);
    if (slot) {
        struct shared *shared = slot->shared;
        thread->position = thread->published = shared->committed;
        thread->last_time = 0;
        thread->session = number;
        shared->vtid = (uint32_t)syscall(SYS_gettid);
        shared->pthread_id = (uint64_t)(uintptr_t)pthread_self();
        if (slot->contexts)
            boxtrace_extension.own(slot - slots, shared->vtid);
        store(&shared->state, STATE_OWNED);
        pthread_setspecific(thread_key, thread);
        notify(wake_fd);
    }
    notify(kick_fd); /* more rings may be needed */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    thread->slot = slot;
    thread->depth--;
    return slot;
}

static __attribute__((noinline, cold)) unsigned char *count_without_ring(void) {
    uint64_t *lost = load(&lost_without_ring);
    if (lost && session && load(session))
        __atomic_fetch_add(lost, 1, __ATOMIC_RELAXED);
    return NULL;
}

unsigned char *boxtrace_begin_at(const struct boxtrace_event *event, size_t size, const void *ip) {
    struct thread *thread = &self;
    struct slot *slot = thread->slot;
    if (unlikely(!slot || thread->session != load(session)) && !(slot = attach(thread)))
        return count_without_ring();
    thread->depth++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (;;) {
        const uint64_t position = __atomic_load_n(&thread->position, __ATOMIC_RELAXED);
        const uint64_t last = __atomic_load_n(&thread->last_time, __ATOMIC_RELAXED);
        const uint64_t now = monotonic() + clock_offset;
        const bool extended = unlikely(now - last > UINT32_MAX || !last || event->id >= EXTENDED_ID);
        const uint64_t total =
            (extended ? sizeof(struct extended) : sizeof(struct compact)) + (uint64_t)slot->context_size + size;
        if (unlikely(total > max_record || total < size ||
                     position + total - load(&slot->shared->released) > slot->size)) {
            __atomic_fetch_add(&slot->shared->lost, 1, __ATOMIC_RELAXED);
            boxtrace_end();
            return NULL;
        }
        if (unlikely(!local_compare_exchange(&thread->position, position, position + total)))
            continue;
        __atomic_store_n(&thread->last_time, now, __ATOMIC_RELAXED);
        unsigned char *at = slot->data + (position & (slot->size - 1));
        const uint32_t cpu = cpu_now();
        if (unlikely(extended))
            *(struct extended *)at = (struct extended){EXTENDED_ID, event->id, now, cpu};
        else
            *(struct compact *)at = (struct compact){(uint16_t)event->id, (uint32_t)now, cpu};
        at += extended ? sizeof(struct extended) : sizeof(struct compact);
        return unlikely(slot->contexts) ? boxtrace_extension.write(slot - slots, slot->contexts, at, ip) : at;
    }
}

unsigned char *boxtrace_begin(const struct boxtrace_event *event, size_t size) {
    return boxtrace_begin_at(event, size, __builtin_return_address(0));
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
        store(&slot->shared->committed, position);
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
    const uint64_t until = monotonic() + YOUNG_NS;
    if (!slot)
        return;
    thread->slot = NULL;
    while (current(slot) && !load(&slot->shared->known) && monotonic() < until)
        sleep_a_little();
    close_slot(slot);
}

/* ---- the connection -----------------------------------------------------------------------------------------------
 */

/* What is said, all with numbers at the same places; the comments tell those of the host. */
struct message {
    uint32_t type, token;
    uint32_t number;   /* WELCOME: magic. TYPE, ENABLE: id. RING, COUNTERS: index. */
    uint32_t second;   /* WELCOME: version. TYPE, ENABLE: enabled. RING: error. COUNTERS: vtid. */
    uint64_t third;    /* WELCOME: clock_offset. TYPE: error. RING: size. */
    uint32_t more[10]; /* WELCOME: max_types, max_rings, max_record, contexts. RING: data. */
};
_Static_assert(sizeof(struct message) == 64, "HELLO");

enum { UNASKED, ASKED, ANSWERED };

/* Send without waiting. Tells whether that was possible; the end of the connection shows when it is read. */
static bool tell(const void *message, size_t size) {
    return send(host_fd, message, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static bool tell_numbers(uint32_t type, uint32_t number, uint64_t third) {
    const struct message message = {type, 0, number, 0, third, {0}};
    return tell(&message, offsetof(struct message, more));
}

/* A message that is being put together. What is too much for it is counted, not written. */
struct text {
    size_t size;
    unsigned char bytes[MESSAGE_MAX];
};

static void put(struct text *to, const void *bytes, size_t size) {
    if (size && to->size < MESSAGE_MAX && size <= MESSAGE_MAX - to->size)
        memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void put_name(struct text *to, const char *name) {
    const size_t length = strlen(name);
    put(to, &(uint8_t){(uint8_t)length}, 1);
    put(to, name, length > UINT8_MAX ? MESSAGE_MAX : length);
}

static void put_field(struct text *to, const struct boxtrace_field *field) {
    const struct boxtrace_scalar *element = &field->element;
    const uint8_t kind = field->kind ? field->kind : element->kind;
    put(to, &kind, 1);
    put_name(to, field->name);
    if (kind <= BOXTRACE_FLOAT)
        put(to, &element->bits, kind == BOXTRACE_FLOAT ? 1 : 2);
    if (kind == BOXTRACE_ARRAY || kind == BOXTRACE_TEXT)
        put(to, &field->count, 4);
    if (kind == BOXTRACE_ARRAY || kind == BOXTRACE_SEQUENCE)
        put(to, element, 3);
    if (kind != BOXTRACE_ENUMERATION)
        return;
    put(to, &element->bits, 1);
    put(to, &(uint8_t){element->kind == BOXTRACE_SIGNED}, 1);
    put(to, &(uint16_t){(uint16_t)field->count}, 2);
    for (const struct boxtrace_label *label = field->labels; label < field->labels + field->count; label++) {
        put(to, &label->first, 16);
        put_name(to, label->name);
    }
}

/* Ask for the number of an event type, which holds the token meanwhile. One that is too long stays disabled. */
static bool ask_type(struct boxtrace_event *event, uint32_t token) {
    struct text to = {0};
    const uint16_t sizes[2] = {event->name ? (uint16_t)strlen(event->name) : 0, (uint16_t)event->field_count};
    put(&to, (uint32_t[]){REGISTER, token}, 8);
    if (event->declaration) {
        put(&to, event->declaration, event->declaration_size);
    } else {
        put(&to, &event->loglevel, 4);
        put(&to, sizes, 4);
        put(&to, event->name, sizes[0]);
        for (uint32_t i = 0; i < event->field_count; i++)
            put_field(&to, &event->fields[i]);
    }
    if (to.size <= MESSAGE_MAX && !tell(to.bytes, to.size))
        return false;
    event->id = token;
    event->state = to.size <= MESSAGE_MAX ? ASKED : ANSWERED;
    return true;
}

static bool ask_types(void) {
    static uint32_t token;
    bool told = true;
    for (struct boxtrace_event *event = events; event && told; event = event->next)
        told = event->state != UNASKED || ask_type(event, ++token);
    return told;
}

/* Ask for rings, so that each thread that there is could take one at once, and some that begin now. */
static bool ask_rings(void) {
    struct stat threads; /* st_nlink is two more than their number */
    uint32_t there = rings_asked, taken = 0;
    for (const struct slot *slot = slots; slot < slots + slot_count; slot++)
        if (slot->session == connection) {
            const bool is_free = load(&slot->claim) == FREE;
            there += is_free && load(&slot->shared->state) == STATE_FREE;
            taken += !is_free;
        }
    uint32_t wanted = stat("/proc/self/task", &threads) ? 0 : (uint32_t)threads.st_nlink - 2 - taken;
    wanted = wanted > INT32_MAX || wanted < SPARE_RINGS ? SPARE_RINGS : wanted;
    wanted = wanted > SPARE_RINGS_MAX ? SPARE_RINGS_MAX : wanted;
    if (no_more_rings || there >= wanted)
        return true;
    if (!tell_numbers(RINGS, wanted - there, 0))
        return false;
    rings_asked += wanted - there;
    return true;
}

/* Map a ring, its data twice in a row, into the first empty slot. */
static void add_ring(uint32_t index, uint64_t data, uint64_t size, int fd) {
    struct slot *slot = slots;
    while (slot < slots + BOXTRACE_SLOTS && load(&slot->claim) != EMPTY)
        slot++;
    if (slot == slots + BOXTRACE_SLOTS || !size || size > SIZE_MAX / 4 || data > 65536 || (size & (size - 1)))
        return;
    const size_t mapped = (size_t)(data + 2 * size);
    const int access = PROT_READ | PROT_WRITE, how = MAP_SHARED | MAP_FIXED;
    unsigned char *base = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return;
    if (mmap(base, data + size, access, how, fd, 0) == MAP_FAILED ||
        mmap(base + data + size, size, access, how, fd, (off_t)data) == MAP_FAILED) {
        munmap(base, mapped);
        return;
    }
    const uint32_t size_of_contexts = 8 * (uint32_t)__builtin_popcount(contexts);
    *slot =
        (struct slot){EMPTY, connection, index, contexts, size_of_contexts, (void *)base, base + data, size, mapped};
    store(&slot->claim, FREE);
    if (slot >= slots + slot_count)
        store(&slot_count, (uint32_t)(slot - slots) + 1);
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

static bool take_welcome(const struct message *message, int descriptors[BOXTRACE_DESCRIPTORS]) {
    static uint32_t sessions;
    if (connection || (uint16_t)message->second != VERSION || descriptors[1] < 0)
        return false;
    /* In place of the last one: a thread may be about to count there. */
    uint64_t *control = mmap(lost_without_ring, PAGE, PROT_READ | PROT_WRITE,
                             MAP_SHARED | (lost_without_ring ? MAP_FIXED : 0), descriptors[0], 0);
    if (control == MAP_FAILED)
        return false;
    store(&lost_without_ring, control);
    if (wake_fd < 0) {
        wake_fd = move_up(descriptors[1]);
        descriptors[1] = -1;
    } else if (dup3(descriptors[1], wake_fd, O_CLOEXEC) < 0) {
        return false;
    }
    contexts = &boxtrace_extension ? message->more[3] & boxtrace_extension.contexts : 0;
    if (contexts && !tell_numbers(CONTEXTS, contexts, 0))
        return false;
    clock_offset = message->third;
    max_record = message->more[2];
    connection = ++sessions;
    store(session, connection);
    return true;
}

/* With the lock held: take what the host said. Returns false when the connection is to end. */
static bool take(const struct message *message, int descriptors[BOXTRACE_DESCRIPTORS]) {
    switch (message->type) {
    case WELCOME:
        return take_welcome(message, descriptors);
    case TYPE:
    case ENABLE:
        for (struct boxtrace_event *event = events; event; event = event->next) {
            if (message->type == TYPE && event->state == ASKED && event->id == message->token) {
                event->state = ANSWERED;
                event->id = message->third ? UINT32_MAX : message->number;
            }
            if (event->state == ANSWERED && event->id == message->number)
                store(&event->enabled, event->id != UINT32_MAX && message->second);
        }
        return true;
    case RING:
        rings_asked -= rings_asked > 0;
        if (message->second || descriptors[0] < 0)
            no_more_rings = true;
        else
            add_ring(message->number, message->more[0], message->third, descriptors[0]);
        return true;
    default:
        for (int i = 0; contexts && message->type == COUNTERS && i < BOXTRACE_DESCRIPTORS; i++)
            descriptors[i] = move_up(descriptors[i]);
        for (uint32_t i = 0; contexts && message->type == COUNTERS && i < slot_count; i++)
            if (slots[i].session == connection && slots[i].index == message->number)
                boxtrace_extension.take(i, contexts, message->second, descriptors);
        return message->type >> 31;
    }
}

/* Receive a message with its descriptors. Returns its size, 0 at the end of the connection, -1 where there is none. */
static ssize_t receive(struct message *message, int descriptors[BOXTRACE_DESCRIPTORS]) {
    struct cmsghdr control[CMSG_SPACE(BOXTRACE_DESCRIPTORS * sizeof(int)) / sizeof(struct cmsghdr) + 1];
    struct iovec vector = {message, sizeof(*message)};
    struct msghdr parts = {.msg_iov = &vector, .msg_iovlen = 1};
    parts.msg_control = control;
    parts.msg_controllen = sizeof(control);
    for (int i = 0; i < BOXTRACE_DESCRIPTORS; i++)
        descriptors[i] = -1;
    const ssize_t size = recvmsg(host_fd, &parts, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    const struct cmsghdr *first = size < 0 ? NULL : CMSG_FIRSTHDR(&parts);
    if (first && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
        memcpy(descriptors, CMSG_DATA(first), first->cmsg_len - CMSG_LEN(0));
    return size < 0 && errno != EAGAIN && errno != EINTR ? 0 : size;
}

/* With the lock held: read all that the host has sent. Returns false at the end of the connection. */
static bool take_all(void) {
    for (;;) {
        struct message message = {0};
        int descriptors[BOXTRACE_DESCRIPTORS];
        const ssize_t size = receive(&message, descriptors);
        const bool goes_on = size > 0 && take(&message, descriptors);
        for (int i = 0; i < BOXTRACE_DESCRIPTORS; i++)
            if (descriptors[i] >= 0)
                close(descriptors[i]);
        if (!goes_on)
            return size < 0;
    }
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
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
    const int fd = connect_to(chosen ? chosen : "/run/boxtrace-user.sock");
    return fd >= 0 || chosen ? fd : connect_to("/dev/boxtrace-user.sock");
}

/* Wait for the host, and for who kicks. Not for ever: a program that closes both wakes nobody who waits for them. */
static void wait_for_news(void) {
    struct pollfd polled[2] = {{kick_fd, POLLIN, 0}, {host_fd, POLLIN, 0}};
    uint64_t count;
    poll(polled, 2, RETRY_MS);
    if (read(kick_fd, &count, sizeof(count)) < 0 && errno == EBADF) /* the program has closed it */
        kick_fd = move_up(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* Talk to a host until one of the two ends it. */
static void converse(void) {
    struct message hello = {HELLO, 0, MAGIC, VERSION | VERSION << 16, 0, {0}};
    memcpy(&hello.third, "boxtrace-c " BOXTRACE_VERSION, sizeof("boxtrace-c " BOXTRACE_VERSION));
    bool goes_on = tell(&hello, HELLO_SIZE);
    while (goes_on) {
        wait_for_news();
        pthread_mutex_lock(&lock);
        goes_on = take_all();
        if (goes_on && connection) {
            if (ask_rings()) /* first: an enabled type needs a ring */
                ask_types();
            bool all = !rings_asked;
            for (const struct boxtrace_event *event = events; event && all; event = event->next)
                all = event->state == ANSWERED;
            stalled = stalled && !all;
            store(&settled, all);
        }
        pthread_mutex_unlock(&lock);
    }
}

/* There is no host any more. */
static void forget_host(void) {
    if (host_fd >= 0)
        close(host_fd);
    host_fd = -1;
    for (struct boxtrace_event *event = events; event; event = event->next) {
        store(&event->enabled, 0);
        event->state = UNASKED;
    }
    connection = contexts = rings_asked = 0;
    no_more_rings = false;
}

static void unmap(struct slot *slot) {
    if (slot->contexts)
        boxtrace_extension.own(slot - slots, 0);
    munmap(slot->shared, slot->mapped);
    store(&slot->claim, EMPTY);
}

static void *serve(void *unused) {
    for (;;) {
        const int found = find_host();
        pthread_mutex_lock(&lock);
        host_fd = found;
        pthread_mutex_unlock(&lock);
        if (found >= 0)
            converse();
        pthread_mutex_lock(&lock);
        store(session, 0);
        forget_host();
        for (struct slot *slot = slots; slot < slots + slot_count; slot++) /* but what threads still write to */
            if (take_slot(slot))
                unmap(slot);
        store(&settled, true);
        pthread_mutex_unlock(&lock);
        wait_for_news();
    }
    return unused;
}

/* With the lock held. */
static void start_thread(void) {
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    kick_fd = move_up(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    settled = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (kick_fd < 0 || pthread_create(&thread, &attributes, serve, NULL))
        settled = true; /* no tracing, then */
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void in_parent(void) { pthread_mutex_unlock(&lock); }

/* A child is another client: it forgets the parent's connection, and makes its own. */
static void in_child(void) {
    const bool waits = connection && !stalled;
    forget_host();
    close(kick_fd);
    close(wake_fd);
    wake_fd = -1;
    for (struct slot *slot = slots; slot < slots + slot_count; slot++) {
        if (slot->claim != EMPTY && !self.depth) /* or a record that a signal has interrupted is there */
            unmap(slot);
        slot->claim = EMPTY;
    }
    slot_count = 0;
    self.slot = NULL;
    start_thread();
    pthread_mutex_unlock(&lock);
    if (waits)
        boxtrace_wait(START_MS);
}

void boxtrace_start(void) {
    pthread_mutex_lock(&lock);
    const char *chosen = secure_getenv("BOXTRACE_SOCKET");
    if (!started && (!chosen || *chosen)) {
        started = true;
        session = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        settled = session == MAP_FAILED || madvise(session, PAGE, MADV_WIPEONFORK) ||
                  pthread_key_create(&thread_key, end_thread) || pthread_atfork(before_fork, in_parent, in_child);
        if (settled)
            session = NULL; /* no tracing, then */
        else
            start_thread();
    }
    const bool waits = !stalled;
    pthread_mutex_unlock(&lock);
    if (waits)
        boxtrace_wait(START_MS);
}

void boxtrace_wait(unsigned int milliseconds) {
    const uint64_t until = monotonic() + milliseconds * 1000000ull;
    while (started && !load(&settled) && monotonic() < until)
        sleep_a_little();
    stalled = started && !load(&settled);
    if (!load(&contexts) || stalled)
        return;
    const struct slot *slot = self.slot && current(self.slot) ? self.slot : attach(&self);
    while (slot && current(slot) && !boxtrace_extension.ready(slot - slots, slot->contexts) && monotonic() < until)
        sleep_a_little();
}

void boxtrace_register(struct boxtrace_event *event) {
    pthread_mutex_lock(&lock);
    event->state = UNASKED;
    event->next = events;
    events = event;
    if (host_fd >= 0 && !stalled)
        store(&settled, false);
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
    const struct slot *slot = self.slot;
    const uint64_t position = self.position, until = monotonic() + 2 * YOUNG_NS;
    if (!slot || !current(slot))
        return;
    pthread_mutex_lock(&lock);
    const bool told = connection == slot->session && tell_numbers(CONTEXT, slot->index, position);
    pthread_mutex_unlock(&lock);
    while (told && load(&slot->shared->stamped) < position && monotonic() < until)
        sleep_a_little();
}
