/* SPDX-License-Identifier: MIT */
/* Functions of the guest's program: how they are posted and waited for. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "worker/tests/fixture.h"

enum { FIRST = 7, SECOND = 9, OBJECT = 40 };

/* What the worker gave to the driver. */
static struct {
    CUhostFn function;
    CUstreamCallback callback;
    void *data[2];
    uint32_t given;
    unsigned int released;
} driver;

static CUresult keep_function(CUstream stream, CUhostFn function, void *data)
{
    (void)stream;
    driver.function = function;
    driver.data[driver.given++ % 2] = data;
    return CUDA_SUCCESS;
}

static CUresult keep_callback(CUstream stream, CUstreamCallback callback, void *data,
                              unsigned int flags)
{
    (void)stream;
    assert_int_equal(flags, 0);
    driver.callback = callback;
    driver.data[driver.given++ % 2] = data;
    return CUDA_SUCCESS;
}

static CUresult make_object(CUuserObject *object, void *data, CUhostFn destroy, unsigned int count,
                            unsigned int flags)
{
    assert_int_equal(flags, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
    assert_int_equal(count, 2);
    driver.function = destroy;
    driver.data[0] = data;
    *object = (CUuserObject)&driver;
    return CUDA_SUCCESS;
}

static CUresult count_object(CUuserObject object, unsigned int count)
{
    assert_ptr_equal(object, &driver);
    driver.released += count;
    return CUDA_SUCCESS;
}

static struct vgpu_channel *open_channel(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_driver *table = fake_driver_table();
    table->cuLaunchHostFunc = keep_function;
    table->cuStreamAddCallback = keep_callback;
    table->cuUserObjectCreate = make_object;
    table->cuUserObjectRetain = count_object;
    table->cuUserObjectRelease = count_object;
    memset(&driver, 0, sizeof(driver));
    return channel;
}

static void *run_first(void *argument)
{
    (void)argument;
    driver.function(driver.data[0]);
    return NULL;
}

static void *run_second(void *argument)
{
    (void)argument;
    driver.function(driver.data[1]);
    return NULL;
}

static void *run_callback(void *argument)
{
    (void)argument;
    driver.callback(NULL, CUDA_ERROR_LAUNCH_FAILED, driver.data[0]);
    return NULL;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void wait_for_post(struct vgpu_channel *channel, uint32_t sequence)
{
    struct vgpu_upcall_place *place = &channel->header->upcall;
    for (int i = 0; i < 2000 && __atomic_load_n(&place->posted, __ATOMIC_ACQUIRE) != sequence; i++)
        nap();
    assert_int_equal(place->posted, sequence);
}

static void answer(struct vgpu_channel *channel, uint32_t sequence)
{
    __atomic_store_n(&channel->header->upcall.done, sequence, __ATOMIC_RELEASE);
}

static void the_driver_waits_for_the_guest(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    pthread_t thread;
    assert_int_equal(vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, FIRST), CUDA_SUCCESS);
    assert_int_equal(driver.given, 1);
    assert_int_equal(pthread_create(&thread, NULL, run_first, NULL), 0);
    wait_for_post(channel, 1);
    assert_int_equal(channel->header->upcall.id, FIRST);
    assert_int_equal(channel->header->upcall.kind, VGPU_UPCALL_RUN);
    nap();
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    answer(channel, 1);
    pthread_join(thread, NULL);
    fixture_close(channel);
}

static void a_callback_hears_of_its_stream(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    pthread_t thread;
    assert_int_equal(vgpu_send_vgpuStreamCallback(channel, CONTEXT, 0, FIRST), CUDA_SUCCESS);
    assert_int_equal(pthread_create(&thread, NULL, run_callback, NULL), 0);
    wait_for_post(channel, 1);
    assert_int_equal(channel->header->upcall.status, CUDA_ERROR_LAUNCH_FAILED);
    answer(channel, 1);
    pthread_join(thread, NULL);
    fixture_close(channel);
}

static void one_comes_after_the_other(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    pthread_t first, second;
    vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, FIRST);
    vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, SECOND);
    assert_int_equal(pthread_create(&first, NULL, run_first, NULL), 0);
    wait_for_post(channel, 1);
    assert_int_equal(pthread_create(&second, NULL, run_second, NULL), 0);
    nap();
    assert_int_equal(channel->header->upcall.posted, 1);
    assert_int_equal(channel->header->upcall.id, FIRST);
    answer(channel, 1);
    wait_for_post(channel, 2);
    assert_int_equal(channel->header->upcall.id, SECOND);
    answer(channel, 2);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    fixture_close(channel);
}

/* A guest that writes nonsense, or is gone, keeps no thread of the driver. */
static void the_end_of_the_channel_ends_the_wait(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    pthread_t first, second;
    vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, FIRST);
    vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, SECOND);
    assert_int_equal(pthread_create(&first, NULL, run_first, NULL), 0);
    wait_for_post(channel, 1);
    answer(channel, 12345);
    assert_int_equal(pthread_create(&second, NULL, run_second, NULL), 0);
    nap();
    assert_int_equal(pthread_tryjoin_np(first, NULL), EBUSY);
    vgpu_upcalls_end(&channel->worker.upcalls);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    fixture_close(channel);
}

static void an_id_beyond_the_last_is_garbage(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, VGPU_UPCALLS_MAX - 1);
    assert_false(channel->garbage);
    vgpu_send_vgpuHostFunction(channel, CONTEXT, 0, VGPU_UPCALLS_MAX);
    assert_true(channel->garbage);
    assert_int_equal(driver.given, 1);
    fixture_close(channel);
}

/* The driver would release what others hold. */
static void nobody_releases_what_he_does_not_hold(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    vgpu_send_vgpuUserObjectCreate(channel, 0, OBJECT, FIRST, 2);
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    vgpu_send_vgpuUserObjectRelease(channel, 0, OBJECT, 3);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.released, 0);
    vgpu_send_vgpuUserObjectRelease(channel, 0, OBJECT, 2);
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    assert_int_equal(driver.released, 2);
    vgpu_send_vgpuUserObjectRetain(channel, 0, OBJECT, 1); /* it may be gone */
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    vgpu_send_vgpuUserObjectRelease(channel, 0, OBJECT, 1);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.released, 2);
    vgpu_send_vgpuUserObjectForget(channel, 0, OBJECT);
    vgpu_send_vgpuUserObjectRetain(channel, 0, OBJECT, 1);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_HANDLE);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_driver_waits_for_the_guest),
        cmocka_unit_test(a_callback_hears_of_its_stream),
        cmocka_unit_test(one_comes_after_the_other),
        cmocka_unit_test(the_end_of_the_channel_ends_the_wait),
        cmocka_unit_test(an_id_beyond_the_last_is_garbage),
        cmocka_unit_test(nobody_releases_what_he_does_not_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
