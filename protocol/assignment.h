/* SPDX-License-Identifier: MIT */
/**
 * How a worker learns whom it serves: the page says it in words, and VGPU_WORKER_SERVE brings the
 * descriptors. Until then a worker knows the driver and nothing of any VM.
 */
#ifndef VGPU_PROTOCOL_ASSIGNMENT_H
#define VGPU_PROTOCOL_ASSIGNMENT_H

#include <sys/types.h>

#include "protocol/worker.h"

/** Descriptors of an assignment, by the places that they get: VGPU_WORKER_LEDGER and those after
 *  it, then stdout and stderr. */
enum { VGPU_ASSIGNED = VGPU_WORKER_IMAGES - VGPU_WORKER_LEDGER + 1 };

/** Sends the descriptors, -1 for those that there are not: VGPU_ASSIGNED of them, and `log`, which
 *  is always there. Does not wait. Returns 0 or a negative errno. */
int vgpu_assignment_send(int socket, const int *descriptors, int log);

/**
 * Receives one message of the mediator, with `flags` for recvmsg. With VGPU_WORKER_SERVE the
 * descriptors are put into their places, over whatever is there, and the places that get none are
 * closed. Returns its bytes, 0 when the mediator has hung up, or a negative errno; -EPROTO for
 * descriptors that cannot be.
 */
ssize_t vgpu_assignment_receive(int socket, struct vgpu_worker_message *message, int flags);

#endif
