# SPDX-License-Identifier: MIT
"""NCCL with one rank, under torch.distributed."""
import os

import conformance

torch = conformance.seed()
os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
os.environ.setdefault("MASTER_PORT", str(20000 + os.getpid() % 20000))
torch.distributed.init_process_group("nccl", rank=0, world_size=1)
x = torch.randn(1000, device="cuda")
conformance.save("before", x)
torch.distributed.all_reduce(x)
conformance.save("all_reduce", x)
parts = [torch.empty_like(x)]
torch.distributed.all_gather(parts, x)
conformance.save("all_gather", parts[0])
torch.distributed.broadcast(x, 0)
torch.distributed.barrier()
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(20, 3).cuda())
model(torch.randn(8, 20, device="cuda")).square().sum().backward()
conformance.save("ddp", next(model.parameters()).grad)
torch.distributed.destroy_process_group()
