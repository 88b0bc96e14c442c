/* SPDX-License-Identifier: MIT */
/*
 * Stream capture. The guest keeps the rules between its threads; here all happens in one thread, so
 * captures are relaxed, and that thread is not kept from anything by them.
 */
#include "worker/graph/capture.h"

#include "worker/graph/graph_list.h"
#include "worker/stream/usage.h"
#include "worker/worker.h"

bool vgpu_capture_holds(const struct vgpu_worker *worker, CUstream stream)
{
    CUstreamCaptureStatus status;
    return worker->captures &&
           (worker->driver->cuStreamIsCapturing(stream, &status) != CUDA_SUCCESS ||
            status != CU_STREAM_CAPTURE_STATUS_NONE);
}

/* Before a capture: what is to be placed behind earlier work can be placed now. */
static CUresult prepare(struct vgpu_worker *worker)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    vgpu_usage_cover(worker);
    return worker->driver->cuThreadExchangeStreamCaptureMode(&mode);
}

CUresult vgpu_replay_vgpuBeginCapture(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuBeginCapture *call)
{
    CUresult error = prepare(worker);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuStreamBeginCapture(call->stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    if (error == CUDA_SUCCESS)
        worker->captures++;
    return error;
}

CUresult vgpu_replay_vgpuBeginCaptureToGraph(struct vgpu_worker *worker,
                                             struct vgpu_call_vgpuBeginCaptureToGraph *call)
{
    struct vgpu_node_list list;
    CUresult error =
        vgpu_node_list_read(worker, call->dependencies, call->dependencies_bytes, &list);
    if (error == CUDA_SUCCESS)
        error = prepare(worker);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuStreamBeginCaptureToGraph(
            call->stream, call->graph, list.count ? list.from : NULL, list.count ? list.data : NULL,
            list.count, CU_STREAM_CAPTURE_MODE_RELAXED);
    if (error == CUDA_SUCCESS)
        worker->captures++;
    vgpu_node_list_free(&list);
    return error;
}

static bool is_over(const struct vgpu_worker *worker, CUstream stream)
{
    CUstreamCaptureStatus status;
    return worker->driver->cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
           status == CU_STREAM_CAPTURE_STATUS_NONE;
}

/* `named` is the id that a new graph got while it was captured. If no graph comes of the capture,
 * or it shall be thrown away, that id is free again. A graph that was there before stays. */
CUresult vgpu_replay_vgpuEndCapture(struct vgpu_worker *worker,
                                    struct vgpu_call_vgpuEndCapture *call)
{
    CUgraph graph = NULL;
    void *object;
    if (call->named &&
        vgpu_handles_find(worker, VGPU_KIND_GRAPH, call->named, &object) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_VALUE;
    if (call->candidate && !vgpu_handles_free(worker, call->candidate))
        return vgpu_worker_blame(worker, "an id that is taken, for a captured graph");
    CUresult error = worker->driver->cuStreamEndCapture(call->stream, &graph);
    bool over = is_over(worker, call->stream);
    if (over && worker->captures)
        worker->captures--;
    uint32_t known = vgpu_graph_names_find(&worker->graph_names, graph);
    if (error == CUDA_SUCCESS && call->discard && graph && (known == 0 || known == call->named)) {
        worker->driver->cuGraphDestroy(graph);
        graph = NULL;
    }
    if (over && graph == NULL && call->named)
        vgpu_handles_remove(worker, call->named);
    if (error == CUDA_SUCCESS && graph && known == 0 && call->candidate) {
        vgpu_handles_add(worker, VGPU_KIND_GRAPH, call->candidate, graph);
        known = call->candidate;
    }
    call->graph = graph ? known : 0;
    return error;
}

static CUresult ask(const struct vgpu_worker *worker, CUstream stream, CUgraph *graph,
                    struct vgpu_node_list *list)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    const CUgraphNode *nodes = NULL;
    const CUgraphEdgeData *data = NULL;
    cuuint64_t id;
    CUresult error =
        worker->driver->cuStreamGetCaptureInfo(stream, &status, &id, graph, list ? &nodes : NULL,
                                               list ? &data : NULL, list ? &list->count : NULL);
    if (error == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
        error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (list == NULL || error)
        return error;
    size_t count = list->count;
    error = vgpu_node_list_make(list, count);
    for (size_t i = 0; i < count && error == CUDA_SUCCESS; i++) {
        list->from[i] = nodes[i];
        if (data)
            list->data[i] = data[i];
    }
    return error;
}

CUresult vgpu_capture_graph(const struct vgpu_worker *worker, CUstream stream, CUgraph *graph)
{
    *graph = NULL;
    return vgpu_capture_holds(worker, stream) ? ask(worker, stream, graph, NULL) : CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuCaptureGraph(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuCaptureGraph *call)
{
    CUgraph graph = NULL;
    if (!vgpu_handles_free(worker, call->candidate))
        return vgpu_worker_blame(worker, "an id that is taken, for a captured graph");
    CUresult error = ask(worker, call->stream, &graph, NULL);
    if (error)
        return error;
    call->graph = vgpu_graph_names_find(&worker->graph_names, graph);
    if (call->graph == 0) {
        vgpu_handles_add(worker, VGPU_KIND_GRAPH, call->candidate, graph);
        call->graph = call->candidate;
    }
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuCaptureDependencies(struct vgpu_worker *worker,
                                             struct vgpu_call_vgpuCaptureDependencies *call)
{
    struct vgpu_node_list list = {0};
    CUgraph graph;
    CUresult error = ask(worker, call->stream, &graph, &list);
    if (error == CUDA_SUCCESS) {
        call->total = (uint32_t)list.count;
        call->list_bytes =
            vgpu_node_list_write(worker, &list, call->first, call->list, call->list_capacity);
    }
    vgpu_node_list_free(&list);
    return error;
}

CUresult
vgpu_replay_vgpuUpdateCaptureDependencies(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuUpdateCaptureDependencies *call)
{
    struct vgpu_node_list list;
    CUresult error =
        vgpu_node_list_read(worker, call->dependencies, call->dependencies_bytes, &list);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuStreamUpdateCaptureDependencies(
            call->stream, list.count ? list.from : NULL, list.count ? list.data : NULL, list.count,
            call->flags);
    vgpu_node_list_free(&list);
    return error;
}
