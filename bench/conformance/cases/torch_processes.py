# SPDX-License-Identifier: MIT
"""Two processes that use the GPU at once, one started by spawn from a process that has used it."""
import conformance


def work(number, queue):
    torch = conformance.seed(number)
    x = torch.randn(256, 256, device="cuda")
    for _ in range(20):
        x = (x @ x) / 20
    queue.put((number, x.cpu().numpy().copy()))


if __name__ == "__main__":
    torch = conformance.seed()
    conformance.save("here", torch.randn(10, device="cuda"))
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    children = [context.Process(target=work, args=(i, queue)) for i in (1, 2)]
    for child in children:
        child.start()
    for _ in children:
        number, result = queue.get()
        conformance.save(f"process{number}", result)
    for child in children:
        child.join()
        conformance.require(child.exitcode == 0, "a child ends well")
    conformance.save("after", torch.randn(10, device="cuda") * 2)
