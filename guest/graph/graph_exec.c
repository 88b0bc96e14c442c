/* SPDX-License-Identifier: MIT */
/* Executable graphs. */
#include <stdlib.h>

#include "guest/graph/capture.h"
#include "guest/graph/graph.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "guest/stream/upcall.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

/* ---- life ---- */

static void end_exec(struct vgpu_object *object)
{
    struct vgpu_graph_exec *exec = (struct vgpu_graph_exec *)object;
    vgpu_shadow_set_clear(&exec->needs.shadows);
    vgpu_exec_forget_parts(exec);
    free(exec->retired.ids); /* they stay taken: the last launch may still be on its way */
}

/* The node that is at fault, if the driver names one. */
static CUgraphNode node_at(const struct vgpu_caller *caller, struct vgpu_graph *graph,
                           CUresult error, uint32_t place)
{
    return error ? vgpu_graph_node_at(caller, graph, place) : NULL;
}

/* An executable graph does what the whole of a graph does: of what it needed before, only what was
 * said of it alone remains. False: no memory. */
static bool take_needs(struct vgpu_graph_exec *exec, const struct vgpu_graph *graph)
{
    vgpu_exec_forget_parts(exec);
    vgpu_shadow_set_clear(&exec->needs.shadows);
    exec->needs.hosts |= graph->needs.hosts;
    exec->needs.partial |= graph->needs.partial;
    return vgpu_shadow_set_join(&exec->needs.shadows, &graph->needs.shadows);
}

static CUresult instantiate(CUgraphExec *handle, CUgraph graph_handle,
                            CUDA_GRAPH_INSTANTIATE_PARAMS *parameters, CUstream upload_handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_graph_outcome outcome = {CUDA_GRAPH_INSTANTIATE_ERROR, VGPU_NO_NODE, VGPU_NO_NODE,
                                         0};
    struct vgpu_caller caller;
    struct vgpu_stream *upload;
    bool uploads = parameters->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD;
    size_t bytes;
    CUresult error = uploads ? vgpu_caller_enter_stream(&caller, upload_handle, &upload)
                             : vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_graph *graph = vgpu_graph_find(graph_handle);
    if (handle == NULL || graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_graph_exec *exec =
        vgpu_object_take(&process->objects, sizeof(*exec), caller.current);
    if (exec == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    exec->object.end = end_exec;
    exec->flags = parameters->flags & (CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                                       CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH);
    exec->serial = vgpu_process_new_id(process);
    error = take_needs(exec, graph)
                ? vgpu_process_note(process, vgpu_send_vgpuGraphInstantiate(
                                                 caller.channel, caller.context, exec->object.id,
                                                 graph->object.id, parameters->flags,
                                                 uploads ? upload->object.id : 0, &outcome,
                                                 sizeof(outcome), &bytes))
                : CUDA_ERROR_OUT_OF_MEMORY;
    parameters->result_out = (CUgraphInstantiateResult)outcome.result;
    parameters->hErrNode_out = node_at(&caller, graph, error, outcome.error_node);
    if (error) {
        vgpu_object_put(&process->objects, &exec->object);
        return error;
    }
    if (uploads)
        vgpu_stream_submitted(upload);
    exec->judged = outcome.judged;
    vgpu_object_publish(&exec->object, VGPU_KIND_EXEC);
    *handle = vgpu_object_handle(exec);
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    return parameters ? instantiate(exec, graph, parameters, parameters->hUploadStream)
                      : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec *exec, CUgraph graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    return parameters
               ? instantiate(exec, graph, parameters, vgpu_per_thread(parameters->hUploadStream))
               : CUDA_ERROR_INVALID_VALUE;
}

/* The upload of this form has no stream to go to. */
CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {.flags = flags};
    return flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD ? CUDA_ERROR_INVALID_VALUE
                                                      : instantiate(exec, graph, &parameters, NULL);
}

CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node,
                               char *text, size_t room)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {0};
    CUresult error = instantiate(exec, graph, &parameters, NULL);
    if (error_node)
        *error_node = parameters.hErrNode_out;
    if (text && room)
        text[0] = 0;
    return error;
}

extern __typeof__(cuGraphInstantiate_v2) cuGraphInstantiate
    __attribute__((alias("cuGraphInstantiate_v2")));

CUresult cuGraphExecDestroy(CUgraphExec handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    struct vgpu_graph_exec *exec = vgpu_graph_exec_find(handle);
    if (exec == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    bool hosts = exec->needs.hosts;
    error = vgpu_send_cuGraphExecDestroy(caller.channel, 0, exec->object.id);
    vgpu_object_put(&vgpu_process()->objects, &exec->object);
    if (hosts)
        vgpu_upcall_hurry();
    return error;
}

CUresult cuGraphExecGetFlags(CUgraphExec handle, cuuint64_t *flags)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    const struct vgpu_graph_exec *exec = vgpu_graph_exec_find(handle);
    if (exec == NULL || flags == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = exec->flags;
    return CUDA_SUCCESS;
}

/* ---- running ---- */

static CUresult find_both_ends(struct vgpu_caller *caller, CUgraphExec handle,
                               CUstream stream_handle, struct vgpu_graph_exec **exec,
                               struct vgpu_stream **stream)
{
    CUresult error = vgpu_caller_enter_stream(caller, stream_handle, stream);
    if (error)
        return error;
    *exec = vgpu_graph_exec_find(handle);
    if (*exec == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    /* An executable graph cannot become part of another one. */
    return vgpu_capture_of(*stream) ? vgpu_capture_wait_stream(*stream) : CUDA_SUCCESS;
}

static CUresult post_launch(const struct vgpu_caller *caller, const struct vgpu_graph_exec *exec,
                            const struct vgpu_stream *stream)
{
    if (!exec->judged)
        return vgpu_send_cuGraphLaunch(caller->channel, caller->context, exec->object.id,
                                       stream->object.id);
    /* It may want memory that somebody has yet to free, or has freed: only the driver knows. */
    return vgpu_process_note(vgpu_process(),
                             vgpu_send_vgpuGraphLaunchJudged(caller->channel, caller->context,
                                                             exec->object.id, stream->object.id));
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle)
{
    struct vgpu_caller caller;
    struct vgpu_graph_exec *exec;
    struct vgpu_stream *stream;
    struct vgpu_shadow_run *run;
    CUresult error = find_both_ends(&caller, handle, stream_handle, &exec, &stream);
    if (error)
        return error;
    error = vgpu_shadows_fill(&caller, &exec->needs.shadows,
                              exec->needs.partial || exec->needs.hosts, &exec->retired, &run);
    if (error)
        return error;
    exec->launches++;
    error = post_launch(&caller, exec, stream);
    if (error)
        vgpu_shadows_not_launched(run);
    else
        error = vgpu_shadows_launched(&caller, stream, run);
    if (error)
        return error;
    vgpu_stream_submitted(stream);
    if (exec->needs.hosts)
        vgpu_upcall_hurry();
    return vgpu_process()->launch_blocking ? vgpu_stream_wait(&caller, stream) : CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream stream_handle)
{
    struct vgpu_caller caller;
    struct vgpu_graph_exec *exec;
    struct vgpu_stream *stream;
    CUresult error = find_both_ends(&caller, handle, stream_handle, &exec, &stream);
    if (error)
        return error;
    error =
        vgpu_send_cuGraphUpload(caller.channel, caller.context, exec->object.id, stream->object.id);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

VGPU_PTSZ(cuGraphLaunch, (CUgraphExec exec, CUstream stream), (exec, vgpu_per_thread(stream)))
VGPU_PTSZ(cuGraphUpload, (CUgraphExec exec, CUstream stream), (exec, vgpu_per_thread(stream)))

/* ---- changing ---- */

CUresult cuGraphExecUpdate_v2(CUgraphExec handle, CUgraph graph_handle,
                              CUgraphExecUpdateResultInfo *info)
{
    struct vgpu_graph_outcome outcome = {CU_GRAPH_EXEC_UPDATE_ERROR, VGPU_NO_NODE, VGPU_NO_NODE, 0};
    struct vgpu_caller caller;
    size_t bytes;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_graph_exec *exec = vgpu_graph_exec_find(handle);
    struct vgpu_graph *graph = vgpu_graph_find(graph_handle);
    if (exec == NULL || graph == NULL || info == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_vgpuGraphExecUpdate(caller.channel, caller.context,
                                                            exec->object.id, graph->object.id,
                                                            &outcome, sizeof(outcome), &bytes));
    exec->serial = vgpu_process_new_id(vgpu_process()); /* its kernels may be others now */
    info->result = (CUgraphExecUpdateResult)outcome.result;
    info->errorNode = node_at(&caller, graph, error, outcome.error_node);
    info->errorFromNode = node_at(&caller, graph, error, outcome.error_from);
    if (error)
        return error;
    exec->updated = true;
    return take_needs(exec, graph) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node,
                           CUgraphExecUpdateResult *result)
{
    CUgraphExecUpdateResultInfo info = {.result = CU_GRAPH_EXEC_UPDATE_ERROR};
    CUresult error = cuGraphExecUpdate_v2(exec, graph, &info);
    if (error_node)
        *error_node = info.errorNode;
    if (result)
        *result = info.result;
    return error;
}

/* ---- memory of graphs ---- */

CUresult cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
    struct vgpu_caller caller;
    uint64_t answer = 0;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(), vgpu_send_cuDeviceGetGraphMemAttribute(
                                                  caller.channel, 0, &answer, device, attribute));
    if (error == CUDA_SUCCESS)
        *(cuuint64_t *)value = answer;
    return error;
}

CUresult cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_process_note(
        vgpu_process(), vgpu_send_cuDeviceSetGraphMemAttribute(caller.channel, 0, device, attribute,
                                                               *(const cuuint64_t *)value));
}
