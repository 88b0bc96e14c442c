# SPDX-License-Identifier: MIT
"""CUDA graphs: captured training and inference, replayed with new inputs; callables made graphs."""
import conformance

torch = conformance.seed()
model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)).cuda()
optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
x, y = torch.randn(16, 32, device="cuda"), torch.randn(16, 4, device="cuda")
stream = torch.cuda.Stream()
stream.wait_stream(torch.cuda.current_stream())
with torch.cuda.stream(stream):
    for _ in range(3):
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimiser.step()
torch.cuda.current_stream().wait_stream(stream)
graph = torch.cuda.CUDAGraph()
optimiser.zero_grad(set_to_none=True)
with torch.cuda.graph(graph):
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimiser.step()
losses = []
for i in range(10):
    x.copy_(torch.randn(16, 32, device="cuda"))
    graph.replay()
    losses.append(loss.item())
conformance.save("losses", losses)
side = torch.cuda.CUDAGraph()
a = torch.ones(1000, device="cuda")
with torch.cuda.graph(side, pool=graph.pool()):
    first = a * 3
    branch = torch.cuda.Stream()
    branch.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(branch):
        second = a.cumsum(0)
    torch.cuda.current_stream().wait_stream(branch)
    total = first + second
a.fill_(2)
side.replay()
conformance.save("branches", total)
callable_ = torch.cuda.make_graphed_callables(torch.nn.Linear(8, 8).cuda(),
                                              (torch.randn(4, 8, device="cuda"),))
conformance.save("callable", callable_(torch.randn(4, 8, device="cuda")))
