// SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"

#include "ctf_arrow.hpp"
#include "ctf_decode.hpp"
#include "ctf_events.hpp"
#include "ctf_filter.hpp"
#include "ctf_table.hpp"
#include "ctf_text.hpp"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <optional>

namespace {

using namespace boxtrace::ctf;

// A read-only view of an object's bytes, as long as it lives.
class View {
public:
    explicit View(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0)
            throw nb::python_error();
    }
    View(const View &) = delete;
    ~View() { PyBuffer_Release(&view_); }
    const uint8_t *data() const { return static_cast<const uint8_t *>(view_.buf); }
    size_t size() const { return static_cast<size_t>(view_.len); }
    std::span<const int64_t> words() const { return {reinterpret_cast<const int64_t *>(data()), size() / 8}; }

private:
    Py_buffer view_{};
};

std::vector<std::string> texts_of(const std::vector<nb::bytes> &strings) {
    std::vector<std::string> texts;
    for (const nb::bytes &text : strings)
        texts.emplace_back(text.c_str(), text.size());
    return texts;
}

void release_capsule_stream(PyObject *capsule) {
    auto *stream = static_cast<ArrowArrayStream *>(PyCapsule_GetPointer(capsule, "arrow_array_stream"));
    if (stream != nullptr && stream->release != nullptr)
        stream->release(stream);
    delete stream;
}

class Decoder {
public:
    Decoder(nb::handle words, const std::vector<std::string> &names, std::vector<int> slots, size_t packet_columns)
        : Decoder(std::make_shared<Plan>(read_plan(View(words).words(), names)), std::move(slots), packet_columns) {}

    Decoder(std::shared_ptr<const Plan> plan, std::vector<int> slots, size_t packet_columns)
        : plan_(std::move(plan)), packet_slots_(std::move(slots)), packet_columns_(packet_columns) {
        for (const int slot : packet_slots_)
            if (slot < 0 || slot >= plan_->slots)
                throw std::invalid_argument("a packet's slot is not there");
        for (const auto &event : plan_->events)
            for (const auto &[column, value] : event.packet_columns)
                if (value < 0 || static_cast<size_t>(value) >= packet_columns_)
                    throw std::invalid_argument("a packet's value is not there");
    }

    // A decoder with what was added to the plan.
    std::unique_ptr<Decoder> extended(nb::handle words, const std::vector<std::string> &names) const {
        const View view(words);
        auto plan = std::make_shared<Plan>(read_plan(view.words(), names, *plan_));
        auto decoder = std::unique_ptr<Decoder>(new Decoder(std::move(plan), packet_slots_, packet_columns_));
        decoder->rooms_ = expected();
        return decoder;
    }

    // Packets: words (offset in bytes, content, body in bits, clock), then the packet's values, for each.
    nb::tuple decode(nb::handle data, nb::handle packets, int64_t begin, int64_t end) {
        const auto [batch, decoded] = run(data, packets, begin, end, nullptr, nullptr, {}, {});
        return nb::make_tuple(batch, failure_of(decoded));
    }

    std::shared_ptr<Filter> filter(nb::handle words, const std::vector<nb::bytes> &strings) const {
        const View view(words);
        return std::make_shared<Filter>(read_filter(plan_, view.words(), texts_of(strings)));
    }

    // The same, and the rows go to a merger as those of one of its streams. filter: rows that it rejects do not; may
    // be null. packet_values, packet_texts: what it must be told, for each packet.
    nb::object decode_to(TextMerger &merger, size_t stream, nb::handle data, nb::handle packets, int64_t begin,
                         int64_t end, const std::vector<std::string> &contexts, const Filter *filter,
                         nb::handle packet_values, const std::vector<nb::bytes> &packet_texts) {
        std::vector<Ordered> order = merger.old_order(stream);
        auto [batch, decoded] = run(data, packets, begin, end, &order, filter, packet_values, packet_texts);
        merger.feed(stream, std::move(batch), std::move(order), contexts);
        return failure_of(decoded);
    }

    // The same for a merger of events; packets_of: what the merger gives back of an event's packets.
    nb::object decode_events(EventMerger &merger, size_t stream, nb::handle data, nb::handle packets, int64_t begin,
                             int64_t end, nb::object packets_of, const Filter *filter, nb::handle packet_values,
                             const std::vector<nb::bytes> &packet_texts) {
        std::vector<Ordered> order = merger.old_order(stream);
        auto [batch, decoded] = run(data, packets, begin, end, &order, filter, packet_values, packet_texts);
        merger.feed(stream, std::move(batch), std::move(order), std::move(packets_of));
        return failure_of(decoded);
    }

    // For each table that has rows, a byte for each row: 1 if the filter lets it pass; and where a record failed.
    nb::tuple verdicts(nb::handle data, nb::handle packets, int64_t begin, int64_t end, const Filter &filter,
                       nb::handle packet_values, const std::vector<nb::bytes> &packet_texts) {
        std::vector<Ordered> order;
        const auto [batch, decoded] = run(data, packets, begin, end, &order, &filter, packet_values, packet_texts);
        std::vector<std::string> passed(plan_->spaces);
        for (const Ordered &row : order) {
            const int space = plan_->events[row.event].space;
            passed[space].resize(batch->columns.rows[space]);
            passed[space][row.row] = 1;
        }
        nb::list tables;
        for (size_t table = 0; table < plan_->tables.size(); table++) {
            std::string &bytes = passed[plan_->columns[plan_->tables[table]].space];
            bytes.resize(table_rows(*batch, table));
            if (!bytes.empty())
                tables.append(nb::make_tuple(table, nb::bytes(bytes.data(), bytes.size())));
        }
        return nb::make_tuple(tables, failure_of(decoded));
    }

    std::pair<std::shared_ptr<Batch>, Decoded> run(nb::handle data, nb::handle packets, int64_t begin, int64_t end,
                                                   std::vector<Ordered> *order, const Filter *filter,
                                                   nb::handle packet_values,
                                                   const std::vector<nb::bytes> &packet_texts) {
        const View bytes(data);
        const View words(packets);
        const size_t values = packet_columns_ + packet_slots_.size();
        const size_t each = 4 + values;
        if (words.words().size() % each)
            throw std::invalid_argument("the packets' words are not complete");
        std::vector<PacketInput> inputs;
        for (size_t at = 0; at < words.words().size(); at += each) {
            const int64_t *word = words.words().data() + at;
            const auto offset = static_cast<uint64_t>(word[0]);
            const auto content = static_cast<uint64_t>(word[1]);
            if (offset > bytes.size() || content > (bytes.size() - offset) * 8)
                throw std::invalid_argument("a packet lies outside the data");
            inputs.push_back({bytes.data() + offset, content, static_cast<uint64_t>(word[2]),
                              static_cast<uint64_t>(word[3]), word + 4});
        }
        std::optional<View> told;
        PacketValues given;
        if (filter != nullptr) {
            if (filter->plan != plan_)
                throw std::invalid_argument("the filter is for another plan");
            told.emplace(packet_values);
            given = {told->words(), texts_of(packet_texts)};
            filter->check(given, inputs.size());
        }
        auto batch = std::make_shared<Batch>(plan_, expected());
        Decoded decoded;
        {
            const nb::gil_scoped_release released;
            decoded =
                decode_packets(*plan_, batch->columns, inputs, packet_slots_, packet_columns_, {begin, end}, order);
            if (filter != nullptr)
                filter->select(batch->columns, given, *order);
        }
        const std::lock_guard lock(mutex_);
        remember(batch->columns.rooms());
        return {batch, decoded};
    }

    nb::object stream(size_t table, const std::vector<std::pair<std::shared_ptr<Batch>, size_t>> &parts) const {
        if (table >= plan_->tables.size())
            throw nb::index_error();
        std::vector<Rows> rows;
        for (const auto &[batch, number] : parts) {
            if (number >= batch->plan->tables.size())
                throw nb::index_error();
            rows.push_back({batch, number});
        }
        auto out = std::make_unique<ArrowArrayStream>();
        export_stream(plan_, table, std::move(rows), out.get());
        PyObject *capsule = PyCapsule_New(out.get(), "arrow_array_stream", release_capsule_stream);
        if (capsule == nullptr)
            throw nb::python_error();
        out.release();
        return nb::steal(capsule);
    }

private:
    // None, or the packet's number, the bit of it where the record begins, the clock there, and the record's event id
    // where the plan has no class of that id, or -1 where nothing is wrong.
    static nb::object failure_of(const Decoded &decoded) {
        if (!decoded.failure)
            return nb::none();
        const Failure &failure = *decoded.failure;
        nb::object id = failure.full ? nb::cast(-1) : failure.event_id ? nb::cast(*failure.event_id) : nb::none();
        return nb::make_tuple(failure.packet, failure.position, failure.clock, std::move(id));
    }

    // What a batch had room for is expected of the next one. A short batch, such as one at a file's end, changes
    // little.
    void remember(const std::vector<size_t> &rooms) {
        rooms_.resize(rooms.size());
        for (size_t space = 0; space < rooms.size(); space++)
            rooms_[space] = std::max(rooms[space], rooms_[space] / 2);
    }

    std::vector<size_t> expected() const {
        const std::lock_guard lock(mutex_);
        return rooms_;
    }

    std::shared_ptr<const Plan> plan_;
    std::vector<int> packet_slots_;
    size_t packet_columns_;
    mutable std::mutex mutex_;
    std::vector<size_t> rooms_; // of the last batches
};

} // namespace

void bind_ctf(nb::module_ &module) {
    nb::class_<Batch>(module, "CtfBatch")
        .def("rows",
             [](const Batch &batch, size_t table) {
                 if (table >= batch.plan->tables.size())
                     throw nb::index_error();
                 return table_rows(batch, table);
             })
        .def("filled", [](const Batch &batch) {
            std::vector<std::pair<size_t, size_t>> tables;
            for (size_t table = 0; table < batch.plan->tables.size(); table++)
                if (const size_t rows = table_rows(batch, table))
                    tables.emplace_back(table, rows);
            return tables;
        });
    nb::class_<TextMerger>(module, "CtfTextMerger")
        .def(nb::init<bool>(), nb::arg("utc"))
        .def(
            "add_stream",
            [](TextMerger &merger, nb::handle words, const std::vector<nb::bytes> &strings) {
                const View view(words);
                TextFormat format;
                read_text_format(format, view.words(), texts_of(strings));
                return merger.add_stream(std::move(format));
            },
            nb::arg("format"), nb::arg("strings"))
        .def(
            "extend_stream",
            [](TextMerger &merger, size_t stream, nb::handle words, const std::vector<nb::bytes> &strings) {
                const View view(words);
                merger.extend_stream(stream, view.words(), texts_of(strings));
            },
            nb::arg("stream"), nb::arg("format"), nb::arg("strings"))
        .def("finish", &TextMerger::finish, nb::arg("stream"))
        .def(
            "next",
            [](TextMerger &merger, size_t bytes) {
                int more;
                {
                    const nb::gil_scoped_release released;
                    more = merger.next(bytes);
                }
                return nb::make_tuple(nb::bytes(merger.text().data(), merger.text().size()), more);
            },
            nb::arg("bytes"));
    PyObject *event = make_event_type();
    if (event == nullptr)
        throw nb::python_error();
    module.attr("CtfEvent") = nb::steal(event);
    PyObject *table = make_table_type();
    if (table == nullptr)
        throw nb::python_error();
    module.attr("CtfTable") = nb::steal(table);
    module.def("ctf_add_tables", &add_tables, nb::arg("tables"), nb::arg("type"), nb::arg("events"), nb::arg("source"),
               nb::arg("batch"));
    nb::class_<EventMerger>(module, "CtfEventMerger")
        .def(nb::init<nb::type_object>(), nb::arg("type"))
        .def("add_stream", &EventMerger::add_stream, nb::arg("kinds"))
        .def("extend_stream", &EventMerger::extend_stream, nb::arg("stream"), nb::arg("kinds"))
        .def("finish", &EventMerger::finish, nb::arg("stream"))
        .def("next", &EventMerger::next, nb::arg("count"));
    nb::class_<Filter>(module, "CtfFilter");
    nb::class_<Decoder>(module, "CtfDecoder")
        .def(nb::init<nb::handle, const std::vector<std::string> &, std::vector<int>, size_t>(), nb::arg("plan"),
             nb::arg("names"), nb::arg("packet_slots"), nb::arg("packet_columns"))
        .def("extended", &Decoder::extended, nb::arg("plan"), nb::arg("names"))
        .def("decode", &Decoder::decode, nb::arg("data"), nb::arg("packets"), nb::arg("begin"), nb::arg("end"))
        .def("decode_to", &Decoder::decode_to, nb::arg("merger"), nb::arg("stream"), nb::arg("data"),
             nb::arg("packets"), nb::arg("begin"), nb::arg("end"), nb::arg("contexts"),
             nb::arg("filter").none() = nb::none(), nb::arg("packet_values") = nb::bytes("", 0),
             nb::arg("packet_texts") = std::vector<nb::bytes>())
        .def("filter", &Decoder::filter, nb::arg("words"), nb::arg("strings"))
        .def("decode_events", &Decoder::decode_events, nb::arg("merger"), nb::arg("stream"), nb::arg("data"),
             nb::arg("packets"), nb::arg("begin"), nb::arg("end"), nb::arg("packets_of"),
             nb::arg("filter").none() = nb::none(), nb::arg("packet_values") = nb::bytes("", 0),
             nb::arg("packet_texts") = std::vector<nb::bytes>())
        .def("verdicts", &Decoder::verdicts, nb::arg("data"), nb::arg("packets"), nb::arg("begin"), nb::arg("end"),
             nb::arg("filter"), nb::arg("packet_values"), nb::arg("packet_texts"))
        .def("stream", &Decoder::stream, nb::arg("table"), nb::arg("parts"));
}
