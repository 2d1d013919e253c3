// Reading the configuration file again, and putting what may change into effect: SIGHUP, `config reload`.
// What verbs change is an edit of the text in effect, which then goes the same way: there is no other.
//
// Basic algorithm: a helper thread reads and checks the file, as parsing has no bound that a tick could keep.
// A bad file changes nothing. Back on the control thread, the servers given by name are asked for, while the
// old ones serve; a group that would lose all its servers refuses the file. Then, when anything changed on
// which answers depend (the bounds of TTLs, the list of groups), everything is flushed: floors raised, live
// Fetches superseded, and when none is left the new parts put in place, in one step; the successors of the
// Fetches already use them.
// Of new servers, merge policies, routes and rules only what depends on them is. The reload is acknowledged
// when the flush is, so nothing of the old upstreams appears after it. Other changes wait for a grace period
// alone. Lists that were replaced are given to the helper then, as freeing millions of names takes long. Keys
// that need a restart are named and keep their values.
//
// Control thread, but for the helper, which shares nothing with it but the rules in effect; nobody replaces
// these while it reads them.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "control/config/config.hpp"
#include "control/config/document.hpp"
#include "control/config/edit.hpp"
#include "control/config/helper_cpus.hpp"
#include "control/daemon/parts.hpp"
#include "control/local/build.hpp"
#include "dataplane/rules.hpp"

namespace millrace::control {

/// What the configuration means for the parts.
TtlPolicy ttl_policy(const Config::Live& live, const Config::Group& group);
UpstreamPolicy upstream_policy(const Config::Live& live, const Config::Group& group);
FetchPolicy fetch_policy(const Config::Live& live, const Config::Group& group);
dataplane::ClientPolicy client_policy(const Config::Live& live);

/// The groups' bootstrap servers, and the questions for the servers given by name. None may be open to them.
void ask_for_names(const Parts& parts, const Config::Live& live);
/// Servers and policies of all groups, after that. No question may be open to one whose servers change.
void put_groups_in_place(const Parts& parts, const Config::Live& live);

unsigned server_count(std::span<const Upstreams> groups); ///< of all groups

/// A file's text, checked once more together with what needs a restart and so stays as it is. Any thread.
tl::expected<Config, ConfigError> parse_beside(const std::string& text, const std::string& path,
                                               const Config::Boot& boot);

void log_warnings(const std::vector<std::string>& warnings);

class Reload {
  public:
    /// A block list that is not what it was, though its key may be.
    struct ListChange {
        std::string file;
        std::size_t before, names; ///< that it had, and has; 0 when it was not, or is no longer, read
        std::size_t skipped;       ///< lines or records that it has now
    };
    struct Changes {
        std::vector<std::string> changed;       ///< keys whose new values are in effect
        std::vector<std::string> needs_restart; ///< keys whose new values are not
        std::vector<ListChange> lists;
        std::size_t dropped = 0; ///< edited keys, when a file was read
    };
    /// Told once: after the acknowledgement, or why nothing was changed.
    using Done = std::function<void(const tl::expected<Changes, std::string>&)>;

    /// On the helper thread: the running text with a change. Block lists are read again only when `local`,
    /// `block` or `cache: keep-warm` changes, but then all of them: LocalNames is replaced whole.
    using Edit = std::function<EditResult(const std::string& text, const Config::Live& running)>;
    /// On the helper thread: something that takes long; it returns what is to be done on this one.
    using Look = std::function<std::function<void()>(const Document& document, const Config& running)>;

    /// `lists` are those in effect.
    Reload(Document document, Config current, std::vector<ReadList> lists, const Parts& parts);
    ~Reload(); ///< waits for the helper

    /// One at a time; who asks meanwhile is told after one more, which reads the file as it is then.
    void begin(Done done);
    /// In its turn. `key`: what it changes. A key that needs a restart is refused.
    void edit(const std::string& key, Edit edit, Done done);
    /// In its turn. False: too many wait.
    bool look(Look look);
    /// Told when a reload begins (true), and when it has ended, well or not.
    void set_watcher(std::function<void(bool)> watcher) { watcher_ = std::move(watcher); }
    /// Until the helper has ended; whoever began may have been told before.
    bool is_busy() const { return helper_.joinable() || !job_.done.empty(); }

    const Config::Live& current() const { return current_.live; } ///< what is in effect
    const Config::Boot& boot() const { return current_.boot; }
    const Document& document() const { return document_; } ///< the text of it
    const std::vector<ReadList>& lists() const { return lists_; }
    void saved(const std::string& text) { document_.take(text); } ///< the file says what is in effect

  private:
    using RulesPtr = std::unique_ptr<const dataplane::Rules>;
    /// Without `edit` and `look`: reading the file.
    struct Job {
        std::string key{};
        Edit edit{};
        Look look{};
        std::vector<Done> done{};
    };
    bool is_full() const;
    void start();
    /// What the helper thread makes of the file, and of those that it names.
    struct Loaded {
        Document document;
        Config config;
        std::vector<std::string> needs_restart;
        std::optional<LocalRules> local; ///< without its names, which are the rules'; none: as before
        RulesPtr rules;
    };
    using LoadResult = tl::expected<Loaded, std::string>;
    static LoadResult load(const Job& job, Document document, const Config& running,
                           const dataplane::Rules& rules);
    void apply(LoadResult loaded);
    void help(const Document& document, const Config& running, std::future<RulesPtr> replaced);
    void help_to_look(const Document& document, const Config& running);
    void hand_over(RulesPtr replaced);
    void on_helper_ended();
    void await_names(const Config::Live& from, const Config::Live& to);
    std::string lost_group() const;
    void go_on(const Changes& changes);
    void refuse(const std::string& why);
    bool flush(const Changes& changes);
    std::uint32_t changed_groups() const;
    void put_in_place();
    void put_lists_in_place(LocalRules&& rules, const Config::Live& next);
    void finish(const tl::expected<Changes, std::string>& result);

    Document document_;
    HelperCpus helper_cpus_;
    Config current_;
    std::vector<ReadList> lists_;
    Parts p_;
    std::function<void(bool)> watcher_;              ///< may be null
    Job job_;                                        ///< the one under way
    std::deque<Job> next_;                           ///< those asked for meanwhile
    Loaded loaded_;                                  ///< until it is put in place
    RulesPtr before_;                                ///< workers may read them until the acknowledgement
    std::optional<std::promise<RulesPtr>> replaced_; ///< what the helper waits for, while it does
    std::thread helper_;
};

} // namespace millrace::control
