# SPDX-License-Identifier: MIT
"""When kernels ran on the software GPU, as it writes it down itself (VGPU_SOFT_TIMELINE)."""
import os


def begin(folder):
    """Programs that are started from now on add to a file there, whoever's they are."""
    path = os.path.join(folder, "timeline")
    with open(path, "w", encoding="ascii"):
        os.chmod(path, 0o666)
    os.environ["VGPU_SOFT_TIMELINE"] = path
    return path


def end():
    os.environ.pop("VGPU_SOFT_TIMELINE", None)


def read(path):
    """(begin, end) of each, monotonic nanoseconds, in order."""
    with open(path, encoding="ascii") as file:
        return sorted(tuple(map(int, line.split()[:2])) for line in file)


def busy(intervals, since=0, until=float("inf")):
    """Nanoseconds between two times in which at least one ran."""
    total, covered = 0, since
    for start, finish in intervals:
        start, finish = max(start, covered), min(finish, until)
        if finish > start:
            total, covered = total + finish - start, finish
    return total
