# SPDX-License-Identifier: MIT
"""Triton kernels: vector addition, softmax, a tiled matrix product, atomics."""
import triton
import triton.language as tl

import conformance

torch = conformance.seed()


@triton.jit
def add(x, y, out, n, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(out + at, tl.load(x + at, at < n) + tl.load(y + at, at < n), at < n)


@triton.jit
def softmax(x, out, columns, block: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, block)
    v = tl.load(x + row * columns + at, at < columns, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + row * columns + at, e / tl.sum(e, 0), at < columns)


@triton.jit
def matmul(a, b, c, k, n, size: tl.constexpr):
    rows = tl.program_id(0) * size + tl.arange(0, size)
    columns = tl.program_id(1) * size + tl.arange(0, size)
    total = tl.zeros((size, size), dtype=tl.float32)
    for start in range(0, k, size):
        inner = start + tl.arange(0, size)
        total += tl.dot(tl.load(a + rows[:, None] * k + inner[None, :]),
                        tl.load(b + inner[:, None] * n + columns[None, :]))
    tl.store(c + rows[:, None] * n + columns[None, :], total)


@triton.jit
def count(x, out, n, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    tl.atomic_add(out + tl.load(x + at, at < n, other=0), 1, at < n)


x, y = torch.randn(10_000, device="cuda"), torch.randn(10_000, device="cuda")
out = torch.empty_like(x)
add[(40,)](x, y, out, 10_000, block=256)
conformance.save("add", out)
rows = torch.randn(50, 300, device="cuda")
out = torch.empty_like(rows)
softmax[(50,)](rows, out, 300, block=512)
conformance.save("softmax", out)
a, b = (torch.randn(128, 128, device="cuda", dtype=torch.float16) for _ in range(2))
c = torch.empty(128, 128, device="cuda")
matmul[(4, 4)](a, b, c, 128, 128, size=32)
conformance.save("matmul", c)
counts = torch.zeros(16, device="cuda", dtype=torch.int32)
count[(40,)](torch.randint(0, 16, (10_000,), device="cuda"), counts, 10_000, block=256)
conformance.save("atomics", counts)
