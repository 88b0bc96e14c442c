/* SPDX-License-Identifier: MIT */
/** The consumer of the command ring. */
#ifndef VGPU_WORKER_LOOP_H
#define VGPU_WORKER_LOOP_H

#include "protocol/channel.h"
#include "protocol/worker.h"

struct vgpu_worker;
struct vgpu_primitive;

/** Replays one record (a private copy, whose payload begins at a multiple of 16) and reports what
 *  came of it: the reply, or a failure of an asynchronous call. Returns 0, or -EPROTO for garbage.
 */
int vgpu_loop_record(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                     const uint8_t *payload);

/** Runs until the mediator hangs up (VGPU_WORKER_EXIT_OK) or the guest sends garbage. Without an
 *  extent only the mediator's socket is served. */
enum vgpu_worker_exit vgpu_loop_run(struct vgpu_worker *worker, struct vgpu_primitive *primitive);

#endif
