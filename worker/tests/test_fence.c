/* SPDX-License-Identifier: MIT */
/* Fences: in the order of their streams, always coming, after errors, with the time measured. */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker/context.h"
#include "worker/tests/fixture.h"

static struct vgpu_channel *open_queued(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    fixture_load(channel, ".version");
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM2, 1, 0), 0);
    fake.queued = true;
    return channel;
}

static CUstream stream(struct vgpu_channel *channel, uint32_t id)
{
    void *object;
    assert_int_equal(vgpu_handles_find(&channel->worker, VGPU_KIND_STREAM, id, &object), 0);
    return object;
}

/* What only the legacy stream and the worker's own, which waits for all, still have to do. */
static void run_last(struct vgpu_channel *channel)
{
    fake_run(NULL, UINT32_MAX);
    if (channel->worker.current && channel->worker.current->gather)
        fake_run(channel->worker.current->gather, UINT32_MAX);
}

static void run_all(struct vgpu_channel *channel)
{
    fake_run(stream(channel, STREAM), UINT32_MAX);
    fake_run(stream(channel, STREAM2), UINT32_MAX);
    run_last(channel);
}

static void a_fence_comes_after_the_work_before_it(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    fixture_launch(channel, STREAM);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 2);
    assert_int_equal(fixture_fence(channel, 5), 0);
    assert_int_equal(fake_run(stream(channel, STREAM), 3),
                     3); /* event of the beginning, launch, fence */
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_false(vgpu_fence_poll(&channel->worker, true));
    run_all(channel);
    assert_int_equal(fixture_fence(channel, 5), 2);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_int_equal(channel->worker.fences.count, 0);
    assert_int_equal(channel->worker.current->usage.pending, 0);
    assert_int_equal(fixture_take_error(channel), 0);
    fixture_close(channel);
}

static void a_contexts_fence_waits_for_every_stream(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM2); /* does not block: only the join waits for it */
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 9, 1);
    run_last(channel);
    assert_int_equal(fixture_fence(channel, 9), 0);
    run_all(channel);
    assert_int_equal(fixture_fence(channel, 9), 1);
    fixture_close(channel);
}

/* A GPU takes longer for graphs once many streams of a context have had anything to do. */
static void streams_without_work_are_not_joined(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM);
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 9, 1);
    fake_run(stream(channel, STREAM), UINT32_MAX);
    assert_int_equal(fake_run(stream(channel, STREAM2), UINT32_MAX), 0);
    run_all(channel);
    assert_int_equal(fixture_fence(channel, 9), 1);
    fixture_close(channel);
}

static void what_was_joined_is_not_joined_again(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    void *first = stream(channel, STREAM), *second = stream(channel, STREAM2);
    fixture_launch(channel, STREAM2);
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 9, 1);
    fake_run(second, UINT32_MAX);
    fake_run(first, UINT32_MAX);
    run_last(channel);
    assert_int_equal(fixture_fence(channel, 9), 1);
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 9, 2);
    assert_int_equal(fake_run(second, UINT32_MAX), 0);
    run_last(channel);
    assert_int_equal(fixture_fence(channel, 9), 2);
    fixture_launch(channel, STREAM2);
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 9, 3);
    run_last(channel);
    assert_int_equal(fixture_fence(channel, 9), 2);
    assert_true(fake_run(second, UINT32_MAX) > 0);
    run_last(channel);
    assert_int_equal(fixture_fence(channel, 9), 3);
    fixture_close(channel);
}

static void a_contexts_fence_holds_no_stream_up(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM2); /* does not block, and does not get on */
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 9, 1);
    fixture_launch(channel, STREAM);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 6, 1);
    fake_run(stream(channel, STREAM), UINT32_MAX);
    fake_run(NULL, UINT32_MAX);
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(fixture_fence(channel, 6), 1);
    assert_int_equal(fixture_fence(channel, 9), 0);
    run_all(channel);
    assert_int_equal(fixture_fence(channel, 9), 1);
    fixture_close(channel);
}

static void an_event_signals_its_fence(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, EVENT, 0), 0);
    fixture_launch(channel, STREAM2);
    vgpu_send_vgpuEventRecord(channel, CONTEXT, EVENT, STREAM2, 0, 77, 4);
    assert_int_equal(fixture_fence(channel, 77), 0);
    run_all(channel);
    assert_int_equal(fixture_fence(channel, 77), 4);
    fixture_close(channel);
}

static void a_fence_outside_the_array_is_garbage(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, EVENT, 0), 0);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, VGPU_FENCES - 1, 1);
    assert_false(channel->garbage);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, VGPU_FENCES, 1);
    assert_true(channel->garbage);
    vgpu_send_vgpuFenceContext(channel, CONTEXT, UINT32_MAX, 1);
    assert_true(channel->garbage);
    vgpu_send_vgpuEventRecord(channel, CONTEXT, EVENT, 0, 0, VGPU_FENCES, 1);
    assert_true(channel->garbage);
    fixture_close(channel);
}

static void a_fault_is_reported_and_the_fences_come(void **state)
{
    struct vgpu_channel *channel = open_queued();
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM2, 6, 1);
    if (*state) /* the fault comes after the loop has placed its events, or before */
        vgpu_usage_cover(&channel->worker);
    fake.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_false(vgpu_fence_poll(&channel->worker, false)); /* words only: nothing yet */
    vgpu_usage_cover(&channel->worker);
    vgpu_fence_poll(&channel->worker, true);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(fixture_fence(channel, 6), 1);
    assert_int_equal(channel->worker.fences.count, 0);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 2); /* cannot even be placed */
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(fixture_fence(channel, 5), 2);
    fixture_close(channel);
}

static void a_fault_is_not_reported_to_those_who_do_not_wait(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM);
    fake.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    vgpu_usage_cover(&channel->worker);
    vgpu_fence_poll(&channel->worker, true);
    vgpu_send_cuDevicePrimaryCtxReset(channel, 0, CONTEXT, 0);
    fake.sticky = CUDA_SUCCESS;
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), 0);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 5, 1);
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS); /* the new context is innocent */
    fixture_close(channel);
}

static void without_the_gpus_help_the_worker_writes(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct vgpu_channel *channel = fixture_open();
        fake.no_registration = how == 0;
        fake.no_write_value = how == 1;
        if (how == 2)
            fake_driver_table()->cuStreamWriteValue32 = NULL;
        assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), 0);
        assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
        fake.queued = true;
        vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
        assert_false(vgpu_fence_poll(&channel->worker, false));
        assert_int_equal(fixture_fence(channel, 5), 0);
        fake_run(stream(channel, STREAM), UINT32_MAX);
        assert_true(vgpu_fence_poll(&channel->worker, false));
        assert_int_equal(fixture_fence(channel, 5), 1);
        assert_int_equal(fixture_take_error(channel), 0);
        fixture_close(channel);
    }
}

static void fences_never_step_back(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    channel->worker.fences.by_cpu = true;
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, UINT32_MAX); /* wraps */
    ((uint32_t *)(channel->worker.extent + VGPU_CHANNEL_FENCES_OFFSET))[5] = UINT32_MAX - 1;
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM2, 5, 3);
    fake_run(stream(channel, STREAM2), UINT32_MAX);
    vgpu_fence_poll(&channel->worker, true);
    assert_int_equal(fixture_fence(channel, 5), 3);
    run_all(channel);
    vgpu_fence_poll(&channel->worker, true);
    assert_int_equal(fixture_fence(channel, 5), 3);
    assert_int_equal(channel->worker.fences.count, 0);
    fixture_close(channel);
}

static void a_fence_that_the_guest_overwrites_is_given_up(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    run_all(channel);
    ((uint32_t *)(channel->worker.extent + VGPU_CHANNEL_FENCES_OFFSET))[5] =
        0x90000000u; /* behind */
    vgpu_fence_poll(&channel->worker, true);
    assert_int_equal(channel->worker.fences.count, 1);
    vgpu_usage_cover(&channel->worker);
    run_all(channel);
    vgpu_fence_poll(&channel->worker, true);
    assert_int_equal(channel->worker.fences.count, 0);
    fixture_close(channel);
}

static void a_stream_may_go_before_its_fence(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM);
    fixture_launch(channel, STREAM2);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    vgpu_send_cuStreamDestroy(channel, CONTEXT, STREAM);
    vgpu_send_cuStreamDestroy(channel, CONTEXT, STREAM2);
    vgpu_usage_cover(&channel->worker);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    vgpu_send_vgpuFenceContext(channel, CONTEXT, 6, 1);
    run_last(channel);
    assert_int_equal(fixture_fence(channel, 6), 1);
    fixture_close(channel);
}

static void a_context_that_goes_leaves_no_fence_behind(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxReset(channel, 0, CONTEXT, 0), 0);
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(channel->worker.fences.count, 0);
    assert_int_equal(fake.objects, 0);
    fixture_close(channel);
}

/* The fake GPU's clock stands still when it has no operations, and the host's does not: idleness on
 * the host's clock is then longer than what passed. So the GPU is given time to pass. */
static void gpu_time_is_that_of_the_work(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    struct vgpu_worker *worker = &channel->worker;
    for (uint32_t i = 1; i <= 10; i++) {
        worker->fences.unwatched = true; /* so each beginning is an event */
        fixture_launch(channel, STREAM);
        vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, i);
        vgpu_usage_cover(worker);
        run_all(channel);
        vgpu_fence_poll(worker, true);
        assert_int_not_equal(worker->current->usage.idle_since, 0);
        fake_pass(100 * FAKE_STEP_NANOSECONDS); /* idle */
    }
    assert_in_range(channel->page.gpu_nanoseconds, 10 * FAKE_STEP_NANOSECONDS,
                    10 * FAKE_STEP_NANOSECONDS + 50);
    fixture_close(channel);
}

static void watched_idleness_is_taken_off_by_the_hosts_clock(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    struct vgpu_worker *worker = &channel->worker;
    uint64_t passed = 0;
    for (uint32_t i = 1; i <= 10; i++) {
        fixture_launch(channel, STREAM);
        vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, i);
        run_all(channel);
        vgpu_fence_poll(worker, false);
        uint64_t before = vgpu_usage_idle(worker->current);
        usleep(2000);
        uint64_t idle = vgpu_usage_idle(worker->current) - before;
        assert_true(idle >= 2000000);
        fake_pass(idle);
        passed += idle;
    }
    vgpu_usage_cover(worker);
    run_all(channel);
    vgpu_fence_poll(worker, true);
    /* ten launches; idleness between a look and its end is not exactly what was let pass */
    assert_in_range(channel->page.gpu_nanoseconds, 0, passed / 10);
    assert_true(worker->current->usage.idle >= passed);
    fixture_close(channel);
}

static void work_that_nobody_waits_for_is_measured_too(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    for (int i = 0; i < 5; i++)
        fixture_launch(channel, STREAM2);
    vgpu_usage_cover(&channel->worker);
    run_all(channel);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_in_range(channel->page.gpu_nanoseconds, 5 * FAKE_STEP_NANOSECONDS,
                    5 * FAKE_STEP_NANOSECONDS + 20);
    fixture_close(channel);
}

static void overlapping_streams_are_not_counted_twice(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    fixture_launch(channel, STREAM);
    fixture_launch(channel, STREAM2);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM2, 6, 1);
    vgpu_usage_cover(&channel->worker);
    fake_run(stream(channel, STREAM), 1);           /* the event of the beginning */
    fake_run(stream(channel, STREAM2), UINT32_MAX); /* overtakes */
    run_all(channel);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_in_range(channel->page.gpu_nanoseconds, 2 * FAKE_STEP_NANOSECONDS,
                    2 * FAKE_STEP_NANOSECONDS + 20);
    fixture_close(channel);
}

static void what_kernels_print_is_there_before_the_fence(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    int standard = dup(STDOUT_FILENO);
    char text[100] = "";
    size_t bytes = 0;
    assert_int_equal(vgpu_console_open(&channel->worker.console), 0);
    fixture_load(channel, ".version vprintf");
    fake.queued = true;
    fake.prints = "printed\n";
    fixture_launch(channel, 0);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 5, 1);
    fake_run(NULL, UINT32_MAX);
    uint32_t early = fixture_fence(channel, 5);
    vgpu_fence_poll(&channel->worker, false);
    uint32_t pending = channel->header->console_pending;
    CUresult error = vgpu_send_vgpuConsoleRead(channel, 0, text, 3, &bytes);
    uint32_t rest = channel->header->console_pending;
    dup2(standard, STDOUT_FILENO); /* assertions print */
    close(standard);
    assert_int_equal(early, 0);
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(pending, 8);
    assert_int_equal(error, 0);
    assert_memory_equal(text, "pri", 3);
    assert_int_equal(rest, 0); /* what the guest had no room for was fetched all the same */
    fixture_close(channel);
}

/* Who is told so waits for the stream without the worker. */
static void what_kernels_print_is_there_when_a_query_finds_them_done(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    int standard = dup(STDOUT_FILENO);
    assert_int_equal(vgpu_console_open(&channel->worker.console), 0);
    fixture_load(channel, ".version vprintf");
    fake.queued = true;
    fake.prints = "printed\n";
    fixture_launch(channel, 0);
    CUresult busy = vgpu_send_cuStreamQuery(channel, CONTEXT, 0);
    uint32_t early = channel->header->console_pending;
    fake_run(NULL, UINT32_MAX);
    CUresult done = vgpu_send_cuStreamQuery(channel, CONTEXT, 0);
    uint32_t pending = channel->header->console_pending;
    dup2(standard, STDOUT_FILENO); /* assertions print */
    close(standard);
    assert_int_equal(busy, CUDA_ERROR_NOT_READY);
    assert_int_equal(early, 0);
    assert_int_equal(done, CUDA_SUCCESS);
    assert_int_equal(pending, 8);
    fixture_close(channel);
}

static void a_sleeping_guest_is_woken(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_queued();
    uint64_t count = 0;
    channel->worker.interrupt = eventfd(0, EFD_NONBLOCK);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 1);
    run_all(channel);
    vgpu_fence_poll(&channel->worker, false);
    assert_int_equal(read(channel->worker.interrupt, &count, 8), -1); /* nobody sleeps */
    channel->header->guest_sleeps = 1;
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 5, 2);
    assert_int_equal(read(channel->worker.interrupt, &count, 8), -1);
    run_all(channel);
    vgpu_fence_poll(&channel->worker, false);
    assert_int_equal(read(channel->worker.interrupt, &count, 8), 8); /* for the fence */
    uint64_t address;
    vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 16);
    assert_int_equal(read(channel->worker.interrupt, &count, 8), 8); /* for the reply */
    vgpu_send_vgpuCopyInline(channel, CONTEXT, 1, 0, "a", 1);
    assert_int_equal(read(channel->worker.interrupt, &count, 8), 8); /* for the error */
    channel->header->guest_sleeps = 0;
    close(channel->worker.interrupt);
    fixture_close(channel);
}

/* A question costs as much as a launch, so there are few at a time, but all get their turn. */
static void of_many_marks_some_are_asked_for_at_a_time(void **state)
{
    enum { STREAMS = 30, FIRST = OTHER + 1 };
    (void)state;
    struct vgpu_channel *channel = open_queued();
    struct vgpu_worker *worker = &channel->worker;
    CUstream streams[STREAMS];
    for (uint32_t i = 0; i < STREAMS; i++) {
        assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, FIRST + i, 1, 0),
                         0);
        fixture_launch(channel, FIRST + i);
        streams[i] = stream(channel, FIRST + i);
    }
    vgpu_usage_cover(worker);
    uint32_t marks = worker->fences.count;
    assert_true(marks >= STREAMS);
    for (int i = 0; i < 20; i++) {
        fake.queried = 0;
        vgpu_fence_poll(worker, true);
        assert_in_range(fake.queried, 1, 4);
    }
    assert_int_equal(worker->fences.count, marks);
    fake_run(streams[STREAMS - 1], UINT32_MAX); /* the last is done first */
    for (int i = 0; i < 2 * STREAMS && worker->fences.count == marks; i++)
        vgpu_fence_poll(worker, true);
    assert_int_equal(worker->fences.count, marks - 1);
    for (uint32_t i = 0; i < STREAMS; i++)
        fake_run(streams[i], UINT32_MAX);
    vgpu_fence_poll(worker, true);
    vgpu_fence_poll(worker, true);
    assert_int_equal(worker->fences.count, 0);
    assert_true(vgpu_usage_is_idle(worker->current));
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fence_comes_after_the_work_before_it),
        cmocka_unit_test(a_contexts_fence_waits_for_every_stream),
        cmocka_unit_test(of_many_marks_some_are_asked_for_at_a_time),
        cmocka_unit_test(streams_without_work_are_not_joined),
        cmocka_unit_test(what_was_joined_is_not_joined_again),
        cmocka_unit_test(a_contexts_fence_holds_no_stream_up),
        cmocka_unit_test(an_event_signals_its_fence),
        cmocka_unit_test(a_fence_outside_the_array_is_garbage),
        cmocka_unit_test(a_fault_is_reported_and_the_fences_come),
        cmocka_unit_test_prestate(a_fault_is_reported_and_the_fences_come, &(int){1}),
        cmocka_unit_test(a_fault_is_not_reported_to_those_who_do_not_wait),
        cmocka_unit_test(without_the_gpus_help_the_worker_writes),
        cmocka_unit_test(fences_never_step_back),
        cmocka_unit_test(a_fence_that_the_guest_overwrites_is_given_up),
        cmocka_unit_test(a_stream_may_go_before_its_fence),
        cmocka_unit_test(a_context_that_goes_leaves_no_fence_behind),
        cmocka_unit_test(gpu_time_is_that_of_the_work),
        cmocka_unit_test(watched_idleness_is_taken_off_by_the_hosts_clock),
        cmocka_unit_test(work_that_nobody_waits_for_is_measured_too),
        cmocka_unit_test(overlapping_streams_are_not_counted_twice),
        cmocka_unit_test(what_kernels_print_is_there_before_the_fence),
        cmocka_unit_test(what_kernels_print_is_there_when_a_query_finds_them_done),
        cmocka_unit_test(a_sleeping_guest_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
