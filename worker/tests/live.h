/* SPDX-License-Identifier: MIT */
/** The real vgpu-worker as a child on a real driver, with just enough of a mediator and a guest
 *  around it: the generated senders work on a struct vgpu_channel of this. */
#ifndef VGPU_WORKER_TESTS_LIVE_H
#define VGPU_WORKER_TESTS_LIVE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "guest/channel/channel.h"
#include "protocol/ring.h"
#include "protocol/send.h"
#include "protocol/worker.h"

struct vgpu_channel {
    pid_t worker;
    int socket, doorbell, interrupt;
    struct vgpu_worker_page *page;
    struct vgpu_ledger_page *ledger;
    uint8_t *window;
    uint8_t *extent;
    struct vgpu_channel_header *header;
    struct vgpu_ring_producer ring;
    uint32_t sequence;
};

/** Starts a worker, whose extent is at an odd place of a window if `with_window`. Returns NULL when
 *  it ended before it was ready; *status is then its exit status. */
struct vgpu_channel *live_start(const char *program, const char *driver, bool with_window,
                                int *status);

/** Hangs up and returns the exit status, or -1 after a signal. */
int live_end(struct vgpu_channel *channel);

/** Sends a message of the mediator and receives the answer into it. */
void live_ask(struct vgpu_channel *channel, struct vgpu_worker_message *message);

/** Waits for a fence, or an asynchronous error, which it takes and returns. */
CUresult live_wait(struct vgpu_channel *channel, uint32_t fence, uint32_t value);

void *live_staging(struct vgpu_channel *channel);
uint64_t live_now(void); /* nanoseconds */

#endif
