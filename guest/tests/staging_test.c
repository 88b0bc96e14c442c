/* SPDX-License-Identifier: MIT */
/* Chunks of staging memory: whose they are, when they are free, and that one stream has not all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/channel/channel_private.h"
#include "guest/tests/fake_mediator.h"

struct fixture {
    struct fake_mediator fake;
    struct vgpu_channel *channel;
    pthread_t thread;
    uint32_t got_one; /* atomic: the thread has its chunk */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    fake_mediator_start(&f->fake);
    assert_int_equal(vgpu_channel_open(&f->channel), CUDA_SUCCESS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vgpu_channel_close(f->channel);
    fake_mediator_stop(&f->fake);
    free(f);
    return 0;
}

static void *take_one_chunk(void *argument)
{
    struct fixture *f = argument;
    static struct vgpu_staging staging;
    CUresult error = vgpu_staging_take(f->channel, NULL, VGPU_STAGING_WAIT, &staging);
    __atomic_store_n(&f->got_one, 1, __ATOMIC_RELEASE);
    return error ? NULL : &staging;
}

static void take_all_chunks(struct fixture *f, struct vgpu_staging *chunks)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < VGPU_STAGING_CHUNKS; i++) {
        assert_int_equal(vgpu_staging_take(f->channel, NULL, VGPU_STAGING_WAIT, &chunks[i]),
                         CUDA_SUCCESS);
        seen |= 1u << chunks[i].chunk;
        assert_int_equal(chunks[i].offset, chunks[i].chunk * VGPU_STAGING_CHUNK_BYTES);
        memset(chunks[i].memory, 0x5a, VGPU_STAGING_CHUNK_BYTES);
    }
    assert_int_equal(seen, (1u << VGPU_STAGING_CHUNKS) - 1);
}

static void a_chunk_is_reused_after_its_fence(void **state)
{
    struct fixture *f = *state;
    struct vgpu_staging chunks[VGPU_STAGING_CHUNKS], *got;
    take_all_chunks(f, chunks);
    for (uint32_t i = 0; i < VGPU_STAGING_CHUNKS; i++)
        vgpu_staging_put(f->channel, &chunks[i], true);
    assert_int_equal(pthread_create(&f->thread, NULL, take_one_chunk, f), 0);
    usleep(50000);
    assert_int_equal(__atomic_load_n(&f->got_one, __ATOMIC_ACQUIRE), 0);
    fake_mediator_write_fence(&f->fake, chunks[0].fence, chunks[0].fence_value);
    pthread_join(f->thread, (void **)&got);
    assert_non_null(got);
    assert_int_equal(got->chunk, chunks[0].chunk);
    assert_int_equal(got->fence_value, chunks[0].fence_value + 1);
}

static void a_chunk_that_the_gpu_never_had_is_reused_at_once(void **state)
{
    struct fixture *f = *state;
    struct vgpu_staging chunks[VGPU_STAGING_CHUNKS], again;
    take_all_chunks(f, chunks);
    for (uint32_t i = 0; i < VGPU_STAGING_CHUNKS; i++)
        vgpu_staging_put(f->channel, &chunks[i], i != 3);
    assert_int_equal(vgpu_staging_take(f->channel, NULL, VGPU_STAGING_WAIT, &again), CUDA_SUCCESS);
    assert_int_equal(again.chunk, chunks[3].chunk);
}

static void a_taker_waits_for_a_chunk_to_be_given_back(void **state)
{
    struct fixture *f = *state;
    struct vgpu_staging chunks[VGPU_STAGING_CHUNKS], *got;
    take_all_chunks(f, chunks);
    assert_int_equal(pthread_create(&f->thread, NULL, take_one_chunk, f), 0);
    usleep(50000);
    assert_int_equal(__atomic_load_n(&f->got_one, __ATOMIC_ACQUIRE), 0);
    vgpu_staging_put(f->channel, &chunks[5], false);
    pthread_join(f->thread, (void **)&got);
    assert_non_null(got);
    assert_int_equal(got->chunk, chunks[5].chunk);
}

static void a_chunk_whose_fence_will_not_come_is_kept_back(void **state)
{
    struct fixture *f = *state;
    struct vgpu_staging chunks[VGPU_STAGING_CHUNKS], again;
    take_all_chunks(f, chunks);
    for (uint32_t i = 0; i < VGPU_STAGING_CHUNKS; i++)
        vgpu_staging_put(f->channel, &chunks[i], true);
    fake_mediator_channel(&f->fake)->deferred_error = CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_int_equal(vgpu_staging_take(f->channel, NULL, VGPU_STAGING_WAIT, &again),
                     CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(vgpu_channel_take_error(f->channel), CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* Takes as many as there are for one stream, none of which the GPU ever finishes with. */
static uint32_t take_for(struct fixture *f, const void *owner)
{
    struct vgpu_staging chunk;
    uint32_t count = 0;
    while (vgpu_staging_take(f->channel, owner, VGPU_STAGING_AT_ONCE, &chunk) == CUDA_SUCCESS) {
        vgpu_staging_put(f->channel, &chunk, true);
        count++;
    }
    return count;
}

static void a_stream_that_does_not_get_on_leaves_chunks_to_others(void **state)
{
    struct fixture *f = *state;
    static const char streams[4];
    struct vgpu_staging chunk;
    assert_int_equal(take_for(f, &streams[0]), 12);
    assert_int_equal(take_for(f, &streams[0]), 0);
    assert_int_equal(take_for(f, &streams[1]), 3);
    assert_int_equal(take_for(f, &streams[2]), 1); /* who has none gets the last */
    assert_int_equal(take_for(f, &streams[3]), 0);
    assert_int_equal(vgpu_staging_take(f->channel, &streams[3], VGPU_STAGING_WAIT_FOR_US, &chunk),
                     CUDA_ERROR_NOT_READY);
    fake_mediator_channel(&f->fake)->deferred_error = CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_int_equal(vgpu_staging_take(f->channel, &streams[3], VGPU_STAGING_WAIT, &chunk),
                     CUDA_ERROR_ILLEGAL_ADDRESS);
}

#define STAGING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGING_TEST(a_chunk_is_reused_after_its_fence),
        STAGING_TEST(a_chunk_that_the_gpu_never_had_is_reused_at_once),
        STAGING_TEST(a_taker_waits_for_a_chunk_to_be_given_back),
        STAGING_TEST(a_chunk_whose_fence_will_not_come_is_kept_back),
        STAGING_TEST(a_stream_that_does_not_get_on_leaves_chunks_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
