"""What the quickstart asks, and how it tells a person what came back."""

import re
import time

from . import servers
from .children import LabError, run

SECONDS = 4  # of load

SHOWN = {"status": r"status: (\w+)", "AD": r"flags:[^;]*\b(ad)\b", "address": r"\sA\s+([\d.]+)$", "error": r"EDE: (.*)"}

# Below the lab's root: what is asked, and the status and the AD bit that the answer must have.
RECURSIVE = (
    (f"www.{servers.DOMAIN}", "NOERROR", True, "signed, from the root on"),
    (f"www.{servers.DOMAIN}", "NOERROR", True, "the same, from the cache"),
    (f"nobody.{servers.DOMAIN}", "NXDOMAIN", True, "that there is no such name is signed too"),
    (f"bogus.{servers.DOMAIN}", "SERVFAIL", False, "somebody changed it; its signature does not fit"),
)


def tour(lab, daemon, name):
    """Asks and prints; returns what was wrong, one sentence each. name: None for the lab's own servers."""
    own = name is None
    name = name or f"www.{servers.DOMAIN}"
    wrong = []
    print(f"\nA subscriber asks for {name}, type A")
    first = dig(lab, wrong, "first answer", name, lab.names.edge4)
    if not first:
        return wrong
    complete = completed(lab, name, sorted(sum(servers.WWW.values(), [])) if own else None)
    report("a moment later", complete)
    if own and not any(set(first) == set(known) for known in (*servers.WWW.values(), complete)):
        wrong.append(f"the first answer is none of what the three servers know: {first}")
    if own and len(complete) != 5:
        wrong.append(f"the completed answer should have the five addresses of the three servers: {complete}")
    for what, arguments in (("over TCP", [lab.names.edge4, "+tcp"]), ("over IPv6", [lab.names.edge6])):
        again = dig(lab, wrong, what, name, *arguments)
        if own and sorted(again) != sorted(complete):
            wrong.append(f"{what} the answer differs: {again}")
    load(lab, daemon, wrong, [f"host-{i}.{servers.DOMAIN}" for i in range(1000)] if own else [name])
    return wrong


def recursive(lab):
    """With the recursor as the only upstream: what its validation says, as a subscriber sees it."""
    wrong = []
    print("\nA subscriber asks for type A")
    for name, wanted, authentic, why in RECURSIVE:
        started = time.monotonic()
        text = said(lab, name, lab.names.edge4)
        spent = (time.monotonic() - started) * 1000
        shown = {key: re.findall(pattern, text, re.MULTILINE) for key, pattern in SHOWN.items()}
        seen = shown["status"] + ["AD"] * len(shown["AD"]) + shown["address"]
        print(f"  {name:18}  {' '.join(seen) or 'nothing':21}  {why}  ({spent:.0f} ms, the start of dig included)")
        for error in shown["error"]:
            print(f"  {'':18}  extended error {error}", flush=True)
        if shown["status"] != [wanted] or bool(shown["AD"]) != authentic or bool(shown["error"]) == authentic:
            wrong.append(f"{name} should be {wanted} with {'AD' if authentic else 'an extended error'}: {text.strip()}")
    return wrong


def dig(lab, wrong, what, name, address, *options):
    started = time.monotonic()
    addresses, status = ask(lab, name, address, *options)
    spent = (time.monotonic() - started) * 1000
    report(what, addresses, f"{spent:.0f} ms, the start of dig included")
    if not addresses:
        wrong.append(f"{what}: no address for {name}; {status}")
    return addresses


def ask(lab, name, address, *options):
    """The addresses in the answer, and its status."""
    text = said(lab, name, address, *options)
    status = re.search(r"status: (\w+)", text)
    return re.findall(r"\sA\s+([\d.]+)$", text, re.MULTILINE), status[0] if status else text.strip()


def said(lab, name, address, *options):
    """What dig prints of the answer: its records, and of the rest what is worth a comment."""
    return run(lab.inside("dig", "+noall", "+answer", "+comments", "+time=3", "+tries=2", *options, f"@{address}", name, "A"),
               timeout=15).stdout


def completed(lab, name, expected):
    """Waits until the other servers' replies are in; returns what a subscriber then gets."""
    deadline = time.monotonic() + (4 if expected else 1)  # what real servers know is not known here
    while True:
        addresses, _ = ask(lab, name, lab.names.edge4)
        if sorted(addresses) == expected or time.monotonic() > deadline:
            return addresses
        time.sleep(0.1)


def report(what, addresses, note=""):
    print(f"  {what:15} {' '.join(addresses) or 'nothing'}" + (f"  ({note})" if note else ""))
    known = [f"server {i}: {', '.join(a for a in addresses if a in mine)}" for i, mine in servers.WWW.items()
             if set(mine) & set(addresses)]
    if known:
        print(f"  {'':15}   from {'; '.join(known)}", flush=True)


def load(lab, daemon, wrong, names):
    queries = lab.folder / "queries"
    queries.write_text("".join(f"{name} A\n" for name in names), encoding="ascii")
    before = daemon.ctl("stats")
    print(f"\ndnsperf asks for {len(names)} name{'s' * (len(names) > 1)} over and over, {SECONDS} seconds", flush=True)
    output = run(lab.inside("dnsperf", "-s", lab.names.edge4, "-d", queries, "-l", SECONDS, "-c", 8, "-q", 200),
                 timeout=SECONDS + 20).stdout
    found = {key: re.search(rf"{key}:\s+([\d.]+)", output) for key in ("sent", "completed", "lost", "per second")}
    if not all(found.values()):
        raise LabError(f"dnsperf did not work:\n{output}")
    sent, answered, lost, rate = (float(match[1]) for match in found.values())
    time.sleep(0.2)
    summary(before, daemon.ctl("stats"), sent, answered, rate)
    codes = re.search(r"Response codes:\s+(.*)", output)
    if lost > sent / 1000:
        wrong.append(f"dnsperf lost {lost:.0f} of {sent:.0f} queries")
    if not codes or f"NOERROR {answered:.0f} " not in codes[1] + " ":
        wrong.append(f"not every answer was NOERROR: {codes[1] if codes else 'none at all'}")


def summary(before, after, sent, answered, rate):
    counts = {key: after[key] - before[key] for key in ("received", "hits", "misses", "coalesced", "upstream_queries")}
    drops = {why: count - before["dropped"].get(why, 0) for why, count in after["dropped"].items()}
    drops = {why: count for why, count in drops.items() if count}
    looked_up = counts["hits"] + counts["misses"]
    joined = f" ({counts['coalesced']:,} joined a query under way)" if counts["coalesced"] else ""
    print(f"""\
  asked           {sent:,.0f} queries; {answered:,.0f} answered, {100 * answered / max(sent, 1):.2f} %
  rate            {rate:,.0f} answers a second
  from the cache  {100 * counts['hits'] / max(looked_up, 1):.2f} % ({counts['hits']:,} of {looked_up:,})
  upstream        {counts['upstream_queries']:,} queries for {counts['misses']:,} misses{joined}
  dropped         {', '.join(f'{count:,} {why}' for why, count in drops.items()) or 'nothing'}
The rate says little about Millrace: on a veth pair the kernel copies every packet, and that dominates; dnsperf and the
servers share these cores too. On a NIC of its own nothing of that happens.""")
