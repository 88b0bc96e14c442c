# SPDX-License-Identifier: MIT
"""Scaled dot product attention with each of PyTorch's implementations."""
import conformance
from torch.nn.attention import SDPBackend, sdpa_kernel

torch = conformance.seed()
for dtype in (torch.float16, torch.bfloat16):
    q, k, v = (torch.randn(2, 8, 128, 64, device="cuda", dtype=dtype, requires_grad=True)
               for _ in range(3))
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION,
                    SDPBackend.CUDNN_ATTENTION):
        with sdpa_kernel(backend):
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        name = f"{backend.name.lower()}_{str(dtype)[6:]}"
        conformance.save(name, y)
        gradient, = torch.autograd.grad(y.float().square().sum(), q)
        conformance.save(name + "_gradient", gradient, 1e-2)
