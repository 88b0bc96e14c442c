# SPDX-License-Identifier: MIT
"""PyTorch and CuPy look at the same memory."""
import cupy

import conformance

torch = conformance.seed()
x = torch.arange(1000, device="cuda", dtype=torch.float32)
y = cupy.from_dlpack(x)
y *= 3
torch.cuda.synchronize()
conformance.save("shared", x)
conformance.save("back", torch.from_dlpack(cupy.sqrt(y)))
