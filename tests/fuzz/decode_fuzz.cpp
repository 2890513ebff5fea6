// Decodes, tests and shows damaged packets, built with sanitizers. Arguments: seconds, seed, case files. A case is what
// test_fuzz.py writes: words of a plan, words of a text format, names, strings, a stream file with its packets, and
// filters. A plan is read in two parts, as it is when a reader meets event classes one after the other.
// SPDX-License-Identifier: Apache-2.0
#include "ctf_filter.hpp"
#include "ctf_text.hpp"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>

using namespace boxtrace::ctf;

namespace {

class File {
public:
    explicit File(const char *path) {
        std::ifstream in(path, std::ios::binary);
        bytes_.assign(std::istreambuf_iterator<char>(in), {});
    }
    int64_t word() {
        int64_t value;
        std::memcpy(&value, bytes_.data() + at_, 8);
        at_ += 8;
        return value;
    }
    std::string bytes() {
        const auto size = static_cast<size_t>(word());
        at_ += size;
        return bytes_.substr(at_ - size, size);
    }
    std::vector<int64_t> words() {
        std::vector<int64_t> result(static_cast<size_t>(word()));
        for (auto &value : result)
            value = word();
        return result;
    }
    std::vector<std::string> strings() {
        std::vector<std::string> result(static_cast<size_t>(word()));
        for (auto &value : result)
            value = bytes();
        return result;
    }

private:
    std::string bytes_;
    size_t at_ = 0;
};

void release(ArrowArray &array) { array.release(&array); }

struct FilterCase {
    Filter filter;
    std::vector<int64_t> words;
    std::vector<std::string> texts;
};

std::vector<FilterCase> read_filters(File &file, const std::shared_ptr<const Plan> &plan) {
    std::vector<FilterCase> filters(static_cast<size_t>(file.word()));
    for (FilterCase &each : filters) {
        const auto words = file.words();
        each.filter = read_filter(plan, words, file.strings());
        each.words = file.words();
        each.texts = file.strings();
    }
    return filters;
}

} // namespace

int main(int argc, char **argv) {
    const auto stop = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1]));
    std::mt19937_64 random(static_cast<uint64_t>(std::atoll(argv[2])));
    size_t runs = 0, failures = 0, kept = 0, tested = 0;
    while (std::chrono::steady_clock::now() < stop) {
        for (int i = 3; i < argc; i++) {
            File file(argv[i]);
            const auto plan_words = file.words();
            const auto added_words = file.words();
            TextFormat format;
            for (auto parts = file.word(); parts-- > 0;) {
                const auto format_words = file.words();
                read_text_format(format, format_words, file.strings());
            }
            const auto names = file.strings();
            const auto added_names = file.strings();
            const auto slots = file.words();
            const auto packet_columns = static_cast<size_t>(file.word());
            const auto packet_words = file.words();
            const std::string data = file.bytes();
            const auto plan =
                std::make_shared<const Plan>(read_plan(added_words, added_names, read_plan(plan_words, names)));
            const auto filters = read_filters(file, plan);
            const std::vector<int> packet_slots(slots.begin(), slots.end());
            for (int round = 0; round < 50; round++) {
                // An exact copy on the heap: reading a byte too far is found.
                std::vector<uint8_t> damaged(data.begin(), data.end());
                for (auto hits = random() % 8; hits-- > 0 && !damaged.empty();) {
                    auto &byte = damaged[random() % damaged.size()];
                    byte =
                        random() % 3 ? static_cast<uint8_t>(random()) : static_cast<uint8_t>(byte ^ 1 << random() % 8);
                }
                const size_t each = 4 + packet_columns + packet_slots.size();
                std::vector<PacketInput> packets;
                for (size_t at = 0; at + each <= packet_words.size(); at += each) {
                    const int64_t *word = packet_words.data() + at;
                    packets.push_back({damaged.data() + word[0], static_cast<uint64_t>(word[1]),
                                       static_cast<uint64_t>(word[2]), static_cast<uint64_t>(word[3]), word + 4});
                }
                auto batch = std::make_shared<Batch>(plan);
                std::vector<Ordered> order;
                const Decoded decoded =
                    decode_packets(*plan, batch->columns, packets, packet_slots, packet_columns, {}, &order);
                runs++;
                failures += decoded.failure.has_value();
                for (size_t table = 0; table < plan->tables.size(); table++) {
                    ArrowArray array;
                    export_array(batch, table, &array);
                    release(array);
                }
                for (const FilterCase &each : filters) {
                    const PacketValues values{each.words, each.texts};
                    each.filter.check(values, packets.size());
                    auto chosen = order;
                    each.filter.select(batch->columns, values, chosen);
                    kept += chosen.size();
                    tested += order.size();
                }
                TextMerger merger(true);
                merger.add_stream(format);
                merger.feed(0, batch, std::move(order), std::vector<std::string>(packets.size(), "{ }"));
                merger.finish(0);
                while (merger.next(1 << 20) != -1)
                    continue;
            }
        }
    }
    std::printf("%zu runs, %zu stopped at damage, %zu of %zu rows passed filters\n", runs, failures, kept, tested);
    return 0;
}
