/* SPDX-License-Identifier: MIT */
/**
 * Ordinary memory of the program in graphs. The device cannot reach it, and a graph uses it
 * whenever it runs: so the graph copies from or to a shadow in shared memory. What the graph reads
 * is copied into the shadow before each launch; what it writes is copied out of it by the first
 * synchronisation that finds the launch done.
 *
 * Of a graph that is partial, copies may not be made (a node is disabled, a body is not chosen), or
 * the program may look at them before all is done (in a host function, behind an event that the
 * graph records). There only what the graph has changed is copied out, as soon as the program may
 * look; and what the program's functions have changed is copied in again. Any thread may call
 * these.
 */
#ifndef VGPU_GUEST_SHADOW_H
#define VGPU_GUEST_SHADOW_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_caller;
struct vgpu_rows;
struct vgpu_stream;
struct vgpu_upcall_list;

/** Rows and planes of the program's memory; in the shadow they are packed. */
struct vgpu_shadow_shape {
    char *host;
    size_t width, height, depth;
    size_t pitch, plane; /* of `host`: bytes from row to row, from plane to plane */
    bool out;            /* the graph writes it */
};

struct vgpu_shadow;

/** A shadow, and how many nodes use it. */
struct vgpu_shadow_use {
    struct vgpu_shadow *shadow;
    uint32_t nodes;
};

/** The shadows of a graph, a capture or an executable graph; zero to begin with. */
struct vgpu_shadow_set {
    struct vgpu_shadow_use *list;
    uint32_t count, room;
};

/** What a graph needs of the program. */
struct vgpu_graph_needs {
    struct vgpu_shadow_set shadows;
    bool hosts;   /* it calls host functions */
    bool partial; /* as above, for other reasons than host functions */
};

/** A launch under way. */
struct vgpu_shadow_run;

/** Of a process: launches that have not been seen done; zero and its lock initialised. */
struct vgpu_shadow_runs {
    pthread_mutex_t lock;
    struct vgpu_shadow_run *first;
    uint32_t count; /* atomic */
};

/** Adds a shadow to a set; *memory is where it is. CUDA_ERROR_OUT_OF_MEMORY, or as vgpu_arena_take.
 */
CUresult vgpu_shadow_make(const struct vgpu_caller *caller, const struct vgpu_shadow_shape *shape,
                          struct vgpu_shadow_set *set, void **memory);

/** What a shadow at this address stands for. False: there is none in the set. */
bool vgpu_shadow_look_up(const struct vgpu_shadow_set *set, uint64_t address,
                         struct vgpu_shadow_shape *shape);

/** Adds the shadows of another set, which keeps them. False: no memory. */
bool vgpu_shadow_set_join(struct vgpu_shadow_set *to, const struct vgpu_shadow_set *from);
/** The other way round: as many nodes as use a shadow of `less` no longer do. False: it was not all
 *  there. */
bool vgpu_shadow_set_leave(struct vgpu_shadow_set *set, const struct vgpu_shadow_set *less);
/** Adds to `some` the shadow of `set` at this address, if there is one, for one node. False: no
 *  memory. */
bool vgpu_shadow_set_pick(struct vgpu_shadow_set *some, const struct vgpu_shadow_set *set,
                          uint64_t address);
/** Lets go of them all: what no other set or launch has is freed. */
void vgpu_shadow_set_clear(struct vgpu_shadow_set *set);

/** Records a copy between `rows` and the device in a capture that `stream` is part of. */
CUresult vgpu_shadow_capture(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                             const struct vgpu_rows *rows, bool upload);

/** Records a copy between two places of the program's memory. */
CUresult vgpu_shadow_capture_here(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                                  const struct vgpu_shadow_shape *to,
                                  const struct vgpu_shadow_shape *from);

/** Before a launch: copies in. Functions of the program that the executable graph called in earlier
 *  launches only, `retired`, end with this one, if it has any shadow. *run is NULL if there is
 *  neither; otherwise to be given to
 *  vgpu_shadows_launched after the launch was posted to `stream`, which sees to it that it is known
 *  when it is done, or to vgpu_shadows_not_launched. */
CUresult vgpu_shadows_fill(const struct vgpu_caller *caller, const struct vgpu_shadow_set *set,
                           bool partial, struct vgpu_upcall_list *retired,
                           struct vgpu_shadow_run **run);
CUresult vgpu_shadows_launched(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                               struct vgpu_shadow_run *run);
void vgpu_shadows_not_launched(struct vgpu_shadow_run *run);

/** After a synchronisation: copies out what has been done. One load from memory if there is
 *  nothing. */
void vgpu_shadows_collect(void);

/** The same before a function of the program, for which the host may be waiting: nothing is asked
 *  of it. */
void vgpu_shadows_show(void);

/** After a function of the program: what it has changed is known to what is under way. */
void vgpu_shadows_renew(void);

#endif
