/* SPDX-License-Identifier: MIT */
/* cuStream*Capture*: beginning and ending captures, and asking about them. */
#include <stdatomic.h>
#include <stdlib.h>

#include "soft/driver/graph/capture_state.h"

/* ---- beginning ---- */

/* Where and after what a capture begins. */
struct beginning {
    bool to_graph;
    CUgraph graph;
    const CUgraphNode *nodes;
    const CUgraphEdgeData *data;
    size_t count;
    CUstreamCaptureMode mode;
};

/* The functions from here to the next comment that says otherwise have the graphs' lock held. */

static CUresult prepare(struct vgpu_capture *capture, struct vgpu_links *after,
                        const struct beginning *beginning)
{
    CUresult result;

    if (!beginning->to_graph) {
        capture->graph = vgpu_graph_create(true);
        return capture->graph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    capture->to_graph = true;
    capture->graph = vgpu_graph_find(beginning->graph);
    if (!capture->graph)
        return CUDA_ERROR_INVALID_VALUE;
    result =
        vgpu_links_read(after, capture->graph, beginning->nodes, beginning->data, beginning->count);
    return result;
}

static CUresult begin(struct vgpu_stream *stream, const struct beginning *beginning)
{
    struct vgpu_capture *capture = calloc(1, sizeof(*capture));
    struct vgpu_capture_member *member;
    struct vgpu_links after = {0};
    CUresult result;

    if (!capture)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = prepare(capture, &after, beginning);
    if (result != CUDA_SUCCESS) {
        vgpu_links_clear(&after);
        free(capture);
        return result;
    }
    capture->references = 1;
    capture->id = vgpu_driver_new_id();
    capture->mode = beginning->mode;
    capture->thread = vgpu_thread_self();
    capture->origin = stream;
    capture->valid = true;
    capture->graph->capturing++;
    capture->next = vgpu_driver()->captures;
    vgpu_driver()->captures = capture;
    atomic_fetch_add_explicit(&vgpu_driver()->capturing, 1, memory_order_relaxed);
    member = vgpu_capture_join(capture, stream);
    if (!member) {
        vgpu_links_clear(&after);
        vgpu_capture_finish(capture, false);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    member->after = after;
    return CUDA_SUCCESS;
}

/* Without the lock. */
static CUresult begin_in(CUstream handle, const struct beginning *beginning)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(handle, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    if ((unsigned int)beginning->mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        result = CUDA_ERROR_INVALID_VALUE;
    else if (stream == stream->context->legacy)
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    else if (stream->member)
        result = CUDA_ERROR_ILLEGAL_STATE;
    else
        result = begin(stream, beginning);
    vgpu_graphs_unlock();
    vgpu_object_put(stream);
    return result;
}

CUresult cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode)
{
    return begin_in(hStream, &(struct beginning){.mode = mode});
}

CUresult cuStreamBeginCapture(CUstream hStream)
{
    return cuStreamBeginCapture_v2(hStream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult cuStreamBeginCaptureToGraph(CUstream hStream, CUgraph hGraph,
                                     const CUgraphNode *dependencies,
                                     const CUgraphEdgeData *dependencyData, size_t numDependencies,
                                     CUstreamCaptureMode mode)
{
    return begin_in(hStream, &(struct beginning){.to_graph = true,
                                                 .graph = hGraph,
                                                 .nodes = dependencies,
                                                 .data = dependencyData,
                                                 .count = numDependencies,
                                                 .mode = mode});
}

/* ---- ending ---- */

/* Lock held. Sets seen[] of all nodes of `links` and of all that they depend on. */
static void see(const struct vgpu_links *links, bool *seen, struct vgpu_node **stack)
{
    size_t depth = 0;

    for (const struct vgpu_links *more = links; more;
         more = depth ? &stack[--depth]->dependencies : NULL) {
        for (size_t i = 0; i < more->count; i++) {
            struct vgpu_node *node = more->list[i].node;
            if (!seen[node->index]) {
                seen[node->index] = true;
                stack[depth++] = node;
            }
        }
    }
}

/* Lock held. Whether all that the other streams did is before what the first one will do next. */
static CUresult check_joined(const struct vgpu_capture *capture,
                             const struct vgpu_capture_member *origin)
{
    bool *seen = calloc(capture->graph->count + 1, sizeof(*seen));
    struct vgpu_node **stack = calloc(capture->graph->count + 1, sizeof(struct vgpu_node *));
    CUresult result = CUDA_SUCCESS;

    if (seen && stack)
        see(&origin->after, seen, stack);
    else
        result = CUDA_ERROR_OUT_OF_MEMORY;
    for (const struct vgpu_capture_member *member = capture->members;
         member && result == CUDA_SUCCESS; member = member->next) {
        for (size_t i = 0; i < member->after.count; i++) {
            if (!seen[member->after.list[i].node->index])
                result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        }
    }
    free(seen);
    free(stack);
    return result;
}

/* Lock held. */
static CUresult end(struct vgpu_stream *stream, CUgraph *graph)
{
    struct vgpu_capture *capture = stream->member ? stream->member->capture : NULL;
    CUresult result;

    if (!capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->origin != stream) {
        vgpu_capture_invalidate(capture);
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != vgpu_thread_self())
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    result = capture->valid ? check_joined(capture, stream->member)
                            : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    *graph = result == CUDA_SUCCESS ? (CUgraph)capture->graph : NULL;
    vgpu_capture_finish(capture, result == CUDA_SUCCESS);
    return result;
}

CUresult cuStreamEndCapture(CUstream hStream, CUgraph *phGraph)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    result = phGraph ? end(stream, phGraph) : CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    vgpu_object_put(stream);
    return result;
}

/* ---- asking ---- */

/* Where answers go; any but the first may be NULL. */
struct answers {
    CUstreamCaptureStatus *status;
    cuuint64_t *id;
    CUgraph *graph;
    const CUgraphNode **nodes;
    const CUgraphEdgeData **data;
    size_t *count;
};

/* Lock held. Keeps what the next node depends on where the program may read it. */
static CUresult tell_dependencies(struct vgpu_capture_member *member, const struct answers *answers)
{
    size_t count = member->after.count;
    CUgraphNode *nodes = reallocarray(member->told_nodes, count + 1, sizeof(CUgraphNode));
    CUgraphEdgeData *data;

    if (!nodes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    member->told_nodes = nodes;
    data = reallocarray(member->told_data, count + 1, sizeof(*data));
    if (!data)
        return CUDA_ERROR_OUT_OF_MEMORY;
    member->told_data = data;
    for (size_t i = 0; i < count; i++) {
        nodes[i] = (CUgraphNode)member->after.list[i].node;
        data[i] = member->after.list[i].data;
        if (answers->nodes && !answers->data && !vgpu_edge_is_default(&data[i]))
            return CUDA_ERROR_LOSSY_QUERY;
    }
    if (answers->nodes)
        *answers->nodes = nodes;
    if (answers->data)
        *answers->data = data;
    if (answers->count)
        *answers->count = count;
    return CUDA_SUCCESS;
}

/* Lock held. */
static CUresult tell(struct vgpu_stream *stream, const struct answers *answers)
{
    struct vgpu_capture_member *member = stream->member;

    if (vgpu_capture_is_implicit(stream, false))
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    *answers->status = !member                  ? CU_STREAM_CAPTURE_STATUS_NONE
                       : member->capture->valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                                : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    if (*answers->status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
        return CUDA_SUCCESS;
    if (answers->id)
        *answers->id = member->capture->id;
    if (answers->graph)
        *answers->graph = (CUgraph)member->capture->graph;
    return tell_dependencies(member, answers);
}

static CUresult ask(CUstream handle, const struct answers *answers)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(handle, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    result = answers->status && (answers->nodes || !answers->data) ? tell(stream, answers)
                                                                   : CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    vgpu_object_put(stream);
    return result;
}

CUresult cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus *captureStatus)
{
    return ask(hStream, &(struct answers){.status = captureStatus});
}

CUresult cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                                cuuint64_t *id_out)
{
    return ask(hStream, &(struct answers){.status = captureStatus_out, .id = id_out});
}

CUresult cuStreamGetCaptureInfo_v2(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                                   cuuint64_t *id_out, CUgraph *graph_out,
                                   const CUgraphNode **dependencies_out,
                                   size_t *numDependencies_out)
{
    return ask(hStream, &(struct answers){captureStatus_out, id_out, graph_out, dependencies_out,
                                          NULL, numDependencies_out});
}

CUresult cuStreamGetCaptureInfo_v3(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                                   cuuint64_t *id_out, CUgraph *graph_out,
                                   const CUgraphNode **dependencies_out,
                                   const CUgraphEdgeData **edgeData_out,
                                   size_t *numDependencies_out)
{
    return ask(hStream, &(struct answers){captureStatus_out, id_out, graph_out, dependencies_out,
                                          edgeData_out, numDependencies_out});
}

/* ---- changing ---- */

/* Lock held. */
static CUresult update(struct vgpu_capture_member *member, struct vgpu_links *after,
                       unsigned int flags)
{
    if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
        vgpu_links_clear(&member->after);
        member->after = *after;
        *after = (struct vgpu_links){0};
        return CUDA_SUCCESS;
    }
    return vgpu_links_merge(&member->after, after) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream hStream, CUgraphNode *dependencies,
                                              const CUgraphEdgeData *dependencyData,
                                              size_t numDependencies, unsigned int flags)
{
    struct vgpu_links after = {0};
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES)
        result = CUDA_ERROR_INVALID_VALUE;
    else if (!stream->member)
        result = CUDA_ERROR_ILLEGAL_STATE;
    else if (!stream->member->capture->valid)
        result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else
        result = vgpu_links_read(&after, stream->member->capture->graph, dependencies,
                                 dependencyData, numDependencies);
    if (result == CUDA_SUCCESS)
        result = update(stream->member, &after, flags);
    vgpu_links_clear(&after);
    vgpu_graphs_unlock();
    vgpu_object_put(stream);
    return result;
}

CUresult cuStreamUpdateCaptureDependencies(CUstream hStream, CUgraphNode *dependencies,
                                           size_t numDependencies, unsigned int flags)
{
    return cuStreamUpdateCaptureDependencies_v2(hStream, dependencies, NULL, numDependencies,
                                                flags);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    struct vgpu_thread *thread = vgpu_thread_self();
    CUstreamCaptureMode old;

    if (!thread)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!mode || (unsigned int)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    old = thread->capture_mode;
    thread->capture_mode = *mode;
    *mode = old;
    return CUDA_SUCCESS;
}
