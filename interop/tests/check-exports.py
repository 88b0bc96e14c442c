#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that a libcuda of ours exports the real one's symbols and nothing else.

usage: check-exports.py SYMBOLS LIBRARY
"""
import subprocess
import sys


def main():
    wanted = {line.split()[0] for line in open(sys.argv[1]) if not line.startswith("#")}
    listing = subprocess.run(["nm", "-D", "--defined-only", sys.argv[2]], check=True,
                             capture_output=True, text=True).stdout
    exported = {line.split()[2].split("@")[0] for line in listing.splitlines()}
    for name in sorted(wanted - exported):
        print("missing:", name)
    for name in sorted(exported - wanted):
        print("not in the real library:", name)
    return wanted != exported


sys.exit(main())
