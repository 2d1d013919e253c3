"""The mutations: mistakes that somebody could make, each of which would let one query's result harm another, or lose one.

`old` stands in `file` exactly once and becomes `new`; `danger` is what would happen; `tests` are those expected to notice,
as program:filter. run tries these first, so that a wrong guess costs time, not the catch.

Not here, because no test on one thread can see them: `finished` counted before the replies are written, and weaker memory
orders. The first is the model's (tests/model), the last ThreadSanitizer's.
"""

import clients
import devices
import edits
import flushes
import hand_over
import limits
import memory
import metrics
import next_hops
import publication
import servers
import service
import store
import traffic
import upstreams
import via

MUTATIONS = [*publication.MUTATIONS, *flushes.MUTATIONS, *upstreams.MUTATIONS, *servers.MUTATIONS, *memory.MUTATIONS,
             *clients.MUTATIONS, *limits.MUTATIONS, *devices.MUTATIONS, *next_hops.MUTATIONS, *store.MUTATIONS,
             *edits.MUTATIONS, *traffic.MUTATIONS, *service.MUTATIONS,
             *metrics.MUTATIONS, *hand_over.MUTATIONS, *via.MUTATIONS]
