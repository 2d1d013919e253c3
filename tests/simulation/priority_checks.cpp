#include "tests/simulation/priority_checks.hpp"

namespace millrace::simulation {

void PriorityChecks::begin_step() {
    if (scene_.plan.priorities < 2) return;
    note_usable();
    refused_at_first_ = exchanges_.counters().refused_full;
}

/// A Fetch may have begun without sending anything: there may have been no socket.
void PriorityChecks::end_step(cache::Generation last) {
    for (; scene_.plan.priorities > 1 && last_ < last; ++last_) course_of(last_ + 1);
}

void PriorityChecks::note_usable() {
    unsigned usable = 0;
    for (const control::Upstreams& group : groups_) {
        for (unsigned i = 0; i < group.size(); ++i)
            usable |= unsigned(group.may_be_asked(i)) << Servers::server_of(group.endpoint(i));
    }
    for (unsigned server = 0; server < unusable_.size(); ++server) {
        if (!(usable >> server & 1)) unusable_[server] = scene_.now;
    }
}

PriorityChecks::Course& PriorityChecks::course_of(cache::Generation generation) {
    auto [at, is_new] = courses_.try_emplace(generation);
    if (is_new) at->second = {0, last_tick_, refused_at_first_, {}, {}, {}};
    return at->second;
}

void PriorityChecks::on_sent(unsigned server, const Asked& asked) {
    bool is_of_fetch = asked.link == 0 && asked.name != Servers::probed_name;
    if (scene_.plan.priorities < 2 || !is_of_fetch) return;
    cache::Generation generation = entries_.newest_of(asked);
    if (generation == 0) return; // the table was full: nobody knows whose it is
    Course& course = course_of(generation);
    course.group = Servers::group_of(server);
    if (std::exchange(course.asked[server], true)) return; // once more, or in another way
    unsigned priority = Servers::priority_of(scene_, server);
    bool is_worse = !course.worst || priority > *course.worst;
    if (!is_worse) return;
    std::string what = "server " + std::to_string(server) + " of priority " + std::to_string(priority) +
                       " is asked for name " + std::to_string(asked.name);
    if (course.is_told) scene_.fail("what a better server has said stands", what);
    note_usable();
    if (!may_descend(course, priority)) scene_.fail("a worse priority stands back", what);
    scene_.tally.add(Seen::worse_priority_asked, course.worst.has_value());
    course.worst = priority;
}

bool PriorityChecks::may_descend(const Course& course, unsigned priority) const {
    bool is_late = scene_.now >= course.began + control::Config::Fanout{}.deadline / 2;
    bool was_refused = exchanges_.counters().refused_full > course.refused;
    if (is_late || was_refused) return true;
    for (unsigned server = 0; server < course.asked.size(); ++server) {
        bool is_better = unusable_[server] < course.began && Servers::group_of(server) == course.group &&
                         Servers::priority_of(scene_, server) < priority;
        if (is_better && !course.ended[server]) return false;
    }
    return true;
}

void PriorityChecks::on_answer(control::FetchId fetch, const control::Answer& answer) {
    auto at = courses_.find(fetch.generation);
    bool is_known = at != courses_.end() && at->second.worst; // else the table was full when it asked
    if (!is_known) return;
    if (answer.kind == control::Kind::failure) {
        at->second.ended[server_of(at->second, answer.upstream)] = true;
    } else {
        at->second.is_told = true;
    }
}

void PriorityChecks::on_end(control::FetchId fetch, unsigned upstream) {
    std::uint32_t key = entries_.key_of_generation(fetch.generation);
    if (scene_.plan.priorities < 2 || key == EntryChecks::no_key) return;
    Course& course = course_of(fetch.generation);
    course.group = entries_.state(key).key.group;
    course.ended[server_of(course, upstream)] = true;
}

unsigned PriorityChecks::server_of(const Course& course, unsigned upstream) const {
    return Servers::server_of(groups_[course.group].endpoint(upstream));
}

} // namespace millrace::simulation
