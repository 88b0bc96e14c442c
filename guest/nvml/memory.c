/* SPDX-License-Identifier: MIT */
/* Memory from the VM's ledger, and the processes of the VM that hold it. */
#include "guest/nvml/device.h"

/* A VM that may have all of the GPU's memory sees the sum that NVIDIA's library says, which counts
 * what the driver keeps for itself; one with a quota sees that. */
static void fill(const struct vgpu_mailbox_device *device, nvmlMemory_v2_t *memory)
{
    unsigned long long whole = device->reading[VGPU_READING_MEMORY_TOTAL];
    bool all = whole && device->memory_quota >= whole - whole / 16;
    unsigned long long total = all ? whole : device->memory_quota;
    unsigned long long reserved = all ? device->reading[VGPU_READING_MEMORY_RESERVED] : 0;
    unsigned long long used = device->memory_used < total ? device->memory_used : total;
    memory->total = total;
    memory->reserved = reserved < total - used ? reserved : total - used;
    memory->used = used;
    memory->free = total - memory->reserved - used;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    if (memory == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (memory->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    fill(&device, memory);
    return NVML_SUCCESS;
}

/* Here what is reserved counts as used. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory)
{
    nvmlMemory_v2_t whole = {.version = nvmlMemory_v2};
    nvmlReturn_t error = nvmlDeviceGetMemoryInfo_v2(handle, &whole);
    if (error)
        return error;
    if (memory == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *memory = (nvmlMemory_t){
        .total = whole.total, .free = whole.free, .used = whole.used + whole.reserved};
    return NVML_SUCCESS;
}

/* ---- processes ---- */

/* A program's list of processes, in one of the layouts that versions of the function have. */
struct list {
    char *place;
    size_t size;
    bool has_instances;
};

static void put(const struct list *list, unsigned int index, const struct vgpu_process_use *use)
{
    if (list->has_instances) {
        nvmlProcessInfo_t *info = (nvmlProcessInfo_t *)(void *)(list->place + index * list->size);
        *info = (nvmlProcessInfo_t){.pid = use->process,
                                    .usedGpuMemory = use->memory,
                                    .gpuInstanceId = 0xffffffff,
                                    .computeInstanceId = 0xffffffff};
    } else {
        nvmlProcessInfo_v1_t *info =
            (nvmlProcessInfo_v1_t *)(void *)(list->place + index * list->size);
        *info = (nvmlProcessInfo_v1_t){.pid = use->process, .usedGpuMemory = use->memory};
    }
}

static nvmlReturn_t list_processes(nvmlDevice_t handle, unsigned int *count,
                                   const struct list *list)
{
    struct vgpu_mailbox_device device;
    struct vgpu_mailbox_processes processes;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    unsigned int found = 0;
    if (error)
        return error;
    if (count == NULL || (*count && list->place == NULL))
        return NVML_ERROR_INVALID_ARGUMENT;
    do {
        error = vgpu_nvml_processes(found, &processes);
        if (error)
            return error;
        for (unsigned int i = 0; i < processes.count; i++, found++) {
            if (found < *count)
                put(list, found, &processes.process[i]);
        }
    } while (processes.count == VGPU_PROCESSES_MAX);
    error = found > *count ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
    *count = found;
    return error;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_t *infos)
{
    const struct list list = {(char *)infos, sizeof(*infos), true};
    return list_processes(handle, count, &list);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned int *count,
                                                     nvmlProcessInfo_v2_t *infos)
{
    const struct list list = {(char *)infos, sizeof(*infos), true};
    return list_processes(handle, count, &list);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t handle, unsigned int *count,
                                                  nvmlProcessInfo_v1_t *infos)
{
    const struct list list = {(char *)infos, sizeof(*infos), false};
    return list_processes(handle, count, &list);
}

/* Nobody draws, and there is no multi-process service. */
static nvmlReturn_t nobody(nvmlDevice_t handle, unsigned int *count)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    if (count == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return NVML_SUCCESS;
}

#define NOBODY(function, type)                                                                     \
    nvmlReturn_t function(nvmlDevice_t handle, unsigned int *count, type *infos)                   \
    {                                                                                              \
        (void)infos;                                                                               \
        return nobody(handle, count);                                                              \
    }
NOBODY(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_t)
NOBODY(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t)
NOBODY(nvmlDeviceGetGraphicsRunningProcesses, nvmlProcessInfo_v1_t)
NOBODY(nvmlDeviceGetMPSComputeRunningProcesses_v3, nvmlProcessInfo_t)
NOBODY(nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlProcessInfo_v2_t)
NOBODY(nvmlDeviceGetMPSComputeRunningProcesses, nvmlProcessInfo_v1_t)
