/* SPDX-License-Identifier: MIT */
/** Mailbox primitives: a worker per session, started with the first one, that computes them. */
#ifndef VGPU_MEDIATOR_PRIMITIVE_H
#define VGPU_MEDIATOR_PRIMITIVE_H

#include "mediator/spawn.h"

struct vgpu_session;

struct vgpu_primitive {
    struct vgpu_session *session;
    struct vgpu_worker worker;
    struct vgpu_timer deadline; /* runs while a request is pending */
    bool runs;                  /* the worker is not yet reaped */
    bool pending;
    uint32_t id;     /* of the pending mailbox message */
    uint32_t length; /* of the answer that its op has on success */
};

void vgpu_primitive_init(struct vgpu_primitive *primitive, struct vgpu_session *session);

/**
 * Hands a checked request to the worker; the answer goes to the session as message `id` when it
 * comes, an error at the latest after half a minute. Returns 0, -EBUSY (one is pending, or its
 * worker is still being reaped) or another negative errno.
 */
int vgpu_primitive_submit(struct vgpu_primitive *primitive, uint32_t id, const void *request,
                          size_t length, size_t answer_length);

/** Kills the worker; nothing is answered any more. */
void vgpu_primitive_close(struct vgpu_primitive *primitive);

#endif
