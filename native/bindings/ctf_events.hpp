// Decoded rows of several streams as Python's events, in the order of time. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ctf_event.hpp"

namespace boxtrace::ctf {

class EventMerger {
public:
    // type: of the events, derived from CtfEvent.
    explicit EventMerger(nb::type_object type) : type_(std::move(type)) {
        PyObject *base = nb::module_::import_("boxtrace._native").attr("CtfEvent").ptr();
        if (!PyType_IsSubtype(type_of(), reinterpret_cast<PyTypeObject *>(base)))
            throw nb::type_error("not a type of events");
    }

    // kinds: for each event class of the stream's plan a tuple of an object, the name, and a dictionary of the columns
    // of names.
    size_t add_stream(nb::list kinds) {
        streams_.emplace_back();
        extend_stream(streams_.size() - 1, std::move(kinds));
        return streams_.size() - 1;
    }

    // More of them, of what was added to the plan.
    void extend_stream(size_t number, nb::list kinds) {
        Stream &stream = streams_.at(number);
        for (const nb::handle item : kinds) {
            const auto kind = nb::cast<nb::tuple>(item);
            if (kind.size() != 3 || !PyDict_Check(nb::object(kind[2]).ptr()))
                throw nb::type_error("a kind is an object, a name, and a dictionary");
            stream.sorts.push_back(
                {PyTuple_GET_ITEM(kind.ptr(), 0), PyTuple_GET_ITEM(kind.ptr(), 1), PyTuple_GET_ITEM(kind.ptr(), 2)});
            stream.kinds.push_back(kind);
        }
    }

    // Memory of the rows that the stream was fed before, all of which were taken.
    std::vector<Ordered> old_order(size_t stream) { return used_up(streams_.at(stream)); }

    void feed(size_t stream, std::shared_ptr<Batch> batch, std::vector<Ordered> order, nb::object packets) {
        Stream &to = streams_.at(stream);
        if (batch->plan->events.size() > to.sorts.size())
            throw std::invalid_argument("the rows are of another plan");
        to.order = std::move(order);
        to.at = 0;
        to.clocked = batch->plan->clocked;
        to.feed = std::make_shared<EventFeed>(EventFeed{std::move(batch), std::move(packets)});
    }

    void finish(size_t stream) { streams_.at(stream).finished = true; }

    nb::tuple next(size_t count) {
        nb::list events;
        auto rows = std::make_shared<EventRows>();
        size_t given = 0;
        const int needy = merge_rows(streams_, [&](Stream &stream, const Ordered &row) {
            rows->add(row, stream.feed);
            PyObject *event = new_event(type_of(), stream.sorts[row.event], rows, given, stream.clocked, row.time);
            if (event == nullptr)
                throw nb::python_error();
            events.append(nb::steal(event));
            return ++given < count;
        });
        return nb::make_tuple(events, needy);
    }

private:
    struct Stream : StreamRows {
        std::vector<nb::tuple> kinds; // that the sorts borrow from
        std::vector<EventSort> sorts; // by event class of the plan
        std::shared_ptr<EventFeed> feed;
        bool clocked = false;
    };

    PyTypeObject *type_of() const { return reinterpret_cast<PyTypeObject *>(type_.ptr()); }

    nb::type_object type_;
    std::vector<Stream> streams_;
};

} // namespace boxtrace::ctf
