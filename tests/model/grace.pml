/* Grace, Reserve and Handoff, as the owner uses them. */

inline begin(period) {
    periods[period].unseen = online;
    i = 0;
    do
    :: i < WORKERS -> periods[period].owed[i] = outstanding[i]; i++
    :: else -> break
    od;
    i = 0
}

#if WORKERS == 1
#define has_finished(period) (periods[period].owed[0] == 0)
#else
#define has_finished(period) (periods[period].owed[0] == 0 && periods[period].owed[1] == 0)
#endif
#if MUTATION == 1 /* Entries are freed before the wake rings are consumed */
#define passed(period) (periods[period].unseen == 0)
#else
#define passed(period) (periods[period].unseen == 0 && has_finished(period))
#endif
#if MUTATION == 2 /* Entries and shards are freed without a grace period */
#define may_free true
#else
#define may_free passed(of_grace)
#endif
#if MUTATION == 3 /* what is retired joins the batch whose period has begun */
#define retire(version) waiting_entries = waiting_entries | bit(version)
#else
#define retire(version) open_entries = open_entries | bit(version)
#endif

inline free_batch() {
    freed = freed | waiting_entries;
    waiting_entries = 0;
    i = 1;
    do
    :: i < REBUILDS + 2 ->
        if
        :: waiting_shards & bit(i) -> shards[i].is_freed = true; shards[i].has_slot = false;
            shards[i].is_indexed = false; shards[i].entry = 0
        :: else
        fi;
        i++
    :: else -> break
    od;
    waiting_shards = 0
}

inline reclaim() { /* Grace::reclaim, Reserve::reclaim */
    if
    :: (waiting_entries || waiting_shards) && may_free -> free_batch()
    :: else
    fi;
    if
#if MUTATION == 4 /* each tick begins the grace period anew */
    :: open_entries || open_shards || waiting_entries || waiting_shards ->
        waiting_entries = waiting_entries | open_entries;
        waiting_shards = waiting_shards | open_shards;
#else
    :: (open_entries || open_shards) && !waiting_entries && !waiting_shards ->
        waiting_entries = open_entries;
        waiting_shards = open_shards;
#endif
        open_entries = 0;
        open_shards = 0;
        begin(of_grace)
    :: else
    fi
#ifdef RESERVE
    ;
    if
    :: private_entry && !is_held && has_finished(of_reserve) -> freed = freed | bit(private_entry); private_entry = 0
    :: else
    fi
#endif
}

inline sent_to(number) { /* Reserve::Hold */
    periods[of_reserve].owed[(number) / CREDITS] = outstanding[(number) / CREDITS]
}

#ifdef NAPS
#define one_step /* a Wake is put into the ring, then the worker is nudged: two steps */
#else
#define one_step atomic
#endif

inline wake(number, version) { /* Workers::wake */
    d_step {
        n = (number) / CREDITS;
        invariant(I8_a_wake_finds_a_place, nfull(wakes[n]));
        invariant(I6_no_wake_names_a_retired_entry, !((open_entries | waiting_entries | freed) & bit(version)));
        outstanding[n]++;
        in_ring[n] = in_ring[n] | bit((number) % CREDITS);
        wakes[n]!version, (number) % CREDITS
    }
#ifdef NAPS
    d_step { /* nudge */
        n = (number) / CREDITS;
        nudged[n] = nudged[n] || asleep[n]
    }
#endif
}
