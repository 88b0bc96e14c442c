/* SPDX-License-Identifier: MIT */
/* Attributes of streams: the driver has them; a priority is also known here. */
#include <string.h>

#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

static CUresult get(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                    CUstreamAttrID attribute, CUstreamAttrValue *value)
{
    size_t bytes = 0;
    CUresult error = vgpu_process_note(
        vgpu_process(),
        vgpu_send_cuStreamGetAttribute(caller->channel, caller->context, stream->object.id,
                                       attribute, value, sizeof(*value), &bytes));
    return error || bytes == sizeof(*value) ? error : CUDA_ERROR_UNKNOWN;
}

/* What became of the priority, which the driver may have clamped. */
static void learn_priority(const struct vgpu_caller *caller, struct vgpu_stream *stream)
{
    CUstreamAttrValue value;
    if (get(caller, stream, CU_STREAM_ATTRIBUTE_PRIORITY, &value) == CUDA_SUCCESS)
        stream->priority = value.priority;
}

CUresult cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUstreamAttrValue answer;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = get(&caller, stream, attribute, &answer);
    if (error == CUDA_SUCCESS)
        *value = answer;
    return error;
}

CUresult cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute,
                              const CUstreamAttrValue *value)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(), vgpu_send_cuStreamSetAttribute(
                                                  caller.channel, caller.context, stream->object.id,
                                                  attribute, value, sizeof(*value)));
    if (error == CUDA_SUCCESS && attribute == CU_STREAM_ATTRIBUTE_PRIORITY)
        learn_priority(&caller, stream);
    return error;
}

CUresult cuStreamCopyAttributes(CUstream to_handle, CUstream from_handle)
{
    struct vgpu_caller caller, of_source;
    struct vgpu_stream *to, *from;
    CUresult error = vgpu_caller_enter_stream(&of_source, from_handle, &from);
    if (error == CUDA_SUCCESS)
        error = vgpu_caller_enter_stream(&caller, to_handle, &to);
    if (error)
        return error;
    if (caller.current != of_source.current)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuStreamCopyAttributes(caller.channel, caller.context,
                                                               to->object.id, from->object.id));
    if (error == CUDA_SUCCESS)
        learn_priority(&caller, to);
    return error;
}

VGPU_PTSZ(cuStreamGetAttribute,
          (CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value),
          (vgpu_per_thread(handle), attribute, value))
VGPU_PTSZ(cuStreamSetAttribute,
          (CUstream handle, CUstreamAttrID attribute, const CUstreamAttrValue *value),
          (vgpu_per_thread(handle), attribute, value))
VGPU_PTSZ(cuStreamCopyAttributes, (CUstream to, CUstream from),
          (vgpu_per_thread(to), vgpu_per_thread(from)))
