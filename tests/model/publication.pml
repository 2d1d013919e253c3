/* The publication protocol: one owner (the control thread), and workers that share the table with it without a lock.
 * tests/model/run checks it with spin, in several configurations, and with the mutations that stand here.
 *
 * Transitions bear the names of the functions that they stand for, of cache/{table,upkeep,grace,reserve}.cpp,
 * dataplane/{worker,handoff}.cpp, control/fetch/{table,flush}.cpp and control/daemon/loop.cpp. Each load or store that both
 * sides see is a step of its own, unless it commutes with its neighbours. A worker may stall at any step, for any time.
 *
 * Bounds: one key in one shard; GENERATIONS Fetches, of revisions 0 and 1; REBUILDS rebuilds; one flush; WORKERS workers
 * with CREDITS waiters each, and one lookup in a burst; room for one private Entry in the reserve.
 *
 * Where the model is simpler than the code, and why it loses nothing:
 * - Every step is sequentially consistent. Memory orderings are for ThreadSanitizer and the stress of threads.
 * - An Entry is its version, 2 * generation - 1 + revision, and never comes twice; likewise a shard. What is freed stays so, hence
 *   it is enough to look when a worker may read it for the last time.
 * - An Entry may have expired whenever it is looked at. Eviction, a rebuild, full memory may come at any time.
 * - The owner's duties come in any order, not in that of Loop::tick.
 * - The counters `sent` and `finished` grow for ever; their differences are enough: the Wakes that a reader has outstanding,
 *   and those of them that a Period waits for. A token of rte_rcu_qsbr is the set of readers not yet seen.
 * - A miss ring is a set. Of a wake ring the order matters.
 * - Other keys are there by what they do to this one's line of the index: its word may be missing there, for want of room or
 *   behind the word of a key with the same bits. Without rebuilds the index changes nothing, and is not there.
 * Left out: more keys and shards, a shard's first key, a table without a free slot, ranking, TCP, shutdown.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CREDITS
#define CREDITS 1
#endif
#ifndef GENERATIONS
#define GENERATIONS 2
#endif
#ifndef REBUILDS
#define REBUILDS 0
#endif
#ifndef MUTATION
#define MUTATION 0
#endif
/* FLUSH_NAME, FLUSH_ALL: there is one. NAPS: workers sleep. RESERVE: memory may be full. LIVENESS: for the formula at the end,
 * Wakes come first in a turn, and each round of the owner reclaims. */
#if defined(FLUSH_NAME) || defined(FLUSH_ALL)
#define FLUSHES
#endif

#define bit(n) (1 << (n))
#define SERVFAIL (2 * GENERATIONS + 1) /* the static Entry */
#define generation_of(version) (((version) + 1) / 2)
#define up_to(generation) (bit(2 * (generation) + 1) - 2) /* the set of their versions */
#define waiters_of(worker) ((bit(CREDITS) - 1) << ((worker) * CREDITS))

/* Invariants, by their numbers in the design. pan prints the name of the one that is violated. */
#define invariant(name, condition) assert(name || (condition))
hidden byte I2_versions_never_go_back, I2_superseded_never_publishes, I2_what_stays_published_is_found;
hidden byte I3_own_results_are_accepted;
hidden byte I4_nothing_flushed_is_published, I4_nothing_flushed_is_sent, I4_nothing_under_the_floor_is_sent;
hidden byte I5_a_live_slot_outlasts_rebuilds, I6_no_freed_entry_is_read, I6_no_freed_shard_is_read;
hidden byte I6_no_wake_names_a_retired_entry, I8_a_wake_finds_a_place, I8_each_credit_comes_back_once, I8_no_wake_is_slept_through;

/* Table. A slot's Entry, a line of the index, the ShardWord and the floor are what workers read; 0 is a null pointer. */
typedef Shard { byte entry; bool has_slot; bool is_indexed; bool is_freed };
Shard shards[REBUILDS + 2]; /* the first is none */
typedef ShardWord { byte index = 1; byte shard = 1 };
ShardWord word;
byte group_floor, freed; /* freed: a set of versions */
#define published shards[word.shard].entry
byte started; /* Slot::started */
bool is_live; /* Slot::is_live */
byte newest;  /* highest version ever published, for the invariants */

/* FetchTable: the live Fetch is of the last generation. Sets of waiters: in a miss ring, of the Fetch, for its successor. */
mtype = { none, asking, collecting };
mtype fetch = none;
byte last_generation, missed, waiting, restarts;
byte private_entry; /* Reserve */
bool is_held;       /* by the Fetch */

mtype = { idle, begun, emptied, acknowledging, acknowledged };
mtype flushing = idle;
byte flushed; /* Flushes::Job::last */

/* Grace */
typedef Period { byte unseen; byte owed[WORKERS] };
#define of_grace 0
#define of_flush 1
#define of_reserve 2 /* the marks of the private Entry: Wakes alone */
Period periods[3];
byte online = bit(WORKERS) - 1, outstanding[WORKERS];
byte open_entries, open_shards, waiting_entries, waiting_shards;

/* Handoff */
chan wakes[WORKERS] = [CREDITS] of { byte /* version, or 0: abandon */, byte /* waiter */ };
byte used[WORKERS], in_ring[WORKERS]; /* waiters without their credit; those of them whose Wake is in the ring */
bool asleep[WORKERS], polling[WORKERS], nudged[WORKERS];

hidden byte i, n; /* within one step */

#include "grace.pml"
#include "owner.pml"
#include "worker.pml"

init {
    atomic {
        run worker(0);
#if WORKERS > 1
        run worker(1)
#endif
    }
}

#ifdef LIVENESS
#define is_limbo_empty (!open_entries && !open_shards && !waiting_entries && !waiting_shards && (!private_entry || is_held))
#define is_flush_over (flushing == idle || flushing == acknowledged)
ltl I6_all_is_freed_and_I4_a_flush_ends { <>[] (is_limbo_empty && is_flush_over) }
#endif
