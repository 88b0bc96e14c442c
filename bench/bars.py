# SPDX-License-Identifier: MIT
"""What vgpu is held to on the GPU that it was built for: a pattern of names, a kind, a number.

Kinds: "ratio<=" and "ratio>=" (vgpu's value divided by the native one), "native+" (at most so much
more, in the unit of the value), "value<=" (of vgpu alone).
"""
import re

BARS = (
    (r"launch\.enqueue\..*", "ratio<=", 0.1),
    (r"launch\.rate\..*", "ratio>=", 0.98),
    (r"launch\.synchronise", "native+", 1.0),
    (r"(event|stream)\.query\.(done|pending)", "ratio<=", 1.0),
    (r"copy\.\w+_device\.(pinned|async)\.(0001048576|0004194304|0016777216|0268435456|1073741824)",
     "ratio>=", 0.97),
    (r"copy\.\w+_device\.pageable\.(0016777216|0268435456|1073741824)", "ratio>=", 1.0),
    (r"copy\.\w+_device\.(pageable|pinned)\.0000000004", "native+", 2.0),
    (r"alloc_free\.device\..*", "native+", 3.0),
    (r"(decode\.(eager|graph)\.rate|train\.\w+\.rate)", "ratio>=", 0.99),
    (r"start\.exec_to_result", "ratio<=", 0.8),
    (r"idle\.workers", "value<=", 0.1),
    (r"decode\.eager\.cpu", "ratio<=", 1.0),
)


def bar(name):
    """(kind, number) or None."""
    for pattern, kind, number in BARS:
        if re.fullmatch(pattern, name):
            return kind, number
    return None


def met(kind, number, native, vgpu, ratio):
    """Of medians."""
    return {"ratio<=": ratio is not None and ratio <= number,
            "ratio>=": ratio is not None and ratio >= number,
            "native+": native is not None and vgpu <= native + number,
            "value<=": vgpu <= number}[kind]
