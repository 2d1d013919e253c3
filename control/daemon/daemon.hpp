// The daemon: its parts, declared in the order in which they depend on each other, destroyed in reverse.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <tl/expected.hpp>

#include "control/command/server.hpp"
#include "control/config/config.hpp"
#include "control/daemon/loop.hpp"
#include "control/daemon/parts.hpp"
#include "control/daemon/predecessor.hpp"
#include "control/daemon/reload.hpp"
#include "control/daemon/service_manager.hpp"
#include "control/local/build.hpp"
#include "control/metrics/http_server.hpp"
#include "control/rank/asio_probes.hpp"
#include "control/upstream/asio_network.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/logged_port.hpp"
#include "dataplane/socket_port.hpp"

namespace millrace::control {

class Daemon {
  public:
    using Result = tl::expected<void, std::string>; ///< an error is a sentence that says what to do

    /// `config` outlives the daemon; `document` is its text, and where a reload reads it again.
    Daemon(const Config& config, const Document& document, LocalRules local);

    /// Opens everything that can fail; sockets first, so that a port in use is known before a NIC is touched.
    /// `takes_over`: from the daemon at the same control socket, which serves until this one can.
    Result start(bool takes_over);
    /// Serves until a signal or `quit`, then answers or abandons everybody. This thread is control.
    Result run();
    /// Whether the one that it took over from has been told to end.
    bool has_taken_over() const { return has_taken_over_; }

  private:
    void reload_on_hangup();
    void resolve_names();
    dataplane::Port& logged(dataplane::Port& port, const dataplane::TscClock* clock);
    bool is_told_to_end();
    Result find_predecessor();
    void load_its_cache();
    Result open_socket(const dataplane::Endpoint& local, std::string name, bool held);
    Result open_sockets();
    Result start_eal();
    Result open_ports();
    void open_beside_ports();
    Result open_streams();
    Result open_commands();
    Result open_metrics();
    std::vector<int> descriptors();
    void retire();

    const Config& config_;
    ServiceManager manager_ = ServiceManager::of_environment();
    asio::io_context io_{1};
    cache::Replaceable<dataplane::Rules> rules_;
    Dnstap dnstap_;
    Top top_;
    std::unique_ptr<dataplane::Eal> eal_;
    std::optional<dataplane::TscClock> clock_;
    std::vector<std::unique_ptr<dataplane::SocketPort>> sockets_;
    std::vector<std::unique_ptr<dataplane::LoggedPort>> logged_;
    cache::Grace grace_;
    cache::Table table_;
    Publisher publisher_;
    SystemRandom random_;
    AsioNetwork kernel_network_;
    PortNetwork network_{kernel_network_, random_, exchange_capacity()};
    std::vector<Upstreams> groups_;
    Exchanges exchanges_;
    AsioProbes probes_;
    Prober prober_;
    WakeRouter router_;
    FetchTable fetches_;
    KeepWarm warm_{table_, fetches_};
    ServerNames names_;
    Flushes flushes_;
    TcpServer tcp_;
    Workers workers_;
    Ports ports_{grace_};
    UpstreamWays ways_{network_, grace_};
    CacheStore store_;
    Parts parts_{io_,      grace_, table_,   publisher_, groups_, exchanges_, fetches_,
                 flushes_, rules_, workers_, tcp_,       prober_, warm_,      names_,
                 eal_,     ports_, ways_,    store_,     dnstap_, top_};
    Reload reload_;
    CommandServer commands_;
    std::unique_ptr<HttpServer> http_; ///< null: no metrics
    asio::signal_set signals_, hangups_;
    Handed handed_;
    Loop* loop_ = nullptr; ///< while it runs
    bool is_ending_ = false, has_taken_over_ = false;
    std::optional<Predecessor> predecessor_;
};

} // namespace millrace::control
