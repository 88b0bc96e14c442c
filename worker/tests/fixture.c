/* SPDX-License-Identifier: MIT */
#include "worker/tests/fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct vgpu_channel *fixture_open(void)
{
    struct vgpu_channel *channel = calloc(1, sizeof(*channel));
    const struct vgpu_driver *driver = fake_driver();
    channel->ledger.quota = QUOTA;
    assert_int_equal(vgpu_worker_create(&channel->worker, driver, &channel->page, &channel->ledger),
                     0);
    /* Zero, without touching megabytes that most tests never use. */
    channel->worker.extent =
        mmap(NULL, VGPU_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(channel->worker.extent != MAP_FAILED);
    channel->header = vgpu_worker_channel(&channel->worker);
    return channel;
}

struct vgpu_channel *fixture_open_context(void)
{
    struct vgpu_channel *channel = fixture_open();
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), CUDA_SUCCESS);
    return channel;
}

void fixture_close(struct vgpu_channel *channel)
{
    fake.sticky = CUDA_SUCCESS;
    int window = channel->worker.window;
    vgpu_worker_destroy(&channel->worker);
    if (window >= 0)
        close(window);
    fake_driver(); /* frees what is left */
    munmap(channel->worker.extent, VGPU_CHANNEL_BYTES);
    free(channel);
}

uint8_t *fixture_window(struct vgpu_channel *channel, uint32_t count)
{
    uint64_t bytes = (uint64_t)count * WINDOW_EXTENT_BYTES;
    channel->worker.window = memfd_create("window", MFD_CLOEXEC);
    assert_int_equal(ftruncate(channel->worker.window, (off_t)bytes), 0);
    for (uint32_t i = 0; i < count; i++)
        channel->page.extents[i] =
            (struct vgpu_worker_extent){.offset = (uint64_t)i * WINDOW_EXTENT_BYTES,
                                        .bytes = WINDOW_EXTENT_BYTES,
                                        .state = VGPU_EXTENT_OPEN};
    void *window = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, channel->worker.window, 0);
    assert_true(window != MAP_FAILED);
    return window;
}

static int replay(struct vgpu_channel *channel, struct vgpu_call_header *header, const void *part1,
                  size_t bytes1, const void *part2, size_t bytes2)
{
    /* Exactly as large as the payload is, so that a sanitizer sees every byte too far. */
    uint8_t *payload = malloc(bytes1 + bytes2);
    if (bytes1)
        memcpy(payload, part1, bytes1);
    if (bytes2)
        memcpy(payload + bytes1, part2, bytes2);
    header->sequence = ++channel->sequence;
    int error = vgpu_loop_record(&channel->worker, header, payload);
    channel->garbage = error != 0;
    free(payload);
    return error;
}

CUresult vgpu_channel_post(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2)
{
    return replay(channel, header, part1, bytes1, part2, bytes2) ? CUDA_ERROR_UNKNOWN
                                                                 : CUDA_SUCCESS;
}

CUresult vgpu_channel_call(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2,
                           struct vgpu_result *result, void *reply, size_t capacity,
                           size_t *reply_bytes)
{
    header->reply_slot = (uint8_t)(channel->sequence % VGPU_REPLY_SLOTS);
    struct vgpu_reply_slot *slot =
        (struct vgpu_reply_slot *)(channel->worker.extent + VGPU_CHANNEL_REPLIES_OFFSET) +
        header->reply_slot;
    if (replay(channel, header, part1, bytes1, part2, bytes2))
        return CUDA_ERROR_UNKNOWN;
    assert_int_equal(slot->sequence, channel->sequence);
    if (slot->result.result == VGPU_RESULT_LATER) {
        channel->put_off++;
        header->flags |= VGPU_CALL_INSISTS; /* at once */
        if (replay(channel, header, part1, bytes1, part2, bytes2))
            return CUDA_ERROR_UNKNOWN;
    }
    *result = slot->result;
    assert_true(result->payload_bytes <= VGPU_REPLY_PAYLOAD_MAX);
    size_t bytes = result->payload_bytes < capacity ? result->payload_bytes : capacity;
    if (bytes)
        memcpy(reply, slot->payload, bytes);
    if (reply_bytes)
        *reply_bytes = bytes;
    return (CUresult)result->result;
}

uint32_t fixture_fence(const struct vgpu_channel *channel, uint32_t fence)
{
    return ((uint32_t *)(channel->worker.extent + VGPU_CHANNEL_FENCES_OFFSET))[fence];
}

uint8_t *fixture_staging(const struct vgpu_channel *channel)
{
    return channel->worker.extent + VGPU_CHANNEL_STAGING_OFFSET;
}

CUresult fixture_take_error(struct vgpu_channel *channel)
{
    return (CUresult)__atomic_exchange_n(&channel->header->deferred_error, 0, __ATOMIC_ACQ_REL);
}

void fixture_load(struct vgpu_channel *channel, const char *image)
{
    size_t bytes = strlen(image) + 1;
    memcpy(fixture_staging(channel), image, bytes);
    assert_int_equal(vgpu_send_vgpuImageAppend(channel, 0, 0, (uint32_t)bytes, 1), CUDA_SUCCESS);
    assert_int_equal(
        vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, NULL, 0, NULL, 0, NULL, 0, NULL),
        CUDA_SUCCESS);
    assert_int_equal(
        vgpu_send_cuModuleGetFunction(channel, CONTEXT, FUNCTION, MODULE, "kernel", NULL, 0, NULL),
        CUDA_SUCCESS);
}

CUresult fixture_launch(struct vgpu_channel *channel, uint32_t stream)
{
    uint8_t parameters[FAKE_PARAMETER_BYTES] = {1, 2, 3};
    return vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 1, 1, 32, 1, 1, 0, stream,
                                parameters, sizeof(parameters), NULL, 0);
}
