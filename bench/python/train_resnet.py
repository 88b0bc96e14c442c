# SPDX-License-Identifier: MIT
"""Training steps of a network of ResNet-50's shape: convolutions of cuDNN, batch norms, momentum."""
from common import SMALL, measure, need_torch

torch = need_torch()
STAGES = ((8, 1), (16, 1)) if SMALL else ((64, 3), (128, 4), (256, 6), (512, 3))
BATCH, SIZE, CLASSES = (2, 32, 10) if SMALL else (64, 224, 1000)


def convolution(ins, outs, size, stride=1):
    return torch.nn.Sequential(
        torch.nn.Conv2d(ins, outs, size, stride, size // 2, bias=False), torch.nn.BatchNorm2d(outs))


class Bottleneck(torch.nn.Module):
    def __init__(self, ins, middle, stride):
        super().__init__()
        self.body = torch.nn.Sequential(
            convolution(ins, middle, 1), torch.nn.ReLU(inplace=True),
            convolution(middle, middle, 3, stride), torch.nn.ReLU(inplace=True),
            convolution(middle, 4 * middle, 1))
        same = ins == 4 * middle and stride == 1
        self.past = torch.nn.Identity() if same else convolution(ins, 4 * middle, 1, stride)

    def forward(self, x):
        return torch.relu(self.body(x) + self.past(x))


def network():
    first = STAGES[0][0]
    layers = [convolution(3, first, 7, 2), torch.nn.ReLU(inplace=True),
              torch.nn.MaxPool2d(3, 2, 1)]
    ins = first
    for number, (middle, blocks) in enumerate(STAGES):
        for block in range(blocks):
            layers.append(Bottleneck(ins, middle, 2 if number and block == 0 else 1))
            ins = 4 * middle
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                               torch.nn.Linear(ins, CLASSES))


model = network().cuda().to(memory_format=torch.channels_last)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
images = torch.randn(BATCH, 3, SIZE, SIZE, device="cuda").to(memory_format=torch.channels_last)
labels = torch.randint(0, CLASSES, (BATCH,), device="cuda")


def step():
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimiser.step()


measure("train.resnet", step, torch.cuda.synchronize, 2 if SMALL else 10)
