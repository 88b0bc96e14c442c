/* SPDX-License-Identifier: MIT */
/* Bells behind marks, on a driver that says that it is the software GPU. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker/tests/fixture.h"

#define ALL UINT32_MAX

static struct vgpu_channel *open_software(bool software)
{
    struct vgpu_channel *channel = fixture_open_context();
    fixture_load(channel, "image");
    fake.queued = true;
    fake_driver_table()->is_software = software;
    channel->worker.interrupt = eventfd(0, EFD_NONBLOCK);
    channel->worker.doorbell = eventfd(0, EFD_NONBLOCK);
    channel->header->guest_sleeps = 1;
    return channel;
}

static void end(struct vgpu_channel *channel)
{
    close(channel->worker.interrupt);
    close(channel->worker.doorbell);
    fixture_close(channel);
}

/* How often it was rung since the last time. */
static uint64_t taken(int eventfd)
{
    uint64_t count = 0;
    return read(eventfd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void launch(struct vgpu_channel *channel)
{
    assert_int_equal(fixture_launch(channel, 0), CUDA_SUCCESS);
}

/* Ends a batch of the lease's with a mark. */
static void end_batch(struct vgpu_channel *channel)
{
    vgpu_usage_cover(&channel->worker);
    channel->worker.lease.filling++;
}

static void a_fence_wakes_the_guest_without_the_worker(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    launch(channel);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 5, 1);
    assert_int_equal(taken(channel->worker.interrupt), 0);
    fake_run(NULL, ALL);
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(taken(channel->worker.interrupt), 1);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_int_equal(taken(channel->worker.interrupt), 0); /* it has been */
    assert_int_equal(taken(channel->worker.doorbell), 0);  /* and nobody wanted to be called */
    end(channel);
}

static void other_drivers_have_none(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(false);
    launch(channel);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 5, 1);
    fake_run(NULL, ALL);
    assert_int_equal(taken(channel->worker.interrupt), 0);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_int_equal(taken(channel->worker.interrupt), 1);
    assert_int_equal(channel->worker.bell.rung, 0);
    end(channel);
}

static void what_only_the_worker_wants_to_know_lets_the_guest_sleep(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    launch(channel);
    end_batch(channel);
    fake_run(NULL, ALL);
    assert_true(vgpu_fence_poll(&channel->worker, true));
    assert_int_equal(taken(channel->worker.interrupt), 0);
    end(channel);
}

static void the_worker_is_called_at_the_end_of_the_batch_that_it_awaits(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    struct vgpu_worker *worker = &channel->worker;
    for (int i = 0; i < 4; i++) {
        launch(channel);
        end_batch(channel);
    }
    vgpu_fence_poll(worker, true);
    assert_true(vgpu_bell_await(worker, 2));
    while (worker->bell.rung < 2)
        assert_int_equal(fake_run(NULL, 1), 1);
    assert_int_equal(taken(worker->doorbell), 0);
    while (worker->bell.rung < 3)
        assert_int_equal(fake_run(NULL, 1), 1);
    assert_int_equal(taken(worker->doorbell), 1);
    fake_run(NULL, ALL);
    assert_int_equal(taken(worker->doorbell), 0); /* once */
    end(channel);
}

static void who_is_awake_is_not_called(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    launch(channel);
    end_batch(channel);
    vgpu_fence_poll(&channel->worker, true);
    assert_true(vgpu_bell_await(&channel->worker, 0));
    vgpu_bell_awake(&channel->worker);
    fake_run(NULL, ALL);
    assert_int_equal(taken(channel->worker.doorbell), 0);
    end(channel);
}

static void what_rang_since_the_last_look_is_not_slept_over(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    launch(channel);
    end_batch(channel);
    vgpu_fence_poll(&channel->worker, true);
    fake_run(NULL, ALL);
    assert_false(vgpu_bell_await(&channel->worker, 0));
    assert_true(vgpu_fence_poll(&channel->worker, true));
    end(channel);
}

/* Nobody but the worker writes the fence, and others may wait for it already. */
static void a_fence_that_the_worker_writes_is_awaited_first(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    struct vgpu_worker *worker = &channel->worker;
    worker->fences.by_cpu = true;
    launch(channel);
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 5, 1);
    launch(channel);
    end_batch(channel);
    vgpu_fence_poll(worker, true);
    assert_true(vgpu_bell_await(worker, 0));
    while (worker->bell.rung < 1)
        assert_int_equal(fake_run(NULL, 1), 1);
    assert_int_equal(taken(worker->doorbell), 1);
    assert_int_equal(fixture_fence(channel, 5), 0);
    assert_true(vgpu_fence_poll(worker, true));
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(taken(worker->interrupt), 1);
    end(channel);
}

static void a_bell_that_cannot_be_hung_is_an_error_and_the_fence_comes(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_software(true);
    launch(channel);
    fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY;
    vgpu_send_vgpuFence(channel, CONTEXT, 0, 5, 1);
    assert_int_equal(fixture_fence(channel, 5), 1);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_OUT_OF_MEMORY);
    fake_run(NULL, ALL);
    end(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fence_wakes_the_guest_without_the_worker),
        cmocka_unit_test(other_drivers_have_none),
        cmocka_unit_test(what_only_the_worker_wants_to_know_lets_the_guest_sleep),
        cmocka_unit_test(the_worker_is_called_at_the_end_of_the_batch_that_it_awaits),
        cmocka_unit_test(who_is_awake_is_not_called),
        cmocka_unit_test(what_rang_since_the_last_look_is_not_slept_over),
        cmocka_unit_test(a_fence_that_the_worker_writes_is_awaited_first),
        cmocka_unit_test(a_bell_that_cannot_be_hung_is_an_error_and_the_fence_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
