/* SPDX-License-Identifier: MIT */
#include "worker/handles.h"

#include <errno.h>
#include <stdlib.h>

#include "worker/context.h"
#include "worker/graph/graph_memory.h"
#include "worker/stream/usage.h"
#include "worker/worker.h"

int vgpu_handles_create(struct vgpu_handles *handles)
{
    *handles = (struct vgpu_handles){.table = calloc(VGPU_HANDLE_MAX, sizeof(*handles->table))};
    return handles->table ? 0 : -ENOMEM;
}

void vgpu_handles_destroy(struct vgpu_handles *handles)
{
    free(handles->table);
    handles->table = NULL;
}

static bool is_graph(uint32_t kind)
{
    return kind == VGPU_KIND_GRAPH || kind == VGPU_KIND_NODE;
}

CUresult vgpu_handles_find(struct vgpu_worker *worker, enum vgpu_kind kind, uint32_t id,
                           void **object)
{
    return kind == VGPU_KIND_STREAM ? vgpu_worker_stream(worker, id, (CUstream *)object)
                                    : vgpu_handles_look_up(&worker->handles, kind, id, object);
}

/* No context's end is the end of these. */
static bool is_everywhere(enum vgpu_kind kind)
{
    switch (kind) {
    case VGPU_KIND_CONTEXT:
    case VGPU_KIND_LIBRARY:
    case VGPU_KIND_KERNEL:
    case VGPU_KIND_USER_OBJECT:
    case VGPU_KIND_MEMPOOL:
    case VGPU_KIND_PHYSICAL:
    case VGPU_KIND_GRAPH:
    case VGPU_KIND_NODE:
        return true;
    default:
        return false;
    }
}

bool vgpu_handles_free(struct vgpu_worker *worker, uint32_t id)
{
    worker->handles.named = 0;
    return id >= VGPU_HANDLE_FIRST && id < VGPU_HANDLE_MAX &&
           worker->handles.table[id].kind == VGPU_KIND_NONE;
}

static void link_child(struct vgpu_handle *table, uint32_t id, uint32_t owner)
{
    table[id].owner = owner;
    if (owner == 0)
        return;
    table[id].next = table[owner].children;
    if (table[id].next)
        table[table[id].next].previous = id;
    table[owner].children = id;
}

static void unlink_child(struct vgpu_handle *table, uint32_t id)
{
    if (table[id].next)
        table[table[id].next].previous = table[id].previous;
    if (table[id].previous)
        table[table[id].previous].next = table[id].next;
    else if (table[id].owner)
        table[table[id].owner].children = table[id].next;
    table[id].next = table[id].previous = 0;
}

uint32_t vgpu_handles_id(const struct vgpu_worker *worker, enum vgpu_kind kind, const void *object)
{
    const struct vgpu_handles *handles = &worker->handles;
    for (uint32_t id = VGPU_HANDLE_FIRST; id < handles->end; id++) {
        if (handles->table[id].object == object && vgpu_handle_is(&handles->table[id], kind))
            return id;
    }
    return 0;
}

void vgpu_handles_give(struct vgpu_worker *worker, uint32_t id, uint32_t owner)
{
    unlink_child(worker->handles.table, id);
    link_child(worker->handles.table, id, owner);
}

void vgpu_handles_add(struct vgpu_worker *worker, enum vgpu_kind kind, uint32_t id, void *object)
{
    struct vgpu_handles *handles = &worker->handles;
    struct vgpu_handle *table = handles->table;
    struct vgpu_handle *handle = &table[id];
    handle->object = object;
    handle->kind = kind;
    handle->context = is_everywhere(kind) ? NULL : worker->current;
    link_child(table, id, handles->named);
    if (id >= handles->end)
        handles->end = id + 1;
    if (kind == VGPU_KIND_STREAM)
        vgpu_context_add_stream(worker, id);
    if (is_graph(kind))
        vgpu_graph_names_add(&worker->graph_names, object, id);
}

/* Recursion is at most library, kernel, function deep, or as deep as graphs lie in graphs. */
void vgpu_handles_remove(struct vgpu_worker *worker, uint32_t id)
{
    struct vgpu_handle *table = worker->handles.table;
    if (id < VGPU_HANDLE_FIRST || id >= VGPU_HANDLE_MAX || table[id].kind == VGPU_KIND_NONE)
        return;
    while (table[id].children)
        vgpu_handles_remove(worker, table[id].children);
    if (table[id].kind == VGPU_KIND_STREAM)
        vgpu_context_drop_stream(worker, table[id].context, id, table[id].object);
    if (is_graph(table[id].kind))
        vgpu_graph_names_remove(&worker->graph_names, table[id].object);
    if (table[id].kind == VGPU_KIND_EXEC)
        vgpu_graph_memory_return(worker, table[id].charged);
    unlink_child(table, id);
    table[id] = (struct vgpu_handle){.kind = VGPU_KIND_NONE};
    if (worker->current_id == id)
        worker->current_id = 0;
}

void vgpu_handles_remove_context(struct vgpu_worker *worker, const struct vgpu_context *context)
{
    struct vgpu_handles *handles = &worker->handles;
    for (uint32_t id = VGPU_HANDLE_FIRST; id < handles->end; id++) {
        if (handles->table[id].kind != VGPU_KIND_NONE && handles->table[id].context == context)
            vgpu_handles_remove(worker, id);
    }
}
