# SPDX-License-Identifier: MIT
"""torchvision and timm models with random weights, one training step."""
import conformance

torch = conformance.seed()
torch.backends.cudnn.deterministic = True
import torchvision

model = torchvision.models.resnet18(num_classes=10).cuda()
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(8, 3, 96, 96, device="cuda").contiguous(memory_format=torch.channels_last)
loss = torch.nn.functional.cross_entropy(model(x), torch.arange(8, device="cuda"))
loss.backward()
optimiser.step()
conformance.save("loss", loss)
conformance.save("weights", model.conv1.weight)
boxes = torch.rand(200, 4, device="cuda") * 50
boxes[:, 2:] += boxes[:, :2]
conformance.save("nms", torchvision.ops.nms(boxes, torch.rand(200, device="cuda"), 0.5))
vit = torchvision.models.vit_b_16(num_classes=5, image_size=64).cuda().eval()
with torch.no_grad():
    conformance.save("vit", vit(torch.randn(2, 3, 64, 64, device="cuda")))
