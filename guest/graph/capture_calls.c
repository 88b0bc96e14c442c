/* SPDX-License-Identifier: MIT */
/* The calls of stream capture. */
#include <stdlib.h>
#include <string.h>

#include "guest/graph/capture_list.h"
#include "guest/graph/graph.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/* ---- beginning ---- */

static struct vgpu_capture *new_capture(const struct vgpu_stream *stream, CUstreamCaptureMode mode)
{
    struct vgpu_capture *capture = calloc(1, sizeof(*capture));
    if (capture == NULL)
        return NULL;
    capture->id = vgpu_process_new_id(vgpu_process());
    capture->mode = mode;
    capture->thread = vgpu_thread();
    capture->origin = stream;
    capture->context = stream->object.context;
    capture->blocking = !(stream->flags & CU_STREAM_NON_BLOCKING);
    return capture;
}

static CUresult enter(struct vgpu_caller *caller, CUstream handle, CUstreamCaptureMode mode,
                      struct vgpu_stream **stream)
{
    CUresult error = vgpu_caller_find_stream(caller, handle, stream);
    if (error)
        return error;
    if ((unsigned int)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    if (*stream == caller->current->legacy)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    /* Later the legacy stream may not be waited for. */
    return vgpu_context_settle(caller);
}

/* Begins to capture into a new graph, or into `graph` behind `edges`. */
static CUresult begin(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                      CUstreamCaptureMode mode, struct vgpu_graph *graph,
                      const struct vgpu_wire_edge *edges, size_t count)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    struct vgpu_capture *capture = new_capture(stream, mode);
    CUresult error = CUDA_SUCCESS;
    if (capture == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    capture->graph = graph;
    capture->existing = graph != NULL;
    pthread_mutex_lock(&captures->lock);
    if (vgpu_capture_find(stream))
        error = CUDA_ERROR_ILLEGAL_STATE;
    else if (graph)
        error =
            vgpu_send_vgpuBeginCaptureToGraph(caller->channel, caller->context, stream->object.id,
                                              graph->object.id, edges, count * sizeof(*edges));
    else
        error = vgpu_send_vgpuBeginCapture(caller->channel, caller->context, stream->object.id);
    if (error == CUDA_SUCCESS) {
        vgpu_capture_add(capture);
        __atomic_store_n(&stream->capture, capture->id, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&captures->lock);
    if (error)
        free(capture);
    if (error == CUDA_SUCCESS && graph) {
        graph->unnamed = true;
        vgpu_graph_changed(graph);
    }
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = enter(&caller, handle, mode, &stream);
    return error ? error : begin(&caller, stream, mode, NULL, NULL, 0);
}

CUresult cuStreamBeginCapture(CUstream handle)
{
    return cuStreamBeginCapture_v2(handle, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult cuStreamBeginCaptureToGraph(CUstream handle, CUgraph graph_handle,
                                     const CUgraphNode *dependencies, const CUgraphEdgeData *data,
                                     size_t count, CUstreamCaptureMode mode)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct vgpu_wire_edge *edges;
    CUresult error = enter(&caller, handle, mode, &stream);
    if (error)
        return error;
    struct vgpu_graph *graph = vgpu_graph_find(graph_handle);
    if (graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_edges_pack(dependencies, NULL, data, count, &edges);
    if (error == CUDA_SUCCESS)
        error = begin(&caller, stream, mode, graph, edges, count);
    free(edges);
    return error;
}

/* ---- ending ---- */

/* Who may end the capture that a stream is part of. With the lock. */
static CUresult may_end(const struct vgpu_capture *capture, const struct vgpu_stream *stream)
{
    if (capture == NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->origin != stream)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != vgpu_thread())
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    return CUDA_SUCCESS;
}

/* An asynchronous call that failed in the capture left something out of the graph. */
static CUresult end_on_host(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                            const struct vgpu_capture *capture, uint32_t candidate, uint32_t *id)
{
    uint32_t named = capture->graph && !capture->existing ? capture->graph->object.id : 0;
    CUresult error =
        vgpu_send_vgpuEndCapture(caller->channel, caller->context, id, stream->object.id, candidate,
                                 named, capture->invalidated);
    if (error == CUDA_SUCCESS && capture->invalidated)
        error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (error == CUDA_SUCCESS)
        error = vgpu_process_collect(vgpu_process());
    if (error == CUDA_SUCCESS)
        error = vgpu_process_take_deferred(vgpu_process());
    return vgpu_process_note(vgpu_process(), error);
}

/* Ends a capture, whatever comes of it. With the lock. */
static CUresult end(const struct vgpu_caller *caller, struct vgpu_capture *capture,
                    const struct vgpu_stream *stream, struct vgpu_graph **out)
{
    struct vgpu_graph *graph = capture->graph;
    bool existing = capture->existing;
    uint32_t id = 0;
    if (graph == NULL)
        graph = vgpu_graph_take(NULL);
    if (graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error =
        end_on_host(caller, stream, capture, capture->graph ? 0 : graph->object.id, &id);
    graph->unnamed = true;
    if (!vgpu_graph_gains(graph, &capture->needs) && error == CUDA_SUCCESS)
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS && capture->graph == NULL)
        vgpu_object_publish(&graph->object, VGPU_KIND_GRAPH);
    if (error && !existing) {
        if (id) /* the host has made it, and does not know of the error */
            vgpu_send_cuGraphDestroy(caller->channel, 0, id);
        vgpu_graph_end(graph);
        graph = NULL;
    }
    *out = error ? NULL : graph;
    vgpu_capture_remove(capture);
    return error;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph_handle)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct vgpu_graph *graph = NULL;
    CUresult error = vgpu_caller_find_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (graph_handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *graph_handle = NULL;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    error = may_end(capture, stream);
    if (error == CUDA_SUCCESS)
        error = end(&caller, capture, stream, &graph);
    pthread_mutex_unlock(&captures->lock);
    if (graph)
        *graph_handle = vgpu_object_handle(graph);
    return error;
}

/* ---- asking ---- */

/* The state of a stream: what there is of its capture is copied, *capture is gone after its end. */
static CUresult ask(struct vgpu_caller *caller, CUstream handle, CUstreamCaptureStatus *status,
                    cuuint64_t *id, struct vgpu_stream **stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    CUresult error = vgpu_caller_find_stream(caller, handle, stream);
    if (error)
        return error;
    if (status == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (__atomic_load_n(&captures->count, __ATOMIC_RELAXED) == 0)
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    const struct vgpu_capture *capture = vgpu_capture_find(*stream);
    if (vgpu_capture_blocks(*stream))
        error = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (capture) {
        *status = capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                       : CU_STREAM_CAPTURE_STATUS_ACTIVE;
        if (id)
            *id = capture->id;
    }
    pthread_mutex_unlock(&captures->lock);
    return error;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    return ask(&caller, handle, status, NULL, &stream);
}

CUresult cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    return ask(&caller, handle, status, id, &stream);
}

/* The graph that is captured; it gets its handle when somebody asks. With the lock. */
static CUresult graph_of(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                         struct vgpu_capture *capture)
{
    uint32_t id = 0;
    if (capture->graph)
        return CUDA_SUCCESS;
    struct vgpu_graph *graph = vgpu_graph_take(NULL);
    if (graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_send_vgpuCaptureGraph(caller->channel, caller->context, &id,
                                                stream->object.id, graph->object.id);
    if (error) {
        vgpu_graph_end(graph);
        return error;
    }
    vgpu_object_publish(&graph->object, VGPU_KIND_GRAPH);
    capture->graph = graph;
    return CUDA_SUCCESS;
}

static CUresult fetch_dependencies(const struct vgpu_caller *caller, void *argument, uint32_t first,
                                   struct vgpu_wire_edge *page, size_t room, size_t *bytes,
                                   uint32_t *total)
{
    const struct vgpu_stream *stream = argument;
    return vgpu_send_vgpuCaptureDependencies(caller->channel, caller->context, total,
                                             stream->object.id, first, page, room, bytes);
}

/* Fetches what the next node will depend on; it is kept with the capture. With the lock. */
static CUresult dependencies_of(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                                struct vgpu_capture *capture, size_t *count)
{
    struct vgpu_wire_edge *edges = NULL;
    capture->graph->unnamed = true;
    CUresult error = vgpu_graph_name_nodes(caller, capture->graph);
    if (error == CUDA_SUCCESS)
        error = vgpu_edges_fetch(caller, fetch_dependencies, stream, &edges, count);
    if (error)
        return error;
    free(capture->dependencies);
    free(capture->dependency_data);
    capture->dependencies = calloc(*count + 1, sizeof(*capture->dependencies));
    capture->dependency_data = calloc(*count + 1, sizeof(*capture->dependency_data));
    if (capture->dependencies == NULL || capture->dependency_data == NULL)
        error = CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < *count && error == CUDA_SUCCESS; i++) {
        capture->dependencies[i] = vgpu_node_handle(edges[i].from);
        capture->dependency_data[i] = edges[i].data;
    }
    free(edges);
    return error;
}

static bool is_plain(const CUgraphEdgeData *data, size_t count)
{
    static const CUgraphEdgeData plain;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&data[i], &plain, sizeof(plain)) != 0)
            return false;
    }
    return true;
}

/* What only the host knows of a capture. With the lock. */
static CUresult describe(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                         CUgraph *graph, const CUgraphNode **dependencies,
                         const CUgraphEdgeData **data, size_t *count)
{
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    size_t found = 0;
    if (capture == NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    CUresult error = graph_of(caller, stream, capture);
    if (error == CUDA_SUCCESS && (dependencies || count))
        error = dependencies_of(caller, stream, capture, &found);
    if (error == CUDA_SUCCESS && dependencies && data == NULL &&
        !is_plain(capture->dependency_data, found))
        error = CUDA_ERROR_LOSSY_QUERY;
    if (error)
        return error;
    if (graph)
        *graph = vgpu_object_handle(capture->graph);
    if (dependencies)
        *dependencies = capture->dependencies;
    if (data)
        *data = capture->dependency_data;
    if (count)
        *count = found;
    return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   const CUgraphEdgeData **data, size_t *count)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = ask(&caller, handle, status, id, &stream);
    if (error)
        return error;
    if (data && dependencies == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (*status != CU_STREAM_CAPTURE_STATUS_ACTIVE || !(graph || dependencies || count))
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    error = describe(&caller, stream, graph, dependencies, data, count);
    pthread_mutex_unlock(&captures->lock);
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuStreamGetCaptureInfo_v2(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies, size_t *count)
{
    return cuStreamGetCaptureInfo_v3(handle, status, id, graph, dependencies, NULL, count);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream handle, CUgraphNode *dependencies,
                                              const CUgraphEdgeData *data, size_t count,
                                              unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct vgpu_wire_edge *edges;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (vgpu_capture_of(stream) == 0)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_edges_pack(dependencies, NULL, data, count, &edges);
    if (error == CUDA_SUCCESS)
        error =
            vgpu_process_note(vgpu_process(), vgpu_send_vgpuUpdateCaptureDependencies(
                                                  caller.channel, caller.context, stream->object.id,
                                                  flags, edges, count * sizeof(*edges)));
    free(edges);
    return error;
}

CUresult cuStreamUpdateCaptureDependencies(CUstream handle, CUgraphNode *dependencies, size_t count,
                                           unsigned int flags)
{
    return cuStreamUpdateCaptureDependencies_v2(handle, dependencies, NULL, count, flags);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    struct vgpu_thread *thread = vgpu_thread();
    if (mode == NULL || (unsigned int)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    if (thread == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUstreamCaptureMode before = thread->capture_mode;
    thread->capture_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}
