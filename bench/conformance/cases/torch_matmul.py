# SPDX-License-Identifier: MIT
"""Matrix products in every precision."""
import conformance

torch = conformance.seed()
a = torch.randn(768, 512, device="cuda")
b = torch.randn(512, 640, device="cuda")
conformance.save("fp32", a @ b)
torch.backends.cuda.matmul.allow_tf32 = True
conformance.save("tf32", a @ b)
torch.backends.cuda.matmul.allow_tf32 = False
for dtype in (torch.float16, torch.bfloat16, torch.float64):
    conformance.save(str(dtype).removeprefix("torch."), a.to(dtype) @ b.to(dtype))
one = torch.tensor(1.0, device="cuda")
fp8 = torch._scaled_mm(a.to(torch.float8_e4m3fn), b.t().contiguous().to(torch.float8_e4m3fn).t(),
                       scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
conformance.save("fp8", fp8)
conformance.save("int8", torch._int_mm((a * 9).to(torch.int8), (b * 9).to(torch.int8)))
conformance.save("batched", torch.bmm(a.view(3, 256, 512), b.expand(3, 512, 640)))
