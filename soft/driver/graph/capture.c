/* SPDX-License-Identifier: MIT */
#include "soft/driver/graph/capture.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "soft/driver/code/kernel_task.h"
#include "soft/driver/graph/capture_state.h"

void vgpu_capture_put(struct vgpu_capture *capture)
{
    /* Acquire and release: the last holder sees what the others did. */
    if (capture && atomic_fetch_sub_explicit(&capture->references, 1, memory_order_acq_rel) == 1)
        free(capture);
}

/* ---- what is called with the graphs' lock held ---- */

void vgpu_capture_invalidate(struct vgpu_capture *capture)
{
    capture->valid = false;
}

struct vgpu_capture_member *vgpu_capture_join(struct vgpu_capture *capture,
                                              struct vgpu_stream *stream)
{
    struct vgpu_capture_member *member = calloc(1, sizeof(*member));

    if (!member)
        return NULL;
    member->capture = capture;
    member->stream = stream;
    member->next = capture->members;
    capture->members = member;
    stream->member = member;
    return member;
}

void vgpu_capture_finish(struct vgpu_capture *capture, bool keep_graph)
{
    struct vgpu_capture **link = &vgpu_driver()->captures;

    while (*link != capture)
        link = &(*link)->next;
    *link = capture->next;
    atomic_fetch_sub_explicit(&vgpu_driver()->capturing, 1, memory_order_relaxed);
    while (capture->members) {
        struct vgpu_capture_member *member = capture->members;
        capture->members = member->next;
        if (member->stream)
            member->stream->member = NULL;
        vgpu_links_clear(&member->after);
        free(member->told_nodes);
        free(member->told_data);
        free(member);
    }
    capture->graph->capturing--;
    if (!keep_graph && !capture->to_graph)
        vgpu_graph_close(capture->graph);
    capture->graph = NULL;
    vgpu_capture_put(capture);
}

static bool is_blocking_member(const struct vgpu_capture *capture,
                               const struct vgpu_context *context)
{
    for (const struct vgpu_capture_member *member = capture->members; member;
         member = member->next) {
        if (member->stream && member->stream->context == context && !member->stream->non_blocking)
            return true;
    }
    return false;
}

bool vgpu_capture_is_implicit(const struct vgpu_stream *stream, bool invalidate)
{
    bool implicit = false;

    if (stream != stream->context->legacy)
        return false;
    for (struct vgpu_capture *capture = vgpu_driver()->captures; capture; capture = capture->next) {
        if (!is_blocking_member(capture, stream->context))
            continue;
        implicit = true;
        if (invalidate)
            vgpu_capture_invalidate(capture);
    }
    return implicit;
}

static CUresult add_task(struct vgpu_graph *graph, const struct vgpu_links *dependencies,
                         void *data, struct vgpu_node **node)
{
    struct vgpu_task *task = data;

    return vgpu_graph_add(graph, task->type, vgpu_task_share(task), dependencies, node);
}

typedef CUresult add_function(struct vgpu_graph *graph, const struct vgpu_links *dependencies,
                              void *data, struct vgpu_node **node);

/* Adds the node, which the stream's next node depends on. */
static CUresult add(struct vgpu_capture_member *member, add_function *add_node, void *data)
{
    struct vgpu_capture *capture = member->capture;
    struct vgpu_node *node;
    CUresult result;

    if (!capture->valid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    result = add_node(capture->graph, &member->after, data, &node);
    if (result == CUDA_SUCCESS) {
        vgpu_links_clear(&member->after);
        if (!vgpu_links_add(&member->after, node, NULL))
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result != CUDA_SUCCESS)
        vgpu_capture_invalidate(capture);
    return result;
}

/* A kernel that may start before the one before it has ended is captured so. */
static void loosen(struct vgpu_links *after)
{
    for (size_t i = 0; i < after->count; i++) {
        struct vgpu_link *link = &after->list[i];
        if (link->node->type == CU_GRAPH_NODE_TYPE_KERNEL && vgpu_edge_is_default(&link->data))
            link->data = (CUgraphEdgeData){.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
                                           .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
    }
}

static CUresult add_submitted(struct vgpu_stream *stream, struct vgpu_task *task)
{
    struct vgpu_capture_member *member = stream->member;
    CUresult result;

    if (task->type == CU_GRAPH_NODE_TYPE_KERNEL && vgpu_kernel_task_is_programmatic(task))
        loosen(&member->after);
    result = add(member, add_task, task);
    if (result == CUDA_SUCCESS && task->type == CU_GRAPH_NODE_TYPE_KERNEL)
        vgpu_kernel_node_captured(member->after.list[0].node, stream->priority);
    return result;
}

/* ---- submitting ---- */

/* Relaxed: a program that begins a capture in one thread and goes on in another orders the two. */
static bool none_captures(void)
{
    return atomic_load_explicit(&vgpu_driver()->capturing, memory_order_relaxed) == 0;
}

bool vgpu_capture_has(struct vgpu_stream *stream)
{
    bool has;

    if (none_captures())
        return false;
    vgpu_graphs_lock();
    has = stream->member != NULL;
    vgpu_graphs_unlock();
    return has;
}

bool vgpu_capture_take(struct vgpu_stream *stream, struct vgpu_task *task, enum vgpu_submission how,
                       CUresult *result)
{
    bool taken = true;

    if (none_captures())
        return false;
    vgpu_graphs_lock();
    if (stream->member && !stream->member->capture->valid) {
        *result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    } else if (stream->member && (!task->is_node || how == VGPU_SUBMIT_SYNC)) {
        vgpu_capture_invalidate(stream->member->capture);
        *result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    } else if (stream->member) {
        *result = add_submitted(stream, task);
    } else if (vgpu_capture_is_implicit(stream, true)) {
        *result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    } else {
        taken = false;
    }
    vgpu_graphs_unlock();
    if (taken)
        vgpu_task_put(task);
    return taken;
}

CUresult vgpu_capture_add(struct vgpu_stream *stream, add_function *add_node, void *data)
{
    CUresult result;

    vgpu_graphs_lock();
    result = stream->member ? add(stream->member, add_node, data) : CUDA_ERROR_ILLEGAL_STATE;
    vgpu_graphs_unlock();
    return result;
}

/* ---- what a capture forbids ---- */

/* Lock held. */
static bool forbids(const struct vgpu_capture *capture, const struct vgpu_thread *thread)
{
    if (capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return false;
    if (capture->thread == thread)
        return true;
    return capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
           thread->capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
}

/* Lock held. */
static CUresult check_unsafe(void)
{
    const struct vgpu_thread *thread = vgpu_thread_self();
    CUresult result = CUDA_SUCCESS;

    if (!thread)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (thread->capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_SUCCESS;
    for (struct vgpu_capture *capture = vgpu_driver()->captures; capture; capture = capture->next) {
        if (!forbids(capture, thread))
            continue;
        vgpu_capture_invalidate(capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return result;
}

CUresult vgpu_capture_check_unsafe(void)
{
    CUresult result;

    if (none_captures())
        return CUDA_SUCCESS;
    vgpu_graphs_lock();
    result = check_unsafe();
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_capture_enter_unsafe(struct vgpu_context **context)
{
    CUresult result = vgpu_context_enter(context);

    return result == CUDA_SUCCESS ? vgpu_capture_check_unsafe() : result;
}

CUresult vgpu_capture_check_wait(struct vgpu_stream *stream)
{
    CUresult result;

    if (none_captures())
        return CUDA_SUCCESS;
    vgpu_graphs_lock();
    if (stream->member) {
        result = stream->member->capture->valid ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
                                                : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        vgpu_capture_invalidate(stream->member->capture);
    } else if (vgpu_capture_is_implicit(stream, true)) {
        result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    } else {
        result = check_unsafe();
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_capture_check_ask(struct vgpu_stream *stream, bool captured)
{
    CUresult result = CUDA_SUCCESS;

    if (none_captures())
        return CUDA_SUCCESS;
    vgpu_graphs_lock();
    if (stream->member && !captured) {
        vgpu_capture_invalidate(stream->member->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    } else if (vgpu_capture_is_implicit(stream, true)) {
        result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    vgpu_graphs_unlock();
    return result;
}

/* Lock held. */
static CUresult refuse_context(const struct vgpu_context *context)
{
    CUresult result = CUDA_SUCCESS;

    for (struct vgpu_capture *capture = vgpu_driver()->captures; capture; capture = capture->next) {
        for (const struct vgpu_capture_member *member = capture->members; member;
             member = member->next) {
            if (!member->stream || member->stream->context != context)
                continue;
            vgpu_capture_invalidate(capture);
            result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return result;
}

CUresult vgpu_capture_refuse_context(const struct vgpu_context *context)
{
    CUresult result;

    if (none_captures())
        return CUDA_SUCCESS;
    vgpu_graphs_lock();
    result = refuse_context(context);
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_capture_check_context(const struct vgpu_context *context)
{
    CUresult result;

    if (none_captures())
        return CUDA_SUCCESS;
    vgpu_graphs_lock();
    result = refuse_context(context);
    if (result == CUDA_SUCCESS)
        result = check_unsafe();
    vgpu_graphs_unlock();
    return result;
}

/* ---- events ---- */

void vgpu_captured_destroy(struct vgpu_captured *captured)
{
    vgpu_links_clear(&captured->after);
    vgpu_capture_put(captured->capture);
    captured->capture = NULL;
}

void vgpu_captured_clear(struct vgpu_captured *captured)
{
    vgpu_graphs_lock();
    vgpu_captured_destroy(captured);
    vgpu_graphs_unlock();
}

bool vgpu_captured_is(const struct vgpu_captured *captured)
{
    bool is;

    vgpu_graphs_lock();
    is = captured->capture != NULL;
    vgpu_graphs_unlock();
    return is;
}

/* A capture that has ended has no graph any more. */
static bool is_over(const struct vgpu_capture *capture)
{
    return !capture->graph;
}

CUresult vgpu_capture_refuse_event(struct vgpu_captured *captured)
{
    CUresult result = CUDA_SUCCESS;

    vgpu_graphs_lock();
    if (captured->capture && !is_over(captured->capture)) {
        vgpu_capture_invalidate(captured->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_capture_check_event(struct vgpu_captured *captured)
{
    CUresult result;

    vgpu_graphs_lock();
    if (captured->capture) {
        vgpu_capture_invalidate(captured->capture);
        result = CUDA_ERROR_CAPTURED_EVENT;
    } else {
        result = none_captures() ? CUDA_SUCCESS : check_unsafe();
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_capture_record(struct vgpu_stream *stream, struct vgpu_captured *captured)
{
    CUresult result = CUDA_SUCCESS;

    vgpu_graphs_lock();
    if (!stream->member) {
        result = CUDA_ERROR_ILLEGAL_STATE; /* ended by another thread meanwhile */
    } else if (!stream->member->capture->valid) {
        result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    } else {
        vgpu_captured_destroy(captured);
        captured->capture = stream->member->capture;
        captured->capture->references++;
        if (!vgpu_links_merge(&captured->after, &stream->member->after))
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_graphs_unlock();
    return result;
}

/* Lock held: a capturing stream waits for an event. */
static CUresult wait_in_capture(struct vgpu_capture_member *member,
                                const struct vgpu_captured *captured, bool recorded)
{
    CUresult result;

    if (!member->capture->valid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (captured->capture == member->capture)
        return vgpu_links_merge(&member->after, &captured->after) ? CUDA_SUCCESS
                                                                  : CUDA_ERROR_OUT_OF_MEMORY;
    if (!captured->capture && !recorded)
        return CUDA_SUCCESS; /* there is nothing to wait for */
    result = CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    if (captured->capture && !is_over(captured->capture)) {
        vgpu_capture_invalidate(captured->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    vgpu_capture_invalidate(member->capture);
    return result;
}

/* Lock held: a stream that does not capture waits for an event that is captured. */
static CUresult fork_into(struct vgpu_stream *stream, const struct vgpu_captured *captured)
{
    struct vgpu_capture_member *member;

    if (is_over(captured->capture))
        return CUDA_ERROR_CAPTURED_EVENT;
    if (!captured->capture->valid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (stream == stream->context->legacy) {
        vgpu_capture_invalidate(captured->capture);
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    member = vgpu_capture_join(captured->capture, stream);
    return member && vgpu_links_merge(&member->after, &captured->after) ? CUDA_SUCCESS
                                                                        : CUDA_ERROR_OUT_OF_MEMORY;
}

bool vgpu_capture_wait(struct vgpu_stream *stream, struct vgpu_captured *captured, bool recorded,
                       CUresult *result)
{
    bool about_capture = true;

    vgpu_graphs_lock();
    if (stream->member)
        *result = wait_in_capture(stream->member, captured, recorded);
    else if (captured->capture)
        *result = fork_into(stream, captured);
    else if (vgpu_capture_is_implicit(stream, true))
        *result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    else
        about_capture = false;
    vgpu_graphs_unlock();
    return about_capture;
}

/* ---- the end of streams ---- */

void vgpu_capture_forget_stream(struct vgpu_stream *stream)
{
    vgpu_graphs_lock();
    if (stream->member && stream->member->capture->origin == stream) {
        vgpu_capture_finish(stream->member->capture, false);
    } else if (stream->member) {
        stream->member->stream = NULL;
        stream->member = NULL;
    }
    vgpu_graphs_unlock();
}
