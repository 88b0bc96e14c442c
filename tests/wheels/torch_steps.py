# SPDX-License-Identifier: MIT
"""PyTorch's wheel: its own kernels are machine code only, those of NVIDIA's libraries PTX, too."""
import torch
from probe import step

X, Y = torch.randn(33, 17), torch.randn(17, 9)
IMAGE, FILTER = torch.randn(2, 3, 12, 12), torch.randn(4, 3, 3, 3)
BATCH = torch.randn(3, 5, 5)


def close(a, b):
    return torch.allclose(a.cpu(), b, rtol=1e-3, atol=1e-3)


def train():
    layer = torch.nn.Linear(17, 9).cuda()
    loss = layer(X.cuda()).square().mean()
    loss.backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    return loss.isfinite().item()


step('is_available', torch.cuda.is_available)
step('device', lambda: 'Software GPU' in torch.cuda.get_device_name(0))
step('copies', lambda: torch.equal(X.cuda().cpu(), X))
step('empty', lambda: torch.empty(1 << 20, device='cuda').shape[0] == 1 << 20)
step('stream_and_event', lambda: torch.cuda.Event().record() is None)
step('matmul', lambda: close(X.cuda() @ Y.cuda(), X @ Y))
step('linear', lambda: close(torch.nn.functional.linear(X.cuda(), Y.t().contiguous().cuda()),
                             X @ Y))
step('bmm', lambda: close(torch.bmm(BATCH.cuda(), BATCH.cuda()), torch.bmm(BATCH, BATCH)))
step('convolution', lambda: close(torch.nn.functional.conv2d(IMAGE.cuda(), FILTER.cuda()),
                                  torch.nn.functional.conv2d(IMAGE, FILTER)))
# From here on kernels of PyTorch's own are needed; a context is not the worse for the lack of one.
step('fill', lambda: torch.zeros(100, device='cuda').cpu().sum().item() == 0)
step('add', lambda: close(X.cuda() + X.cuda(), X + X))
step('fft', lambda: torch.fft.fft(X.cuda()).cpu().shape == X.shape)
step('inverse', lambda: close(torch.linalg.inv(BATCH.cuda()), torch.linalg.inv(BATCH)))
step('training_step', train)
