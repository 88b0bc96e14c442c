# SPDX-License-Identifier: MIT
"""What bench/fairness/run measured, against what must hold: tables and plots. A case is a list of its
runs, in which shares were sampled, or all were compared with one in turns. What is told is the median
of them, and the quartiles."""
import json
import os
import statistics
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import plots  # noqa: E402

MULTIPLIER = {"low": 1, "medium": 2, "high": 4}
PANEL_WIDTH, PANEL_HEIGHT, ACROSS = 250, 170, 3


def gains(case):
    """GPU nanoseconds of each tenant, of the time that was measured."""
    return [after - before for before, after in zip(case["samples"][0][1],
                                                    case["samples"][-1][1])]


def seconds(case):
    return case["samples"][-1][0] - case["samples"][0][0]


def busy(case):
    return sum(gains(case)) / seconds(case) / 1e9


def weights(case):
    return [MULTIPLIER[wanted.get("priority", "medium")] * wanted.get("weight", 50)
            for wanted in case["tenants"]]


def jain(case):
    """Of GPU time over weight."""
    parts = [gain / weight for gain, weight in zip(gains(case), weights(case))]
    squares = sum(part * part for part in parts)
    return sum(parts) ** 2 / len(parts) / squares if squares else 0


def shares(case):
    """Per cent of what all had."""
    total = sum(gains(case)) or 1
    return [100 * gain / total for gain in gains(case)]


def part(values, number):
    """The value that such a part of them is not above."""
    return sorted(values)[int(number * len(values))]


def replies(case, place):
    """Milliseconds, of the first tenant: alone (0) or beside the others (1)."""
    return [reply / 1e3 for pair in case["turns"] for reply in pair[place]["replies_us"]]


def bar_shares(case):
    due = weights(case)
    off = max(abs(share - 100 * weight / sum(due)) for share, weight in zip(shares(case), due))
    return "furthest from its share, points", [off], 2, "most"


def bar_cap(case):
    used = 100 * gains(case)[0] / seconds(case) / 1e9
    return "from the cap, points", [abs(used - case["tenants"][0]["cap"])], 2, "most"


def bar_jain(case):
    return "Jain's index", [jain(case)], 0.99, "least"


def bar_work(case):
    """Where it is known when kernels ran, at the speed that the GPU had then."""
    what, least = (("work of all over that of one alone", 0.97) if len(case["tenants"]) > 1 else
                   ("work over that without vgpu", 0.99))
    counted = "busy" if "busy" in case["turns"][0][0] else "rounds_per_second"
    if counted == "busy":
        what += ", at the same speed"
    return what, [together[counted] / one[counted] for one, together in case["turns"]], least, "least"


def bar_reply(case):
    """At most 1.3 times alone, or one kernel of the other's more, as no kernel can be cut."""
    alone, beside = (part(replies(case, place), 0.99) for place in range(2))
    kernel = max(wanted["kernel"] for wanted in case["tenants"][1:]) / 1e3
    return ("p99 of replies over that alone", [beside / alone],
            max(1.3, (alone + kernel) / alone), "most")


BARS = {"work-": bar_work, "equal-": bar_jain, "weights-": bar_shares, "cap-": bar_cap,
        "serve-and-": bar_reply, "steady-and-": bar_shares}


def bar(cases, name):
    """(what, values of all runs, limit, least or most) of a case."""
    told = next(told for start, told in BARS.items() if name.startswith(start))
    of_runs = [told(run) for run in cases[name]]
    what, _, limit, kind = of_runs[0]
    return what, [value for _, values, _, _ in of_runs for value in values], limit, kind


def is_met(found):
    _, values, limit, kind = found
    value = statistics.median(values)
    return value >= limit if kind == "least" else value <= limit


def said_of(found):
    what, values, limit, kind = found
    spread = ""
    if len(values) > 1:
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        spread = f"{first:.3g} to {third:.3g}; "
    return (f"{what}: {statistics.median(values):.3g} ({spread}"
            f"{'at least' if kind == 'least' else 'at most'} {limit:.3g}) "
            f"{'met' if is_met(found) else '**missed**'}")


def told_of(case):
    """By its kind: what part of the time the GPU was busy, shares, and replies of the first."""
    first = case[0]
    if "turns" in first:
        times = [[part(replies(run, 1), number) for run in case] for number in (0.5, 0.99)
                 if first["turns"][0][1]["replies_us"]]
        return "| | " + " / ".join(f"{statistics.median(of_runs):.2f}" for of_runs in times)
    due = weights(first)
    mean = [statistics.mean(of_runs) for of_runs in zip(*map(shares, case))]
    parts = ", ".join(f"{share:.1f} ({100 * weight / sum(due):.1f})" for share, weight in
                      list(zip(mean, due))[:4]) + (", ..." if len(due) > 4 else "")
    times = [statistics.median(run["said"][0][f"reply_{of}_us"][0] / 1e3 for run in case)
             for of in ("p50", "p99")]
    return f"{statistics.median(map(busy, case)):.3f} | {parts} | {times[0]:.2f} / {times[1]:.2f}"


def row(cases, name):
    case = cases[name]
    return (f"| {name} | {len(case[0]['tenants'])} | {told_of(case)} | "
            f"{said_of(bar(cases, name))} |")


def table(cases):
    return "\n".join(["| case | tenants | busy | shares, % (by weight) | replies of the first, p50 / "
                      "p99 ms | what must hold |", "|---|---:|---:|---|---|---|"]
                     + [row(cases, name) for name in cases]) + "\n"


def panel(name, case, left, top):
    """Each tenant's part of the GPU's time, by the second before."""
    samples, count = case["samples"], len(case["tenants"])
    back = min(10, len(samples) - 1)
    right, bottom = left + PANEL_WIDTH - 50, top + PANEL_HEIGHT - 35

    def at(time, part):
        return (f"{left + time / samples[-1][0] * (right - left):.1f},"
                f"{bottom - min(part, 1) * (bottom - top):.1f}")

    parts = [plots.text(left, top - 8, name, size=13)]
    for half in range(3):
        y = bottom - half / 2 * (bottom - top)
        parts += [plots.line(left, y, right, y), plots.text(left - 4, y + 4, f"{50 * half}%", "end",
                                                            10)]
    for number in range(count):
        points = [(samples[i][0], (samples[i][1][number] - samples[i - back][1][number])
                   / (samples[i][0] - samples[i - back][0]) / 1e9)
                  for i in range(back, len(samples))]
        colour = plots.COLOURS[number % len(plots.COLOURS)]
        parts.append(f'<polyline points="{" ".join(at(*point) for point in points)}" fill="none" '
                     f'stroke="{colour}" stroke-width="1.5"/>')
        if count <= 3:
            wanted = case["tenants"][number]
            label = f"{wanted.get('priority', 'medium')[0]}{wanted.get('weight', 50)}"
            label += f" cap {wanted['cap']}" if "cap" in wanted else ""
            parts.append(plots.text(right + 6, top + 12 + 15 * number, label, size=10,
                                    colour=colour))
    parts.append(plots.text(right, bottom + 14, f"{samples[-1][0]:.0f} s", "end", 10))
    return parts


def draw_shares(cases):
    shown = [name for name, case in cases.items() if "samples" in case[0]]
    parts = []
    for place, name in enumerate(shown):
        parts += panel(name, cases[name][0], 45 + place % ACROSS * PANEL_WIDTH,
                       30 + place // ACROSS * PANEL_HEIGHT)
    rows = (len(shown) + ACROSS - 1) // ACROSS
    return plots.picture(20 + ACROSS * PANEL_WIDTH, 10 + rows * PANEL_HEIGHT, parts)


def draw_bars(cases):
    """Each measurement as a part of its limit: what must be met ends on the good side of the line."""
    found = [(name, bar(cases, name)) for name in cases]
    left, scale, height = 330, 150, 22
    parts = [plots.text(10, 20, "Measured, as a part of what must hold", size=15)]
    for place, (name, measured) in enumerate(found):
        what, values, limit, kind = measured
        value = statistics.median(values)
        y = 40 + place * height
        length = min(value / limit, 2) * scale
        colour = plots.COLOURS[2] if is_met(measured) else plots.COLOURS[1]
        parts += [plots.text(left - 8, y + 12, f"{name}: {what}", "end", 11),
                  f'<rect x="{left}" y="{y}" width="{length:.1f}" height="14" fill="{colour}"/>',
                  plots.text(left + length + 6, y + 12,
                             f"{value:.3g} ({'>=' if kind == 'least' else '<='} {limit:.3g})",
                             size=11)]
    bottom = 40 + len(found) * height
    parts.append(plots.line(left + scale, 34, left + scale, bottom, "#222", "4 3"))
    return plots.picture(left + 2 * scale + 150, bottom + 10, parts)


def write(folder, results):
    os.makedirs(folder, exist_ok=True)
    cases = results["cases"]
    for name, text in (("results.json", json.dumps(results, separators=(",", ":")) + "\n"),
                       ("results.md", table(cases)), ("shares.svg", draw_shares(cases)),
                       ("bars.svg", draw_bars(cases))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
