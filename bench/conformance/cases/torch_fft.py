# SPDX-License-Identifier: MIT
"""Fourier transforms of several sizes and ranks (cuFFT)."""
import conformance

torch = conformance.seed()
for size in (64, 100, 127, 1000, 4096):
    x = torch.randn(6, size, device="cuda")
    conformance.save(f"rfft{size}", torch.fft.rfft(x))
    conformance.save(f"round{size}", torch.fft.ifft(torch.fft.fft(x)).real)
conformance.save("fft2", torch.fft.fft2(torch.randn(3, 48, 60, device="cuda")))
conformance.save("fft3", torch.fft.fftn(torch.randn(12, 18, 20, device="cuda"), dim=(0, 1, 2)))
conformance.save("double", torch.fft.fft(torch.randn(300, device="cuda", dtype=torch.float64)))
