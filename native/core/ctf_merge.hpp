// Decoded rows of several streams in the order of time.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_arrow.hpp"
#include "ctf_decode.hpp"

#include <algorithm>
#include <stdexcept>

namespace boxtrace::ctf {

// A stream's rows that were decoded and not yet taken.
struct StreamRows {
    std::vector<Ordered> order;
    size_t at = 0;
    bool finished = false;
};

inline std::vector<Ordered> used_up(StreamRows &stream) {
    if (stream.at < stream.order.size())
        throw std::invalid_argument("a stream is fed while it has rows");
    stream.at = 0;
    stream.order.clear();
    return std::move(stream.order);
}

enum : int { kAllTaken = -1, kMoreThere = -2 };

// Take rows of streams (each a StreamRows) as long as take(stream, row) says to go on. Of equal times the first
// stream's comes first. The number of a stream that must be fed, kAllTaken or kMoreThere.
template <typename Stream, typename Take> int merge_rows(std::vector<Stream> &streams, Take take) {
    for (;;) {
        Stream *first = nullptr;
        for (size_t i = 0; i < streams.size(); i++) {
            Stream &stream = streams[i];
            if (stream.at >= stream.order.size()) {
                if (!stream.finished)
                    return static_cast<int>(i);
                continue;
            }
            if (first == nullptr || stream.order[stream.at].time < first->order[first->at].time)
                first = &stream;
        }
        if (first == nullptr)
            return kAllTaken;
        // As long as no other stream comes before, this one goes on.
        int64_t until = INT64_MAX;
        bool earlier = true;
        for (const Stream &stream : streams) {
            if (&stream == first) {
                earlier = false;
            } else if (stream.at < stream.order.size()) {
                const int64_t time = stream.order[stream.at].time;
                until = std::min(until, earlier && time > INT64_MIN ? time - 1 : time);
            }
        }
        do {
            if (!take(*first, first->order[first->at++]))
                return kMoreThere;
        } while (first->at < first->order.size() && first->order[first->at].time <= until);
    }
}

} // namespace boxtrace::ctf
