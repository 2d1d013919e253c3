#include "tests/simulation/scene.hpp"

#include <cstdio>
#include <iomanip>

#include <unistd.h>

namespace millrace::simulation {

Failure* failure_report = nullptr;

void Trace::add(std::string line) {
    if (mode_ == Mode::all) {
        *out_ << line << '\n';
        return;
    }
    tail_.push_back(std::move(line));
    if (tail_.size() > tail_lines) tail_.pop_front();
}

void Trace::print_tail() const {
    if (!out_) return;
    for (const std::string& line : tail_) *out_ << line << '\n';
    out_->flush();
}

unsigned Scene::rule_of(unsigned client, unsigned name, unsigned aspects) const {
    bool concerns = aspects & aaaa && !(aspects & (text | unchecked));
    unsigned kind = client % client_kinds;
    if (!concerns || kind == 0) return 0;
    bool has_first = plan.dns64 > 0 && kind == 1 && (!plan.dns64_group || group_of(name) == 0);
    return has_first ? 1 : plan.dns64 > 1 ? 2 : 0;
}

void Scene::add_line(const std::string& line) {
    std::ostringstream out;
    out << std::setw(7) << steps << ' ' << std::setw(11) << (now - start).count() << "us  " << line;
    trace.add(out.str());
}

void Scene::fail(std::string_view invariant, const std::string& detail) {
    say("VIOLATED: ", invariant, ": ", detail);
    trace.print_tail();
    if (failure_report) {
        failure_report->seed = plan.seed;
        failure_report->step = steps;
        std::snprintf(failure_report->invariant, sizeof failure_report->invariant, "%.*s",
                      int(invariant.size()), invariant.data());
        std::snprintf(failure_report->detail, sizeof failure_report->detail, "%s", detail.c_str());
    } else {
        std::fprintf(stderr, "seed %llu, step %llu: %.*s: %s\n", static_cast<unsigned long long>(plan.seed),
                     static_cast<unsigned long long>(steps), int(invariant.size()), invariant.data(),
                     detail.c_str());
    }
    _exit(exit_failed);
}

} // namespace millrace::simulation
