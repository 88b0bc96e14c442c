/* SPDX-License-Identifier: MIT */
/* Hints about where managed memory should be: checked, remembered, and told back. */
#include "interop/managed.h"

#include "interop/advice.h"
#include "interop/per_thread.h"

/* ---- ranges ---- */

struct range {
    uint64_t start;
    uint64_t end;
};

/* The whole pages around a range of managed memory, as far as they are of its allocation. */
static CUresult find_range(CUdeviceptr address, size_t size, struct range *range)
{
    const uint64_t page = VGPU_ADVICE_PAGE;
    struct vgpu_managed found;
    uint64_t last;

    if (size == 0 || !vgpu_managed_find(address, &found) ||
        size > found.size - (size_t)(address - found.address))
        return CUDA_ERROR_INVALID_VALUE;
    last = found.address + found.size;
    range->start = address & ~(page - 1);
    range->end = (address + size + page - 1) & ~(page - 1);
    if (range->start < found.address)
        range->start = found.address;
    if (range->end > last)
        range->end = last;
    return CUDA_SUCCESS;
}

/* A location as the older functions name it. */
static CUmemLocation location_of(CUdevice device)
{
    CUmemLocation location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};

    if (device == CU_DEVICE_CPU)
        location = (CUmemLocation){.type = CU_MEM_LOCATION_TYPE_HOST};
    return location;
}

/* The host is taken as one node. */
static CUresult check_location(const CUmemLocation *location)
{
    switch (location->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return vgpu_managed_has_device(location->id) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        return location->id == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* ---- advice ---- */

struct advise {
    CUmem_advise advice;
    CUmemLocation location;
};

static void apply(struct vgpu_advice *advice, const void *argument)
{
    const struct advise *advise = argument;
    const CUmemLocation *location = &advise->location;
    uint32_t bit =
        1u << (location->type == CU_MEM_LOCATION_TYPE_DEVICE ? location->id : VGPU_ADVICE_HOST_BIT);

    switch (advise->advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
        advice->read_mostly = advise->advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
        break;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        advice->preferred = *location;
        break;
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        advice->preferred = (CUmemLocation){0};
        break;
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
        advice->accessed_by |= bit;
        break;
    default:
        advice->accessed_by &= ~bit;
        break;
    }
}

static CUresult check_advice(const struct advise *advise)
{
    const CUmemLocation *location = &advise->location;

    switch (advise->advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        return CUDA_SUCCESS;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        return check_location(location);
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
        if (location->type != CU_MEM_LOCATION_TYPE_DEVICE &&
            location->type != CU_MEM_LOCATION_TYPE_HOST)
            return CUDA_ERROR_INVALID_VALUE;
        return check_location(location);
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuMemAdvise_v2(CUdeviceptr devPtr, size_t count, CUmem_advise advice,
                        CUmemLocation location)
{
    struct advise advise = {.advice = advice, .location = location};
    struct range range;
    CUresult result = vgpu_managed_enter();

    if (result == CUDA_SUCCESS)
        result = check_advice(&advise);
    if (result == CUDA_SUCCESS)
        result = find_range(devPtr, count, &range);
    if (result != CUDA_SUCCESS)
        return result;
    return vgpu_advice_change(range.start, range.end, apply, &advise) < 0 ? CUDA_ERROR_OUT_OF_MEMORY
                                                                          : CUDA_SUCCESS;
}

CUresult cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device)
{
    return cuMemAdvise_v2(devPtr, count, advice, location_of(device));
}

/* ---- prefetching ---- */

static void note_prefetch(struct vgpu_advice *advice, const void *argument)
{
    advice->prefetched = *(const CUmemLocation *)argument;
}

/* What was asked for last counts, whether the stream has got there or not. */
static CUresult prefetch(CUdeviceptr address, size_t size, const CUmemLocation *location)
{
    struct range range;
    CUresult result = check_location(location);

    if (result == CUDA_SUCCESS)
        result = find_range(address, size, &range);
    if (result != CUDA_SUCCESS)
        return result;
    return vgpu_advice_change(range.start, range.end, note_prefetch, location) < 0
               ? CUDA_ERROR_OUT_OF_MEMORY
               : CUDA_SUCCESS;
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr devPtr, size_t count, CUmemLocation location,
                               unsigned int flags, CUstream hStream)
{
    CUresult result = vgpu_managed_enter_stream(hStream);

    if (result == CUDA_SUCCESS && flags)
        result = CUDA_ERROR_INVALID_VALUE;
    return result == CUDA_SUCCESS ? prefetch(devPtr, count, &location) : result;
}

CUresult cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream)
{
    return cuMemPrefetchAsync_v2(devPtr, count, location_of(dstDevice), 0, hStream);
}

/* ---- batches ---- */

static CUresult check_ranges(const CUdeviceptr *addresses, const size_t *sizes, size_t count,
                             unsigned long long flags, CUstream stream)
{
    struct range range;
    CUresult result = vgpu_managed_enter_stream(stream);

    if (result == CUDA_SUCCESS &&
        (!addresses || !sizes || count == 0 || flags || !stream || stream == CU_STREAM_LEGACY))
        result = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++)
        result = find_range(addresses[i], sizes[i], &range);
    return result;
}

static CUresult check_locations(const CUmemLocation *locations, const size_t *indices, size_t count,
                                size_t ranges)
{
    CUresult result = CUDA_SUCCESS;

    if (!locations || !indices || count == 0 || count > ranges || indices[0] != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++) {
        if (indices[i] >= ranges || (i > 0 && indices[i] < indices[i - 1]))
            return CUDA_ERROR_INVALID_VALUE;
        result = check_location(&locations[i]);
    }
    return result;
}

CUresult cuMemPrefetchBatchAsync(CUdeviceptr *dptrs, size_t *sizes, size_t count,
                                 CUmemLocation *prefetchLocs, size_t *prefetchLocIdxs,
                                 size_t numPrefetchLocs, unsigned long long flags, CUstream hStream)
{
    CUresult result = check_ranges(dptrs, sizes, count, flags, hStream);

    if (result == CUDA_SUCCESS)
        result = check_locations(prefetchLocs, prefetchLocIdxs, numPrefetchLocs, count);
    for (size_t i = 0, at = 0; result == CUDA_SUCCESS && i < count; i++) {
        while (at + 1 < numPrefetchLocs && prefetchLocIdxs[at + 1] == i)
            at++; /* several may begin here: that of the last one is left */
        result = prefetch(dptrs[i], sizes[i], &prefetchLocs[at]);
    }
    return result;
}

/* What is discarded may still be read as it was, which is as good as anything. */
CUresult cuMemDiscardBatchAsync(CUdeviceptr *dptrs, size_t *sizes, size_t count,
                                unsigned long long flags, CUstream hStream)
{
    return check_ranges(dptrs, sizes, count, flags, hStream);
}

CUresult cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *dptrs, size_t *sizes, size_t count,
                                           CUmemLocation *prefetchLocs, size_t *prefetchLocIdxs,
                                           size_t numPrefetchLocs, unsigned long long flags,
                                           CUstream hStream)
{
    return cuMemPrefetchBatchAsync(dptrs, sizes, count, prefetchLocs, prefetchLocIdxs,
                                   numPrefetchLocs, flags, hStream);
}

/* ---- streams ---- */

/* All streams and the host may use managed memory at any time, so an association is only checked.
 */
CUresult cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length,
                                unsigned int flags)
{
    struct vgpu_managed found;
    CUresult result = vgpu_managed_enter_stream(hStream);

    if (result != CUDA_SUCCESS)
        return result;
    if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
        flags != CU_MEM_ATTACH_SINGLE)
        return CUDA_ERROR_INVALID_VALUE;
    if (!vgpu_managed_find(dptr, &found) || found.address != dptr ||
        (length && length != found.size) ||
        (flags == CU_MEM_ATTACH_SINGLE && (!hStream || hStream == CU_STREAM_LEGACY)))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* ---- what is known of a range ---- */

/* What all parts that were visited have in common. */
struct summary {
    bool any;
    struct vgpu_advice common;
};

static void keep_common(CUmemLocation *common, const CUmemLocation *other)
{
    if (common->type != other->type || common->id != other->id)
        *common = (CUmemLocation){0};
}

static void summarise(const struct vgpu_advice *advice, void *argument)
{
    struct summary *summary = argument;

    if (!summary->any)
        summary->common = *advice;
    summary->any = true;
    summary->common.read_mostly &= advice->read_mostly;
    summary->common.accessed_by &= advice->accessed_by;
    keep_common(&summary->common.preferred, &advice->preferred);
    keep_common(&summary->common.prefetched, &advice->prefetched);
}

static void list_accessors(uint32_t mask, int *list, size_t count)
{
    size_t n = 0;

    for (int i = 0; i <= VGPU_ADVICE_HOST_BIT && n < count; i++) {
        if (mask & 1u << i)
            list[n++] = i == VGPU_ADVICE_HOST_BIT ? CU_DEVICE_CPU : i;
    }
    while (n < count)
        list[n++] = CU_DEVICE_INVALID;
}

/* A location as one number. */
static int number_of(const CUmemLocation *location)
{
    if (location->type == CU_MEM_LOCATION_TYPE_NONE)
        return CU_DEVICE_INVALID;
    return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? location->id : CU_DEVICE_CPU;
}

static CUresult tell(const struct vgpu_advice *advice, CUmem_range_attribute attribute, void *data,
                     size_t bytes)
{
    int *value = data;

    if (!data || bytes == 0 || bytes % sizeof(int) ||
        (attribute != CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY && bytes != sizeof(int)))
        return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
        *value = advice->read_mostly;
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
        *value = number_of(&advice->preferred);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
        list_accessors(advice->accessed_by, value, bytes / sizeof(int));
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
        *value = number_of(&advice->prefetched);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
        *value = (int)advice->preferred.type;
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
        *value = advice->preferred.id;
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
        *value = (int)advice->prefetched.type;
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
        *value = advice->prefetched.id;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuMemRangeGetAttributes(void **data, size_t *dataSizes, CUmem_range_attribute *attributes,
                                 size_t numAttributes, CUdeviceptr devPtr, size_t count)
{
    struct summary summary = {.any = false};
    struct range range;
    CUresult result = vgpu_managed_enter();

    if (result == CUDA_SUCCESS && (!data || !dataSizes || !attributes || numAttributes == 0))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = find_range(devPtr, count, &range);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_advice_visit(range.start, range.end, summarise, &summary);
    for (size_t i = 0; result == CUDA_SUCCESS && i < numAttributes; i++)
        result = tell(&summary.common, attributes[i], data[i], dataSizes[i]);
    return result;
}

CUresult cuMemRangeGetAttribute(void *data, size_t dataSize, CUmem_range_attribute attribute,
                                CUdeviceptr devPtr, size_t count)
{
    return cuMemRangeGetAttributes(&data, &dataSize, &attribute, 1, devPtr, count);
}

VGPU_PTSZ(cuMemPrefetchAsync, (CUdeviceptr address, size_t size, CUdevice to, CUstream stream),
          (address, size, to, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemPrefetchAsync_v2,
          (CUdeviceptr address, size_t size, CUmemLocation to, unsigned int flags, CUstream stream),
          (address, size, to, flags, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemPrefetchBatchAsync,
          (CUdeviceptr * addresses, size_t *sizes, size_t count, CUmemLocation *locations,
           size_t *indices, size_t location_count, unsigned long long flags, CUstream stream),
          (addresses, sizes, count, locations, indices, location_count, flags,
           vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemDiscardBatchAsync,
          (CUdeviceptr * addresses, size_t *sizes, size_t count, unsigned long long flags,
           CUstream stream),
          (addresses, sizes, count, flags, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemDiscardAndPrefetchBatchAsync,
          (CUdeviceptr * addresses, size_t *sizes, size_t count, CUmemLocation *locations,
           size_t *indices, size_t location_count, unsigned long long flags, CUstream stream),
          (addresses, sizes, count, locations, indices, location_count, flags,
           vgpu_per_thread(stream)))
VGPU_PTSZ(cuStreamAttachMemAsync,
          (CUstream stream, CUdeviceptr address, size_t length, unsigned int flags),
          (vgpu_per_thread(stream), address, length, flags))
