# SPDX-License-Identifier: MIT
"""Matrix products by cuBLAS: small ones, where launches count, and large ones, where they do not."""
from common import SMALL, measure, need_torch

torch = need_torch()
for size, dtype, steps in ((128, torch.float32, 2000), (512, torch.bfloat16, 2000),
                           (8192, torch.bfloat16, 20), (4096, torch.float32, 20)):
    if SMALL and size > 128:
        continue
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    measure(f"gemm.{str(dtype).removeprefix('torch.')}.{size}",
            lambda: torch.mm(a, b, out=out), torch.cuda.synchronize, 20 if SMALL else steps,
            2e-12 * size ** 3, "TFLOP/s")
