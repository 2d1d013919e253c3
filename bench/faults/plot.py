"""The table as a picture: p50, p99 and the longest on a logarithmic axis, beside what was not answered right. SVG by hand."""

import math

from load.plot import text

from .report import summarise

WIDTH, LEFT, AXIS, STEP, GAP = 1000, 210, 560, 16, 30
LEAST, MOST = 0.05, 5000  # milliseconds: the ends of the axis
COLOURS = {"millrace": "#1f6f8b"}
OTHERS = "#c98b3c"


def svg(samples, scenarios):
    rows, body, y = summarise(samples), [], 50
    for heading in dict.fromkeys((row["scenario"], row["names"]) for row in rows):
        body.append(text(10, y, f"{heading[0]}, {heading[1]} names: {scenarios[heading[0]].text}", "bold"))
        for row in (r for r in rows if (r["scenario"], r["names"]) == heading):
            y += STEP
            body += line(y, row)
        y += GAP
    for power in range(-1, 4):
        body.append(f'<line x1="{place(10 ** power):.1f}" y1="30" x2="{place(10 ** power):.1f}" y2="{y}" stroke="#dddddd"/>')
        body.append(text(place(10 ** power) - 10, 26, f"{10 ** power:g} ms"))
    title = text(10, 16, "right answers: p50 (dot), p99 (bar), longest (tick)", "bold") + text(
        LEFT + AXIS + 20, 26, "wrong, failed, silent: %", "bold")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="11">\n'
            f'<rect width="{WIDTH}" height="{y}" fill="white"/>\n{title}\n' + "\n".join(body) + "\n</svg>\n")


def line(y, row):
    """A server's marks; what is beyond the client's patience stands at the axis's end."""
    colour = COLOURS.get(row["server"], OTHERS)
    middle, p50, p99, longest = y - 4, place(row["p50"]), place(row["p99"]), place(row["longest"])
    tick = f'<line x1="{longest:.1f}" y1="{middle - 5}" x2="{longest:.1f}" y2="{middle + 5}"'
    return [text(110, y, row["server"]),
            f'<line x1="{p50:.1f}" y1="{middle}" x2="{p99:.1f}" y2="{middle}" stroke="{colour}" stroke-width="6"/>',
            f'<line x1="{p99:.1f}" y1="{middle}" x2="{longest:.1f}" y2="{middle}" stroke="{colour}"/>',
            f'{tick} stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{p50:.1f}" cy="{middle}" r="4" fill="{colour}"/>',
            text(LEFT + AXIS + 20, y, ", ".join(f"{row[key]:.2f}" for key in ("wrong", "failed", "silent")))]


def place(milliseconds):
    value = MOST if milliseconds is None else min(max(milliseconds, LEAST), MOST)
    return LEFT + AXIS * math.log(value / LEAST) / math.log(MOST / LEAST)
