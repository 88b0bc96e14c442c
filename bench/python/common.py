# SPDX-License-Identifier: MIT
"""What the Python benchmarks share: warming up, timing, and lines "NAME VALUE UNIT"."""
import statistics
import sys
import time

SMALL = "--small" in sys.argv


def need(module):
    """Imports a module, or skips the program."""
    try:
        return __import__(module)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)


def need_torch():
    torch = need("torch")
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU", file=sys.stderr)
        sys.exit(77)
    torch.manual_seed(1)
    return torch


def measure(name, step, wait, steps, per_step=1.0, unit="1/s", turns=5, warm=5):
    """Times `turns` times `steps` steps and the wait for them. Prints NAME.rate (`per_step` things
    per step, in UNIT), and NAME.cpu: the program's own CPU time per step."""
    for _ in range(warm):
        step()
    wait()
    times, cpu = [], []
    for _ in range(turns):
        start, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        wait()
        times.append((time.perf_counter() - start) / steps)
        cpu.append((time.process_time() - used) / steps)
    print(f"{name}.rate {per_step / statistics.median(times):.6g} {unit}", flush=True)
    print(f"{name}.cpu {statistics.median(cpu) * 1e3:.6g} ms", flush=True)
