/* SPDX-License-Identifier: MIT */
/**
 * What the device's test asks of the fake mediator, as ops of its own in the mailbox. A request is
 * a struct fake_request, a response a struct fake_response.
 */
#ifndef VGPU_TESTS_FAKE_MEDIATOR_H
#define VGPU_TESTS_FAKE_MEDIATOR_H

#include "protocol/mailbox.h"

#define FAKE_VM_ID 42u
#define FAKE_POOL  'C'

enum fake_op {
    FAKE_SUM = 1000,      /* answers the sum of the window's words [argument, argument + 1024) */
    FAKE_STALL = 1001,    /* answers only when doorbell `argument` rings */
    FAKE_RAISE = 1002,    /* raises interrupt `argument` and answers */
    FAKE_DIE = 1003,      /* is killed without an answer; it is started again later */
    FAKE_GARBAGE = 1004,  /* answers with the kind `argument` of nonsense */
    FAKE_FREEZE = 1005,   /* reads nothing for `argument` ms, then answers */
    FAKE_REFUSE = 1006,   /* ends; the next mediator refuses the device once */
    FAKE_DESCRIBE = 1007, /* answers priority << 8 | pool as HELLO asked for them */
    FAKE_CLOCK = 1008,    /* answers the monotonic clock's nanoseconds */
    FAKE_ANSWER_BY_INTERRUPT = 1009, /* 1: interrupt n comes with the answer to doorbell n */
};

enum fake_garbage {
    FAKE_GARBAGE_NOISE,
    FAKE_GARBAGE_MAGIC,
    FAKE_GARBAGE_VERSION,
    FAKE_GARBAGE_OP,
    FAKE_GARBAGE_LENGTH,
    FAKE_GARBAGE_HUGE_LENGTH,
    FAKE_GARBAGE_WRONG_ID,
    FAKE_GARBAGE_EMPTY_RESPONSE,
    FAKE_GARBAGE_LONG_RESPONSE,
    FAKE_GARBAGE_SECOND_WELCOME,
    FAKE_GARBAGE_TWO_RESPONSES,
    FAKE_GARBAGE_HALF_A_HEADER, /* and the end of the connection */
    FAKE_GARBAGE_KINDS,
};

struct fake_request {
    struct vgpu_mailbox_request request;
    uint32_t argument;
    uint32_t reserved;
};

struct fake_response {
    struct vgpu_mailbox_response response;
    uint64_t value;
};

/** At every doorbell n the mediator answers word n of the first array with its complement in the
 *  second; both lie in the window at these offsets. */
#define FAKE_CALL_OFFSET   0x10000u
#define FAKE_ANSWER_OFFSET 0x11000u

#endif
