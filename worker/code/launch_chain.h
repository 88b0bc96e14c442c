/* SPDX-License-Identifier: MIT */
/**
 * Launches that wait in the ring one behind the other go to the driver together: those of a stream
 * as a graph of 16, 8 or 4 kernels in a chain, of which only what is launched changes. A driver
 * takes 3 us for each launch, but 2 us for such a graph and 0.12 us for each kernel in it, and the
 * GPU is sooner at the next kernel (docs/performance.md). What is left over goes one by one, and so
 * does what would not be in a graph as it is in its stream. Each stream has a chain and graphs of
 * its own, because a graph waits for its last run, wherever that was, and several collect at once:
 * what is in different streams comes in no order, but for the legacy one, which collects alone. All
 * that is collected goes before any other record. For the worker's thread.
 */
#ifndef VGPU_WORKER_CODE_LAUNCH_CHAIN_H
#define VGPU_WORKER_CODE_LAUNCH_CHAIN_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/replay.h"

#define VGPU_CHAIN_MOST            16u
#define VGPU_CHAIN_LEAST           4u
#define VGPU_CHAIN_SIZES           3u /* graphs of 16, 8, 4 */
#define VGPU_CHAIN_STREAMS         32u /* of a context, that have chains: others' launches go alone */
#define VGPU_CHAIN_PARAMETER_BYTES 4096u /* of all that are in a chain */
#define VGPU_COLLECTED_MOST        128u  /* until all go: who came first waits while others come */

struct vgpu_worker;
struct vgpu_context;

/** Made when it is first needed. */
struct vgpu_chain_graph {
    CUgraph graph;
    CUgraphExec exec; /* NULL: not yet */
    CUgraphNode nodes[VGPU_CHAIN_MOST];
    bool refused; /* the driver makes none */
};

struct vgpu_collected_launch {
    struct vgpu_call_vgpuLaunch call; /* its parameters are a copy */
    uint32_t sequence;
};

/** Of a stream. Allocated. */
struct vgpu_launch_chain {
    CUstream stream; /* as marks know it */
    struct vgpu_chain_graph sizes[VGPU_CHAIN_SIZES];
    bool listed; /* among those that were added to since all went */
    uint32_t count;
    uint32_t bytes;
    struct vgpu_collected_launch launches[VGPU_CHAIN_MOST];
    _Alignas(16) uint8_t parameters[VGPU_CHAIN_PARAMETER_BYTES];
};

/** Of a worker, for the current context. Zero to begin with. */
struct vgpu_launch_chains {
    bool enabled;      /* by the loop, which sees to it that what is collected goes */
    bool has_graphs;   /* some context has */
    uint32_t alone;    /* so many launches go by themselves, as few came one behind the other */
    uint32_t together; /* graphs that went since something else came */
    uint32_t count;    /* of launches in all chains */
    uint32_t passed;   /* through chains since all went */
    uint32_t listed;
    struct vgpu_launch_chain *list[VGPU_CHAIN_STREAMS];
};

/** Collects the launch that is being replayed, to go with others; false if it has to go by itself,
 *  and then all that came before it in its stream have gone. */
bool vgpu_launch_chain_collect(struct vgpu_worker *worker, const struct vgpu_call_vgpuLaunch *call);

/** Launches what was collected. Failures are deferred. */
void vgpu_launch_chain_go(struct vgpu_worker *worker);

/** The same, as something else comes: where none went together before it, none are collected for a
 *  while. */
void vgpu_launch_chain_interrupt(struct vgpu_worker *worker);

/** Launches in this stream go by themselves from now on: it has attributes that nodes of a graph
 *  have not. */
void vgpu_launch_chain_leave_out(struct vgpu_worker *worker, CUstream stream);

/** Gives graphs back: of a stream or context that ends, or all, as functions are about to go. */
void vgpu_launch_chain_forget_stream(struct vgpu_worker *worker, struct vgpu_context *context,
                                     CUstream stream);
void vgpu_launch_chain_forget_context(struct vgpu_worker *worker, struct vgpu_context *context);
void vgpu_launch_chain_forget_all(struct vgpu_worker *worker);

/** One launch, at once, with `count` attributes as the driver has them. */
CUresult vgpu_launch_alone(struct vgpu_worker *worker, const struct vgpu_call_vgpuLaunch *call,
                           CUlaunchAttribute *attributes, unsigned int count);

#endif
