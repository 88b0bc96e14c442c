# SPDX-License-Identifier: MIT
"""torch.compile with Triton kernels, with and without CUDA graphs."""
import conformance

torch = conformance.seed()


def block(x, w):
    return torch.nn.functional.gelu(torch.layer_norm(x @ w, (96,))).sum(dim=-1).softmax(0)


x, w = torch.randn(64, 128, device="cuda"), torch.randn(128, 96, device="cuda")
conformance.save("eager", block(x, w))
conformance.save("compiled", torch.compile(block)(x, w))
reduced = torch.compile(block, mode="reduce-overhead")
for _ in range(4):
    y = reduced(x, w)
conformance.save("graphs", y)
