/* SPDX-License-Identifier: MIT */
/* Attributes of streams. They are kept and told back: here no caches and no domains tell streams
 * apart. */
#include <string.h>

#include "interop/per_thread.h"
#include "soft/driver/stream/stream.h"

/* Where a stream keeps an attribute, or NULL if streams have no such one. */
static CUstreamAttrValue *place(struct vgpu_stream *stream, CUstreamAttrID attribute)
{
    switch (attribute) {
    case CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW:
        return &stream->window;
    case CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY:
        return &stream->synchronization;
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
        return &stream->domain_map;
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN:
        return &stream->domain;
    default:
        return NULL;
    }
}

void vgpu_stream_init_attributes(struct vgpu_stream *stream)
{
    stream->synchronization.syncPolicy = CU_SYNC_POLICY_AUTO;
    stream->domain_map.memSyncDomainMap = (CUlaunchMemSyncDomainMap){.default_ = 0, .remote = 1};
}

static bool is_valid(CUstreamAttrID attribute, const CUstreamAttrValue *value)
{
    const CUaccessPolicyWindow *window = &value->accessPolicyWindow;

    switch (attribute) {
    case CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW:
        return window->hitRatio >= 0 && window->hitRatio <= 1 &&
               window->hitProp <= CU_ACCESS_PROPERTY_PERSISTING &&
               window->missProp <= CU_ACCESS_PROPERTY_STREAMING;
    case CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY:
        return value->syncPolicy >= CU_SYNC_POLICY_AUTO &&
               value->syncPolicy <= CU_SYNC_POLICY_BLOCKING_SYNC;
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN:
        return value->memSyncDomain <= CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE;
    default:
        return true;
    }
}

CUresult cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(handle, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    const CUstreamAttrValue *kept = place(stream, attribute);
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (value && attribute == CU_STREAM_ATTRIBUTE_PRIORITY)
        value->priority = stream->priority;
    else if (value && kept)
        *value = *kept;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(stream);
    return result;
}

static int clamp_priority(int priority)
{
    return priority > VGPU_PRIORITY_LEAST      ? VGPU_PRIORITY_LEAST
           : priority < VGPU_PRIORITY_GREATEST ? VGPU_PRIORITY_GREATEST
                                               : priority;
}

CUresult cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute,
                              const CUstreamAttrValue *value)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(handle, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    CUstreamAttrValue *kept = place(stream, attribute);
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (value && attribute == CU_STREAM_ATTRIBUTE_PRIORITY)
        stream->priority = clamp_priority(value->priority);
    else if (value && kept && is_valid(attribute, value))
        *kept = *value;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(stream);
    return result;
}

CUresult cuStreamCopyAttributes(CUstream to_handle, CUstream from_handle)
{
    struct vgpu_stream *to, *from;
    CUresult result = vgpu_stream_enter(to_handle, &to);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_stream_enter(from_handle, &from);
    if (result == CUDA_SUCCESS) {
        pthread_mutex_lock(&vgpu_driver()->lock);
        to->window = from->window;
        to->synchronization = from->synchronization;
        to->domain_map = from->domain_map;
        to->domain = from->domain;
        to->priority = from->priority;
        pthread_mutex_unlock(&vgpu_driver()->lock);
        vgpu_object_put(from);
    }
    vgpu_object_put(to);
    return result;
}

VGPU_PTSZ(cuStreamGetAttribute,
          (CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value),
          (vgpu_per_thread(handle), attribute, value))
VGPU_PTSZ(cuStreamSetAttribute,
          (CUstream handle, CUstreamAttrID attribute, const CUstreamAttrValue *value),
          (vgpu_per_thread(handle), attribute, value))
VGPU_PTSZ(cuStreamCopyAttributes, (CUstream to, CUstream from),
          (vgpu_per_thread(to), vgpu_per_thread(from)))
