/* SPDX-License-Identifier: MIT */
/** Mailbox requests (protocol/mailbox.h), wherever they came from. */
#ifndef VGPU_MEDIATOR_MAILBOX_H
#define VGPU_MEDIATOR_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

struct vgpu_session;

/** Answers message `id`, at once or, for a primitive, when its worker has answered. */
void vgpu_mailbox_handle(struct vgpu_session *session, uint32_t id, const void *request,
                         size_t length);

#endif
