"""What a run has found: medians with their spread, ratios with their interval, as a table."""

import random
import statistics

from .measure import short
from .peers import PEERS

FULL = 0.95  # of a core is what a server that polls has, when nobody disturbs it

NOTES = """\
Every figure is a median over the rounds, [lowest to highest]. s/M: seconds of the server's CPU per million answers, all of
its threads (millraced's main one is control); for what polls (*) that is the whole time, waiting included. Latencies in
microseconds at half of the load reached at full speed; the generator's own. On veth and on loopback the kernel's copying
dominates, and what it does in interrupts is charged to whom it interrupts: these figures say little about a port without a
kernel, and only rows of one table can be compared."""


def summarise(samples):
    """A dict for each (scenario, load, client, server) that was measured at full speed, with the latencies at half joined."""
    groups = {}
    for sample in samples:
        if "answers_per_second" in sample:
            groups.setdefault(tuple(sample[key] for key in ("scenario", "load", "client", "server")), []).append(sample)
    rows = []
    hz = next((sample["tsc_hz"] for sample in samples if "tsc_hz" in sample), 0)
    for (scenario, load, client, server), group in groups.items():
        if client == "dns_load at half":
            continue
        half = groups.get((scenario, load, "dns_load at half", server), [])
        rows.append({
            "scenario": scenario, "load": load, "client": client, "server": server, "rounds": len(group),
            "polls": group[0]["polls"], "checked": group[0]["checked"],
            **{key: spread([s[key] for s in group if key in s and s[key] is not None])
               for key in ("answers_per_second", "core_seconds_per_million", "busy_cycles_per_packet", "octets_per_name",
                           "octets_per_name_over_bare")},
            "cycles_per_answer": spread([s["core_seconds_per_million"] * hz / 1e6 for s in group
                                         if "core_seconds_per_million" in s]),
            "latency_us_at_half": {share: spread([s["latency_us"][share] for s in half]) for share in ("p50", "p99", "p99.9")},
            "core_share_by_thread": threads(group),
            "answered": sum(s["answered"] for s in group + half),
            "wrong": sum(s["wrong"] for s in group + half) if "wrong" in group[0] else None,
            "lost": sum(s["lost"] for s in group + half),
            "rcodes": sum_codes(group),
        })
    return rows


def spread(values):
    if not values:
        return None
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def threads(group):
    """The share of a core that each thread took, over the rounds."""
    seconds = sum(s["seconds"] for s in group)
    names = sorted({name for s in group for name in s["core_seconds"]})
    return {name: sum(s["core_seconds"].get(name, 0) for s in group) / seconds for name in names if seconds}


def sum_codes(group):
    codes = {}
    for sample in group:
        for code, count in sample.get("rcodes", {}).items():
            codes[code] = codes.get(code, 0) + count
    return codes


def ratios(samples):
    """Millrace's rate over that of an echo, or of Knot DNS."""
    return [found for heading, by in by_turn(samples, "answers_per_second").items()
            for other in ("dns_echo", "socket_echo", "knot") if (found := ratio(heading, by, other))]


def costs(samples):
    """Millrace's core-seconds over those of the resolver that takes least; with misses over Unbound's and dnsdist's too."""
    found = []
    for heading, by in by_turn(samples, "core_seconds_per_million").items():
        medians = {name: statistics.median(value for (server, _), value in by.items() if server == name)
                   for name in {server for server, _ in by} if name in PEERS}
        chosen = sorted(medians, key=medians.get)[:1] + [name for name in ("unbound", "dnsdist") if heading[0] == "misses"]
        found += [r for other in dict.fromkeys(chosen) if (r := ratio(heading, by, other))]
    return found


def by_turn(samples, key):
    """For each (scenario, load, client) at full speed a dict by (server, round)."""
    found = {}
    for s in samples:
        if key in s and s["client"] != "dns_load at half" and not s["load"].startswith("fill"):
            found.setdefault((s["scenario"], s["load"], s["client"]), {})[s["server"], s["round"]] = s[key]
    return found


def ratio(heading, by, other, ours="millrace"):
    """Round by round, with a bootstrapped interval of the median. None without a pair."""
    pairs = [by[ours, n] / by[other, n] for n in sorted({n for _, n in by}) if (ours, n) in by and by.get((other, n))]
    if not pairs:
        return None
    low, high = bootstrap(pairs)
    return {**dict(zip(("scenario", "load", "client"), heading, strict=True)), "over": other, "pairs": len(pairs),
            "median": statistics.median(pairs), "low": low, "high": high}


def bootstrap(values, times=5000):
    """95 % of the medians of samples drawn from the values; always the same draws."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(times))
    return medians[int(0.025 * times)], medians[int(0.975 * times)]


def table(samples):
    rows, lines = summarise(samples), []
    for heading in dict.fromkeys((r["scenario"], r["load"], r["client"]) for r in rows):
        chosen = [r for r in rows if (r["scenario"], r["load"], r["client"]) == heading]
        lines += ["", f"{heading[0]}: {heading[1]}, {heading[2]}, rounds: {max(r['rounds'] for r in chosen)}"]
        if heading[1].startswith("fill"):
            lines += [f"  {r['server']:16}{number(r['octets_per_name'], ',.0f'):>24} octets a name grown, "
                      f"{number(r['octets_per_name_over_bare'], ',.0f')} more than with room for few names, "
                      f"{number(r['answers_per_second'], ',.0f')} names/s, wrong {r['wrong']}" for r in chosen]
            continue
        lines.append(f"  {'':16}{'answers/s':>32}{'s/M':>24}{'cycles':>9}{'p50':>9}{'p99':>9}{'p99.9':>9}{'wrong':>7}{'lost':>8}")
        for r in sorted(chosen, key=lambda r: -r["answers_per_second"]["median"]):
            latency = [number(r["latency_us_at_half"][share], ",.0f", False) for share in ("p50", "p99", "p99.9")]
            lines.append(f"  {r['server'] + '*' * r['polls']:16}{number(r['answers_per_second'], ',.0f'):>32}"
                         f"{number(r['core_seconds_per_million'], '.2f'):>24}{number(r['cycles_per_answer'], ',.0f', False):>9}"
                         + "".join(f"{text:>9}" for text in latency)
                         + f"{'?' if r['wrong'] is None else r['wrong']:>7}{r['lost']:>8}")
        lines += [f"  {line}" for line in details(chosen)]
    return "\n".join([*lines, "", *ratio_lines(samples), "", *ring_lines(samples), NOTES])


def details(rows):
    """What does not fit into columns: threads, rcodes, who has checked what."""
    for r in rows:
        share = sum(r["core_share_by_thread"].values())
        if r["polls"] and share < FULL:
            yield f"{r['server']}: DISTURBED: it polls, but had {share:.2f} of its core: something else ran there"
        if len(r["core_share_by_thread"]) > 1 or r["busy_cycles_per_packet"]:
            busy = r["busy_cycles_per_packet"]
            yield (f"{r['server']}: of a core, " + ", ".join(f"{name} {share:.2f}" for name, share in r["core_share_by_thread"].items())
                   + (f"; its own count, {busy['median']:,.0f} cycles a packet while busy" if busy else ""))
    strange = {r["server"]: r["rcodes"] for r in rows if set(r["rcodes"]) - {"NOERROR", "NXDOMAIN"}}
    if strange:
        yield f"rcodes: {strange}"
    for checked in dict.fromkeys(r["checked"] for r in rows):
        yield f"checked, {checked}: {', '.join(r['server'] for r in rows if r['checked'] == checked)}"


def number(found, form, with_spread=True):
    if found is None:
        return "-"
    middle = format(found["median"], form)
    if not with_spread or found["lowest"] == found["highest"]:
        return middle
    return f"{middle} [{format(found['lowest'], form)} to {format(found['highest'], form)}]"


def ratio_lines(samples):
    for what, r in [*(("answers/s", r) for r in ratios(samples)), *(("s/M", r) for r in costs(samples))]:
        yield (f"{what}, millrace / {r['over']}, {r['scenario']}, {r['load']}, {r['client']}: {r['median']:.3f} "
               f"[{r['low']:.3f} to {r['high']:.3f}, 95 %] of {r['pairs']} pair{'s' * (r['pairs'] > 1)}")


def implied(samples):
    """The rate over memif that the echo's cycles there plus a hit's on net_ring (its row less the echo's) would give, and how
    much of it Millrace reached. Needs both scenarios in one run."""
    ring = {name: statistics.median(s["counters"]["cycles_per_packet"] for s in samples
                                    if s["scenario"] == "ring" and s["load"] == name)
            for name in {s["load"] for s in samples if s["scenario"] == "ring"}}
    cycles = {(r["load"], r["server"]): r["cycles_per_answer"]["median"] for r in summarise(samples)
              if r["scenario"] == "memif" and r["cycles_per_answer"]}
    for name, row in ring.items():
        kind, _, names = name.partition("/")
        load = f"hits {short(int(names))} {kind.removeprefix('hits_')}" if names else ""
        if (load, "millrace") in cycles and (load, "dns_echo") in cycles:
            expected = cycles[load, "dns_echo"] + row - ring["echo"]
            yield {"load": load, "cycles": expected, "reached": expected / cycles[load, "millrace"]}


def ring_lines(samples):
    names = dict.fromkeys(s["load"] for s in samples if s["scenario"] == "ring")
    for name in names:
        group = [s["counters"] for s in samples if s["scenario"] == "ring" and s["load"] == name]
        keys = [key for key in group[0] if key.startswith("cycles")]
        yield f"ring: {name}: " + ", ".join(f"{key} {number(spread([c[key] for c in group]), ',.1f')}" for key in keys)
    for r in implied(samples):
        yield f"memif: {r['load']}: {r['reached']:.2f} of the rate that {r['cycles']:,.0f} cycles imply (the echo's there + a hit's on net_ring)"
    if names:
        yield ""
