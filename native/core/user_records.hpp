// Records that applications wrote into shared memory: copied out, then checked. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace boxtrace {

// One part of an event's fields, as far as its size goes.
struct UserStep {
    enum Kind : uint32_t {
        Skip,     // `size` bytes
        String,   // bytes up to a NUL, and the NUL
        Sequence, // a 32-bit number, and so many elements of `size` bytes
    };
    Kind kind;
    uint32_t size;
};

// What was found in a piece of a ring.
struct UserPiece {
    size_t size;      // of the records that are right, in bytes
    uint64_t records; // how many they are
    uint64_t first;   // time of the first one, and of the last one (or of the one before, if there are none)
    uint64_t last;
};

// Knows the event types of all clients, by number.
class UserRecords {
public:
    void add(uint32_t id, std::vector<UserStep> steps);

    // Walk over records, up to the first that is of no known type, exceeds the data, is older than the one before
    // (`last`; 0 when there is none, then it is not to be older than `earliest`), or is newer than `now`.
    UserPiece check(const uint8_t *data, size_t size, uint64_t last, uint64_t earliest, uint64_t now) const;

private:
    struct Type {
        bool known = false;
        std::vector<UserStep> steps;
    };
    std::vector<Type> types_;
};

// Copy the bytes from position `begin` to `end` (at most `size` apart) of a ring of `size` bytes, a power of two.
void copy_ring(uint8_t *out, const uint8_t *ring, size_t size, uint64_t begin, uint64_t end);

} // namespace boxtrace
