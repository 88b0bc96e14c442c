# SPDX-License-Identifier: MIT
"""What a case of bench/conformance says of itself: the arrays and texts that must be the same through
vgpu as natively. The runner sets CONFORMANCE_OUT to a folder of this run's own."""
import json
import os
import random

import numpy

OUT = os.environ.get("CONFORMANCE_OUT")
_tolerances = {}


def save(name, value, tolerance=0.0):
    """Keeps one output. With tolerance 0 every bit counts; else ||a - b|| / ||b|| may be that."""
    if hasattr(value, "detach"):  # a PyTorch tensor
        value = value.detach().cpu()
        if str(value.dtype) in ("torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2"):
            value = value.float()
        value = value.numpy()
    elif hasattr(value, "get") and hasattr(value, "dtype"):  # a CuPy array
        value = value.get()
    array = numpy.asarray(value)
    if array.dtype == object:
        raise TypeError(f"{name} is no array of numbers or text")
    _tolerances[name] = tolerance
    if OUT:
        numpy.save(os.path.join(OUT, name + ".npy"), array)
        with open(os.path.join(OUT, "tolerances.json"), "w", encoding="utf-8") as file:
            json.dump(_tolerances, file)


def require(condition, text):
    """A condition that must hold whatever the driver."""
    if not condition:
        raise SystemExit(f"does not hold: {text}")


def seed(number=7):
    """PyTorch, seeded, deterministic where it can be."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch
    random.seed(number)
    numpy.random.seed(number)
    torch.manual_seed(number)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch
