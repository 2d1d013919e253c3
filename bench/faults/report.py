"""What a run has found: medians over the rounds as a table, and where Millrace is not best or equal."""

import statistics
import textwrap

LIMITS = {"answered": (0.1, 0), "wrong": (0.05, 0), "p50": (0.3, 0.1), "p99": (2, 0.1), "longest": (20, 0.1)}
WORDS = {"answered": "%", "wrong": "%", "p50": "ms", "p99": "ms", "longest": "ms"}
MORE_IS_BETTER = {"answered"}

NOTES = """\
answered: right within 5 s; where somebody forges, SERVFAIL for a bogus name is right. wrong: another address. failed: another \
rcode, such as SERVFAIL. silent: nothing within 5 s; nobody asked again. All are percent of what was asked, by the client alone. \
p50, p99 and longest: milliseconds from when the question was due, over all that were asked; ">" where so many, or one, had no \
right answer. asked: questions that the upstream servers got for each one that was asked. Medians over the rounds. Equal is what \
differs by less than {limits}: a millisecond may be the scheduler's."""
COLUMNS = 126


def summarise(samples):
    """A dict for each (scenario, server, kind of name)."""
    groups = {}
    for sample in samples:
        for kind, outcome in sample["by_kind"].items():
            groups.setdefault((sample["scenario"], sample["server"], kind), []).append(
                {**figures(outcome), "upstream_questions": sample["upstream_questions"]})
    return [{"scenario": scenario, "server": server, "names": kind, "rounds": len(group),
             **{key: median([found[key] for found in group]) for key in group[0]},
             "lowest": {key: least([found[key] for found in group]) for key in LIMITS},
             "highest": {key: most([found[key] for found in group]) for key in LIMITS}}
            for (scenario, server, kind), group in groups.items()]


def figures(outcome):
    asked = sum(outcome[key] for key in ("answered", "wrong", "failed", "lost"))
    shares = {key: 100 * outcome[source] / asked for key, source in
              (("answered", "answered"), ("wrong", "wrong"), ("failed", "failed"), ("silent", "lost"))}
    latency = outcome["latency_ms"]
    return {"asked": asked, **shares, **latency, "longest": latency["longest"] if outcome["answered"] == asked else None,
            "longest_answered": latency["longest"]}


def median(values):
    """None is more than any number."""
    ordered = sorted(values, key=rank)
    middle = ordered[(len(ordered) - 1) // 2:len(ordered) // 2 + 1]
    return None if None in middle else statistics.mean(middle)


def rank(value):
    return float("inf") if value is None else value


def least(values):
    return min(values, key=rank)


def most(values):
    return max(values, key=rank)


def behind(rows):
    """Every figure in which another server is better than Millrace by more than the limits: best or equal is not said."""
    for row in rows:
        if row["server"] != "millrace":
            continue
        others = [r for r in rows if r["server"] != "millrace" and (r["scenario"], r["names"]) == (row["scenario"], row["names"])]
        for key, (absolute, share) in LIMITS.items():
            sign = -1 if key in MORE_IS_BETTER else 1
            best = min(others, key=lambda r, key=key, sign=sign: sign * rank(r[key]), default=None)
            if best is None or best[key] is None:
                continue
            own = rank(row[key])
            if sign * (own - best[key]) > max(absolute, share * best[key]):
                yield {"scenario": row["scenario"], "names": row["names"], "figure": key, "millrace": row[key],
                       "best": best["server"], "its": best[key]}


def table(samples, scenarios):
    rows = summarise(samples)
    lines = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        lines.append(f"{scenario}: {scenarios[scenario].text}")
        lines.append(f"  {'names':8} {'server':10} {'answered':>9} {'wrong':>7} {'failed':>7} {'silent':>7}  "
                     f"{'p50':>8} {'p99':>8} {'longest':>8}  {'asked':>6}")
        for row in sorted((r for r in rows if r["scenario"] == scenario), key=lambda r: r["names"], reverse=True):
            lines.append(f"  {row['names']:8} {row['server']:10} " + " ".join(
                [f"{row['answered']:9.2f}", *(f"{row[key]:7.2f}" for key in ("wrong", "failed", "silent"))]) + "  " + " ".join(
                f"{milliseconds(row[key]):>8}" for key in ("p50", "p99", "longest")) + f"  {row['upstream_questions']:6.2f}")
        lines.append("")
    worse = list(behind(rows))
    lines.append("Millrace is not best or equal in:" if worse else "Millrace is best or equal in every row.")
    lines += [f"  {w['scenario']}, {w['names']} names: {w['figure']} {form(w, 'millrace')}; {w['best']} {form(w, 'its')}"
              for w in worse]
    limits = ", ".join(f"{absolute:g} {WORDS[key]}{f' or {100 * share:g} %' if share else ''} ({key})"
                       for key, (absolute, share) in LIMITS.items())
    return "\n".join([*lines, "", *textwrap.wrap(NOTES.format(limits=limits), COLUMNS)])


def form(found, whose):
    return f"{found[whose]:.2f} %" if WORDS[found["figure"]] == "%" else f"{milliseconds(found[whose])} ms"


def milliseconds(value):
    return ">" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.2f}"
