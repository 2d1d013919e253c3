"""bench/faults/run: what clients of Millrace, dnsdist, unbound and smartdns notice when upstream servers are in trouble.

Basic algorithm: each measurement starts four upstream servers and one resolver anew. A paced client asks popular names, which
expire and are asked for again, and new ones. After a warm-up in which everybody is healthy the fault begins, and the counting.
Every answer is checked. Resolvers take turns, the order of one round is the reverse of the next one's; figures are medians.
"""
