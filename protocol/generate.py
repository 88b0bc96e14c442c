#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes C from protocol/calls: protocol/calls/README.md describes the language.

usage: generate.py PROTOCOL_DIR OUT_DIR
Writes calls.h calls.c (ids, names, hash), send.h send.c entry.c (guest), replay.h replay.c
(worker).
"""
import os
import sys

from generator import description, entry, names, replay, send


def main():
    directory, out = sys.argv[1:3]
    calls = description.read_calls(directory)
    description.read_families(directory)  # refuses what is wrong in them
    files = {
        "calls.h": names.header(calls, description.protocol_hash(directory, calls)),
        "calls.c": names.source(calls),
        "send.h": send.header(calls),
        "send.c": send.source(calls),
        "entry.c": entry.source(calls),
        "replay.h": replay.header(calls),
        "replay.c": replay.source(calls),
    }
    for name, text in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as target:
            target.write(text)


main()
