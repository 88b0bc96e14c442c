/* SPDX-License-Identifier: MIT */
/** What the mediator asks of a worker over their socket: to run a mailbox request, to describe the
 *  driver, to end. */
#ifndef VGPU_WORKER_PRIMITIVE_H
#define VGPU_WORKER_PRIMITIVE_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/worker.h"

struct vgpu_driver;

struct vgpu_primitive {
    const struct vgpu_driver *driver;
    CUresult driver_error; /* of cuInit */
    CUcontext context;     /* primary context of device 0; NULL before the first primitive */
    CUmodule module;
    CUfunction vector_add;
    CUdeviceptr memory; /* for the operands and the sum */
};

void vgpu_primitive_init(struct vgpu_primitive *primitive, const struct vgpu_driver *driver,
                         CUresult driver_error);

/** Answers one message in place; false for an op that there is not. Another context may be current
 *  before, none is after. */
bool vgpu_primitive_answer(struct vgpu_primitive *primitive, struct vgpu_worker_message *message);

/** Gives back what the last primitives needed of the GPU: hundreds of megabytes on a large one. The
 *  next one makes it again. */
void vgpu_primitive_rest(struct vgpu_primitive *primitive);

/** Reads and answers what waits in the socket. Returns false when the mediator has hung up or what
 *  it sends is no message: the worker ends. */
bool vgpu_primitive_serve(struct vgpu_primitive *primitive, int socket);

#endif
