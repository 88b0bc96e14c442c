/* SPDX-License-Identifier: MIT */
/* Records that no honest library sends: refused or answered, and never more than that. The fake
 * driver ends the test when a bad handle or address gets through to it; a sanitizer, when a byte
 * outside a payload is read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "protocol/calls.h"
#include "worker/tests/fixture.h"

static int replay(struct vgpu_channel *channel, struct vgpu_call_header *header,
                  const uint8_t *bytes)
{
    uint8_t *payload = malloc(header->payload_bytes);
    memcpy(payload, bytes, header->payload_bytes);
    int error = vgpu_loop_record(&channel->worker, header, payload);
    free(payload);
    return error;
}

static void unknown_calls_flags_and_slots_are_garbage(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    for (uint32_t call = 0; call <= UINT16_MAX; call++) {
        for (uint32_t flags = 0; flags<256; flags += call> 200 ? 51 : 1) {
            struct vgpu_call_header header = {
                .call = (uint16_t)call, .flags = (uint8_t)flags, .reply_slot = 64};
            if (!vgpu_call_name(call) || flags == 2 || flags > 3)
                header.reply_slot = 0;
            assert_int_equal(vgpu_loop_record(&channel->worker, &header, NULL), -EPROTO);
        }
    }
    assert_int_equal(channel->page.calls_total, 1); /* only the retaining of the context counts */
    fixture_close(channel);
}

static void every_call_survives_every_length_of_payload(void **state)
{
    (void)state;
    static const uint8_t zeros[VGPU_PAYLOAD_MAX];
    uint8_t ones[512];
    memset(ones, 0xff, sizeof(ones));
    for (uint32_t call = 1; call <= VGPU_CALL_MAX; call++) {
        if (!vgpu_call_name(call))
            continue;
        struct vgpu_channel *channel = fixture_open_context();
        for (uint32_t flags = 0; flags <= 1; flags++) {
            for (uint32_t bytes = 0; bytes <= sizeof(ones); bytes++) {
                for (int fill = 0; fill < 4; fill++) {
                    struct vgpu_call_header header = {.call = (uint16_t)call,
                                                      .flags = (uint8_t)flags,
                                                      .context = CONTEXT,
                                                      .payload_bytes = bytes};
                    memset(header.arguments, fill & 1 ? 0xff : 0, sizeof(header.arguments));
                    int error = replay(channel, &header, fill & 2 ? ones : zeros);
                    assert_true(error == 0 || error == -EPROTO);
                }
            }
            struct vgpu_call_header header = {
                .call = (uint16_t)call, .flags = (uint8_t)flags, .payload_bytes = VGPU_PAYLOAD_MAX};
            replay(channel, &header, zeros);
        }
        fixture_close(channel);
    }
}

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Arguments that are often nearly right: small ids, addresses that exist, sizes at the edges. */
static uint32_t random_word(uint64_t address)
{
    switch (random_number() % 8) {
    case 0:
        return (uint32_t)random_number();
    case 1:
        return 0;
    case 2:
        return 1u << random_number() % 32;
    case 3:
        return (uint32_t)address;
    case 4:
        return (uint32_t)(address >> 32);
    case 5:
        return (1u << random_number() % 32) - 1;
    default:
        return VGPU_HANDLE_FIRST + (uint32_t)(random_number() % 24);
    }
}

static void a_million_random_records_do_no_harm(void **state)
{
    (void)state;
    const char *rounds = getenv("VGPU_TEST_ROUNDS");
    long count = rounds ? atol(rounds) : 1000000;
    uint8_t payload[256];
    uint32_t refused = 0, answered = 0;
    struct vgpu_channel *channel = NULL;
    uint64_t address = 0;
    for (long i = 0; i < count; i++) {
        if (i % 2000 == 0) {
            if (channel)
                fixture_close(channel);
            channel = fixture_open_context();
            vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 65536);
            fixture_load(channel, ".version vprintf");
            munmap(fixture_window(channel, 40), 40 * WINDOW_EXTENT_BYTES);
            vgpu_send_vgpuHostMap(channel, CONTEXT, &address, 0, 20);
            channel->worker.prints = i % 4000 == 0;
            fake.queued = i % 6000 == 0;
        }
        struct vgpu_call_header header = {
            .call = (uint16_t)(random_number() % (VGPU_CALL_MAX + 4)),
            .flags = (uint8_t)(random_number() % 16 ? random_number() % 2 : random_number()),
            .reply_slot = (uint8_t)(random_number() % 16 ? random_number() % 64 : random_number()),
            .context = random_number() % 4 ? CONTEXT : random_word(address),
            .payload_bytes = random_number() % 2 ? 0 : (uint32_t)(random_number() % 256),
        };
        for (int k = 0; k < 16; k++) {
            uint32_t word = random_word(address);
            memcpy(header.arguments + 4 * k, &word, 4);
        }
        for (size_t k = 0; k < sizeof(payload); k++)
            payload[k] = (uint8_t)(random_number() % 4 ? 'a' + random_number() % 3 : 0);
        int error = replay(channel, &header, payload);
        assert_true(error == 0 || error == -EPROTO);
        refused += error != 0;
        answered += error == 0;
        if (random_number() % 64 == 0)
            fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY;
        vgpu_fence_poll(&channel->worker, i % 16 == 0);
        assert_true(channel->ledger.used <= QUOTA);
        assert_int_equal(channel->ledger.used, channel->page.memory_charged);
    }
    fixture_close(channel);
    assert_true(refused > count / 100);
    assert_true(answered > count / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_calls_flags_and_slots_are_garbage),
        cmocka_unit_test(every_call_survives_every_length_of_payload),
        cmocka_unit_test(a_million_random_records_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
