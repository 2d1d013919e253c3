#include "control/daemon/daemon.hpp"

#include <cstdlib>
#include <exception>
#include <set>

#include <fmt/format.h>
#include <rte_cycles.h>
#include <spdlog/spdlog.h>

#include "control/config/own_endpoints.hpp"
#include "control/config/warnings.hpp"
#include "control/daemon/hand_over.hpp"
#include "control/daemon/metrics.hpp"
#include "control/daemon/signal_patience.hpp"
#include "control/daemon/status_page.hpp"
#include "control/daemon/supervision.hpp"
#include "control/daemon/telemetry.hpp"
#include "control/daemon/upstream_verbs.hpp"
#include "control/daemon/verbs.hpp"
#include "control/upstream/udp_sockets.hpp"

namespace millrace::control {

using dataplane::Endpoint;

namespace {

constexpr unsigned fewest_source_ports = 16384; // less is worth a warning (RFC 5452 9.2: as many as possible)

/// Every endpoint that this program answers on.
std::vector<Endpoint> own_endpoints(const Config::Boot& boot) {
    std::vector<Endpoint> own = boot.listen;
    for (const Config::Port& port : boot.ports) {
        for (const auto& address : port.addresses) own.push_back({address, dataplane::Service::port});
    }
    return own;
}

dataplane::EalPlan eal_plan(const Config::Boot& boot) {
    dataplane::EalPlan plan;
    for (const Config::Port& p : boot.ports) {
        plan.ports.push_back({p.device, p.lcores, p.addresses, p.next_hop, p.kernel, p.is_routed});
        std::set<dataplane::Address> sources;
        for (const auto& [group, way] : boot.ways) {
            if (way.port == dataplane::ethdev_name(p.device))
                sources.insert(way.sources.begin(), way.sources.end());
        }
        plan.ports.back().sources.assign(sources.begin(), sources.end());
    }
    plan.arguments = boot.eal;
    plan.own = own_endpoints(boot);
    return plan;
}

/// What all workers together can take in.
unsigned packets_per_us(const Config::Boot& boot) {
    auto lcores = std::size_t(0);
    for (const Config::Port& port : boot.ports) lcores += port.lcores.size();
    return unsigned(lcores * dataplane::limits::packets_per_us +
                    boot.listen.size() * dataplane::limits::packets_per_us_of_socket);
}

std::string list_text(const std::vector<std::string>& keys) {
    return keys.empty() ? "nothing" : fmt::format("{}", fmt::join(keys, ", "));
}

} // namespace

Daemon::Daemon(const Config& config, const Document& document, LocalRules local)
    : config_(config),
      rules_(std::make_unique<dataplane::Rules>(
          std::make_shared<dataplane::Access>(client_policy(config.live), packets_per_us(config.boot)),
          std::move(local.names), build_routes(config.live))),
      dnstap_(config), table_({config.boot.cache_entries, config.boot.cache_memory}, grace_),
      publisher_(table_, grace_, {}), kernel_network_(io_, {.sockets = exchange_capacity()}),
      groups_(limits::groups, Upstreams({})),
      exchanges_(network_, random_, groups_, {.exchanges = exchange_capacity()}), probes_(io_, random_),
      prober_(probes_, config.live.ranking, probe_capacity()),
      fetches_(table_, publisher_, exchanges_, std::span(groups_).first(cache::limits::groups), router_, {}),
      names_(exchanges_, groups_,
             [own = own_endpoints(config.boot)](const Endpoint& at) { return answers_at(own, at); }),
      flushes_(table_, grace_, fetches_), tcp_(io_, table_, fetches_, rules_, config.live.tcp),
      workers_(table_, grace_, rules_),
      store_({io_, table_, grace_, fetches_, flushes_, rules_}, config.boot),
      reload_(document, config, std::move(local.lists), parts_), commands_(io_),
      signals_(io_, SIGINT, SIGTERM), hangups_(io_, SIGHUP) {
    router_.connect(workers_, tcp_);
    ask_for_names(parts_, config.live);
    put_groups_in_place(parts_, config.live);
    fetches_.set_rules(dataplane::CurrentRules(rules_));
    fetches_.set_ranker(&prober_);
    dataplane::QueryLog* log = dnstap_.add(); // control's own
    exchanges_.set_log(log);
    tcp_.set_log(log, &top_);
    warm_.set(std::move(local.warm), config.live.keep_warm_rate);
}

Daemon::Result Daemon::start(bool takes_over) {
    signals_.async_wait([this](asio::error_code error, int signal) {
        if (error) return;
        spdlog::info("signal {}: stopping", signal);
        is_ending_ = true;
        if (loop_) loop_->stop();
    });
    Result done;
    if (takes_over) done = find_predecessor();
    if (done) done = open_metrics();
    if (done) done = open_sockets();
    if (done) done = start_eal();
    if (!done) return done;
    resolve_names();
    if (predecessor_) load_its_cache();
    if (predecessor_ && is_told_to_end()) return tl::unexpected(std::string("told to end"));
    done = open_streams(); // whatever can fail before another daemon's ports are left
    if (done) done = open_commands();
    if (done && predecessor_) done = predecessor_->leave_ports(config_.boot.ports.size());
    if (done) done = open_ports();
    return done;
}

Daemon::Result Daemon::run() {
    Loop loop(parts_, clock_ ? &*clock_ : nullptr);
    loop_ = &loop;
    if (is_ending_) loop.stop();
    add_verbs(commands_, parts_, reload_, loop);
    top_.set_upstreams([named = Context{parts_, reload_, loop}.named()] { return asked_of(named); });
    HandOver hand_over(parts_, loop, commands_, {[this] { return descriptors(); }, [this] { retire(); }});
    Supervision supervision(parts_, loop, reload_, manager_);
    std::optional<Telemetry> telemetry;
    if (eal_) telemetry.emplace(workers_);
    std::optional<Metrics> metrics;
    std::optional<StatusPage> page;
    if (http_) {
        Context context{parts_, reload_, loop};
        page.emplace(*http_, context);
        metrics.emplace(*http_, context, eal_ ? rte_get_tsc_hz() : 0);
    }
    reload_on_hangup();
    store_.set(config_.live, boot_time());
    store_.open();
    dnstap_.start();
    Result started = workers_.start();
    if (started && eal_) started = eal_->serve();
    if (started && predecessor_ && is_told_to_end()) started = tl::unexpected(std::string("told to end"));
    bool is_serving = bool(started);
    if (started) {
        if (!predecessor_) store_.load_if_there();
        std::size_t upstreams = 0;
        for (const Config::Group& group : config_.live.upstreams) upstreams += group.servers.size();
        spdlog::info("ready: {} workers, {} upstreams", workers_.size(), upstreams);
        log_warnings(control::warnings_of(config_.live));
        if (unsigned ports = UdpSockets::source_ports(); ports < fewest_source_ports) {
            spdlog::warn("queries leave from {} source ports only: widen net.ipv4.ip_local_port_range",
                         ports);
        }
        if (http_) http_->start();
        if (predecessor_) {
            loop.health().go_on_from(predecessor_->fault());
            predecessor_->end();
        }
        commands_.own_file(true);
        has_taken_over_ = predecessor_.has_value();
        predecessor_.reset();
        handed_ = {};
        try {
            loop.run();
        } catch (const std::exception& error) {
            // Nothing is known about the state of the parts: they cannot be taken down in order.
            spdlog::critical("control cannot go on: {}", error.what());
            std::_Exit(1);
        }
    }
    if (started && !loop.failure().empty()) started = tl::unexpected(loop.failure());
    manager_.stopping();
    if (http_) http_->stop();
    fetches_.close();
    if (is_serving) store_.stop(); // what it takes its time for is answered meanwhile
    workers_.stop();
    dnstap_.stop();
    loop.refuse_the_rest();
    commands_.close();
    tcp_.close();
    loop_ = nullptr;
    return started;
}

/// The first clients wait in the sockets meanwhile, for less than their patience.
void Daemon::resolve_names() {
    for (Time end = boot_time() + limits::first_names; names_.is_pending() && boot_time() < end;) {
        io_.run_one_for(10ms);
        fetches_.tick(boot_time());
        names_.tick(boot_time());
    }
}

void Daemon::reload_on_hangup() {
    hangups_.async_wait([this](asio::error_code error, int) {
        if (error) return;
        if (commands_.is_holding()) {
            spdlog::error("not reloaded: another millraced is taking over");
            return reload_on_hangup();
        }
        reload_.begin([](const tl::expected<Reload::Changes, std::string>& result) {
            if (!result) return spdlog::error("not reloaded: {}", result.error());
            spdlog::info("reloaded; changed: {}; needs a restart: {}", list_text(result->changed),
                         list_text(result->needs_restart));
            if (result->dropped)
                spdlog::warn("changes that the file did not have: {} dropped", result->dropped);
            for (const auto& [file, before, names, skipped] : result->lists) {
                spdlog::info("{} has changed: {} names, before {}; {} lines skipped", file, names, before,
                             skipped);
            }
        });
        reload_on_hangup();
    });
}

dataplane::Port& Daemon::logged(dataplane::Port& port, const dataplane::TscClock* clock) {
    logged_.push_back(std::make_unique<dataplane::LoggedPort>(port, top_.add(), dnstap_.add(), clock));
    return *logged_.back();
}

Daemon::Result Daemon::find_predecessor() {
    auto found = Predecessor::find(config_.boot.control_socket, handed_);
    if (!found) return tl::unexpected(found.error());
    predecessor_ = std::move(*found);
    if (!predecessor_) spdlog::info("nobody to take over from at {}", config_.boot.control_socket);
    return {};
}

/// Whether a signal has come since the start began.
bool Daemon::is_told_to_end() {
    io_.poll();
    return is_ending_;
}

/// As it is known there at this moment: what is not loaded is asked anew.
void Daemon::load_its_cache() {
    if (config_.live.file.empty()) return spdlog::info("`cache: file` names no file: the cache begins empty");
    if (auto saved = predecessor_->save_cache(); !saved)
        spdlog::warn("the cache begins with what an earlier file holds: {}", saved.error());
    store_.set(config_.live, boot_time());
    store_.load_if_there();
    for (Time end = boot_time() + limits::taken_cache; store_.is_loading() && boot_time() < end;) {
        io_.run_one_for(1ms);
        while (store_.tick(boot_time())) {
        }
    }
}

Daemon::Result Daemon::open_socket(const Endpoint& local, std::string name, bool held) {
    auto port =
        dataplane::SocketPort::open(local, own_endpoints(config_.boot), handed_.take_udp(local), held);
    if (!port) return tl::unexpected(port.error());
    sockets_.push_back(std::move(*port));
    Result added = workers_.add(logged(*sockets_.back(), nullptr), std::move(name), {}, nullptr);
    if (added) return added;
    logged_.pop_back();
    sockets_.pop_back(); // or it would take in what nobody reads
    return added;
}

Daemon::Result Daemon::open_sockets() {
    for (const Endpoint& local : config_.boot.listen) {
        if (auto opened = open_socket(local, to_string(local), true); !opened) return opened;
    }
    return {};
}

/// For what reaches the kernel while an AF_XDP port is being left or taken, and what its XDP program
/// passes on. A port can do without.
void Daemon::open_beside_ports() {
    std::vector<Endpoint> open = config_.boot.listen;
    for (const Config::Port& port : config_.boot.ports) {
        if (!dataplane::is_driver(port.device, "net_af_xdp")) continue;
        for (const auto& address : port.addresses) {
            Endpoint local{address, dataplane::Service::port};
            if (std::ranges::find(open, local) != open.end()) continue;
            open.push_back(local);
            Result opened = tl::unexpected(to_string(local) + ": too many workers");
            if (grace_.reader_count() + 1 < cache::limits::workers) // the cache's file wants one, too
                opened = open_socket(local, to_string(local) + " beside the port", kernel_holds(address));
            if (!opened) {
                spdlog::warn(
                    "{}; what the kernel gets for that address, as during an upgrade, is not answered",
                    opened.error());
            }
        }
    }
}

Daemon::Result Daemon::start_eal() {
    if (config_.boot.ports.empty()) return {};
    SignalPatience patience(start_patience(config_.boot.ports.size()));
    dataplane::EalPlan plan = eal_plan(config_.boot);
    if (predecessor_) plan.iova_mode = predecessor_->iova_mode();
    auto eal = dataplane::Eal::start(plan);
    if (!eal) return tl::unexpected(eal.error());
    eal_ = std::move(*eal);
    return {};
}

Daemon::Result Daemon::open_ports() {
    if (!eal_) return {};
    SignalPatience patience(start_patience(config_.boot.ports.size()));
    if (auto opened = eal_->open(handed_.take_taps()); !opened) return opened;
    for (const std::string& warning : eal_->warnings()) spdlog::warn("{}", warning);
    ports_.open(*eal_, config_.boot.ports);
    ways_.open(*eal_, config_);
    clock_.emplace(rte_get_tsc_hz());
    for (auto& queue : eal_->queues()) {
        const Config::Port& port = config_.boot.ports[queue.port];
        Time nap = dataplane::rest_of(queue.receive_ring).longest_nap;
        auto added =
            workers_.add(logged(*queue.front, &*clock_), port.device, queue.lcore, &*clock_, port.idle, nap);
        if (!added) return added;
    }
    open_beside_ports();
    return {};
}

Daemon::Result Daemon::open_streams() {
    std::vector<Endpoint> open; // what several ports have is listened on once
    for (const Endpoint& local : config_.boot.listen) {
        auto listening = tcp_.listen(local, true, handed_.take_tcp(local));
        if (!listening) return listening;
        open.push_back(local);
    }
    for (const Config::Port& port : config_.boot.ports) {
        for (const auto& address : port.addresses) {
            bool held = kernel_holds(address);
            if (!held && !port.kernel.is_wanted()) continue; // whose addresses may come later
            Endpoint local{address, dataplane::Service::port};
            if (std::ranges::find(open, local) != open.end()) continue;
            auto listening = tcp_.listen(local, held, handed_.take_tcp(local));
            if (!listening) return listening;
            open.push_back(local);
        }
    }
    return {};
}

/// The default is nobody's express wish: where another daemon of this machine has that port, this one serves
/// DNS all the same.
Daemon::Result Daemon::open_metrics() {
    const auto& at = config_.boot.metrics;
    if (!at) return {};
    auto server = HttpServer::open(*at, handed_.take_tcp(*at));
    if (server) {
        http_ = std::move(*server);
        spdlog::info("metrics are served on http://{}/metrics", to_string(http_->at()));
        return {};
    }
    std::string words = server.error() + "; `metrics: listen` names another place, or \"\" for none";
    if (*at != Config::default_metrics()) return tl::unexpected(words);
    spdlog::warn("{}", words);
    return {};
}

Daemon::Result Daemon::open_commands() {
    const Config::ControlAccess& access = config_.boot.control_access;
    const std::string& path = config_.boot.control_socket;
    return commands_.open(path, access.mode, access.group, handed_.take_unix(path))
        .map_error([](const std::string& why) {
            return why + "; `control: socket` in the configuration names another place, or for an ordinary "
                         "user $XDG_RUNTIME_DIR";
        });
}

/// What this process receives from, for a successor.
std::vector<int> Daemon::descriptors() {
    std::vector<int> all = tcp_.listeners();
    for (const auto& socket : sockets_) all.push_back(socket->descriptor());
    all.push_back(commands_.descriptor());
    if (http_) all.push_back(http_->descriptor());
    if (!eal_) return all;
    for (const auto& kernel : eal_->kernels()) all.push_back(kernel.descriptor);
    return all;
}

void Daemon::retire() {
    for (const auto& socket : sockets_) socket->retire();
    tcp_.stop_listening();
    if (http_) http_->ask_to_stop();
}

} // namespace millrace::control
