# SPDX-License-Identifier: MIT
"""Recurrent networks (cuDNN)."""
import conformance

torch = conformance.seed()
for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
    model = kind(24, 32, num_layers=2).cuda()
    x = torch.randn(12, 4, 24, device="cuda", requires_grad=True)
    y, _ = model(x)
    y.square().sum().backward()
    conformance.save(kind.__name__, y)
    conformance.save(kind.__name__ + "_gradient", x.grad, 1e-6)
