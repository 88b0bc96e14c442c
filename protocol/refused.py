#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The functions that are refused with a reason, for the guest's library.

usage: refused.py PROTOCOL_DIR SYMBOLS OUT
OUT gets one line REFUSED(symbol, CUresult, reason) for each of their symbols.
"""
import sys

from generator import functions


def main():
    directory, symbols, out = sys.argv[1:4]
    with open(out, "w", encoding="utf-8") as target:
        for function in functions.read(directory, symbols).values():
            if function.kind == "refused":
                for symbol in function.symbols:
                    target.write(f'REFUSED({symbol}, CUDA_ERROR_{function.error}, '
                                 f'"{function.reason}")\n')


main()
