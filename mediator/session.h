/* SPDX-License-Identifier: MIT */
/**
 * One connection on a control socket, from accept until its last worker was reaped. Nothing a
 * client does or fails to do makes the mediator wait.
 */
#ifndef VGPU_MEDIATOR_SESSION_H
#define VGPU_MEDIATOR_SESSION_H

#include <sys/types.h>

#include "mediator/channel.h"
#include "mediator/extent.h"
#include "mediator/mediator.h"
#include "mediator/primitive.h"
#include "protocol/control.h"

enum vgpu_session_state {
    VGPU_SESSION_HELLO,       /* nothing said yet */
    VGPU_SESSION_DESCRIPTORS, /* eventfds are coming */
    VGPU_SESSION_WAITING,     /* the VM's former session still has workers to reap */
    VGPU_SESSION_ATTACHED,    /* welcomed */
    VGPU_SESSION_REFUSED,     /* told why; it hangs up, or we do when the deadline is over */
    VGPU_SESSION_ENDED,       /* disconnected; waits for its workers to be reaped */
};

/** Answers that may wait for a client that does not read; with one more it is dropped. */
#define VGPU_SESSION_OUTPUT_MESSAGES 8u

struct vgpu_session {
    struct vgpu_session *next;
    struct vgpu_mediator *mediator;
    enum vgpu_session_state state;
    bool is_device;
    bool failed;     /* to be ended by whoever runs its callback; says and hears nothing more */
    uid_t uid;       /* of the peer */
    pid_t pid;       /* of the peer */
    char label[128]; /* for the log */
    struct vgpu_source socket;
    struct vgpu_source peer;    /* pidfd of a host process; -1: none */
    struct vgpu_timer deadline; /* of the handshake, or of hanging up */

    struct vgpu_control_message input;
    uint32_t received;
    int incoming[VGPU_CONTROL_DESCRIPTORS_MAX]; /* descriptors of the message being read */
    uint32_t incoming_count;
    uint8_t output[VGPU_SESSION_OUTPUT_MESSAGES * sizeof(struct vgpu_control_message)];
    uint32_t queued; /* bytes of `output` */

    struct vgpu_control_hello hello;
    int *descriptors; /* doorbells, then interrupts */
    uint32_t descriptor_count;
    int window_fd;
    void *window; /* header and channel table, mapped */

    struct vgpu_vm *vm; /* from ATTACHED on */
    struct vgpu_extents extents;
    struct vgpu_channel *channels[VGPU_DOORBELL_MAX];
    struct vgpu_primitive primitive;
    uint32_t workers; /* alive: of channels and the primitive's */
};

/** Takes over a connection that was just accepted. */
void vgpu_session_create(struct vgpu_mediator *mediator, int socket, bool is_device);

/** Disconnects, kills the workers; the session goes when they were reaped. Not from its own calls.
 */
void vgpu_session_end(struct vgpu_session *session);

/** To be called when a worker was reaped, as the last thing: may destroy the session. */
void vgpu_session_settle(struct vgpu_session *session);

/** Queues the answer to mailbox message `id`. A client with too many unread answers is dropped. */
void vgpu_session_answer(struct vgpu_session *session, uint32_t id, const void *data,
                         size_t length);

/** The eventfd that interrupts for this channel. */
int vgpu_session_interrupt(const struct vgpu_session *session, uint32_t channel);

/** What the VM's workers have counted, those that ended and those alive, and its GPU time up to
 *  a millisecond ago. Nothing of it ever shrinks. */
void vgpu_session_count(struct vgpu_mediator *mediator, struct vgpu_vm *vm,
                        struct vgpu_counters *counters);

/** Ends all sessions; the loop stops when the last worker was reaped. */
void vgpu_sessions_stop(struct vgpu_mediator *mediator);

#endif
