# SPDX-License-Identifier: MIT
"""A transformer trained for 50 steps."""
import conformance

torch = conformance.seed()
torch.backends.cuda.enable_flash_sdp(False)
torch.backends.cuda.enable_mem_efficient_sdp(False)
torch.backends.cuda.enable_cudnn_sdp(False)
model = torch.nn.TransformerEncoder(
    torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.1), 2).cuda()
head = torch.nn.Linear(64, 17).cuda()
parameters = list(model.parameters()) + list(head.parameters())
optimiser = torch.optim.AdamW(parameters, lr=3e-3)
x = torch.randn(16, 20, 64, device="cuda")
target = torch.randint(0, 17, (16, 20), device="cuda")
losses = []
for _ in range(50):
    optimiser.zero_grad()
    loss = torch.nn.functional.cross_entropy(head(model(x)).flatten(0, 1), target.flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
    losses.append(loss.detach())
losses = torch.stack(losses)
conformance.require(bool(losses[-1] < losses[0] * 0.9), "the loss falls")
conformance.save("losses", losses)
conformance.save("weights", torch.cat([p.detach().flatten() for p in parameters]))
