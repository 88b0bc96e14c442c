/* SPDX-License-Identifier: MIT */
/**
 * A mediator and its worker as two threads of the test: the process socket's other end, for one
 * client after the other, with the faults that a test asks for.
 */
#ifndef VGPU_GUEST_TESTS_FAKE_MEDIATOR_H
#define VGPU_GUEST_TESTS_FAKE_MEDIATOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/channel.h"
#include "protocol/control.h"
#include "protocol/ring.h"
#include "protocol/window.h"

enum fake_greeting {
    FAKE_WELCOMES,
    FAKE_REFUSES, /* with the text "no more VMs" */
    FAKE_GREETS_GARBAGE,
    FAKE_GREETS_LONG,   /* a WELCOME of another length */
    FAKE_OTHER_VERSION, /* of the control protocol: 99 */
    FAKE_HANGS_UP,
};

enum fake_answer {
    FAKE_ANSWERS,
    FAKE_STATUS, /* refuses with `status` and `text` */
    FAKE_OTHER_ID,
    FAKE_EMPTY,    /* length 0 */
    FAKE_LONG,     /* length above the mailbox's */
    FAKE_OUTSIDE,  /* a channel that ends beyond the window */
    FAKE_CUT_OFF,  /* half a response header */
    FAKE_CLOSES,   /* hangs up instead of answering */
    FAKE_WRONG_OP, /* a message that is no MAILBOX */
};

struct fake_mediator;

/** What the worker does with a record; true if it was replied to or needs no reply. NULL: echo. */
typedef bool fake_replay(struct fake_mediator *fake, const struct vgpu_call_header *header,
                         const uint8_t *payload);

struct fake_mediator {
    /* set by the test before or while it runs */
    enum fake_greeting greeting;
    enum fake_answer answer;
    enum vgpu_mailbox_status status;
    const char *text;
    fake_replay *replay;
    void *test;         /* for replay() */
    bool worker_stalls; /* atomic: the worker takes no record */

    /* read by the test */
    char path[108];
    struct vgpu_control_hello hello;
    char program[64];
    uint32_t closes;   /* atomic: CHANNEL_CLOSE requests */
    uint32_t hang_ups; /* atomic: clients that went away */
    uint32_t records;  /* atomic: replayed */
    uint32_t fault;    /* atomic: of the worker's ring */

    int listener;
    int client;
    int doorbell;
    int interrupt;
    bool stopping;    /* atomic */
    bool worker_ends; /* atomic */
    bool worker_runs;
    pthread_t mediator;
    pthread_t worker;
    uint8_t *window;
    uint64_t window_size;
    uint32_t key;
};

void fake_mediator_start(struct fake_mediator *fake);
void fake_mediator_stop(struct fake_mediator *fake);

/** The worker ends and the channel's entry says so. */
void fake_mediator_lose_worker(struct fake_mediator *fake, uint32_t error);
void fake_mediator_hang_up(struct fake_mediator *fake);

/** For replay(): the parts of a worker's answer. */
struct vgpu_channel_header *fake_mediator_channel(struct fake_mediator *fake);
void fake_mediator_reply(struct fake_mediator *fake, const struct vgpu_call_header *header,
                         const struct vgpu_result *result, const void *payload);
void fake_mediator_write_fence(struct fake_mediator *fake, uint32_t fence, uint32_t value);
bool fake_mediator_echo(struct fake_mediator *fake, const struct vgpu_call_header *header,
                        const uint8_t *payload);

/** Waits until an atomic counter reaches a value; false after `milliseconds`. */
bool fake_mediator_await(const uint32_t *counter, uint32_t value, uint32_t milliseconds);

#endif
