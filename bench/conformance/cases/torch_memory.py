# SPDX-License-Identifier: MIT
"""What PyTorch says of memory: summary, statistics, snapshot, limits, out of memory."""
import conformance

torch = conformance.seed()
x = [torch.empty(1 << 20, device="cuda") for _ in range(9)]
conformance.save("allocated", torch.cuda.memory_allocated())
conformance.save("reserved", torch.cuda.memory_reserved())
conformance.require("GPU reserved memory" in torch.cuda.memory_summary(), "there is a summary")
torch.cuda.memory._record_memory_history(max_entries=100)
del x[3:]
y = torch.empty(5 << 20, device="cuda")
snapshot = torch.cuda.memory._snapshot()
conformance.save("segments", len(snapshot["segments"]))
conformance.save("traces", len(snapshot["device_traces"][0]))
torch.cuda.memory._record_memory_history(enabled=None)
free, total = torch.cuda.mem_get_info()
conformance.require(0 < free <= total, "free memory is part of the total")
conformance.save("total", torch.cuda.get_device_properties(0).total_memory)
conformance.save("name", torch.cuda.get_device_name(0))
conformance.save("capability", torch.cuda.get_device_capability(0))
try:
    torch.empty(1 << 50, device="cuda", dtype=torch.uint8)
    conformance.require(False, "too much is refused")
except torch.cuda.OutOfMemoryError:
    pass
conformance.save("after", torch.ones(5, device="cuda") * 2)
torch.cuda.empty_cache()
torch.cuda.reset_peak_memory_stats()
