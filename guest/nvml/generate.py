#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns guest/nvml/functions into C and into a linker version script.

usage: generate.py FUNCTIONS INCLUDE VERSION_SCRIPT
"""
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        names = [line.strip() for line in source if not line.startswith("#")]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.writelines(f"FUNCTION({name})\n" for name in names)
    with open(sys.argv[3], "w", encoding="utf-8") as out:
        out.write("{\nglobal:\n" + "".join(f"    {name};\n" for name in names) +
                  "local:\n    *;\n};\n")


main()
