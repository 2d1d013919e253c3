// The operator's configuration: one YAML file, checked and typed.
//
// Boot is sealed once the daemon has started; Live can be replaced whole while it runs. A default member
// initialiser here is the default of the key; every key but `upstreams` has one.
//
// Threads: plain values, copied or moved between threads as any other. Errors: returned, never thrown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "cache/key.hpp"
#include "cache/time.hpp"
#include "control/config/control_socket.hpp"
#include "dataplane/access.hpp"
#include "dataplane/address.hpp"
#include "dataplane/idle.hpp"
#include "dataplane/kernel_interface.hpp"
#include "dataplane/logged_kind.hpp"

namespace millrace::control {

struct Config {
    enum class Strategy {
        two_stage,  ///< the best at once, the others complete their answer or stand in for them
        race,       ///< the best, then one more every `stagger`; the first usable reply ends it
        sequential, ///< the best, then the next whenever one has failed, or is silent for `fallback`
        parallel,   ///< all at once
    };
    enum class MergePolicy {
        unite,  ///< `union`: the addresses of all agreeing replies
        quorum, ///< the addresses that enough agreeing replies hold, else the winner's
        order,  ///< the winner's own addresses; a ranking may reorder them
        off,    ///< the first usable reply, whole
    };
    struct Merge {
        MergePolicy policy = MergePolicy::unite;
        unsigned quorum = 2; ///< replies that must hold an address, the winner's included

        bool operator==(const Merge&) const = default;
    };

    enum class StaleAnswer {
        client_timeout, ///< when a client has waited for nearly as long as it does, or after a failure
        at_once,        ///< to whoever asks; the upstreams are asked beside that
    };

    enum class LogFormat {
        text,   ///< lines for people, on standard error
        json,   ///< an object a line, on standard error
        journal ///< fields, to systemd-journald's own socket
    };
    enum class LogLevel { error, warning, info };

    /// Who may use the control socket.
    struct ControlAccess {
        unsigned mode = 0660; ///< of its file
        std::string group;    ///< that the file belongs to; empty: the process's own

        bool operator==(const ControlAccess&) const = default;
    };

    /// One NIC or virtual device of DPDK, and the lcores that poll it, one queue each.
    struct Port {
        std::string device; ///< a PCI address or a vdev string
        std::vector<unsigned> lcores;
        std::vector<dataplane::Address> addresses; ///< DNS is served on these, port 53
        std::optional<dataplane::Mac> next_hop;    ///< replies go there; none: back to the query's sender,
        bool is_routed = false; ///< or each to where the kernel routes it, by routing_interface()
        dataplane::Idle idle = dataplane::Idle::poll; ///< what its lcores do when nothing comes
        dataplane::KernelInterface kernel;            ///< where all that is no DNS over UDP goes

        bool operator==(const Port&) const = default;
    };

    /// One upstream server. An endpoint alone is a server with the defaults.
    struct Server {
        dataplane::Endpoint endpoint; ///< of one given by name the port alone
        std::string name{};           ///< as cache::to_string writes it; empty: it is given by address
        bool trusted = false; ///< its AD is passed on (RFC 6840 5.8): it validates, the way to it is safe
        bool randomise_case = true; ///< the letter case of questions to it is drawn at random (0x20)
        unsigned priority = 0;      ///< the lower is asked first, as in SRV (RFC 2782)
        unsigned weight = 1;   ///< its share of what is asked first, among those of its priority (RFC 2782)
        bool tcp_only = false; ///< never asked over UDP

        Server(const dataplane::Endpoint& at = {}, bool trusts = false, bool randomises = true)
            : endpoint(at), trusted(trusts), randomise_case(randomises) {}
        bool is_named() const { return !name.empty(); }
        bool operator==(const Server&) const = default;
    };

    struct Fanout {
        Strategy strategy = Strategy::two_stage;
        unsigned active = 2;         ///< two_stage: servers asked at once
        unsigned batch = 2;          ///< two_stage: servers then asked at a time,
        Time stagger = 50ms;         ///< this far apart;
        Time fallback = 300ms;       ///< the first batch goes at the latest after this long
        Time deadline = 3s;          ///< the end of it all
        Time patience = 1900ms;      ///< after which nobody over UDP still waits (DNSBomb)
        unsigned outstanding = 4096; ///< questions in flight to one server
        unsigned rate = 100'000;     ///< questions per second to one server
        std::string probe = ". NS";  ///< name and type: asked to see whether a server is alive
        Time probe_interval{};       ///< so often without suspicion, +- 1/4; 0: never
        unsigned probe_fall = 1;     ///< silent ones in a row that put a suspect server aside
        unsigned probe_rise = 1;     ///< heard ones in a row that bring it back

        bool operator==(const Fanout&) const = default;
    };

    /// Servers that may answer for each other.
    struct Group {
        std::string name;
        std::vector<Server> servers;
        std::optional<Fanout> fanout{}; ///< none: the file's. What it does not say is the file's, too;
        std::optional<Merge> merge{};   ///< so here
        std::vector<dataplane::Endpoint> bootstrap{}; ///< asked for the addresses of servers given by name

        bool operator==(const Group&) const = default;
    };

    /// By which port a group's servers are asked over UDP, instead of the kernel.
    struct Way {
        std::string port;                        ///< as DPDK calls it: ethdev_name() of its device
        std::vector<dataplane::Address> sources; ///< that are asked from, millraced's own

        bool operator==(const Way&) const = default;
    };

    /// The suffix itself and all names below it are asked of the group.
    struct Route {
        std::string suffix; ///< as cache::to_string writes it
        std::string group;

        bool operator==(const Route&) const = default;
    };

    /// How addresses of answers are probed, to serve the best first. Without ports and ICMP nobody is.
    struct Ranking {
        std::vector<std::uint16_t> ports;     ///< tried in turn, by TCP connections that are reset at once;
        bool icmp = false;                    ///< then by ICMP echo, where this process may
        unsigned rate = 100;                  ///< probes per second
        Time cache = 10min;                   ///< one that has answered is not probed again for so long
        unsigned max_addresses = 0;           ///< that are left of a ranked answer; 0: all
        std::vector<dataplane::Prefix> allow; ///< probed though they are of special use

        bool operator==(const Ranking&) const = default;
    };

    /// Clients over TCP (RFC 7766 6.2).
    struct Tcp {
        unsigned connections = 1024; ///< all listeners together,
        unsigned per_client = 64;    ///< and of one client address
        unsigned pipeline = 64;      ///< questions of one connection in work
        Time idle = 10s;             ///< after its last answer a connection is closed

        bool operator==(const Tcp&) const = default;
    };

    /// What is answered here and never asked upstream.
    struct Local {
        std::string version;       ///< TXT of version.bind and version.server in class CH; empty: REFUSED
        std::string id;            ///< ... of id.server and hostname.bind
        bool special_names = true; ///< RFC 6761, RFC 6303 and what followed
        std::vector<std::string> forward; ///< names, and those below, that are asked upstream all the same
        std::vector<std::string> records; ///< as lines of a zone file, names absolute

        bool operator==(const Local&) const = default;
    };

    /// Names that are not answered truthfully, in a file or here.
    struct BlockList {
        enum class Format {
            names, ///< a name per line, or lines of a hosts file: the name and all below it
            rpz    ///< a response policy zone: query names only
        };
        enum class Denial { nxdomain, nodata };
        enum class Reason { blocked, censored, filtered };
        std::string file;
        Format format = Format::names;
        Denial answer = Denial::nxdomain; ///< of Format::names
        Reason reason = Reason::blocked;  ///< extended error 15, 16 or 17 (RFC 8914 4.16)
        std::vector<std::string> names{}; ///< instead of a file: each and all below it

        bool operator==(const BlockList&) const = default;
    };

    /// A NAT64's prefix, and whose answers are made with it (DNS64, RFC 6147). The first for a client counts.
    struct Dns64 {
        dataplane::Prefix prefix = default_dns64_prefix(); ///< 32, 40, 48, 56, 64 or 96 bits (RFC 6052 2.2)
        std::vector<dataplane::Prefix> clients;
        std::vector<dataplane::Prefix> exclude = default_dns64_exclude(); ///< AAAA records that count as none
        std::vector<std::string> groups; ///< of upstreams, by name; empty: all

        bool operator==(const Dns64&) const = default;
    };

    /// Who reads the query log.
    struct DnstapTarget {
        enum class Kind { none, unix_socket, tcp, file };
        Kind kind = Kind::none;
        std::string path;             ///< of a Unix socket or file
        dataplane::Endpoint endpoint; ///< of TCP

        bool operator==(const DnstapTarget&) const = default;
    };

    /// What is in it.
    struct Dnstap {
        std::vector<dataplane::LoggedKind> messages = default_logged_kinds(); ///< each once
        unsigned sample = 1;                    ///< of so many messages one, queries with their responses
        std::vector<dataplane::Prefix> clients; ///< these clients' messages alone; empty: all
        std::vector<unsigned> rcodes; ///< responses with these alone; empty: queries and all responses

        bool operator==(const Dnstap&) const = default;
    };

    /// What is needed to start, and stays as it is.
    struct Boot {
        std::vector<std::string> eal; ///< more EAL arguments
        std::vector<Port> ports;
        std::map<std::string, Way, std::less<>> ways; ///< by group; the others ask through the kernel
        std::vector<dataplane::Endpoint> listen = default_listen(); ///< kernel sockets, UDP and TCP
        std::size_t cache_entries = 1'000'000;
        std::size_t cache_memory = std::size_t(1) << 30; ///< bytes
        std::string control_socket = default_control_socket();
        DnstapTarget dnstap_to;
        std::string dnstap_identity; ///< who we are in it; empty: not said
        ControlAccess control_access;
        LogFormat log_format = LogFormat::text;
        std::optional<dataplane::Endpoint> metrics = default_metrics(); ///< HTTP; none: not served

        bool operator==(const Boot&) const = default;
    };

    /// What may change while the daemon runs.
    struct Live {
        std::vector<dataplane::Prefix> allow = default_allow(); ///< clients outside these are REFUSED
        dataplane::RateLimits limits;
        Tcp tcp;
        Local local;
        std::vector<BlockList> block; ///< the first that names a name counts
        std::vector<Dns64> dns64;
        std::vector<Group> upstreams; ///< by Key::group; the first is asked what no route names
        std::vector<Route> routes;    ///< each suffix once
        Fanout fanout;
        Merge merge;
        Ranking ranking;
        Dnstap dnstap;
        LogLevel log_level = LogLevel::info; ///< what is less than this is not logged
        Time min_ttl = 0s;                   ///< records live at least this long,
        Time max_ttl = 24h;                  ///< and at most this long (RFC 8767 4)
        Time negative_ttl = 1h;              ///< most that a negative answer lives (RFC 2308 5)
        Time stale = 24h; ///< how long after its expiry an answer may still serve (RFC 8767 5)
        StaleAnswer stale_answer = StaleAnswer::client_timeout; ///< when that is
        unsigned prefetch = 1;         ///< the so-manieth hit of a life, or a later, asks ahead; 0: none
        std::string keep_warm;         ///< file of names that are asked at start and kept fresh; empty: none
        unsigned keep_warm_rate = 100; ///< of these, questions per second
        std::string file;              ///< what is cached is kept there over a restart; empty: nowhere
        Time save_interval = 10min;    ///< it is written so often, besides at the end; 0: never
        bool rotate = true;            ///< addresses change places from reply to reply (RFC 1794)
        unsigned max_rrset = 256;      ///< records of one RRset; with more there is no answer
        bool harden_below_nxdomain = false; ///< nothing is below a name that a validator denies (RFC 8020)

        const Fanout& fanout_of(const Group& group) const { return group.fanout ? *group.fanout : fanout; }
        const Merge& merge_of(const Group& group) const { return group.merge ? *group.merge : merge; }
        /// By name; none has it: the number of groups.
        std::size_t index_of(std::string_view group) const;

        bool operator==(const Live&) const = default;
    };

    Boot boot;
    Live live;

    bool operator==(const Config&) const = default;

    static std::vector<dataplane::Endpoint> default_listen();
    static std::vector<dataplane::Prefix> default_allow();            ///< loopback and private ranges
    static dataplane::Endpoint default_metrics();                     ///< 127.0.0.1:9153
    static std::vector<dataplane::LoggedKind> default_logged_kinds(); ///< all
    static dataplane::Prefix default_dns64_prefix();                  ///< 64:ff9b::/96 (RFC 6052 2.1)
    static std::vector<dataplane::Prefix> default_dns64_exclude();    ///< ::ffff:0:0/96 (RFC 6147 5.1.4)
};

/// What is wrong, and where. `line` counts from 1; 0 and an empty key stand for the file as a whole.
struct ConfigError {
    std::string file;
    int line = 0;
    std::string key; ///< dotted path: "ports[0].lcores"
    std::string expected;
    std::string found;
};

/// "FILE:LINE: KEY: expected ..., found ..."
std::string to_string(const ConfigError& error);

tl::expected<Config, ConfigError> load_config(const std::string& path);

/// The text of a configuration file: a regular one of at most 1 MiB.
tl::expected<std::string, ConfigError> read_config_file(const std::string& path);

/// `file` is for the errors only.
tl::expected<Config, ConfigError> parse_config(std::string_view text, const std::string& file);

/// "192.0.2.1:53", or "dns.example.net:53" of one given by name.
std::string to_string(const Config::Server& server);

/// "unix:/run/dnstap.sock", "tcp:192.0.2.1:6000", "file:/var/log/queries.dnstap", or "" for none.
std::string to_string(const Config::DnstapTarget& target);

/// `Config::Fanout::probe`, taken apart.
std::optional<cache::Key> parse_probe(const std::string& text);

/// The configuration in effect, every key of it, as YAML that parses back to the same Config.
std::string to_yaml(const Config& config);

} // namespace millrace::control
