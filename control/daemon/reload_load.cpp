// What waits for its turn, and what the helper thread does of it.
#include "control/daemon/reload.hpp"

#include <numeric>
#include <string_view>
#include <utility>

#include <asio/post.hpp>
#include <fmt/format.h>

#include "control/limits.hpp"

namespace millrace::control {

namespace {

std::vector<std::string> restart_keys(const Config::Boot& now, const Config::Boot& next) {
    std::vector<std::string> keys;
    if (now.eal != next.eal) keys.push_back("eal");
    if (now.ports != next.ports) keys.push_back("ports");
    if (now.ways != next.ways) keys.push_back("upstreams.via");
    if (now.listen != next.listen) keys.push_back("listen");
    if (now.dnstap_to != next.dnstap_to) keys.push_back("dnstap.to");
    if (now.dnstap_identity != next.dnstap_identity) keys.push_back("dnstap.identity");
    if (now.cache_entries != next.cache_entries) keys.push_back("cache.entries");
    if (now.cache_memory != next.cache_memory) keys.push_back("cache.memory");
    if (now.control_socket != next.control_socket) keys.push_back("control.socket");
    if (now.control_access.mode != next.control_access.mode) keys.push_back("control.mode");
    if (now.control_access.group != next.control_access.group) keys.push_back("control.group");
    if (now.log_format != next.log_format) keys.push_back("log.format");
    if (now.metrics != next.metrics) keys.push_back("metrics.listen");
    return keys;
}

/// Whether what build_local_names makes would be another; the files are taken to be the same.
bool has_other_rules(const Config::Live& now, const Config::Live& next) {
    return now.local != next.local || now.block != next.block || now.keep_warm != next.keep_warm ||
           now.keep_warm_rate != next.keep_warm_rate;
}

/// Of the text itself without the place in the file, where it does not stand.
std::string not_changed(ConfigError error, const Document& document) {
    if (error.file != document.path) return "not changed: " + to_string(error);
    error.file = "not changed";
    error.line = 0;
    return to_string(error);
}

} // namespace

tl::expected<Config, ConfigError> parse_beside(const std::string& text, const std::string& path,
                                               const Config::Boot& boot) {
    return parse_config(text, path).and_then([&](const Config& config) -> tl::expected<Config, ConfigError> {
        auto together = parse_config(to_yaml({boot, config.live}), path + " with what needs a restart");
        if (!together) return tl::unexpected(together.error());
        return config;
    });
}

bool Reload::is_full() const {
    auto count = [](std::size_t sum, const Job& job) {
        return sum + std::max<std::size_t>(1, job.done.size());
    };
    return std::accumulate(next_.begin(), next_.end(), std::size_t(0), count) >= limits::reloads;
}

void Reload::begin(Done done) {
    if (is_full()) return done(tl::unexpected(std::string("too many reloads wait; try again")));
    bool is_asked_for = !next_.empty() && !next_.back().edit && !next_.back().look;
    if (!is_asked_for) next_.emplace_back();
    next_.back().done.push_back(std::move(done));
    if (!is_busy()) start();
}

void Reload::edit(const std::string& key, Edit edit, Done done) {
    if (is_full()) return done(tl::unexpected(std::string("too many changes wait; try again")));
    next_.push_back({.key = key, .edit = std::move(edit), .done = {std::move(done)}});
    if (!is_busy()) start();
}

bool Reload::look(Look look) {
    if (is_full()) return false;
    next_.push_back({.look = std::move(look)});
    if (!is_busy()) start();
    return true;
}

/// On a helper thread; the result comes back to this one.
void Reload::start() {
    job_ = std::move(next_.front());
    next_.pop_front();
    if (watcher_ && !job_.look) watcher_(true);
    try {
        std::promise<RulesPtr> replaced;
        helper_ = std::thread(
            [this, document = document_, running = current_, from = replaced.get_future()]() mutable {
                help(document, running, std::move(from));
            });
        replaced_ = std::move(replaced);
    } catch (const std::exception& error) {
        job_.look = nullptr;
        finish(tl::unexpected(std::string("no thread to read the file with: ") + error.what()));
    }
}

/// Reads what is to come, and frees what was: both may take as long as lists are large.
void Reload::help(const Document& document, const Config& running, std::future<RulesPtr> replaced) {
    helper_cpus_.enter("millrace-reload");
    try {
        if (job_.look) {
            help_to_look(document, running);
        } else {
            auto loaded = load(job_, document, running, p_.rules.get());
            asio::post(p_.io, [this, loaded = std::move(loaded)]() mutable { apply(std::move(loaded)); });
        }
    } catch (const std::exception& error) { // most likely no memory: what is in effect stays so
        asio::post(p_.io, [this, why = std::string(error.what())] {
            hand_over(nullptr);
            finish(tl::unexpected("not read: " + why));
        });
    }
    replaced.get();
    asio::post(p_.io, [this] { on_helper_ended(); });
}

void Reload::help_to_look(const Document& document, const Config& running) {
    auto then = job_.look(document, running);
    asio::post(p_.io, [this, then = std::move(then)] {
        hand_over(nullptr);
        then();
    });
}

void Reload::hand_over(RulesPtr replaced) {
    if (replaced_) std::exchange(replaced_, std::nullopt)->set_value(std::move(replaced));
}

void Reload::on_helper_ended() {
    helper_.join();
    job_.look = nullptr; // here, as it may hold what only this thread may touch
    if (!next_.empty() && !is_busy()) start();
}

Reload::LoadResult Reload::load(const Job& job, Document document, const Config& running,
                                const dataplane::Rules& now) {
    Config::Boot boot_before = running.boot;
    if (job.edit) {
        // What the file has of keys that need a restart may wait for one already.
        if (auto before = parse_config(document.text, document.path)) boot_before = before->boot;
        auto edited = job.edit(document.text, running.live);
        if (!edited) return tl::unexpected(fmt::format("not changed: {}: {}", job.key, edited.error()));
        document.edit(job.key, std::move(*edited));
    } else {
        auto text = read_config_file(document.path);
        if (!text) return tl::unexpected(to_string(text.error()));
        document.take(*text);
    }
    auto config = parse_beside(document.text, document.path, running.boot);
    auto failed = [&](const ConfigError& error) {
        return tl::unexpected(job.edit ? not_changed(error, document) : to_string(error));
    };
    if (!config) return failed(config.error());
    if (auto keys = restart_keys(boot_before, config->boot); job.edit && !keys.empty()) {
        return tl::unexpected(fmt::format("not changed: {} needs a restart: write it into {} and start "
                                          "millraced again",
                                          fmt::join(keys, ", "), document.path));
    }
    std::optional<LocalRules> read;
    if (!job.edit || has_other_rules(running.live, config->live)) {
        auto local = build_local_names(config->live);
        if (!local) return failed(local.error());
        read = std::move(*local);
    }
    // Its tables are large.
    auto access = std::make_shared<const dataplane::Access>(client_policy(config->live), *now.access);
    std::shared_ptr<const dataplane::LocalNames> names = now.local;
    if (read) names = std::move(read->names);
    auto next = std::make_unique<const dataplane::Rules>(std::move(access), std::move(names),
                                                         build_routes(config->live));
    auto needs_restart = restart_keys(running.boot, config->boot);
    return Loaded{std::move(document), std::move(*config), std::move(needs_restart), std::move(read),
                  std::move(next)};
}

} // namespace millrace::control
