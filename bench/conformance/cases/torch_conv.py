# SPDX-License-Identifier: MIT
"""A convolutional network, forward and backward (cuDNN)."""
import conformance

torch = conformance.seed()
torch.backends.cudnn.deterministic = True
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
    torch.nn.MaxPool2d(2), torch.nn.Conv2d(16, 32, 3, stride=2, groups=2), torch.nn.ReLU(),
    torch.nn.ConvTranspose2d(32, 8, 3), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(),
    torch.nn.Linear(128, 10)).cuda()
x = torch.randn(8, 3, 40, 40, device="cuda", requires_grad=True)
y = model(x)
torch.nn.functional.cross_entropy(y, torch.arange(8, device="cuda")).backward()
conformance.save("output", y)
conformance.save("gradient", x.grad, 1e-6)
for i, parameter in enumerate(model.parameters()):
    conformance.save(f"parameter{i}", parameter.grad, 1e-5)
half = torch.nn.Conv3d(4, 8, 3).cuda().half()(torch.randn(2, 4, 8, 8, 8, device="cuda").half())
conformance.save("conv3d", half)
