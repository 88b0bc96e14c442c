# SPDX-License-Identifier: MIT
"""PyTorch's allocator on virtual memory management, and its allocator on cudaMallocAsync."""
import os
import subprocess
import sys

import conformance

if len(sys.argv) < 2:
    for setting in ("expandable_segments:True", "backend:cudaMallocAsync"):
        done = subprocess.run([sys.executable, __file__, setting.replace(":", "_")], check=False,
                              env=dict(os.environ, PYTORCH_CUDA_ALLOC_CONF=setting,
                                       PYTORCH_ALLOC_CONF=setting))
        if done.returncode:
            sys.exit(f"error: {setting}: exit {done.returncode}")
else:
    torch = conformance.seed()
    total = torch.zeros(1, device="cuda")
    keep = []
    for i in range(1, 30):
        block = torch.full((i * 100_000,), float(i), device="cuda")
        total += block.sum()
        if i % 3 == 0:
            keep.append(block)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    conformance.save(sys.argv[1], total + sum(b[0] for b in keep))
