#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What docs/performance/fairness.md says was measured is what its raw data says, and its tables and
plots are drawn from that. With --write they are made so."""
import json
import os
import re
import statistics
import sys
import tempfile
import unittest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(SOURCE, "bench", "fairness"))
import report  # noqa: E402

PAGE = os.path.join(SOURCE, "docs", "performance", "fairness.md")
FOLDERS = [os.path.join(SOURCE, "docs", "performance", "fairness-" + gpu)
           for gpu in ("h200", "software", "software-apart")]
TABLE = re.compile(r"(?<=\| \| measured \| bar \|\n\|---\|---:\|---:\|\n).*?\n(?=\n)", re.S)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rows():
    cases = json.loads(read(os.path.join(FOLDERS[0], "results.json")))["cases"]
    lines = []
    for name in cases:
        what, values, limit, kind = report.bar(cases, name)
        value = statistics.median(values)
        sign = "at least" if kind == "least" else "at most"
        lines.append(f"| {name}: {what} | {value:.3g} | {sign} {limit:.3g} |\n")
    return "".join(lines)


class Fairness(unittest.TestCase):
    def test_the_page_says_what_was_measured(self):
        self.assertEqual(TABLE.search(read(PAGE))[0], rows())

    def test_tables_and_plots_are_drawn_from_the_raw_data(self):
        for folder in FOLDERS:
            with tempfile.TemporaryDirectory() as work:
                report.write(work, json.loads(read(os.path.join(folder, "results.json"))))
                for name in sorted(os.listdir(work)):
                    with self.subTest(folder=folder, name=name):
                        self.assertEqual(read(os.path.join(folder, name)),
                                         read(os.path.join(work, name)))


def write():
    for folder in FOLDERS:
        report.write(folder, json.loads(read(os.path.join(folder, "results.json"))))
    text = TABLE.sub(lambda _: rows(), read(PAGE))
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(text)


if sys.argv[1:] == ["--write"]:
    write()
else:
    unittest.main()
