# SPDX-License-Identifier: MIT
"""nvidia-ml-py: the questions of monitoring agents get answers of the right kind."""
import pynvml

import conformance

pynvml.nvmlInit()
conformance.require(pynvml.nvmlDeviceGetCount() == 1, "there is one device")
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
conformance.save("name", pynvml.nvmlDeviceGetName(handle))
conformance.save("driver", pynvml.nvmlSystemGetDriverVersion())
conformance.save("capability", pynvml.nvmlDeviceGetCudaComputeCapability(handle))
memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
conformance.require(0 <= memory.used <= memory.total and memory.free <= memory.total,
                    "memory adds up")
rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
conformance.require(0 <= rates.gpu <= 100, "utilisation is a percentage")
conformance.require(5 < pynvml.nvmlDeviceGetTemperature(handle, 0) < 110, "temperature in degrees")
conformance.require(1000 < pynvml.nvmlDeviceGetPowerUsage(handle) < 2000000, "power in milliwatts")
conformance.require(pynvml.nvmlDeviceGetUUID(handle).startswith("GPU-"), "there is a UUID")
for clock in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM):
    conformance.require(pynvml.nvmlDeviceGetClockInfo(handle, clock) > 0, "clocks run")
pynvml.nvmlShutdown()
import torch  # noqa: E402

conformance.require(torch.cuda.device_count() == 1, "PyTorch counts by NVML")
conformance.require(torch.cuda.utilization() >= 0, "torch.cuda.utilization")
conformance.require(torch.cuda.temperature() > 5, "torch.cuda.temperature")
