#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns interop/symbols into C and into a linker version script.

usage: generate.py SYMBOLS INCLUDE VERSION_SCRIPT
INCLUDE gets one line SYMBOL(symbol, name, version, per_thread) each, sorted by name in byte order
(which is how symbols.c searches), then by version.
"""
import sys


def main():
    rows = [line.split() for line in open(sys.argv[1]) if not line.startswith("#")]
    rows.sort(key=lambda row: (row[1].encode(), row[3] != "-", int(row[2])))
    with open(sys.argv[2], "w") as out:
        for symbol, name, version, variant in rows:
            out.write(f'SYMBOL({symbol}, "{name}", {version}, {int(variant != "-")})\n')
    with open(sys.argv[3], "w") as out:
        out.write("{\nglobal:\n")
        for row in rows:
            out.write(f"    {row[0]};\n")
        out.write("local:\n    *;\n};\n")


main()
