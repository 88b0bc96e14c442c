/* SPDX-License-Identifier: MIT */
/* cuGraphInstantiate*, cuGraphLaunch, cuGraphUpload: executable graphs as a whole. */
#include "soft/driver/graph/executable.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "interop/per_thread.h"
#include "soft/driver/graph/capture.h"
#include "soft/driver/graph/capture_state.h"
#include "soft/driver/graph/condition.h"
#include "soft/driver/graph/graph_memory.h"

struct vgpu_executable *vgpu_executable_find(CUgraphExec handle)
{
    struct vgpu_executable *executable = vgpu_object_take(handle, VGPU_OBJECT_EXECUTABLE);

    vgpu_object_put(executable); /* it ends under the lock only */
    return executable;
}

struct vgpu_graph *vgpu_executable_change(struct vgpu_executable *executable)
{
    struct vgpu_graph *plan = executable->plan;
    struct vgpu_graph *copy;

    /* Acquire pairs with the release of a launch that puts its reference back. */
    if (atomic_load_explicit(&plan->object.references, memory_order_acquire) == 1)
        return plan;
    copy = vgpu_graph_copy(plan, false, true);
    if (copy) {
        executable->plan = copy;
        vgpu_object_put(plan);
    }
    return copy;
}

static void destroy_executable(struct vgpu_object *object)
{
    struct vgpu_executable *executable = (struct vgpu_executable *)object;

    vgpu_object_put(executable->plan);
    vgpu_object_put(executable->launched.stream);
    free(executable);
}

/* ---- instantiating ---- */

/* Lock held. */
static bool has_unused_condition(const struct vgpu_graph *graph)
{
    for (const struct vgpu_condition *condition = graph->conditions; condition;
         condition = condition->next) {
        if (!condition->used)
            return true;
    }
    return false;
}

/* Lock held. What does not depend on the order of the nodes. */
static CUresult check(const struct vgpu_graph *graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    const cuuint64_t known =
        CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
        CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
    bool once = graph && (vgpu_graph_has_memory_nodes(graph) ||
                          vgpu_graph_contains(graph, CU_GRAPH_NODE_TYPE_CONDITIONAL));

    if (!graph || graph->capturing || (params->flags & ~known) || (once && graph->executables) ||
        ((params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) &&
         (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH)))
        return CUDA_ERROR_INVALID_VALUE;
    /* What a node owns is nobody else's, and kernels here cannot launch graphs. */
    if (graph->parent || (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (has_unused_condition(graph)) {
        params->result_out = CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED;
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* Lock held. The node of which one in the plan is a copy, wherever in the graph it is. */
static struct vgpu_node *find_original(const struct vgpu_graph *graph, uint64_t id)
{
    for (size_t i = 0; i < graph->count; i++) {
        struct vgpu_node *node = graph->nodes[i];
        if (node->id == id)
            return node;
        for (size_t j = 0; j < node->body_count; j++) {
            struct vgpu_node *found = find_original(node->bodies[j], id);
            if (found)
                return found;
        }
    }
    return NULL;
}

/* Lock held. */
static CUresult instantiate(struct vgpu_graph *graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params,
                            CUgraphExec *out)
{
    struct vgpu_graph *plan = vgpu_graph_copy(graph, false, false);
    struct vgpu_executable *executable;
    struct vgpu_node *cyclic = NULL;
    CUresult result;

    if (!plan)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = vgpu_graph_sort(plan, &cyclic);
    if (cyclic) {
        params->result_out = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
        params->hErrNode_out = (CUgraphNode)find_original(graph, cyclic->source);
    }
    executable = result == CUDA_SUCCESS
                     ? vgpu_object_create(VGPU_OBJECT_EXECUTABLE, sizeof(*executable), NULL,
                                          destroy_executable)
                     : NULL;
    if (!executable) {
        vgpu_object_put(plan);
        return result == CUDA_SUCCESS ? CUDA_ERROR_OUT_OF_MEMORY : result;
    }
    executable->plan = plan;
    executable->graph = (CUgraph)graph;
    executable->graph_id = graph->id;
    executable->flags = params->flags & ~(cuuint64_t)CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD;
    graph->executables++;
    vgpu_object_publish(executable);
    *out = (CUgraphExec)executable;
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *phGraphExec, CUgraph hGraph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    if (!phGraphExec || !instantiateParams)
        return CUDA_ERROR_INVALID_VALUE;
    instantiateParams->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
    instantiateParams->hErrNode_out = NULL;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(hGraph);
    result = check(graph, instantiateParams);
    if (result == CUDA_SUCCESS)
        result = instantiate(graph, instantiateParams, phGraphExec);
    vgpu_graphs_unlock();
    if (result == CUDA_SUCCESS && (instantiateParams->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)) {
        result = cuGraphUpload(*phGraphExec, instantiateParams->hUploadStream);
        if (result != CUDA_SUCCESS)
            cuGraphExecDestroy(*phGraphExec);
    }
    if (result == CUDA_SUCCESS)
        instantiateParams->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return result;
}

CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec *phGraphExec, CUgraph hGraph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS params;
    CUresult result;

    if (!instantiateParams)
        return CUDA_ERROR_INVALID_VALUE;
    params = *instantiateParams;
    params.hUploadStream = vgpu_per_thread(params.hUploadStream);
    result = cuGraphInstantiateWithParams(phGraphExec, hGraph, &params);
    instantiateParams->result_out = params.result_out;
    instantiateParams->hErrNode_out = params.hErrNode_out;
    return result;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph,
                                     unsigned long long flags)
{
    /* Only the call with parameters says where to upload to. */
    if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
        return CUDA_ERROR_INVALID_VALUE;
    return cuGraphInstantiateWithParams(phGraphExec, hGraph,
                                        &(CUDA_GRAPH_INSTANTIATE_PARAMS){.flags = flags});
}

CUresult cuGraphInstantiate_v2(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
                               char *logBuffer, size_t bufferSize)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS params = {0};
    CUresult result = cuGraphInstantiateWithParams(phGraphExec, hGraph, &params);

    if (phErrorNode)
        *phErrorNode = params.hErrNode_out;
    if (logBuffer && bufferSize)
        logBuffer[0] = 0;
    return result;
}

CUresult cuGraphInstantiate(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode,
                            char *logBuffer, size_t bufferSize)
{
    return cuGraphInstantiate_v2(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize);
}

CUresult cuGraphExecDestroy(CUgraphExec hGraphExec)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_executable *executable;
    struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    executable = vgpu_object_withdraw(hGraphExec, VGPU_OBJECT_EXECUTABLE);
    if (executable) {
        graph = vgpu_graph_find(executable->graph);
        if (graph && graph->id == executable->graph_id)
            graph->executables--;
        vgpu_object_put(executable);
    } else {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphExecGetFlags(CUgraphExec hGraphExec, cuuint64_t *flags)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_executable *executable;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    executable = vgpu_executable_find(hGraphExec);
    /* Of the others NVIDIA's driver tells nothing. */
    if (executable && flags)
        *flags = executable->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

/* ---- launching ---- */

/* Lock held. Takes over the reference of `task`; the stream of the launch before goes to `*old`. */
static CUresult submit(struct vgpu_stream *stream, struct vgpu_executable *executable,
                       const struct vgpu_graph *plan, struct vgpu_task *task,
                       struct vgpu_stream **old)
{
    bool auto_free = executable->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    struct vgpu_mark mark;
    CUresult result = vgpu_capture_is_implicit(stream, true)
                          ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
                          : vgpu_graph_memory_launch(plan, auto_free);

    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
        return result;
    }
    result =
        vgpu_stream_submit_after(stream, task, VGPU_SUBMIT_ASYNC, &executable->launched, &mark);
    if (result != CUDA_SUCCESS)
        return result;
    *old = executable->launched.stream;
    executable->launched = (struct vgpu_mark){vgpu_object_share(stream), mark.sequence};
    return CUDA_SUCCESS;
}

/* Takes over the reference of `plan`. The executable's handle may have ended by now. */
static CUresult run_in(struct vgpu_stream *stream, struct vgpu_executable *executable,
                       struct vgpu_graph *plan)
{
    struct vgpu_task *task = vgpu_plan_task_create(plan, stream->context);
    struct vgpu_stream *old = NULL;
    CUresult result;

    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    vgpu_graphs_lock();
    result = submit(stream, executable, plan, task, &old);
    vgpu_graphs_unlock();
    vgpu_object_put(old);
    return result;
}

/* The executable and its plan, both with references. */
static CUresult take(CUgraphExec handle, struct vgpu_executable **executable,
                     struct vgpu_graph **plan)
{
    *executable = vgpu_object_take(handle, VGPU_OBJECT_EXECUTABLE);
    if (!*executable)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_lock();
    *plan = vgpu_object_share((*executable)->plan);
    vgpu_graphs_unlock();
    return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec hGraphExec, CUstream hStream)
{
    struct vgpu_executable *executable;
    struct vgpu_stream *stream;
    struct vgpu_graph *plan;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    result = take(hGraphExec, &executable, &plan);
    if (result == CUDA_SUCCESS && vgpu_capture_has(stream)) {
        /* An executable graph cannot become part of another one. */
        result = vgpu_capture_check_wait(stream);
        vgpu_object_put(plan);
        vgpu_object_put(executable);
    } else if (result == CUDA_SUCCESS) {
        result = run_in(stream, executable, plan);
        vgpu_object_put(executable);
    }
    vgpu_object_put(stream);
    return result;
}

/* There is nowhere to upload to; what remains are the errors. */
CUresult cuGraphUpload(CUgraphExec hGraphExec, CUstream hStream)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    if (!vgpu_executable_find(hGraphExec)) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else if (stream->member) {
        vgpu_capture_invalidate(stream->member->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    vgpu_graphs_unlock();
    vgpu_object_put(stream);
    return result;
}

VGPU_PTSZ(cuGraphLaunch, (CUgraphExec executable, CUstream stream),
          (executable, vgpu_per_thread(stream)))
VGPU_PTSZ(cuGraphUpload, (CUgraphExec executable, CUstream stream),
          (executable, vgpu_per_thread(stream)))
