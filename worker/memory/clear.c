/* SPDX-License-Identifier: MIT */
#include "worker/memory/clear.h"

#include <stdbool.h>

#include "worker/context.h"
#include "worker/timing.h"
#include "worker/worker.h"

/* What takes less of the GPU's cache than this pushes nothing out of it that matters. */
#define SMALL (1u << 20)

#define PATIENCE 2000000u /* ns */

static bool is_legacy(CUstream stream)
{
    return stream == NULL || stream == CU_STREAM_LEGACY;
}

/* Whether what is posted to the stream begins at once. Streams that block wait for each other by
 * way of the legacy one. */
static bool is_idle(const struct vgpu_worker *worker, CUstream stream)
{
    const struct vgpu_driver *driver = worker->driver;
    unsigned int flags = 0;
    if (!is_legacy(stream) && driver->cuStreamGetFlags(stream, &flags) != CUDA_SUCCESS)
        return false;
    if (flags & CU_STREAM_NON_BLOCKING)
        return driver->cuStreamQuery(stream) == CUDA_SUCCESS;
    return vgpu_context_is_done(worker, false);
}

/* Who allocates would wait for a kernel that runs, so not for long, and not time and again. */
static bool becomes_idle(const struct vgpu_worker *worker, CUstream stream)
{
    struct vgpu_context *context = worker->current;
    uint64_t start = vgpu_timing_now();
    bool idle;
    do
        idle = is_idle(worker, stream);
    while (!idle && !context->hasty && vgpu_timing_now() - start < PATIENCE);
    context->hasty = !idle;
    return idle;
}

CUresult vgpu_clear_stream(struct vgpu_worker *worker, CUstream *stream)
{
    struct vgpu_context *context = worker->current;
    CUresult error = CUDA_SUCCESS;
    *stream = NULL; /* of a context that is borrowed, and in which nothing else happens */
    if (context == NULL)
        return CUDA_SUCCESS;
    /* To ask a stream that captures, even for its flags, ends its capture. */
    if (worker->captures == 0 && becomes_idle(worker, context->launched)) {
        *stream = context->launched;
        return CUDA_SUCCESS;
    }
    if (context->scrub == NULL) {
        /* Who allocates waits for it: it shall not have to wait for all of a long kernel. */
        int least = 0, greatest = 0;
        (void)worker->driver->cuCtxGetStreamPriorityRange(&least, &greatest);
        error = worker->driver->cuStreamCreateWithPriority(&context->scrub, CU_STREAM_NON_BLOCKING,
                                                           greatest);
    }
    *stream = context->scrub;
    return error;
}

/* How much at a time can be kept from staying in the cache; 0: the GPU cannot do that. */
static uint64_t window_size(const struct vgpu_driver *driver)
{
    int most = 0;
    if (driver->cuStreamSetAttribute == NULL || driver->cuStreamGetAttribute == NULL ||
        driver->cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE, 0) !=
            CUDA_SUCCESS)
        return 0;
    return most > 0 ? (uint64_t)most : 0;
}

static bool set_streaming(const struct vgpu_driver *driver, CUstream stream, CUdeviceptr address,
                          uint64_t bytes)
{
    CUstreamAttrValue value = {
        .accessPolicyWindow = {.base_ptr = (void *)(uintptr_t)address, /* of the device */
                               .num_bytes = bytes,
                               .hitRatio = 1.0f,
                               .hitProp = CU_ACCESS_PROPERTY_STREAMING,
                               .missProp = CU_ACCESS_PROPERTY_STREAMING}};
    return driver->cuStreamSetAttribute(stream, CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW, &value) ==
           CUDA_SUCCESS;
}

CUresult vgpu_clear_in(struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes,
                       CUstream stream)
{
    const struct vgpu_driver *driver = worker->driver;
    vgpu_clear_count(worker, bytes);
    uint64_t window = bytes < SMALL ? 0 : window_size(driver);
    CUstreamAttrValue before;
    if (window == 0 ||
        driver->cuStreamGetAttribute(stream, CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW, &before))
        return driver->cuMemsetD8Async(address, 0, bytes, stream);
    CUresult error = CUDA_SUCCESS;
    while (bytes > 0 && error == CUDA_SUCCESS) {
        uint64_t piece = bytes < window ? bytes : window;
        if (!set_streaming(driver, stream, address, piece))
            piece = bytes;
        error = driver->cuMemsetD8Async(address, 0, piece, stream);
        address += piece;
        bytes -= piece;
    }
    driver->cuStreamSetAttribute(stream, CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW, &before);
    return error;
}

void vgpu_clear_count(struct vgpu_worker *worker, uint64_t bytes)
{
    __atomic_fetch_add(&worker->page->bytes_cleared, bytes,
                       __ATOMIC_RELAXED); /* a number to show */
}

CUresult vgpu_clear(struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    CUstream stream;
    if (driver->is_software)
        return CUDA_SUCCESS;
    CUresult error = vgpu_clear_stream(worker, &stream);
    if (error == CUDA_SUCCESS)
        error = vgpu_clear_in(worker, address, bytes, stream);
    if (error == CUDA_SUCCESS)
        error = driver->cuStreamSynchronize(stream);
    return error;
}

static CUresult clear_mapped(struct vgpu_worker *worker, CUmemGenericAllocationHandle physical,
                             CUdeviceptr address, uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    const CUmemAccessDesc access = {.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
                                    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    bool borrowed;
    CUresult error = driver->cuMemMap(address, bytes, 0, physical, 0);
    if (error)
        return error;
    error = driver->cuMemSetAccess(address, bytes, &access, 1);
    if (error == CUDA_SUCCESS) {
        error = vgpu_context_borrow(worker, &borrowed);
        if (error == CUDA_SUCCESS)
            error = vgpu_clear(worker, address, bytes);
        if (borrowed)
            vgpu_context_give_back(worker);
    }
    driver->cuMemUnmap(address, bytes);
    return error;
}

CUresult vgpu_clear_physical(struct vgpu_worker *worker, CUmemGenericAllocationHandle physical,
                             uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    CUdeviceptr address = 0;
    if (driver->is_software)
        return CUDA_SUCCESS;
    CUresult error = driver->cuMemAddressReserve(&address, bytes, 0, 0, 0);
    if (error)
        return error;
    error = clear_mapped(worker, physical, address, bytes);
    driver->cuMemAddressFree(address, bytes);
    return error;
}
