/* SPDX-License-Identifier: MIT */
/**
 * What the guest's handle ids stand for. Every handle has an owner and goes with it: functions with
 * their module, a library's modules and kernels with the library, parts of arrays with
 * the array, nodes with their graph and the graphs inside nodes with those, the rest with its
 * context. All functions are for the worker's one thread.
 */
#ifndef VGPU_WORKER_HANDLES_H
#define VGPU_WORKER_HANDLES_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/calls.h"

struct vgpu_worker;

struct vgpu_context;

struct vgpu_handle {
    void *object;                 /* the driver's */
    struct vgpu_context *context; /* that it was made in; NULL for contexts, libraries, kernels,
                                   * user objects, pools, physical memory, graphs, nodes */
    uint32_t owner;               /* that it goes with: module, library, kernel; of a node its
                                   * graph, of a child graph its node; 0 for none */
    uint32_t children;            /* first of those that it owns */
    uint32_t next, previous;      /* among those with the same owner; 0 for none */
    uint32_t kind;                /* enum vgpu_kind; NONE: the id is free */
    union {
        struct {                      /* of a function or kernel */
            uint32_t parameter_bytes; /* packed */
            bool goes_alone;          /* a node of a graph cannot, or might not, become it */
        };
        uint32_t references;     /* to a user object, that the guest holds */
        uint32_t charged;        /* units of graph memory (replay_graph_exec.c), of an exec */
        CUuserObject function;   /* that goes with the graph for what a host node calls; NULL: none
                                  * is known */
        struct {                 /* of a stream */
            bool blocks;         /* the legacy stream waits for it, and it for that */
            bool joined;         /* the context's own stream waits for all it has */
            bool has_attributes; /* that nodes of a graph have not */
            uint32_t chain; /* where its launches may be collected: worker/code/launch_chain.c */
        };
    };
};

struct vgpu_handles {
    struct vgpu_handle *table; /* VGPU_HANDLE_MAX entries, touched only where used */
    uint32_t end;              /* above the highest id that was ever used */
    uint32_t named;            /* owner named by the record that is being replayed; 0: none */
    uint32_t stream;           /* the id that was looked up last; the legacy stream's are 0 and 1 */
};

int vgpu_handles_create(struct vgpu_handles *handles);
void vgpu_handles_destroy(struct vgpu_handles *handles);

static inline bool vgpu_handle_is(const struct vgpu_handle *handle, enum vgpu_kind kind)
{
    if (kind == VGPU_KIND_LAUNCHABLE) /* a function or a kernel */
        return handle->kind == VGPU_KIND_FUNCTION || handle->kind == VGPU_KIND_KERNEL;
    return handle->kind == (uint32_t)kind;
}

static inline bool vgpu_handle_can_own(const struct vgpu_handle *handle)
{
    return handle->kind == VGPU_KIND_MODULE || handle->kind == VGPU_KIND_LIBRARY ||
           handle->kind == VGPU_KIND_KERNEL || handle->kind == VGPU_KIND_ARRAY ||
           handle->kind == VGPU_KIND_MIPMAP;
}

/** Looks an id of anything but a stream up: CUDA_SUCCESS and *object, or CUDA_ERROR_INVALID_HANDLE
 *  (INVALID_CONTEXT for a context). Inline, because most kinds are constants. */
static inline CUresult vgpu_handles_look_up(struct vgpu_handles *handles, enum vgpu_kind kind,
                                            uint32_t id, void **object)
{
    if (id < VGPU_HANDLE_FIRST || id >= VGPU_HANDLE_MAX ||
        !vgpu_handle_is(&handles->table[id], kind))
        return kind == VGPU_KIND_CONTEXT ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_HANDLE;
    *object = handles->table[id].object;
    if (vgpu_handle_can_own(&handles->table[id]))
        handles->named = id;
    return CUDA_SUCCESS;
}

/** The same for anything; of streams see vgpu_worker_stream(). */
CUresult vgpu_handles_find(struct vgpu_worker *worker, enum vgpu_kind kind, uint32_t id,
                           void **object);

/** The id of an object of the driver, or 0. It looks through all: for what is asked rarely. */
uint32_t vgpu_handles_id(const struct vgpu_worker *worker, enum vgpu_kind kind, const void *object);

/** The handle with this id goes with `owner` from now on. */
void vgpu_handles_give(struct vgpu_worker *worker, uint32_t id, uint32_t owner);

/** True if a new handle may have this id. Starts the search for its owner: the next module,
 *  library or kernel that is found before vgpu_handles_add(). */
bool vgpu_handles_free(struct vgpu_worker *worker, uint32_t id);

/** Fills an id for which vgpu_handles_free() was true. */
void vgpu_handles_add(struct vgpu_worker *worker, enum vgpu_kind kind, uint32_t id, void *object);

/** Frees an id and those of all that it owns; unknown ids are ignored. */
void vgpu_handles_remove(struct vgpu_worker *worker, uint32_t id);

/** Frees the ids of all that was made in a context. */
void vgpu_handles_remove_context(struct vgpu_worker *worker, const struct vgpu_context *context);

#endif
