"""The table's rates and costs as bars: one SVG, written by hand."""

from html import escape

from .report import summarise

WIDTH, BAR, GAP, LABEL, PANEL = 1100, 16, 26, 150, 420
COLOURS = {"millrace": "#1f6f8b", "dns_echo": "#999999", "socket_echo": "#999999"}


def svg(samples):
    rows = [row for row in summarise(samples) if not row["load"].startswith("fill")]
    body, y = [], 40
    for heading in dict.fromkeys((r["scenario"], r["load"], r["client"]) for r in rows):
        chosen = sorted((r for r in rows if (r["scenario"], r["load"], r["client"]) == heading),
                        key=lambda r: -r["answers_per_second"]["median"])
        body.append(text(10, y, f"{heading[0]}: {heading[1]} ({heading[2]})", "bold"))
        y += 8
        for row in chosen:
            body.append(text(10, y + BAR - 4, row["server"] + "*" * row["polls"]))
            for x, key, form in ((LABEL, "answers_per_second", ",.0f"), (LABEL + PANEL + 90, "core_seconds_per_million", ".2f")):
                body += bar(x, y, row, row[key], max(r[key]["highest"] for r in chosen if r[key]), form) if row[key] else []
            y += BAR + 3
        y += GAP
    title = text(LABEL, 16, "answers a second", "bold") + text(LABEL + PANEL + 90, 16, "core-seconds per million (* polls: waiting included)", "bold")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="11">\n'
            f'<rect width="{WIDTH}" height="{y}" fill="white"/>\n{title}\n' + "\n".join(body) + "\n</svg>\n")


def bar(x, y, row, found, most, form):
    """The median, and a line from the lowest to the highest."""
    scale = (PANEL - 20) / most if most else 0
    length, low, high = (found[key] * scale for key in ("median", "lowest", "highest"))
    colour, middle = COLOURS.get(row["server"], "#c98b3c"), y + BAR / 2
    return [f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<line x1="{x + low:.1f}" y1="{middle}" x2="{x + high:.1f}" y2="{middle}" stroke="black"/>',
            text(x + high + 6, y + BAR - 4, format(found["median"], form))]


def text(x, y, words, weight="normal"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}">{escape(words)}</text>'
