/* SPDX-License-Identifier: MIT */
/** A worker on the fake driver, and a channel whose records it replays at once. The generated
 *  senders (protocol/send.h) are the guest's side. */
#ifndef VGPU_WORKER_TESTS_FIXTURE_H
#define VGPU_WORKER_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest/channel/channel.h"
#include "protocol/send.h"
#include "worker/context.h"
#include "worker/loop.h"
#include "worker/tests/fake_driver.h"
#include "worker/worker.h"

#define QUOTA (1ull << 20)

/* Ids that the tests give their handles. */
enum { CONTEXT = 16, STREAM, STREAM2, EVENT, EVENT2, MODULE, FUNCTION, LIBRARY, KERNEL, OTHER };

struct vgpu_channel {
    struct vgpu_worker worker;
    struct vgpu_worker_page page;
    struct vgpu_ledger_page ledger;
    struct vgpu_channel_header *header; /* the extent's start */
    uint32_t sequence;
    uint32_t put_off; /* calls that the worker wanted to be asked again, and was, at once */
    bool garbage;     /* the worker has refused a record as garbage */
};

/** A worker without a context. */
struct vgpu_channel *fixture_open(void);
/** And with the primary context as CONTEXT. */
struct vgpu_channel *fixture_open_context(void);
void fixture_close(struct vgpu_channel *channel);

/** Gives the worker a window of its own with `count` open extents of WINDOW_EXTENT_BYTES; returns
 *  it mapped for the test, which unmaps it. */
#define WINDOW_EXTENT_BYTES 65536u
uint8_t *fixture_window(struct vgpu_channel *channel, uint32_t count);

uint32_t fixture_fence(const struct vgpu_channel *channel, uint32_t fence);
uint8_t *fixture_staging(const struct vgpu_channel *channel);

/** Takes the asynchronous error, as the guest does. */
CUresult fixture_take_error(struct vgpu_channel *channel);

/** Has an image loaded as MODULE, and its function as FUNCTION. */
void fixture_load(struct vgpu_channel *channel, const char *image);

/** Launches FUNCTION with as many parameter bytes as it has. */
CUresult fixture_launch(struct vgpu_channel *channel, uint32_t stream);

#endif
