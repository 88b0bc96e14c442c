# SPDX-License-Identifier: MIT
"""Errors: a failed assertion in a kernel ends the process's CUDA, and only that."""
import subprocess
import sys

import conformance

if len(sys.argv) > 1:
    torch = conformance.seed()
    x = torch.zeros(4, device="cuda")
    try:
        print(x[torch.tensor([7], device="cuda")].cpu())
        sys.exit(1)
    except Exception as error:  # pylint: disable=broad-except
        print("first", "device-side assert" in str(error))
    try:
        torch.ones(3, device="cuda").cpu()
        sys.exit(1)
    except Exception as error:  # pylint: disable=broad-except
        print("sticky", "device-side assert" in str(error))
    sys.stdout.flush()
    import os
    os._exit(0)
child = subprocess.run([sys.executable, __file__, "child"], capture_output=True, text=True,
                       check=False)
conformance.require("first True" in child.stdout and "sticky True" in child.stdout,
                    f"the error is the assertion, and stays: {child.stdout}{child.stderr[-300:]}")
torch = conformance.seed()
conformance.save("alive", torch.arange(5, device="cuda") * 2)
