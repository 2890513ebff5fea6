/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs from event to event: the place in the program, and counters of the thread (`--user-context` of boxtrace
 * record). Link it with boxtrace.c, or do without.
 *
 * The host opens a thread's counters once it has seen that the thread records. The connection's thread puts them into
 * an empty place of the thread's ring, and then does not touch them; the owner of the ring reads and closes them, so
 * that it never reads a descriptor that has become another file's. Until they are there, their values are unknown.
 */
#define _GNU_SOURCE
#define BOXTRACE_EXTENSION
#include "boxtrace.h"

#include <errno.h>
#include <unistd.h>

enum { CONTEXT_IP = 1, CONTEXT_COUNTER = 2, COUNTERS_MAX = BOXTRACE_DESCRIPTORS };
enum { NOT_COUNTED, COUNTED_SOON, COUNTED };

struct place {
    uint32_t owner; /* the thread that has the ring */
    uint32_t state;
    uint32_t counted; /* the thread whose counters these are */
    int counters[COUNTERS_MAX];
};

static struct place places[BOXTRACE_SLOTS];

static int counted(const struct place *place) {
    return __atomic_load_n(&place->state, __ATOMIC_ACQUIRE) == COUNTED && place->counted == place->owner;
}

static void own(long slot, uint32_t vtid) {
    struct place *place = &places[slot];
    if (__atomic_load_n(&place->state, __ATOMIC_ACQUIRE) == COUNTED) {
        for (int i = 0; i < COUNTERS_MAX; i++)
            if (place->counters[i] >= 0)
                close(place->counters[i]);
        __atomic_store_n(&place->state, NOT_COUNTED, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&place->owner, vtid, __ATOMIC_RELEASE);
}

static void take(long slot, uint32_t contexts, uint32_t vtid, int descriptors[BOXTRACE_DESCRIPTORS]) {
    struct place *place = &places[slot];
    uint32_t state = NOT_COUNTED, number = 0;
    if (__atomic_load_n(&place->owner, __ATOMIC_ACQUIRE) != vtid ||
        !__atomic_compare_exchange_n(&place->state, &state, COUNTED_SOON, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    for (int i = 0; i < COUNTERS_MAX; i++) {
        place->counters[i] = -1;
        if (contexts & CONTEXT_COUNTER << i) {
            place->counters[i] = descriptors[number];
            descriptors[number++] = -1;
        }
    }
    place->counted = vtid;
    __atomic_store_n(&place->state, COUNTED, __ATOMIC_RELEASE);
}

static int ready(long slot, uint32_t contexts) { return contexts < CONTEXT_COUNTER || counted(&places[slot]); }

static unsigned char *write_contexts(long slot, uint32_t contexts, unsigned char *at, const void *ip) {
    const struct place *place = &places[slot];
    const int saved = errno, known = counted(place);
    if (contexts & CONTEXT_IP) {
        const uint64_t address = (uintptr_t)ip;
        memcpy(at, &address, sizeof(address));
        at += sizeof(address);
    }
    for (int i = 0; i < COUNTERS_MAX; i++) {
        uint64_t value = UINT64_MAX; /* unknown */
        if (!(contexts & CONTEXT_COUNTER << i))
            continue;
        if (known && read(place->counters[i], &value, sizeof(value)) != sizeof(value))
            value = UINT64_MAX;
        memcpy(at, &value, sizeof(value));
        at += sizeof(value);
    }
    errno = saved;
    return at;
}

const struct boxtrace_extension boxtrace_extension = {
    CONTEXT_IP | ((1u << COUNTERS_MAX) - 1) * CONTEXT_COUNTER, own, ready, write_contexts, take,
};
