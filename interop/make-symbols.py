#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Derives interop/symbols: run once per version of the Driver API, and commit what it prints.

usage: make-symbols.py LIST TYPEDEFS
LIST is `nm -D --defined-only` of the toolkit's stub libcuda.so, TYPEDEFS its cudaTypedefs.h.

cudaTypedefs.h names a type PFN_<name>_v<version>[_ptds|_ptsz] for every ABI of a function; the n-th
version of a name belongs to its n-th symbol suffix (none, _v2, _v3 ...), per stream variant.
"""
import collections
import re
import sys

# Declared in cudaProfiler.h, whose typedefs are in a header of their own.
PROFILER = {"cuProfilerInitialize": 4000, "cuProfilerStart": 4000, "cuProfilerStop": 4000}


def main():
    symbols = collections.defaultdict(list)
    versions = collections.defaultdict(list)
    for line in open(sys.argv[1]):
        fields = line.split()
        if len(fields) != 3 or fields[1] != "T":
            continue
        name, suffix, variant = re.fullmatch(
            r"(cu\w+?)(?:_v(\d+))?(?:_(ptds|ptsz))?", fields[2]).groups()
        symbols[name, variant or "-"].append((int(suffix or 1), fields[2]))
    types = set(re.findall(r"\(CUDAAPI \*(PFN_\w+)\)", open(sys.argv[2]).read()))
    for kind in types:
        name, version, variant = re.fullmatch(
            r"PFN_(\w+?)_v(\d+)(?:_(ptds|ptsz))?", kind).groups()
        versions[name, variant or "-"].append(int(version))
    for name, version in PROFILER.items():
        versions[name, "-"].append(version)

    print("# SPDX-License-Identifier: MIT")
    print("# Facts about libcuda 13.0, made by make-symbols.py: every exported symbol, the name that")
    print("# cuGetProcAddress knows it by, the CUDA version that introduced this ABI, and whether it")
    print("# is the variant for per-thread default streams.")
    for key in sorted(symbols):
        if len(symbols[key]) != len(versions[key]):
            sys.exit(f"{key}: {symbols[key]} does not match {versions[key]}")
        for (_, symbol), version in zip(sorted(symbols[key]), sorted(versions[key])):
            print(symbol, key[0], version, key[1])


main()
