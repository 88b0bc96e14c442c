/* SPDX-License-Identifier: MIT */
/* Executable graphs, and the memory that graphs allocate. */
#include <string.h>

#include "protocol/graph.h"
#include "worker/graph/graph_list.h"
#include "worker/graph/graph_memory.h"
#include "worker/worker.h"

/* The place of a node among those of its graph: the guest may have no name for it. */
static uint32_t place_of(const struct vgpu_worker *worker, CUgraph graph, CUgraphNode node)
{
    struct vgpu_node_list list = {0};
    uint32_t place = VGPU_NO_NODE;
    size_t count = 0;
    if (node && worker->driver->cuGraphGetNodes(graph, NULL, &count) == CUDA_SUCCESS &&
        vgpu_node_list_make(&list, count) == CUDA_SUCCESS &&
        worker->driver->cuGraphGetNodes(graph, list.from, &count) == CUDA_SUCCESS) {
        for (size_t i = 0; i < list.count && place == VGPU_NO_NODE; i++) {
            if (list.from[i] == node)
                place = (uint32_t)i;
        }
    }
    vgpu_node_list_free(&list);
    return place;
}

CUresult vgpu_replay_vgpuGraphInstantiate(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuGraphInstantiate *call)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {.flags = call->flags,
                                                .hUploadStream = call->upload};
    uint32_t units = 0;
    bool moves = false;
    CUresult error = vgpu_graph_memory_charge(worker, call->graph, &units, &moves);
    if (error == CUDA_SUCCESS) {
        error = worker->driver->cuGraphInstantiateWithParams(&call->exec, call->graph, &parameters);
        if (error)
            vgpu_graph_memory_return(worker, units);
        else
            worker->handles.table[call->exec_id].charged = units;
    } else {
        parameters.result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
    }
    struct vgpu_graph_outcome outcome = {
        .result = parameters.result_out,
        .error_node = error ? place_of(worker, call->graph, parameters.hErrNode_out) : VGPU_NO_NODE,
        .error_from = VGPU_NO_NODE,
        .judged = moves};
    memcpy(call->outcome, &outcome, sizeof(outcome));
    call->outcome_bytes = sizeof(outcome);
    return error;
}

CUresult vgpu_replay_vgpuGraphLaunchJudged(struct vgpu_worker *worker,
                                           struct vgpu_call_vgpuGraphLaunchJudged *call)
{
    return worker->driver->cuGraphLaunch(call->exec, call->stream);
}

CUresult vgpu_replay_vgpuGraphExecUpdate(struct vgpu_worker *worker,
                                         struct vgpu_call_vgpuGraphExecUpdate *call)
{
    CUgraphExecUpdateResultInfo info = {0};
    CUresult error = worker->driver->cuGraphExecUpdate(call->exec, call->graph, &info);
    struct vgpu_graph_outcome outcome = {
        .result = info.result,
        .error_node = error ? place_of(worker, call->graph, info.errorNode) : VGPU_NO_NODE,
        .error_from = error ? place_of(worker, call->graph, info.errorFromNode) : VGPU_NO_NODE};
    memcpy(call->outcome, &outcome, sizeof(outcome));
    call->outcome_bytes = sizeof(outcome);
    return error;
}

CUresult
vgpu_replay_cuDeviceGetGraphMemAttribute(struct vgpu_worker *worker,
                                         struct vgpu_call_cuDeviceGetGraphMemAttribute *call)
{
    cuuint64_t value = 0;
    CUresult error = worker->driver->cuDeviceGetGraphMemAttribute(
        call->device, (CUgraphMem_attribute)call->attribute, &value);
    call->value = value;
    return error;
}

CUresult
vgpu_replay_cuDeviceSetGraphMemAttribute(struct vgpu_worker *worker,
                                         struct vgpu_call_cuDeviceSetGraphMemAttribute *call)
{
    cuuint64_t value = call->value;
    return worker->driver->cuDeviceSetGraphMemAttribute(
        call->device, (CUgraphMem_attribute)call->attribute, &value);
}
