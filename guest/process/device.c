/* SPDX-License-Identifier: MIT */
/* Devices: all from the one description that was fetched by cuInit. There is one device. */
#include <stdio.h>
#include <string.h>

#include "guest/process/process.h"
#include "protocol/send.h"

static CUresult enter(CUdevice device)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

/* What programs would try because the host's GPU can do it, but this library cannot yet. */
static bool is_missing(CUdevice_attribute attribute)
{
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
    case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
    case CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS:
    case CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_FUNCTION_POINTERS:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MULTINODE_IPC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_ALLOC_DMA_BUF_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK:
    case CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH:
    case CU_DEVICE_ATTRIBUTE_D3D12_CIG_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_VULKAN_CIG_SUPPORTED:
        return true;
    default:
        return false;
    }
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    if (device == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (ordinal != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    *device = 0;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    if (count == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *count = 1;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int room, CUdevice device)
{
    CUresult error = enter(device);
    if (error)
        return error;
    if (name == NULL || room <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)room, "%s", vgpu_process()->info.name);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
    CUresult error = enter(device);
    if (error)
        return error;
    if (uuid == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(uuid->bytes, vgpu_process()->info.uuid, sizeof(uuid->bytes));
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    return cuDeviceGetUuid_v2(uuid, device);
}

/* A notion of Windows. */
CUresult cuDeviceGetLuid(char *luid, unsigned int *mask, CUdevice device)
{
    CUresult error = enter(device);
    (void)luid, (void)mask;
    return error ? error : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    CUresult error = enter(device);
    if (error)
        return error;
    if (bytes == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = vgpu_process()->info.memory_total;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    const struct vgpu_device_info *info = &vgpu_process()->info;
    CUresult error = enter(device);
    if (error)
        return error;
    if (value == NULL || (unsigned int)attribute >= VGPU_DEVICE_ATTRIBUTES ||
        !info->attribute_known[attribute])
        return CUDA_ERROR_INVALID_VALUE;
    *value = is_missing(attribute) ? 0 : info->attribute[attribute];
    return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    CUresult error = enter(device);
    if (error)
        return error;
    if (major == NULL || minor == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *major = vgpu_process_attribute(vgpu_process(), CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    *minor = vgpu_process_attribute(vgpu_process(), CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetProperties(CUdevprop *properties, CUdevice device)
{
    const int *value = vgpu_process()->info.attribute;
    CUresult error = enter(device);
    if (error)
        return error;
    if (properties == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *properties = (CUdevprop){
        .maxThreadsPerBlock = value[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
        .maxThreadsDim = {value[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X],
                          value[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y],
                          value[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z]},
        .maxGridSize = {value[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X],
                        value[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y],
                        value[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z]},
        .sharedMemPerBlock = value[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK],
        .totalConstantMemory = value[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY],
        .SIMDWidth = value[CU_DEVICE_ATTRIBUTE_WARP_SIZE],
        .memPitch = value[CU_DEVICE_ATTRIBUTE_MAX_PITCH],
        .regsPerBlock = value[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
        .clockRate = value[CU_DEVICE_ATTRIBUTE_CLOCK_RATE],
        .textureAlign = value[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT],
    };
    return CUDA_SUCCESS;
}

/* ---- the bus ---- */

struct bus_id {
    int domain, bus, device;
};

static struct bus_id own_bus_id(void)
{
    const int *value = vgpu_process()->info.attribute;
    return (struct bus_id){value[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
                           value[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
                           value[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]};
}

CUresult cuDeviceGetPCIBusId(char *text, int room, CUdevice device)
{
    CUresult error = enter(device);
    char whole[32];
    if (error)
        return error;
    struct bus_id id = own_bus_id();
    int length =
        snprintf(whole, sizeof(whole), "%04X:%02X:%02X.0", (unsigned int)id.domain & 0xffff,
                 (unsigned int)id.bus & 0xff, (unsigned int)id.device & 0xff);
    if (text == NULL || length >= room)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(text, whole, (size_t)length + 1);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *text)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    unsigned int domain = 0, bus, slot;
    if (error)
        return error;
    if (device == NULL || text == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct bus_id own = own_bus_id();
    if (sscanf(text, "%x:%x:%x", &domain, &bus, &slot) != 3) {
        domain = 0;
        if (sscanf(text, "%x:%x", &bus, &slot) != 2)
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (domain != (unsigned int)own.domain || bus != (unsigned int)own.bus ||
        slot != (unsigned int)own.device)
        return CUDA_ERROR_INVALID_DEVICE;
    *device = 0;
    return CUDA_SUCCESS;
}

/* ---- other devices, of which there are none ---- */

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer)
{
    CUresult error = enter(device);
    if (error == CUDA_SUCCESS)
        error = enter(peer);
    if (error)
        return error;
    if (can == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *can = 0;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice source,
                                 CUdevice destination)
{
    CUresult error = enter(source);
    (void)value, (void)attribute;
    if (error == CUDA_SUCCESS)
        error = enter(destination);
    return error ? error : CUDA_ERROR_INVALID_DEVICE; /* a device is no peer of itself */
}

CUresult cuDeviceGetExecAffinitySupport(int *supported, CUexecAffinityType type, CUdevice device)
{
    CUresult error = enter(device);
    (void)type;
    if (error)
        return error;
    if (supported == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *supported = 0; /* of types that nobody knows, too, as NVIDIA's driver says */
    return CUDA_SUCCESS;
}

CUresult cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget target,
                                    CUflushGPUDirectRDMAWritesScope scope)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    (void)target, (void)scope;
    return error ? error : CUDA_ERROR_NOT_SUPPORTED;
}

/* ---- atomic operations over links ---- */

#define OPERATIONS_MAX 64u /* there are fewer kinds, but a program may ask twice */

CUresult cuDeviceGetHostAtomicCapabilities(unsigned int *capabilities,
                                           const CUatomicOperation *operations, unsigned int count,
                                           CUdevice device)
{
    unsigned int answer[OPERATIONS_MAX];
    size_t bytes = 0;
    CUresult error = enter(device);
    if (error)
        return error;
    if (capabilities == NULL || operations == NULL || count == 0 || count > OPERATIONS_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuDeviceGetHostAtomicCapabilities(vgpu_process()->channel, 0, operations,
                                                        count * sizeof(*operations), answer,
                                                        sizeof(answer), &bytes);
    if (error == CUDA_SUCCESS && bytes == count * sizeof(*answer))
        memcpy(capabilities, answer, bytes);
    return error;
}

/* There is no second device. */
CUresult cuDeviceGetP2PAtomicCapabilities(unsigned int *capabilities,
                                          const CUatomicOperation *operations, unsigned int count,
                                          CUdevice source, CUdevice destination)
{
    (void)capabilities, (void)operations, (void)count, (void)source, (void)destination;
    CUresult error = vgpu_process_ready(vgpu_process());
    return error ? error : CUDA_ERROR_INVALID_DEVICE;
}

/* ---- profilers attach to NVIDIA's driver; switching them is allowed and does nothing ---- */

CUresult cuProfilerStart(void)
{
    struct vgpu_caller caller;
    return vgpu_caller_enter(&caller);
}

CUresult cuProfilerStop(void)
{
    struct vgpu_caller caller;
    return vgpu_caller_enter(&caller);
}
