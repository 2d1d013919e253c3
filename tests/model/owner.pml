/* The owner, the control thread: Table, FetchTable, Flushes, Loop. */

inline swap_in(version) {
    if
    :: published -> retire(published)
    :: else
    fi;
    published = version
}

#define is_behind(version) (published && version <= published)
#if MUTATION == 5 /* publish does not look at the newest generation started */
#define is_superseded(version) (generation_of(version) <= group_floor || is_behind(version))
#elif MUTATION == 6 /* publish does not look at the floor */
#define is_superseded(version) (generation_of(version) < started || is_behind(version))
#else
#define is_superseded(version) (generation_of(version) <= group_floor || generation_of(version) < started || is_behind(version))
#endif

inline publish(version) {
    invariant(I5_a_live_slot_outlasts_rebuilds, shards[word.shard].has_slot && is_live && started == last_generation);
    invariant(I3_own_results_are_accepted, !is_superseded(version));
    invariant(I2_versions_never_go_back, version > newest);
    invariant(I4_nothing_flushed_is_published, flushing == idle || generation_of(version) > flushed);
    newest = version;
    swap_in(version)
}

inline evict() {
    swap_in(0)
}

inline insert(into) { /* Shard::insert */
    shards[into].has_slot = true;
#if REBUILDS > 0
    if
    :: shards[into].is_indexed = true
    :: skip /* its line is full, or leads to another key first */
    fi
#endif
}

inline move_slots() {
    if
#if MUTATION == 7 /* a rebuild drops a slot with a live Fetch */
    :: published -> insert(word.shard + 1)
#else
    :: published || is_live -> insert(word.shard + 1)
#endif
    :: else -> started = 0
    fi;
    shards[word.shard + 1].entry = published
}

inline rebuild() { /* and install */
#if MUTATION == 8 /* a new index is installed before the slots have moved */
    d_step { word.shard <= REBUILDS -> word.index = word.shard + 1 }
    atomic { move_slots() }
#else
    atomic {
        word.shard <= REBUILDS -> move_slots();
#if MUTATION != 16 /* a rebuild leaves the old index in its place */
        word.index = word.shard + 1
#endif
    }
#endif
    d_step {
        word.shard++;
#if MUTATION == 23 /* a rebuild frees the old shard at once */
        shards[word.shard - 1].is_freed = true
#else
        open_shards = open_shards | bit(word.shard - 1) /* retire */
#endif
    }
}

/* FetchTable */

#define version(revision) (2 * last_generation - 1 + (revision))
#define may_be_served(version) ((version) && generation_of(version) > group_floor)

inline start(waiters) { /* and Table::start */
    last_generation++;
    if
    :: !shards[word.shard].has_slot -> insert(word.shard)
    :: else
    fi;
    started = last_generation;
    is_live = true;
    fetch = asking;
    waiting = waiters
}

inline settle() { /* of a Fetch that is done; Table::finish */
    fetch = none;
    is_live = false;
    is_held = false
}

inline wake_all(entry_or_none) {
#if CREDITS > 0
    number = 0;
    do
    :: waiting & bit(number) ->
        waiting = waiting & ~bit(number);
        wake(number, entry_or_none);
        if
        :: is_held && private_entry == entry_or_none -> sent_to(number)
        :: else
        fi;
        number++
    :: !(waiting & bit(number)) && number < WORKERS * CREDITS -> number++
    :: number == WORKERS * CREDITS -> number = 0; break
    od
#else
    skip
#endif
}

inline ask(asked) {
    missed = missed & ~bit(asked);
    if
    :: may_be_served(published) -> wake(asked, published) /* answer_from_table */
    :: fetch == asking -> waiting = waiting | bit(asked)  /* join */
#ifdef RESERVE
    :: fetch == collecting && is_held -> /* answer_from_reserve */
        wake(asked, private_entry);
#if MUTATION != 9 /* the reserve is not told of a Wake */
        sent_to(asked)
#endif
#endif
    :: fetch != asking && last_generation < GENERATIONS -> settle(); start(bit(asked))
    :: fetch != asking && last_generation == GENERATIONS -> settle(); wake(asked, SERVFAIL) /* refuse */
    fi
}

inline on_answer() { /* a reply that decides: revision 0 */
    if
    :: publish(version(0))
#ifdef RESERVE
    :: !private_entry -> private_entry = version(0); is_held = true /* full */
#endif
    fi;
    wake_all(version(0));
    if
    :: fetch = collecting
    :: settle()
    fi
}

inline complete() { /* the last Exchange has ended: revision 1, if there was something to merge */
    if
    :: publish(version(1))
    :: skip
    fi;
    settle()
}

inline fail() {
    if
    :: may_be_served(published) -> wake_all(published) /* stale_entry */
    :: wake_all(SERVFAIL)
    fi;
    settle()
}

inline expire_waiters() { /* without a stale Entry */
#if MUTATION == 22 /* whoever is abandoned gets no Wake */
    waiting = 0
#else
    wake_all(0)
#endif
}

/* Replies of earlier generations. While the successor lives, the table alone must refuse them; afterwards, on_answer finds no
 * Fetch of their FetchId. Here too: invariants that no single step concerns. */
#if MUTATION == 10 /* a late reply finds a Fetch that has ended */
#define is_late(version) (generation_of(version) < last_generation)
#else
#define is_late(version) (fetch != none && generation_of(version) < last_generation)
#endif

inline look_around() {
    i = 1;
    do
    :: i < SERVFAIL ->
        invariant(I2_superseded_never_publishes, !is_late(i) || is_superseded(i));
#ifdef FLUSH_ALL
        invariant(I4_nothing_flushed_is_published, generation_of(i) > flushed || is_superseded(i));
#endif
        i++
    :: else -> break
    od;
    i = 0;
#if CREDITS > 0
    n = 0;
    do
    :: n < WORKERS ->
        invariant(I8_each_credit_comes_back_once, !(missed & waiting) && !(missed & restarts) && !(waiting & restarts));
        invariant(I8_each_credit_comes_back_once, used[n] ==
            ((((missed | waiting | restarts) & waiters_of(n)) >> (n * CREDITS)) | in_ring[n]));
        invariant(I8_no_wake_is_slept_through, !polling[n] || nudged[n] || !in_ring[n]);
        n++
    :: else -> break
    od;
    n = 0
#endif
}

inline restart_some() {
    if
    :: fetch == asking -> waiting = waiting | restarts; restarts = 0
    :: fetch != asking && last_generation < GENERATIONS -> settle(); start(restarts); restarts = 0
    :: fetch != asking && last_generation == GENERATIONS -> settle(); waiting = restarts; restarts = 0; wake_all(SERVFAIL)
    fi
}

/* Flushes */

#if MUTATION == 11 /* a flush is acknowledged before the Wakes are finished */
#define is_over (periods[of_flush].unseen == 0)
#elif MUTATION == 12 /* a flush is acknowledged at once */
#define is_over true
#else
#define is_over passed(of_flush)
#endif

inline flush_name_or_all() { /* and FetchTable::supersede */
    flushed = last_generation;
#ifdef FLUSH_ALL
    group_floor = flushed; /* raise_floor */
#endif
#if MUTATION != 13 /* a flush leaves live Fetches alone */
    restarts = restarts | waiting;
    waiting = 0;
    settle();
#endif
    flushing = begun
}

inline flush_shard() { /* Table::flush */
    if
    :: published && generation_of(published) <= flushed -> swap_in(0)
    :: else
    fi
}

inline flushes_tick() {
    if
#if MUTATION == 14 /* a flush's period begins before the last slot is empty */
    :: d_step { flushing == begun -> begin(of_flush); flushing = emptied }
    :: d_step { flushing == emptied -> flush_shard(); flushing = acknowledging }
#else
    :: d_step { flushing == begun -> flush_shard(); flushing = emptied }
    :: d_step { flushing == emptied -> begin(of_flush); flushing = acknowledging }
#endif
    :: flushing == acknowledging && is_over -> flushing = acknowledged
#ifdef LIVENESS
    :: flushing == acknowledging && !is_over
    :: flushing == idle || flushing == acknowledged
#endif
    fi
}

active proctype owner() { /* Loop::tick */
    byte number;
    do
    :: one_step {
        if
#if CREDITS > 0
        :: missed & 1 -> ask(0)
        :: fetch == asking && waiting -> expire_waiters()
#endif
#if WORKERS * CREDITS > 1
        :: missed & 2 -> ask(1)
#endif
#if WORKERS * CREDITS > 2
        :: missed & 4 -> ask(2)
        :: missed & 8 -> ask(3)
#endif
        :: last_generation < GENERATIONS -> settle(); start(waiting) /* refresh, trace; whoever waits moves on */
        :: fetch == asking -> on_answer()
        :: fetch == asking -> fail()
        :: fetch == collecting -> complete()
        :: published -> d_step { evict() }
#ifdef FLUSHES
        :: flushing == idle && last_generation -> d_step { flush_name_or_all() }
        :: restarts -> restart_some()
#endif
#ifdef LIVENESS
        :: skip
        fi;
        flushes_tick();
        d_step { reclaim() }
#else
#ifdef FLUSHES
        :: flushes_tick()
#endif
        :: d_step { reclaim() }
        :: d_step { look_around() }
        fi
#endif
    }
#if REBUILDS > 0
    :: rebuild()
#endif
    od
}
