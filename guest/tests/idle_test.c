/* SPDX-License-Identifier: MIT */
/* The whole library before a worker whose driver says of every stream that it is busy: what the
 * program was told to be idle is idle all the same, and nobody is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/tests/fake_mediator.h"
#include "interop/driver_api.h"
#include "protocol/calls.h"
#include "protocol/info.h"

enum { MANY = 40 }; /* records that nobody asks for, before there are no fences behind them */

/* The whole program's: one library, one mediator. */
struct fixture {
    struct fake_mediator fake;
    uint32_t replies; /* atomic */
    uint32_t fences;  /* atomic: posted for somebody who waits */
    CUcontext context;
};

static void write_fence(struct fake_mediator *fake, const struct vgpu_call_header *header,
                        size_t offset)
{
    uint32_t words[2]; /* fence, value */
    memcpy(words, header->arguments + offset, sizeof(words));
    if (words[0] != VGPU_NO_FENCE)
        fake_mediator_write_fence(fake, words[0], words[1]);
}

static void reply(struct fake_mediator *fake, const struct vgpu_call_header *header)
{
    struct fixture *f = fake->test;
    struct vgpu_device_info info = {.device_count = 1, .driver_version = 13000};
    struct vgpu_result result = {.result = CUDA_SUCCESS};
    __atomic_add_fetch(&f->replies, 1, __ATOMIC_RELAXED);
    if (header->call == VGPU_CALL_vgpuDeviceInfo)
        result.payload_bytes = sizeof(info);
    if (header->call == VGPU_CALL_cuStreamQuery)
        result.result = CUDA_ERROR_NOT_READY;
    fake_mediator_reply(fake, header, &result, &info);
}

/* All that is submitted is done at once. */
static bool replay(struct fake_mediator *fake, const struct vgpu_call_header *header,
                   const uint8_t *payload)
{
    struct fixture *f = fake->test;
    (void)payload;
    if (header->flags & VGPU_CALL_WANTS_REPLY)
        reply(fake, header);
    if (header->call == VGPU_CALL_vgpuFence || header->call == VGPU_CALL_vgpuFenceContext)
        __atomic_add_fetch(&f->fences, 1, __ATOMIC_RELAXED);
    if (header->call == VGPU_CALL_vgpuFence)
        write_fence(fake, header, 4);
    if (header->call == VGPU_CALL_vgpuFenceContext)
        write_fence(fake, header, 0);
    if (header->call == VGPU_CALL_vgpuContextRecord)
        write_fence(fake, header, 4);
    if (header->call == VGPU_CALL_vgpuEventRecord)
        write_fence(fake, header, 12);
    return true;
}

static int setup_all(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->fake.test = f;
    f->fake.replay = replay;
    fake_mediator_start(&f->fake);
    *state = f;
    return cuInit(0) != CUDA_SUCCESS;
}

static int teardown_all(void **state)
{
    struct fixture *f = *state;
    fake_mediator_stop(&f->fake);
    free(f);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = *state;
    return cuCtxCreate_v2(&f->context, 0, 0) != CUDA_SUCCESS;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    return cuCtxDestroy_v2(f->context) != CUDA_SUCCESS;
}

static uint32_t trips(struct fixture *f)
{
    return __atomic_load_n(&f->replies, __ATOMIC_RELAXED) +
           __atomic_load_n(&f->fences, __ATOMIC_RELAXED);
}

static CUstream a_stream(unsigned int flags)
{
    CUstream stream;
    assert_int_equal(cuStreamCreate(&stream, flags), CUDA_SUCCESS);
    return stream;
}

static CUevent an_event(void)
{
    CUevent event;
    assert_int_equal(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
    return event;
}

static CUevent record(CUstream stream)
{
    CUevent event = an_event();
    assert_int_equal(cuEventRecord(event, stream), CUDA_SUCCESS);
    return event;
}

/* Of which the program sees nothing by itself. */
static void work(CUstream stream)
{
    assert_int_equal(cuStreamWaitEvent(stream, record(stream), 0), CUDA_SUCCESS);
}

static void expect_idle(struct fixture *f, CUstream stream)
{
    uint32_t before = trips(f);
    assert_int_equal(cuStreamQuery(stream), CUDA_SUCCESS);
    assert_int_equal(cuStreamSynchronize(stream), CUDA_SUCCESS);
    assert_int_equal(trips(f), before);
}

/* Nothing says so, and the driver says that it is busy. */
static void expect_asked(struct fixture *f, CUstream stream)
{
    uint32_t before = trips(f);
    assert_int_equal(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
    assert_true(trips(f) > before);
}

static void a_stream_is_idle_when_its_last_event_was_waited_for(void **state)
{
    struct fixture *f = *state;
    CUstream streams[] = {a_stream(CU_STREAM_DEFAULT), a_stream(CU_STREAM_NON_BLOCKING), NULL,
                          CU_STREAM_PER_THREAD};
    for (int i = 0; i < 4; i++) {
        record(streams[i]);
        assert_int_equal(cuEventSynchronize(record(streams[i])), CUDA_SUCCESS);
        expect_idle(f, streams[i]);
    }
}

/* As when it was another stream that waited for the event, and the program for that one. */
static void so_it_is_when_the_event_is_done_and_nobody_asked_for_it(void **state)
{
    struct fixture *f = *state;
    CUstream streams[] = {a_stream(CU_STREAM_DEFAULT), a_stream(CU_STREAM_NON_BLOCKING)};
    for (int i = 0; i < 2; i++) {
        record(streams[i]);
        assert_int_equal(cuEventSynchronize(record(streams[1 - i])), CUDA_SUCCESS);
        expect_idle(f, streams[i]);
    }
}

static void so_it_is_when_the_event_was_found_done(void **state)
{
    struct fixture *f = *state;
    CUstream stream = a_stream(CU_STREAM_NON_BLOCKING);
    CUevent event = record(stream);
    while (cuEventQuery(event) == CUDA_ERROR_NOT_READY)
        ;
    expect_idle(f, stream);
}

static void so_it_is_when_only_the_driver_knew_of_the_event(void **state)
{
    struct fixture *f = *state;
    CUstream stream = a_stream(CU_STREAM_NON_BLOCKING);
    CUevent unasked = an_event(), event;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(cuEventRecord(unasked, stream), CUDA_SUCCESS);
    event = record(stream);
    uint32_t before = trips(f);
    assert_int_equal(cuEventQuery(event), CUDA_SUCCESS);
    assert_int_equal(trips(f), before + 1);
    expect_idle(f, stream);
    event = record(stream);
    assert_int_equal(cuEventSynchronize(event), CUDA_SUCCESS);
    expect_idle(f, stream);
}

static void work_behind_the_event_is_asked_for(void **state)
{
    struct fixture *f = *state;
    CUstream streams[] = {a_stream(CU_STREAM_NON_BLOCKING), NULL};
    for (int i = 0; i < 2; i++) {
        CUevent event = record(streams[i]);
        work(streams[i]);
        assert_int_equal(cuEventSynchronize(event), CUDA_SUCCESS);
        expect_asked(f, streams[i]);
    }
}

static void a_stream_in_the_place_of_a_destroyed_one_is_asked_for(void **state)
{
    struct fixture *f = *state;
    CUstream old = a_stream(CU_STREAM_NON_BLOCKING), stream;
    CUevent event = record(old);
    assert_int_equal(cuStreamDestroy_v2(old), CUDA_SUCCESS);
    while ((stream = a_stream(CU_STREAM_NON_BLOCKING)) != old)
        assert_int_equal(cuStreamDestroy_v2(stream), CUDA_SUCCESS);
    work(stream);
    assert_int_equal(cuEventSynchronize(event), CUDA_SUCCESS);
    expect_asked(f, stream);
}

static void after_a_wait_for_the_context_its_streams_are_idle(void **state)
{
    struct fixture *f = *state;
    CUstream streams[] = {a_stream(CU_STREAM_DEFAULT), a_stream(CU_STREAM_NON_BLOCKING), NULL};
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 3; i++)
            record(streams[i]);
        assert_int_equal(cuCtxSynchronize(), CUDA_SUCCESS);
        for (int i = 0; i < 3; i++)
            expect_idle(f, streams[i]);
        work(streams[1]);
        expect_idle(f, streams[0]); /* whatever another has got since */
        expect_asked(f, streams[1]);
        expect_asked(f, streams[2]); /* what the context has is the legacy stream's */
    }
}

static void after_a_wait_for_the_legacy_stream_blocking_ones_are_idle(void **state)
{
    struct fixture *f = *state;
    CUstream blocking = a_stream(CU_STREAM_DEFAULT), other = a_stream(CU_STREAM_NON_BLOCKING);
    record(blocking);
    work(other);
    record(NULL);
    assert_int_equal(cuStreamSynchronize(NULL), CUDA_SUCCESS);
    expect_idle(f, NULL);
    expect_idle(f, blocking);
    expect_asked(f, other);
    work(blocking);
    expect_asked(f, blocking);
}

static void a_context_is_idle_when_all_its_streams_were_found_so(void **state)
{
    struct fixture *f = *state;
    CUstream first = a_stream(CU_STREAM_DEFAULT), second = a_stream(CU_STREAM_NON_BLOCKING);
    CUevent event = record(first);
    assert_int_equal(cuEventSynchronize(record(second)), CUDA_SUCCESS);
    assert_int_equal(cuEventSynchronize(event), CUDA_SUCCESS);
    uint32_t before = trips(f);
    assert_int_equal(cuCtxSynchronize(), CUDA_SUCCESS);
    assert_int_equal(trips(f), before);
    expect_idle(f, NULL);
}

static void an_event_of_the_context_is_behind_all_of_it(void **state)
{
    struct fixture *f = *state;
    CUevent event = an_event();
    record(NULL);
    assert_int_equal(cuCtxRecordEvent(f->context, event), CUDA_SUCCESS);
    assert_int_equal(cuEventSynchronize(event), CUDA_SUCCESS);
    expect_idle(f, NULL);
}

/* As many pieces of work as it had been waited for before the reset. */
static void what_a_reset_primary_context_gets_is_asked_for(void **state)
{
    struct fixture *f = *state;
    CUcontext primary;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cuDevicePrimaryCtxRetain(&primary, 0), CUDA_SUCCESS);
        assert_int_equal(cuCtxSetCurrent(primary), CUDA_SUCCESS);
        work(NULL);
        expect_asked(f, NULL);
        assert_int_equal(cuStreamSynchronize(NULL), CUDA_SUCCESS);
        expect_idle(f, NULL);
        assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
    }
    assert_int_equal(cuCtxSetCurrent(f->context), CUDA_SUCCESS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_is_idle_when_its_last_event_was_waited_for),
        TEST(so_it_is_when_the_event_is_done_and_nobody_asked_for_it),
        TEST(so_it_is_when_the_event_was_found_done),
        TEST(so_it_is_when_only_the_driver_knew_of_the_event),
        TEST(work_behind_the_event_is_asked_for),
        TEST(a_stream_in_the_place_of_a_destroyed_one_is_asked_for),
        TEST(after_a_wait_for_the_context_its_streams_are_idle),
        TEST(after_a_wait_for_the_legacy_stream_blocking_ones_are_idle),
        TEST(a_context_is_idle_when_all_its_streams_were_found_so),
        TEST(an_event_of_the_context_is_behind_all_of_it),
        TEST(what_a_reset_primary_context_gets_is_asked_for),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
