/* SPDX-License-Identifier: MIT */
/** What a process has sent to the host, counted by call: VGPU_TRACE=summary prints it at exit. */
#ifndef VGPU_GUEST_TRACE_H
#define VGPU_GUEST_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/calls.h"

struct vgpu_channel;

struct vgpu_call_count {
    uint64_t sent;
    uint64_t waited;  /* for the reply */
    uint64_t payload; /* bytes that went with it in its record */
    uint64_t carried; /* bytes that went with it in staging memory; atomic */
};

struct vgpu_trace {
    struct vgpu_call_count calls[VGPU_CALL_MAX + 1]; /* but for `carried` with the producer lock */
    uint64_t fences;                                 /* that a thread had to wait for; atomic */
    uint64_t doorbells;                              /* that were rung; atomic */
    uint64_t backed_off; /* calls that waited as too many did already; with the producer lock */
};

/** True if the environment asks for a summary. */
bool vgpu_trace_wanted(void);

/** Counts bytes that a call carries in staging memory. Any thread. */
void vgpu_trace_carried(struct vgpu_channel *channel, enum vgpu_call call, uint64_t bytes);

/** Prints one table to stderr. `entered`: how often the program has called a function that looked
 *  for the channel, be it to send or only to answer. */
void vgpu_trace_print(struct vgpu_channel *channel, uint64_t entered);

#endif
