/* SPDX-License-Identifier: MIT */
/** From HELLO to WELCOME: what a client brings is checked before anything of it is used. */
#ifndef VGPU_MEDIATOR_HANDSHAKE_H
#define VGPU_MEDIATOR_HANDSHAKE_H

#include "mediator/session.h"

/** Handle the message in session->input and session->incoming; take the descriptors they keep. */
void vgpu_handshake_hello(struct vgpu_session *session);
void vgpu_handshake_descriptors(struct vgpu_session *session);

/** A session has gone: attaches those that waited for its workers to end. */
void vgpu_handshake_resume(struct vgpu_mediator *mediator);

/* Of session.c, for the handshake: */

/** Refuses or disconnects with one line of reason; takes effect when the callback returns. */
void vgpu_session_fail(struct vgpu_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** session->vm is set and everything is in place: says so to the client. */
void vgpu_session_welcome(struct vgpu_session *session);

#endif
