#include "tests/simulation/client_checks.hpp"

#include <algorithm>

#include "cache/wire.hpp"
#include "control/limits.hpp"
#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

using dataplane::Event;
using dataplane::Verdict;
using dataplane::Wake;

namespace {

constexpr Time slack = 50ms; // timers and restarts are taken a bounded number per tick
constexpr std::uint32_t stale_ttl = 30, longest_ttl = 5;

} // namespace

void ClientChecks::add_worker(const dataplane::Worker& worker, const dataplane::Counters& counters,
                              const cache::Grace::Reader& reader) {
    WorkerState& state = workers_.emplace_back();
    state.worker = &worker;
    state.counters = &counters;
    state.reader = &reader;
    state.waits.resize(dataplane::limits::waiters);
}

// Turns.

void ClientChecks::begin_turn(unsigned index) {
    WorkerState& worker = workers_[index];
    worker.in_turn = true;
    worker.turn_time = scene_.now;
    worker.turn_began = ++scene_.moment;
    for (unsigned group : {0u, 1u}) worker.floors[group] = entries_.floor(group);
}

void ClientChecks::end_turn(unsigned index) {
    WorkerState& worker = workers_[index];
    worker.in_turn = false;
    settle_wakes(worker);
    const dataplane::Counters& c = *worker.counters;
    std::uint64_t outstanding =
        c.get(Verdict::missed) - c.get(Event::wake_answered) - c.get(Event::wake_abandoned);
    scene_.require(worker.worker->credits() + outstanding == dataplane::limits::waiters,
                   "credits are neither lost nor made", "credits and outstanding waits do not add up");
}

void ClientChecks::settle_wakes(WorkerState& worker) {
    for (; worker.wakes.size() > worker.reader->outstanding(); worker.wakes.pop_front()) {
        const cache::Entry* entry = worker.wakes.front();
        if (!entry) continue;
        auto named = named_.find(entry);
        if (--named->second == 0) named_.erase(named);
    }
}

// Waits.

void ClientChecks::on_miss(unsigned index, std::uint32_t waiter, const cache::Key& key,
                           std::uint32_t key_index) {
    WorkerState& worker = workers_[index];
    ++worker.taken;
    ++open_waits_;
    scene_.require(waiter < worker.waits.size() && worker.waits[waiter].key == EntryChecks::no_key,
                   "a credit waits once", "two Misses with one waiter");
    scene_.require(key_index != EntryChecks::no_key && entries_.state(key_index).key == key,
                   "a Miss asks what was asked", "another key");
    worker.waits[waiter] = {key_index, scene_.now};
}

void ClientChecks::on_wake(unsigned index, std::uint32_t waiter, const cache::Entry* entry, Wake::Kind kind) {
    WorkerState& worker = workers_[index];
    scene_.require(waiter < worker.waits.size() && worker.waits[waiter].key != EntryChecks::no_key,
                   "a wait ends with one Wake", "a Wake for nobody");
    check_entry_given(entry, kind, worker.waits[waiter].key);
    Time waited = scene_.now - worker.waits[waiter].since;
    scene_.require(waited <= control::Config::Fanout{}.patience + scene_.longest_pause + slack,
                   "nobody waits for ever", "a UDP waiter was kept for too long");
    worker.waits[waiter] = {};
    --open_waits_;
    worker.wakes.push_back(entry);
    if (entry) ++named_[entry];
}

void ClientChecks::on_stream_wake(std::uint32_t key, const cache::Entry* entry, Wake::Kind kind) {
    scene_.require(stream_waits_ > 0, "a wait ends with one Wake", "a Wake for nobody");
    --stream_waits_;
    check_entry_given(entry, kind, key);
}

void ClientChecks::check_entry_given(const cache::Entry* entry, Wake::Kind kind, std::uint32_t key) {
    scene_.require((kind == Wake::Kind::abandon) == !entry, "only an abandoned wait has no Entry", "");
    if (!entry || (entry == checked_ && key == checked_key_)) return; // thousands may wait for one
    entries_.on_given(*entry, key);
    bool is_made = entries_.state(key).key.dns64() > 0 && entry->expiry == entry->born; // of stale data
    scene_.require(kind != Wake::Kind::stale || is_made || entries_.is_linked(entry),
                   "stale data is in the table", "");
    if (!entries_.is_linked(entry) && entry->version.generation) scene_.tally.add(Seen::private_entries);
    checked_ = entry;
    checked_key_ = key;
}

// Replies.

/// Whether there is more to be seen in it than that it was cut to fit.
bool ClientChecks::read(std::uint32_t number, std::span<const std::uint8_t> reply) {
    Question& question = questions_[number];
    scene_.require(question.fate == Question::Fate::under_way, "a query gets at most one reply",
                   "a second one");
    question.fate = Question::Fate::answered;
    scene_.tally.add(Seen::replies);
    read_reply(scene_.ledger, reply, question.query.name, type_of(question.query.aspects), reading_);
    scene_.require(reading_.sound, "replies can be read", "cut short");
    std::size_t size = write_query(question.query, sent_);
    std::span<const std::uint8_t> sent(sent_.data(), size);
    auto asked = sent.subspan(header_octets, question_size(sent));
    scene_.require(reading_.id == question.query.id, "a reply has its query's ID", "another ID");
    scene_.require(std::ranges::equal(reading_.question, asked), "a reply repeats its question",
                   "another question");
    scene_.require(reading_.flags & flag_response, "a reply says so", "QR=0");
    scene_.require(reading_.has_opt == bool(question.query.aspects & edns), "an OPT for an OPT", "");
    scene_.say("question ", number, " (name ", question.query.name, ") gets rcode ", reading_.content.rcode,
               ", ", reading_.content.hosts.size(), " addresses",
               reading_.flags & flag_truncated ? ", truncated" : "");
    const Content& content = reading_.content;
    bool has_ipv4_alone = scene_.plan.dns64 && content.soa && content.rcode == rcode_noerror;
    question.is_content =
        !content.hosts.empty() || !content.texts.empty() || (has_ipv4_alone && rule_of(question) == 0);
    if (!(reading_.flags & flag_truncated)) return true;
    bool bare = reading_.content.hosts.empty() && !reading_.content.soa && reading_.content.texts.empty();
    bool may_be_cut =
        scene_.has(Danger::many_addresses) || scene_.has(Danger::chains) || scene_.has(Danger::signatures);
    scene_.require(bare && may_be_cut && reading_.content.rcode != 0xd,
                   "a truncated reply had too much to say", "");
    return false;
}

void ClientChecks::on_reply(unsigned index, std::uint32_t number, std::span<const std::uint8_t> reply,
                            bool woken) {
    if (!read(number, reply)) return;
    const Question& question = questions_[number];
    check_content(question, reading_.content);
    if (!woken) check_hit(workers_[index], question, reading_);
}

void ClientChecks::on_stream_reply(std::uint32_t number, std::span<const std::uint8_t> reply) {
    if (read(number, reply)) check_content(questions_[number], reading_.content);
}

void ClientChecks::check_content(const Question& question, const Content& content) {
    unsigned name = question.query.name;
    scene_.require(!content.flaw, "replies can be read", content.flaw);
    bool known_rcode =
        content.rcode == rcode_noerror || content.rcode == rcode_servfail || content.rcode == rcode_nxdomain;
    scene_.require(known_rcode, "replies have a sensible rcode", "another");
    unsigned rule = rule_of(question);
    scene_.require(content.nat64 == 0 || (rule > 0 && content.nat64 == scene_.nat64_of(rule)),
                   "synthesised addresses are of the client's own NAT64", "of another");
    for (std::uint32_t number : content.hosts) {
        const Host* host = scene_.ledger.find_host(number);
        bool fits = host && host->name == name &&
                    host->qtype == (content.nat64 ? type_a : type_of(question.query.aspects)) &&
                    host->chain == content.chain && !host->forged;
        if (!fits) scene_.fail("clients get addresses of their name", scene_.ledger.describe(number));
        check_age(name, host->made, host->server, "an address");
    }
    for (const auto* list : {&content.texts, &content.signatures}) {
        for (std::uint32_t number : *list) {
            const Said* said = scene_.ledger.find_said(number);
            bool fits = said && said->name == name && !said->forged;
            scene_.require(fits, "clients get what was said of their name", "a text or a signature");
            check_age(name, said->made, said->server, "a text or a signature");
        }
    }
    if (content.soa) {
        const Said* said = scene_.ledger.find_said(*content.soa);
        bool fits = said && said->name == name && said->rcode == content.rcode && !said->forged;
        scene_.require(fits, "a denial is of one reply", "SOA and rcode");
        check_age(name, said->made, said->server, "a denial");
    }
    bool sensible_ttls = content.least_ttl == ~0u || content.most_ttl <= longest_ttl ||
                         (content.least_ttl == stale_ttl && content.most_ttl == stale_ttl);
    scene_.require(sensible_ttls, "TTLs only fall", "a longer one than any upstream gave");
}

/// A hit says what readers could find at some time since the turn began, and had not expired then.
void ClientChecks::check_hit(const WorkerState& worker, const Question& question, const Reading& reading) {
    const Content& content = reading.content;
    bool is_refusal = content.rcode == rcode_servfail;
    if (is_refusal) return;
    std::uint64_t fingerprint = content.fingerprint();
    bool stale = content.most_ttl == stale_ttl || content.least_ttl == ~0u;
    const KeyState& key = entries_.state(entries_.key_of(question));
    for (const KeyState::Shown& shown : key.shown) {
        if (shown.fingerprint != fingerprint || shown.until < worker.turn_began) continue;
        if (shown.generation <= worker.floors[key.key.group]) continue;
        if (content.least_ttl == ~0u || (!stale && worker.turn_time < shown.expiry)) return;
        if (stale && may_be_stale(worker, key, shown)) return;
    }
    scene_.fail("a hit is what the table holds", "name " + std::to_string(question.query.name) + ", rcode " +
                                                     std::to_string(content.rcode) + ", " +
                                                     std::to_string(content.hosts.size()) + " addresses");
}

/// Whether a worker may answer with it though it has expired: at once if the operator wants that, but for a
/// chain of CNAMEs, which control looks behind; else after a Fetch that has not replaced it, or when a worker
/// had no credit.
bool ClientChecks::may_be_stale(const WorkerState& worker, const KeyState& key,
                                const KeyState::Shown& shown) const {
    bool is_at_once = scene_.plan.at_once && !shown.is_chained;
    bool is_asked_since = key.started > shown.generation || key.key.dns64() > 0; // which others are asked for
    bool is_crowded = worker.counters->get(Event::servfail_full) > 0;
    return worker.turn_time < shown.stale_until && (is_at_once || is_asked_since || is_crowded);
}

unsigned ClientChecks::rule_of(const Question& question) const {
    return scene_.rule_of(question.client, question.query.name, question.query.aspects);
}

/// Not older than an acknowledged flush, and not of an upstream that an acknowledged reload took away.
void ClientChecks::check_age(unsigned name, Moment made, unsigned server, const char* what) {
    for (const Flush& flush : flushes_) {
        if (made >= flush.asked || !flush.concerns(scene_, name)) continue;
        scene_.fail("nothing collected before a flush appears after it",
                    std::string(what) + " of moment " + std::to_string(made) +
                        ", the flush was asked for at " + std::to_string(flush.asked));
    }
    bool in_use = server == Host::several || Servers::group_of(server) == 1 ||
                  std::ranges::any_of(servers_, [&](unsigned mask) { return mask >> server & 1; });
    scene_.require(in_use, "nothing of an upstream appears after the reload without it", what);
}

void ClientChecks::on_asked(const Flush& flush) {
    if (flush.servers) servers_.push_back(flush.servers);
}

void ClientChecks::on_acknowledged(const Flush& flush) {
    // One that covers an earlier one takes its place: most runs then have few to compare with.
    std::erase_if(flushes_, [&](const Flush& f) {
        return flush.of == Flush::Of::everything || (f.of == flush.of && f.number == flush.number);
    });
    flushes_.push_back(flush);
    if (flush.servers) servers_.pop_front();
    for (std::uint32_t i = 0; i < entries_.keys(); ++i) {
        const KeyState& key = entries_.state(i);
        if (!key.entry || !flush.concerns(scene_, key.name)) continue;
        bool newer = entries_.generation_began(key.entry->version.generation) >= flush.asked;
        scene_.require(newer, "a flush is acknowledged when the table is rid of it", "an Entry of before");
    }
    for (const WorkerState& worker : workers_) {
        bool may_hold = worker.in_turn && worker.turn_began < flush.asked;
        scene_.require(!may_hold, "a flush is acknowledged after the workers",
                       "one is still in an older turn");
    }
}

// Memory.

void ClientChecks::on_free(const void* entry) {
    scene_.tally.add(Seen::entries_freed);
    for (WorkerState& worker : workers_) settle_wakes(worker);
    scene_.require(!named_.contains(entry), "an Entry outlives the Wakes that name it", "freed");
    scene_.require(!entries_.is_linked(entry), "an Entry outlives its place in the table", "freed");
    Moment unlinked = entries_.unlinked_at(entry);
    for (const WorkerState& worker : workers_) {
        bool may_hold = unlinked && worker.in_turn && worker.turn_began < unlinked;
        scene_.require(!may_hold, "an Entry outlives the turns that may hold it", "freed");
    }
    entries_.forget(entry);
    if (checked_ == entry) checked_ = nullptr;
}

void ClientChecks::check_end() const {
    scene_.require(waits() == 0, "every wait ends", "somebody still waits");
    for (const WorkerState& worker : workers_) {
        const dataplane::Counters& c = *worker.counters;
        bool all = c.get(Verdict::missed) == c.get(Event::wake_answered) + c.get(Event::wake_abandoned);
        scene_.require(all && worker.taken == c.get(Verdict::missed), "every Miss ends with a Wake",
                       "some did not");
        scene_.require(worker.worker->credits() == dataplane::limits::waiters, "every credit comes back",
                       "one is lost");
        scene_.require(worker.reader->outstanding() == 0, "every Wake is finished", "one is not");
    }
}

} // namespace millrace::simulation
