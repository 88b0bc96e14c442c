# SPDX-License-Identifier: MIT
"""Draws results as SVG, with nothing but the standard library."""
import html
import math
import os
import re
import statistics

RATES = ("GB/s", "1/s", "TFLOP/s", "MB/s")  # more is better; of other units less is
COLOURS = ("#2a6fb0", "#d1722e", "#3f8f4f", "#a0409a", "#777777", "#b8a020")
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 70, 170, 40, 50


def text(x, y, said, anchor="start", size=12, colour="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}">{html.escape(said)}</text>')


def line(x1, y1, x2, y2, colour="#ddd", dash=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
            + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")


def picture(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'font-family="sans-serif"><rect width="{width}" height="{height}" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def short(value):
    for size, unit in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if value >= size and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:g}"


def curves(title, across, up, series):
    """`series`: name to a list of (x, y), y > 0; both axes are logarithmic."""
    height = 420
    points = [point for values in series.values() for point in values]
    if not points:
        return None
    low = [math.log2(min(p[0] for p in points)), math.floor(math.log10(min(p[1] for p in points)))]
    high = [math.log2(max(p[0] for p in points)), math.ceil(math.log10(max(p[1] for p in points)))]
    high = [max(high[0], low[0] + 1), max(high[1], low[1] + 1)]

    def x(value):
        return LEFT + (math.log2(value) - low[0]) / (high[0] - low[0]) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return height - BOTTOM - ((math.log10(value) - low[1]) / (high[1] - low[1])
                                  * (height - TOP - BOTTOM))

    parts = [text(LEFT, 22, title, size=15), text(12, TOP - 6, up),
             text((LEFT + WIDTH - RIGHT) / 2, height - 10, across, "middle")]
    for power in range(low[1], high[1] + 1):
        parts += [line(LEFT, y(10.0 ** power), WIDTH - RIGHT, y(10.0 ** power)),
                  text(LEFT - 6, y(10.0 ** power) + 4, f"{10.0 ** power:g}", "end")]
    for value in sorted({p[0] for p in points}):
        parts.append(text(x(value), height - BOTTOM + 18, short(value), "middle", 10))
    for number, (name, values) in enumerate(sorted(series.items())):
        colour = COLOURS[number // 2 % len(COLOURS)]
        dash = "" if name.endswith("vgpu") else "5 4"
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in sorted(values))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"'
                     + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")
        row = TOP + 10 + 18 * number
        parts += [line(WIDTH - RIGHT + 12, row, WIDTH - RIGHT + 36, row, colour, dash),
                  text(WIDTH - RIGHT + 42, row + 4, name, size=11)]
    return picture(WIDTH, height, parts)


def dots(title, rows):
    """`rows`: (name, ratios): a dot for the median, a line from the least to the most."""
    if not rows:
        return None
    left, row_height = 290, 16
    height = TOP + BOTTOM + row_height * len(rows)
    values = [value for _, ratios in rows for value in ratios]
    low = min(-1, math.floor(math.log10(min(values))))
    high = max(1, math.ceil(math.log10(max(values))))

    def x(value):
        return left + (math.log10(value) - low) / (high - low) * (WIDTH - left - 30)

    parts = [text(12, 22, title, size=15)]
    for power in range(low, high + 1):
        at = x(10.0 ** power)
        parts += [line(at, TOP, at, height - BOTTOM, "#888" if power == 0 else "#ddd"),
                  text(at, height - BOTTOM + 18, f"{10.0 ** power:g}", "middle")]
    for number, (name, ratios) in enumerate(rows):
        y = TOP + row_height * (number + 0.5)
        middle = statistics.median(ratios)
        parts += [text(left - 8, y + 4, name, "end", 10),
                  line(x(min(ratios)), y, x(max(ratios)), y, COLOURS[0]),
                  f'<circle cx="{x(middle):.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS[0]}"/>']
    return picture(WIDTH, height, parts)


def medians(results, pattern):
    """Curves of results whose names end with a number: {"native": [...], "vgpu": [...]}."""
    found = {}
    for name, entry in results.items():
        match = re.fullmatch(pattern, name)
        for way in ("native", "vgpu"):
            if match and entry[way]:
                middle = statistics.median(entry[way])
                if middle > 0:
                    found.setdefault(way, []).append((int(match[1]), middle, entry["unit"]))
    return found


def copies(results, way):
    """Bandwidth by size, in GB/s whatever the results are in."""
    series = {}
    for kind in ("pageable", "pinned", "async"):
        found = medians(results, rf"copy\.{way}\.{kind}\.(\d+)")
        for side, values in found.items():
            series[f"{kind}, {side}"] = [
                (size, value if unit == "GB/s" else size / value / 1e3)
                for size, value, unit in values]
    return series


def lines(results, patterns):
    return {f"{title}, {side}": [point[:2] for point in values]
            for title, pattern in patterns.items()
            for side, values in medians(results, pattern).items()}


def write(results, folder):
    """Draws what there are results for; the titles and paths."""
    rows = [(name, [(b / a) if entry["unit"] in RATES else (a / b)
                    for a, b in zip(entry["native"], entry["vgpu"]) if a > 0 and b > 0])
            for name, entry in sorted(results.items())]
    drawn = {
        "ratios.svg": ("How many times as good vgpu is as native: 10 is a tenth of the time",
                       lambda title: dots(title, [row for row in rows if row[1]])),
        "to-device.svg": ("Copies to the device",
                          lambda title: curves(title, "bytes", "GB/s",
                                               copies(results, "to_device"))),
        "from-device.svg": ("Copies from the device",
                            lambda title: curves(title, "bytes", "GB/s",
                                                 copies(results, "from_device"))),
        "at-once.svg": ("Launches per second, of all together",
                        lambda title: curves(title, "processes, threads or streams", "1/s", lines(
                            results, {"processes": r"processes\.(\d+)\.launches",
                                      "threads": r"threads\.rate\.(\d+)",
                                      "streams": r"streams\.rate\.(\d+)"}))),
    }
    made = []
    for name, (title, draw) in drawn.items():
        svg = draw(title)
        if svg:
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(svg)
            made.append((title, path))
    return made
