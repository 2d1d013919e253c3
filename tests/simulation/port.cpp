#include "tests/simulation/port.hpp"

#include <cstring>

namespace millrace::simulation {

using dataplane::Burst;
using dataplane::Counters;
using dataplane::Packet;
using dataplane::ReturnPath;

dataplane::Endpoint endpoint_of(const Question& question) {
    auto kind = std::uint8_t(question.client % client_kinds * 64); // a quarter of 10.0.0.0/8 each
    const std::uint8_t octets[4] = {10, kind, std::uint8_t(question.client >> 8),
                                    std::uint8_t(question.client)};
    return {dataplane::Address::v4(octets), std::uint16_t(1024 + question.query.id % 8)};
}

SimulatedPort::SimulatedPort(Scene& scene, std::vector<Question>& questions, unsigned worker,
                             PortListener& listener)
    : scene_(scene), questions_(questions), worker_(worker), listener_(listener),
      buffers_(dataplane::limits::burst) {}

bool SimulatedPort::push(std::uint32_t question) {
    if (arrived_.size() == descriptors) return false;
    arrived_.push_back(question);
    return true;
}

Packet SimulatedPort::packet_of(Buffer& buffer) {
    return {.data = buffer.octets.data(),
            .size = 0,
            .room = buffer_octets,
            .reply = 0,
            .client = endpoint_of(questions_[buffer.question]),
            .handle = &buffer};
}

void SimulatedPort::receive(Burst& burst, Counters&) {
    for (; !arrived_.empty() && burst.count < dataplane::limits::burst; ++burst.count) {
        Buffer& buffer = buffers_[burst.count];
        buffer.question = arrived_.front();
        buffer.woken = false;
        arrived_.pop_front();
        Packet& packet = burst.packets[burst.count] = packet_of(buffer);
        packet.size = std::uint16_t(write_query(questions_[buffer.question].query, buffer.octets));
        scene_.say("worker ", worker_, " receives question ", buffer.question);
    }
    if (burst.count) listener_.at(worker_, Point::receiving);
}

void SimulatedPort::save(const Packet& packet, ReturnPath& path) {
    std::uint32_t question = static_cast<const Buffer*>(packet.handle)->question;
    std::memcpy(path.octets.data(), &question, sizeof question);
    listener_.at(worker_, Point::saving);
}

bool SimulatedPort::compose(Burst& burst, const ReturnPath& path) {
    listener_.at(worker_, Point::composing);
    std::uint32_t question;
    std::memcpy(&question, path.octets.data(), sizeof question);
    if (scene_.has(Danger::port_trouble) && scene_.chance.is(50, Topic::buffer, question)) {
        questions_[question].fate = Question::Fate::lost;
        return false;
    }
    Buffer& buffer = buffers_[burst.count];
    buffer.question = question;
    buffer.woken = true;
    burst.packets[burst.count++] = packet_of(buffer);
    return true;
}

void SimulatedPort::send(Burst& burst, Counters& counters) {
    if (burst.count) listener_.at(worker_, Point::sending);
    for (unsigned i = 0; i < burst.count; ++i) {
        Packet& packet = burst.packets[i];
        const auto* buffer = static_cast<const Buffer*>(packet.handle);
        if (!packet.reply) continue;
        if (scene_.has(Danger::port_trouble) && scene_.chance.is(30, Topic::send, buffer->question)) {
            counters.add(dataplane::Event::send_failed);
            scene_.tally.add(Seen::sends_refused);
            questions_[buffer->question].fate = Question::Fate::lost;
            continue;
        }
        counters.add(dataplane::Event::sent);
        listener_.on_reply(worker_, buffer->question, {packet.data, packet.reply}, buffer->woken);
    }
    burst.count = 0;
}

} // namespace millrace::simulation
