/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mediator/tests/client.h"
#include "mediator/tests/fake_worker.h"
#include "protocol/calls.h"

static struct test_mediator mediator;
static struct test_client client;

union answer {
    struct vgpu_mailbox_response response;
    struct vgpu_mailbox_refusal refusal;
    struct vgpu_mailbox_identity identity;
    struct vgpu_mailbox_vm_status status;
    struct vgpu_mailbox_vector_sum sum;
    uint8_t bytes[VGPU_MAILBOX_BYTES];
};

static int start_mediator(void **state)
{
    (void)state;
    test_mediator_create(&mediator, "driver=soft\nmemory-quota=256M\n[vm slow]\nrate=1\n");
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    return 0;
}

static int stop_mediator(void **state)
{
    (void)state;
    test_client_destroy(&client);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
    return 0;
}

static struct vgpu_mailbox_client client_request(uint32_t op)
{
    return (struct vgpu_mailbox_client){.request.op = op,
                                        .protocol_hash = VGPU_PROTOCOL_HASH,
                                        .version = VGPU_PROTOCOL_VERSION,
                                        .program = "wait"};
}

static void identify_tells_who_and_what(void **state)
{
    const struct vgpu_mailbox_client request = client_request(VGPU_MAILBOX_IDENTIFY);
    union answer answer;

    (void)state;
    assert_int_equal(test_client_mailbox(&client, &request, sizeof(request), &answer),
                     sizeof(answer.identity));
    assert_int_equal(answer.response.status, VGPU_MAILBOX_OK);
    assert_true(answer.identity.protocol_hash == VGPU_PROTOCOL_HASH);
    assert_int_equal(answer.identity.version, VGPU_PROTOCOL_VERSION);
    assert_int_equal(answer.identity.memory_quota, 256 << 20);
    assert_int_equal(answer.identity.pool, 'B');
    assert_int_equal(answer.identity.priority, VGPU_PRIORITY_HIGH);
    assert_int_equal(answer.identity.driver_version, 13000);
    assert_int_equal(answer.identity.device_count, 1);
    assert_string_equal(answer.identity.vm, "web");
    assert_string_equal(answer.identity.driver, "vgpu software GPU");
    assert_string_equal(answer.identity.gpu, "fake GPU");
    assert_int_equal(strncmp(answer.identity.mediator, "vgpu-mediator ", 14), 0);
}

static void status_follows_the_channels(void **state)
{
    const struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_STATUS};
    struct vgpu_mailbox_channel channel;
    union answer answer;

    (void)state;
    assert_int_equal(test_client_open(&client, "charge-4096", &channel), VGPU_MAILBOX_OK);
    do
        test_client_mailbox(&client, &request, sizeof(request), &answer);
    while (answer.status.gpu_nanoseconds == 0 && answer.status.uptime_nanoseconds < 20000000000u);
    assert_int_equal(answer.status.memory_used, 4096);
    assert_int_equal(answer.status.memory_quota, 256 << 20);
    assert_int_equal(answer.status.calls, 7);
    assert_int_equal(answer.status.bytes_to_device, 100);
    assert_int_equal(answer.status.bytes_from_device, 50);
    assert_int_equal(answer.status.gpu_nanoseconds, FAKE_GPU_NANOSECONDS);
    assert_int_equal(answer.status.channels_open, 1);
    assert_int_equal(answer.status.channels_failed, 0);
    test_client_close(&client, channel.channel, channel.key);
    test_await(test_mediator_workers(&mediator) == 0, 1);
}

static void each_op_has_one_length(void **state)
{
    static const struct {
        uint32_t op;
        size_t length;
    } ops[] = {
        {VGPU_MAILBOX_IDENTIFY, sizeof(struct vgpu_mailbox_client)},
        {VGPU_MAILBOX_STATUS, sizeof(struct vgpu_mailbox_request)},
        {VGPU_MAILBOX_CHANNEL_OPEN, sizeof(struct vgpu_mailbox_client)},
        {VGPU_MAILBOX_CHANNEL_CLOSE, sizeof(struct vgpu_mailbox_channel_close)},
        {VGPU_MAILBOX_VECTOR_ADD, sizeof(struct vgpu_mailbox_vector_add)},
        {VGPU_MAILBOX_EXTENT_OPEN, sizeof(struct vgpu_mailbox_extent_open)},
        {VGPU_MAILBOX_EXTENT_CLOSE, sizeof(struct vgpu_mailbox_extent_close)},
    };
    union answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
        const size_t wrong[] = {1, 7, ops[i].length - 1, ops[i].length + 1, VGPU_MAILBOX_BYTES};

        for (size_t j = 0; j < sizeof(wrong) / sizeof(*wrong); j++) {
            uint8_t request[VGPU_MAILBOX_BYTES] = {(uint8_t)ops[i].op};

            test_client_mailbox(&client, request, wrong[j], &answer);
            assert_int_equal(answer.response.status, VGPU_MAILBOX_BAD_LENGTH);
        }
    }
}

static void unknown_ops_are_refused(void **state)
{
    static const uint32_t ops[] = {0, 77, 255, UINT32_MAX};
    union answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
        const struct vgpu_mailbox_request request = {.op = ops[i]};

        test_client_mailbox(&client, &request, sizeof(request), &answer);
        assert_int_equal(answer.response.status, VGPU_MAILBOX_BAD_OP);
    }
}

static void another_protocol_is_refused_naming_both(void **state)
{
    struct vgpu_mailbox_client request = client_request(VGPU_MAILBOX_CHANNEL_OPEN);
    char ours[32];
    union answer answer;

    (void)state;
    request.protocol_hash = 0x1234;
    assert_int_equal(test_client_mailbox(&client, &request, sizeof(request), &answer),
                     sizeof(answer.refusal));
    assert_int_equal(answer.response.status, VGPU_MAILBOX_VERSION_MISMATCH);
    snprintf(ours, sizeof(ours), "%016llx", (unsigned long long)VGPU_PROTOCOL_HASH);
    assert_non_null(strstr(answer.refusal.text, ours));
    assert_non_null(strstr(answer.refusal.text, "0000000000001234"));
    request = client_request(VGPU_MAILBOX_CHANNEL_OPEN);
    request.version++;
    test_client_mailbox(&client, &request, sizeof(request), &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_VERSION_MISMATCH);
}

static struct vgpu_mailbox_vector_add vector_add(uint32_t count, float first)
{
    struct vgpu_mailbox_vector_add add = {.request.op = VGPU_MAILBOX_VECTOR_ADD, .count = count};

    for (uint32_t i = 0; count <= VGPU_VECTOR_ADD_MAX && i < count; i++) {
        add.operand[i] = (float)i;
        add.operand[count + i] = 0.5f;
    }
    add.operand[0] = first;
    return add;
}

static void vectors_are_added_by_a_worker(void **state)
{
    union answer answer;

    (void)state;
    for (uint32_t count = 1; count <= VGPU_VECTOR_ADD_MAX; count += 119) {
        const struct vgpu_mailbox_vector_add add = vector_add(count, 0);

        assert_int_equal(test_client_mailbox(&client, &add, sizeof(add), &answer),
                         sizeof(answer.sum));
        assert_int_equal(answer.response.status, VGPU_MAILBOX_OK);
        assert_int_equal(answer.sum.count, count);
        for (uint32_t i = 0; i < count; i++)
            assert_true(answer.sum.sum[i] == (float)i + 0.5f);
    }
    assert_int_equal(test_mediator_workers(&mediator), 1); /* one serves all */
    const struct vgpu_mailbox_vector_add none = vector_add(0, 0);
    test_client_mailbox(&client, &none, sizeof(none), &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_BAD_LENGTH);
    const struct vgpu_mailbox_vector_add many = vector_add(VGPU_VECTOR_ADD_MAX + 1, 0);
    test_client_mailbox(&client, &many, sizeof(many), &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_BAD_LENGTH);
}

static void nobody_waits_for_a_slow_primitive(void **state)
{
    const struct vgpu_mailbox_vector_add slow = vector_add(2, FAKE_OPERAND_SLOW);
    union answer answer;

    (void)state;
    test_client_post(&client, 100, &slow, sizeof(slow));
    test_client_post(&client, 101, &slow, sizeof(slow));
    test_client_answer(&client, 101, &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_BUSY);
    assert_true(test_client_is_alive(&client));
    test_client_answer(&client, 100, &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_OK);
    assert_true(answer.sum.sum[1] == 1.5f);
}

static void a_primitive_worker_that_fails_is_replaced(void **state)
{
    static const float operands[] = {FAKE_OPERAND_CRASH, FAKE_OPERAND_GARBAGE};
    const struct vgpu_mailbox_vector_add good = vector_add(2, 0);
    union answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof(operands) / sizeof(*operands); i++) {
        const struct vgpu_mailbox_vector_add bad = vector_add(2, operands[i]);

        assert_int_equal(test_client_mailbox(&client, &bad, sizeof(bad), &answer),
                         sizeof(answer.response));
        assert_int_equal(answer.response.status, VGPU_MAILBOX_GPU_ERROR);
        assert_int_equal(answer.response.value, 46);
        test_client_mailbox(&client, &good, sizeof(good), &answer);
        assert_int_equal(answer.response.status, VGPU_MAILBOX_OK);
    }
}

static void beyond_its_rate_a_vm_is_told_busy(void **state)
{
    const struct vgpu_mailbox_vector_add add = vector_add(2, 0);
    struct test_client slow;
    union answer answer;

    (void)state;
    test_client_create(&slow);
    test_client_attach(&slow, mediator.device, "slow");
    test_client_mailbox(&slow, &add, sizeof(add), &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_OK);
    test_client_mailbox(&slow, &add, sizeof(add), &answer);
    assert_int_equal(answer.response.status, VGPU_MAILBOX_BUSY);
    test_client_mailbox(&client, &add, sizeof(add), &answer); /* others do not feel it */
    assert_int_equal(answer.response.status, VGPU_MAILBOX_OK);
    test_client_destroy(&slow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identify_tells_who_and_what),
        cmocka_unit_test(status_follows_the_channels),
        cmocka_unit_test(each_op_has_one_length),
        cmocka_unit_test(unknown_ops_are_refused),
        cmocka_unit_test(another_protocol_is_refused_naming_both),
        cmocka_unit_test(vectors_are_added_by_a_worker),
        cmocka_unit_test(nobody_waits_for_a_slow_primitive),
        cmocka_unit_test(a_primitive_worker_that_fails_is_replaced),
        cmocka_unit_test(beyond_its_rate_a_vm_is_told_busy),
    };

    return cmocka_run_group_tests_name("mailbox", tests, start_mediator, stop_mediator);
}
