/* A worker, with its side of Table, Grace and Handoff. */

inline quiescent() { /* Reader::quiescent */
    periods[of_grace].unseen = periods[of_grace].unseen & ~bit(w);
    periods[of_flush].unseen = periods[of_flush].unseen & ~bit(w)
}

#define less(a, b) ((a) > (b) -> (a) - (b) : 0)
inline finish() { /* Reader::finish */
    outstanding[w] = outstanding[w] - count;
    periods[of_grace].owed[w] = less(periods[of_grace].owed[w], count);
    periods[of_flush].owed[w] = less(periods[of_flush].owed[w], count);
    periods[of_reserve].owed[w] = less(periods[of_reserve].owed[w], count);
    count = 0
}

inline send() { /* Port::send: until here the Entries of the burst are read */
    invariant(I6_no_freed_entry_is_read, !(replies & freed));
    invariant(I4_nothing_flushed_is_sent, flushing != acknowledged || !(replies & up_to(flushed)));
    replies = 0
}

inline answer_wake() {
    wakes[w]?entry, waiter;
    invariant(I8_each_credit_comes_back_once, used[w] & bit(waiter));
    used[w] = used[w] & ~bit(waiter);
    in_ring[w] = in_ring[w] & ~bit(waiter);
    replies = replies | (entry -> bit(entry) : 0);
    count++;
    entry = 0;
    waiter = 0
}

inline answer_wakes() {
    atomic {
        nempty(wakes[w]) -> answer_wake();
        do
#if CREDITS > 1
        :: nempty(wakes[w]) -> answer_wake()
#endif
        :: break /* a burst's worth */
        od;
#if MUTATION == 15 /* Wakes count as finished when they are taken */
        finish()
#endif
    }
    d_step {
        send();
#if MUTATION != 15
        finish()
#endif
    }
}

/* What was published when the lookup began, and still is. An Entry never comes twice: it was so all the while. */
#define is_due(version) (published && published == least && published != (version))

inline load_floor() { /* once per burst */
#ifdef FLUSH_ALL
    floor_ = group_floor
#else
    skip
#endif
}

inline look_ahead() { /* Table::look_ahead: the index's pointer, then the key's line in it */
    d_step { node = word.index; least = newest /* for the invariants: what this lookup must find, or newer, or nothing */ }
    atomic {
        load_floor(); /* commutes: what a line says of a key that is there does not change */
        invariant(I6_no_freed_shard_is_read, !shards[node].is_freed);
        if
        :: shards[node].is_indexed
#if MUTATION == 24 /* what its line has no room for is taken for absent */
        :: !shards[node].is_indexed ->
#else
        :: !shards[node].is_indexed -> node = 0; is_in_map = true
        :: !shards[node].has_slot -> /* and the line has room */
#endif
            invariant(I2_what_stays_published_is_found, !is_due(0));
            node = 0;
            least = 0
        fi
    }
}

inline locate() { /* Table::locate, as far as to the map */
    if
    :: is_in_map -> node = word.shard; is_in_map = false
    :: else
    fi
}

inline hand_over() {
    do
    :: used[w] & bit(waiter) -> waiter++
    :: else -> break
    od;
    used[w] = used[w] | bit(waiter);
    missed = missed | bit(w * CREDITS + waiter);
    waiter = 0
}

inline answer_or_miss() { /* map.find, look_up; the steps after the slot's load are the worker's own */
    invariant(I6_no_freed_shard_is_read, !shards[node].is_freed);
    entry = shards[node].entry;
    invariant(I2_versions_never_go_back, !entry || entry >= least);
    invariant(I2_what_stays_published_is_found, !node || !is_due(entry));
    least = 0;
#if MUTATION != 17
    node = 0;
#endif
    if
#if MUTATION == 18 /* a worker does not look at the floor */
    :: entry ->
#else
    :: entry && generation_of(entry) > floor_ ->
#endif
        invariant(I4_nothing_under_the_floor_is_sent, generation_of(entry) > floor_);
        replies = replies | bit(entry)
#if CREDITS > 0
    :: used[w] != bit(CREDITS) - 1 -> hand_over() /* none, or it has expired */
#endif
    :: skip /* SERVFAIL: no credit, or a full ring */
    fi;
    entry = 0
}

inline look_up() {
#if REBUILDS > 0
#if MUTATION == 17 /* a worker keeps a node from one burst to the next */
    if
    :: node
    :: !node -> look_ahead()
    fi;
#else
    look_ahead();
#endif
    locate();
#else
    d_step { load_floor(); node = 1 /* there is no other */ }
#endif
    atomic { answer_or_miss() }
}

#if MUTATION == 19 /* a worker looks at its ring, then says that it sleeps */
#define before_looking skip
#define after_looking asleep[w] = true
#else
#define before_looking asleep[w] = true
#define after_looking skip
#endif

inline sleep() { /* with what Worker::run does around it; it wakes up by a nudge, a packet, or after a while */
    d_step { online = online & ~bit(w); quiescent() }
    before_looking;
    if
    :: empty(wakes[w]) -> after_looking; polling[w] = true; polling[w] = false
    :: nempty(wakes[w])
    fi;
    d_step {
        asleep[w] = false;
        nudged[w] = false;
#if MUTATION != 20 /* a worker does not come online after a nap */
        online = online | bit(w)
#endif
    }
}

proctype worker(byte w) { /* Worker::run. One turn is any of these: the others of a turn commute with it, or find nothing */
    byte replies, count, entry, waiter;   /* of a burst; replies is a set of versions */
    byte node, least, floor_;             /* of a lookup; a node is its shard */
    bool is_in_map;
    do
#if CREDITS > 0
    :: answer_wakes()
#endif
    ::
#ifdef LIVENESS
        empty(wakes[w]) -> /* Wakes come first: here it matters */
#endif
        look_up();
#if MUTATION == 21 /* a worker is quiescent before its burst is sent */
        d_step { quiescent() }
#endif
        d_step { send(); quiescent(); floor_ = 0 }
    :: d_step { (periods[of_grace].unseen | periods[of_flush].unseen) & bit(w) -> quiescent() }
#ifdef NAPS
    :: sleep()
#endif
    od
}
