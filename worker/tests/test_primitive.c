/* SPDX-License-Identifier: MIT */
/* What a worker for mailbox primitives holds of the GPU, and for how long. */
#include <string.h>

#include "worker/primitive.h"
#include "worker/tests/fixture.h"

static void add_vectors(struct vgpu_primitive *primitive)
{
    struct vgpu_mailbox_vector_add add = {.request = {.op = VGPU_MAILBOX_VECTOR_ADD}, .count = 3};
    struct vgpu_worker_message message = {.op = VGPU_WORKER_PRIMITIVE, .length = sizeof(add)};
    struct vgpu_mailbox_response response;
    memcpy(message.data, &add, sizeof(add));
    assert_true(vgpu_primitive_answer(primitive, &message));
    memcpy(&response, message.data, sizeof(response));
    assert_int_equal(response.status, VGPU_MAILBOX_OK);
}

static void one_that_rests_holds_nothing(void **state)
{
    (void)state;
    struct vgpu_primitive primitive;
    vgpu_primitive_init(&primitive, fake_driver(), CUDA_SUCCESS);
    size_t before = fake.objects;
    vgpu_primitive_rest(&primitive); /* of nothing */
    assert_int_equal(fake.objects, before);
    for (int round = 0; round < 2; round++) {
        add_vectors(&primitive);
        add_vectors(&primitive);
        assert_true(fake.objects > before && fake.memory > 0);
        vgpu_primitive_rest(&primitive);
        assert_int_equal(fake.objects, before);
        assert_int_equal(fake.memory, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_rests_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
