# SPDX-License-Identifier: MIT
"""Autograd and launches from several threads."""
import threading

import conformance

torch = conformance.seed()
weights = [torch.randn(64, 64, device="cuda", requires_grad=True) for _ in range(6)]
inputs = [torch.randn(64, 64, device="cuda") for _ in range(6)]
errors = []


def work(i):
    try:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            stream.wait_stream(torch.cuda.default_stream())
            y = inputs[i]
            for _ in range(10):
                y = torch.tanh(y @ weights[i])
            y.sum().backward()
        stream.synchronize()
    except Exception as error:  # pylint: disable=broad-except
        errors.append(error)


torch.cuda.synchronize()
threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
conformance.require(not errors, f"no thread fails: {errors}")
for i, weight in enumerate(weights):
    conformance.save(f"gradient{i}", weight.grad)
