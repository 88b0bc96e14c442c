/* SPDX-License-Identifier: MIT */
/* Records as a hostile guest may write them, replayed on the fake driver, which ends the process
 * when a bad handle or address gets through to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz/fuzz.h"
#include "protocol/calls.h"
#include "worker/tests/fixture.h"

/* Words that stand for what differs from run to run: halves of an address that exists. */
#define LOW_OF_ADDRESS  0xa5a5a5a5u
#define HIGH_OF_ADDRESS 0xa5a5a5a6u

#define ARGUMENT_WORDS (sizeof(((struct vgpu_call_header *)NULL)->arguments) / sizeof(uint32_t))

/* How a record is written in the input: all of one size, so that changes keep them apart. */
struct written {
    uint16_t call;
    uint8_t flags;
    uint8_t slot;
    uint8_t context; /* 0: the one that exists */
    uint8_t payload_bytes;
    uint8_t chunk; /* fills staging memory with this byte, unless 0 */
    uint8_t fail;  /* the next allocation fails if 255 */
    uint32_t arguments[ARGUMENT_WORDS];
    uint8_t payload[184];
};

static struct vgpu_channel *open_channel(uint64_t *address)
{
    struct vgpu_channel *channel = fixture_open_context();

    vgpu_send_cuMemAlloc(channel, CONTEXT, address, 65536);
    fixture_load(channel, ".version vprintf");
    munmap(fixture_window(channel, 4), (size_t)4 * WINDOW_EXTENT_BYTES);
    return channel;
}

static void replay(struct vgpu_channel *channel, const struct written *w, uint64_t address)
{
    struct vgpu_call_header header = {.call = (uint16_t)(w->call % (VGPU_CALL_MAX + 2)),
                                      .flags = w->flags,
                                      .reply_slot = w->slot,
                                      .context = w->context == 0 ? CONTEXT : w->context,
                                      .payload_bytes = w->payload_bytes % (sizeof(w->payload) + 1)};
    uint8_t *payload = malloc(header.payload_bytes);
    int error;

    if (payload == NULL)
        return;
    for (size_t n = 0; n < ARGUMENT_WORDS; n++) {
        uint32_t word = w->arguments[n];

        if (word == LOW_OF_ADDRESS)
            word = (uint32_t)address;
        else if (word == HIGH_OF_ADDRESS)
            word = (uint32_t)(address >> 32);
        memcpy(header.arguments + n * sizeof(word), &word, sizeof(word));
    }
    memcpy(payload, w->payload, header.payload_bytes);
    if (w->chunk != 0)
        memset(fixture_staging(channel), w->chunk, 4096);
    if (w->fail == UINT8_MAX)
        fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY;
    error = vgpu_loop_record(&channel->worker, &header, payload);
    free(payload);
    if (error != 0 && error != -EPROTO)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t address = 0;
    struct vgpu_channel *channel = open_channel(&address);
    struct written w;

    for (size_t n = 0; n < size / sizeof(w); n++) {
        memcpy(&w, data + n * sizeof(w), sizeof(w));
        replay(channel, &w, address);
        vgpu_fence_poll(&channel->worker, n % 4 == 0);
        if (channel->ledger.used > QUOTA || channel->ledger.used != channel->page.memory_charged)
            abort();
    }
    fixture_close(channel);
    return 0;
}

/* ---- changes of whole records ---- */

static uint32_t likely_word(unsigned *seed)
{
    switch (rand_r(seed) % 6) {
    case 0:
        return (uint32_t)rand_r(seed);
    case 1:
        return 1u << rand_r(seed) % 32;
    case 2:
        return rand_r(seed) % 2 ? LOW_OF_ADDRESS : HIGH_OF_ADDRESS;
    case 3:
        return rand_r(seed) % 4;
    default: /* a handle */
        return VGPU_HANDLE_FIRST + (uint32_t)rand_r(seed) % 16;
    }
}

static void likely_record(struct written *w, unsigned *seed)
{
    *w = (struct written){.call = (uint16_t)(rand_r(seed) % (VGPU_CALL_MAX + 2)),
                          .flags = (uint8_t)(rand_r(seed) % 2),
                          .slot = (uint8_t)(rand_r(seed) % 64),
                          .payload_bytes = (uint8_t)(rand_r(seed) % 2 ? 0 : rand_r(seed))};
    for (size_t n = 0; n < ARGUMENT_WORDS; n++) {
        w->arguments[n] = likely_word(seed);
        /* Addresses are two words. */
        if (n > 0 && w->arguments[n - 1] == LOW_OF_ADDRESS)
            w->arguments[n] = HIGH_OF_ADDRESS;
    }
    for (size_t n = 0; n + 4 <= sizeof(w->payload); n += 4) {
        uint32_t word = likely_word(seed);

        memcpy(&w->payload[n], &word, sizeof(word));
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    struct written w;
    size_t count = size / sizeof(w), most = room / sizeof(w);
    size_t at = count == 0 ? 0 : (size_t)rand_r(&seed) % count;
    int change = count == 0 ? 0 : rand_r(&seed) % 8;

    if (most == 0)
        return size;
    if (change < 3 && count < most) { /* one more */
        likely_record(&w, &seed);
        memmove(data + (at + 1) * sizeof(w), data + at * sizeof(w), (count - at) * sizeof(w));
        memcpy(data + at * sizeof(w), &w, sizeof(w));
        return (count + 1) * sizeof(w);
    }
    if (change == 3 && count > 1) { /* one less */
        memmove(data + at * sizeof(w), data + (at + 1) * sizeof(w), (count - at - 1) * sizeof(w));
        return (count - 1) * sizeof(w);
    }
    if (change == 4) { /* one word */
        memcpy(&w, data + at * sizeof(w), sizeof(w));
        w.arguments[(size_t)rand_r(&seed) % ARGUMENT_WORDS] = likely_word(&seed);
        memcpy(data + at * sizeof(w), &w, sizeof(w));
    } else {
        LLVMFuzzerMutate(data + at * sizeof(w), sizeof(w), sizeof(w));
    }
    return count * sizeof(w);
}
