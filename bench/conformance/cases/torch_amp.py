# SPDX-License-Identifier: MIT
"""Automatic mixed precision with a gradient scaler."""
import conformance

torch = conformance.seed()
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 8)).cuda()
optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cuda")
x, y = torch.randn(32, 64, device="cuda"), torch.randn(32, 8, device="cuda")
losses = []
for _ in range(20):
    optimiser.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = torch.nn.functional.mse_loss(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimiser)
    scaler.update()
    losses.append(loss.item())
conformance.save("losses", losses)
conformance.save("scale", scaler.get_scale())
