# SPDX-License-Identifier: MIT
"""Makes tables and plots of what bench/run has measured. `report.py RESULTS.json FOLDER` makes them
again."""
import json
import os
import statistics
import sys

import plots
from bars import bar, met


def quartiles(values):
    """Median, first and third quartile."""
    if len(values) < 2:
        return (values[0],) * 3
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return middle, first, third


def ratios(entry):
    """vgpu to native, of each repeat that has both."""
    return [through / native for native, through in zip(entry["native"], entry["vgpu"]) if native]


def number(value):
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def spread(values):
    if not values:
        return ""
    middle, first, third = quartiles(values)
    return f"{number(middle)} ({number(first)}-{number(third)})"


def verdict(name, entry):
    wanted = bar(name)
    if wanted is None or not entry["vgpu"]:
        return ""
    kind, limit = wanted
    native = quartiles(entry["native"])[0] if entry["native"] else None
    both = ratios(entry)
    ratio = quartiles(both)[0] if both else None
    text = {"ratio<=": f"at most {limit:g}x", "ratio>=": f"at least {limit:g}x",
            "native+": f"at most native + {limit:g} {entry['unit']}",
            "value<=": f"at most {limit:g} {entry['unit']}"}[kind]
    good = met(kind, limit, native, quartiles(entry["vgpu"])[0], ratio)
    return f"{text}: {'met' if good else '**missed**'}"


def table(results):
    lines = ["| what | unit | better | native | vgpu | vgpu / native | bar |",
             "|---|---|---|---:|---:|---:|---|"]
    for name in sorted(results):
        entry = results[name]
        better = "more" if entry["unit"] in plots.RATES else "less"
        lines.append(f"| {name} | {entry['unit']} | {better} | {spread(entry['native'])} | "
                     f"{spread(entry['vgpu'])} | {spread(ratios(entry))} | "
                     f"{verdict(name, entry)} |")
    return "\n".join(lines)


def barred(results):
    return {name: entry for name, entry in results.items() if bar(name)}


def write(data, folder):
    """Writes results.md and the plots; returns the text."""
    about, results = data["about"], data["results"]
    made = plots.write(results, folder)
    text = ["# Natively and through vgpu", "",
            "Made by `bench/run`: medians (and quartiles) of "
            f"{about['repeats']} alternating runs of each program, of several turns each where a "
            "microsecond of the processor matters; ratios are of the two runs of one repeat or turn.",
            "", f"- {about['gpu']}; {about['cpu']}",
            f"- commit {about['commit']}, {about['date']}" +
            (", little work (--small)" if about["small"] else ""), ""]
    text += [f"- {name} failed: {said.splitlines()[-1]}"
             for name, said in sorted(data["failures"].items())]
    text += [f"- {name} was skipped: {said}" for name, said in sorted(data["skipped"].items())]
    text += ["", "## What must hold", "", table(barred(results)), "", "## Everything", "",
             table({name: results[name] for name in results if not bar(name)}), ""]
    text += [f"![{title}]({os.path.basename(path)})\n" for title, path in made]
    text = "\n".join(text)
    with open(os.path.join(folder, "results.md"), "w", encoding="utf-8") as file:
        file.write(text)
    return text


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        print(write(json.load(source), sys.argv[2]))
