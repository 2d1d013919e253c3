// What the plan does in the world: clients ask, operators flush, reload and trace.
#include "tests/simulation/world.hpp"

#include <algorithm>

#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

void World::crowd(const PlanEvent& event) {
    for (unsigned i = 0; i < event.count; ++i) {
        PlanEvent& one = events_.emplace_back(event);
        one.action = PlanEvent::Action::query;
        one.at += event.length * i / event.count;
        one.client = 5000 + i;
        one.name = event.name + i % std::max(1u, event.span);
        one.id = i;
        one.length = {};
    }
}

void World::ask(const PlanEvent& event, unsigned client, unsigned name, unsigned id) {
    auto number = std::uint32_t(questions_.size());
    Question& question = questions_.emplace_back();
    unsigned aspects = event.aspects | (event.aspects & dnssec ? edns : 0u);
    question.query = {name, aspects, std::uint16_t(id),
                      scene_.chance.bits(Topic::letter_case, client, name, id)};
    question.client = client;
    question.worker = event.worker % unsigned(workers_.size());
    scene_.tally.add(Seen::queries);
    scene_.say("client ", client, " asks question ", number, ": name ", name, " type ", type_of(aspects),
               " through ", aspects & over_tcp ? "TCP, not worker " : "worker ", question.worker);
    if (aspects & over_tcp) return ask_stream(number);
    question.arrived = workers_[question.worker]->port.push(number);
    if (!question.arrived) question.fate = Question::Fate::lost;
    entry_checks_.key_of(question);
    poke(question.worker);
}

void World::flush(const PlanEvent& event) {
    using Of = ClientChecks::Flush::Of;
    using Action = PlanEvent::Action;
    Of of = event.action == Action::flush_name   ? Of::name
            : event.action == Action::flush_zone ? Of::zone
                                                 : Of::everything;
    scene_.say(to_string(event.action), ' ', event.name);
    begin_step();
    begin_flush({of, of == Of::zone ? event.name % (zones + 1) : event.name});
    after_control();
}

/// In one step, as Reload::put_in_place.
void World::reload(const PlanEvent& event) {
    unsigned servers = event.server % (1u << Servers::pool);
    if (!servers) return;
    scene_.say("reload: servers ", servers, ", merge policy ", event.span % 4, ", quorum ", event.count,
               ", layout ", event.point / 2);
    begin_step();
    auto put_in_place = [this, servers, event] {
        scene_.servers = servers;
        scene_.layout = event.point / 2;
        scene_.merge = event.span % 4;
        scene_.quorum = std::max(1u, event.count);
        exchanges_.close_probes(scene_.now);
        groups_[0].replace(Servers::configured(scene_, servers));
        for (unsigned group : {0u, 1u}) fetches_.set_policy(group, fetch_policy());
    };
    using Of = ClientChecks::Flush::Of;
    begin_flush({event.point % 2 ? Of::group : Of::everything, 0, 0, servers}, put_in_place);
    after_control();
}

bool World::begin_flush(ClientChecks::Flush record, std::function<void()> then) {
    using Of = ClientChecks::Flush::Of;
    record.asked = ++scene_.moment;
    ++scene_.operator_actions;
    auto done = [this, record](std::size_t emptied) {
        scene_.say("flush of moment ", record.asked, " acknowledged, ", emptied, " entries");
        --flushes_open_;
        scene_.tally.add(record.servers          ? Seen::reloads
                         : record.of == Of::name ? Seen::flushes_of_names
                         : record.of == Of::zone ? Seen::flushes_of_zones
                                                 : Seen::flushes_of_everything);
        scene_.tally.add(Seen::flushed_entries, emptied);
        entry_checks_.look();
        checks_.on_acknowledged(record);
    };
    bool begun = record.of == Of::name    ? flushes_.flush_name(name_of(record.number), done)
                 : record.of == Of::zone  ? flushes_.flush_zone(zone_of(record.number), done)
                 : record.of == Of::group ? flushes_.flush_outdated({.groups = 1}, done, std::move(then))
                                          : flushes_.flush_all(done, std::move(then));
    if (begun) checks_.on_asked(record);
    flushes_open_ += begun;
    hurry_control();
    return begun;
}

/// An operator asks afresh; whoever waits for the name waits for that.
void World::trace(const PlanEvent& event) {
    begin_step();
    Question question;
    question.query.name = event.name;
    std::uint32_t index = entry_checks_.key_of(question);
    const cache::Key key = entry_checks_.state(index).key;
    cache::Generation before = fetches_.last_generation();
    scene_.say("trace of name ", event.name);
    auto done = [this](cache::Generation, const auto&) {
        --traces_open_;
        scene_.tally.add(Seen::traces);
    };
    ++traces_open_;
    if (!fetches_.trace(key, table_.hasher()(key), scene_.now, done)) --traces_open_;
    entry_checks_.note_start(index, before, fetches_.last_generation());
    after_control();
    hurry_control();
}

} // namespace millrace::simulation
