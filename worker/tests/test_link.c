/* SPDX-License-Identifier: MIT */
/* Links, and options and words of the compiler. */
#include <string.h>

#include "protocol/jit.h"
#include "worker/tests/fixture.h"

#define LINKER OTHER

struct options {
    struct vgpu_jit_request head;
    struct vgpu_jit_option option[2];
    uint64_t addresses[2];
    char names[8];
};

static CUresult create(struct vgpu_channel *channel, const void *options, size_t bytes)
{
    return vgpu_send_cuLinkCreate(channel, CONTEXT, LINKER, options, bytes);
}

static CUresult add(struct vgpu_channel *channel, uint32_t type, const char *text, void *reply)
{
    memcpy(fixture_staging(channel), text, strlen(text));
    assert_int_equal(vgpu_send_vgpuImageAppend(channel, 0, 0, (uint32_t)strlen(text), 1), 0);
    return vgpu_send_cuLinkAddData(channel, CONTEXT, LINKER, type, NULL, 0, "one.ptx", 8, reply,
                                   reply ? 4096 : 0, NULL);
}

static void a_link_gives_its_cubin_piece_by_piece(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    const struct vgpu_jit_request request = {.log_room = {500, 0}};
    struct vgpu_jit_answer answer;
    uint8_t reply[4096];
    (void)state;
    assert_int_equal(create(channel, &request, sizeof(request)), 0);
    assert_int_equal(add(channel, CU_JIT_INPUT_PTX, ".version 6.4", reply), 0);
    assert_string_equal((char *)reply + sizeof(answer), "one.ptx: .version 6.4");
    assert_int_equal(vgpu_send_cuLinkComplete(channel, CONTEXT, LINKER, reply, sizeof(reply), NULL),
                     0);
    memcpy(&answer, reply, sizeof(answer));
    assert_int_equal(answer.result_bytes, sizeof("what was linked"));
    assert_int_equal(vgpu_send_vgpuJitRead(channel, 0, VGPU_JIT_RESULT, 9, 7, 100), 0);
    assert_string_equal((char *)fixture_staging(channel) + 100, "linked");
    assert_int_equal(vgpu_send_vgpuJitRead(channel, 0, VGPU_JIT_RESULT, 9, 8, 100),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_vgpuJitRead(channel, 0, VGPU_JIT_RESULT, UINT64_MAX, 2, 100),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_cuLinkDestroy(channel, CONTEXT, LINKER), 0);
    assert_int_equal(vgpu_send_vgpuJitRead(channel, 0, VGPU_JIT_RESULT, 0, 1, 100),
                     CUDA_ERROR_INVALID_VALUE); /* it went with the link */
    assert_int_equal(vgpu_send_cuLinkDestroy(channel, CONTEXT, LINKER), CUDA_ERROR_INVALID_HANDLE);
    fixture_close(channel);
}

static void a_long_log_is_fetched(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    const struct vgpu_jit_request request = {.log_room = {6000, 0}};
    struct vgpu_jit_answer answer;
    static char text[4500];
    uint8_t reply[4096];
    (void)state;
    memset(text, '/', sizeof(text) - 1);
    memcpy(text, ".version", 8);
    assert_int_equal(create(channel, &request, sizeof(request)), 0);
    assert_int_equal(add(channel, CU_JIT_INPUT_PTX, text, reply), 0);
    memcpy(&answer, reply, sizeof(answer));
    assert_int_equal(answer.log_bytes[0], strlen("one.ptx: ") + strlen(text));
    assert_int_equal(
        vgpu_send_vgpuJitRead(channel, 0, VGPU_JIT_INFORMATION, 9, answer.log_bytes[0] - 9, 0), 0);
    assert_memory_equal(fixture_staging(channel), text, strlen(text));
    assert_int_equal(vgpu_send_vgpuJitRead(channel, 0, VGPU_JIT_ERRORS, 0, 1, 0),
                     CUDA_ERROR_INVALID_VALUE);
    fixture_close(channel);
}

static void options_are_checked(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    struct options options = {
        .head = {.option_count = 2, .symbol_count = 2},
        .option = {{CU_JIT_MAX_REGISTERS, 0, 32}, {CU_JIT_OPTIMIZATION_LEVEL, 0, 3}},
        .addresses = {0x1000, 0x2000},
        .names = "a\0bcd\0",
    };
    size_t whole = offsetof(struct options, names) + 6;
    (void)state;
    for (size_t bytes = 1; bytes < whole; bytes++)
        assert_int_not_equal(create(channel, &options, bytes), CUDA_SUCCESS);
    assert_int_equal(create(channel, &options, whole), CUDA_SUCCESS);
    assert_string_equal(fake.link_symbols[1], "bcd");
    assert_int_equal(vgpu_send_cuLinkDestroy(channel, CONTEXT, LINKER), 0);
    options.option[1].option = CU_JIT_INFO_LOG_BUFFER; /* an address of the guest's choice */
    assert_int_equal(create(channel, &options, whole), CUDA_ERROR_NOT_SUPPORTED);
    options.option[1].option = CU_JIT_GLOBAL_SYMBOL_NAMES;
    assert_int_equal(create(channel, &options, whole), CUDA_ERROR_NOT_SUPPORTED);
    options.head.option_count = UINT32_MAX;
    assert_int_equal(create(channel, &options, whole), CUDA_ERROR_INVALID_VALUE);
    options.head = (struct vgpu_jit_request){.symbol_count = UINT32_MAX};
    assert_int_equal(create(channel, &options, whole), CUDA_ERROR_INVALID_VALUE);
    fixture_close(channel);
}

static void inputs_are_checked(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    (void)state;
    assert_int_equal(create(channel, NULL, 0), 0);
    assert_int_equal(add(channel, CU_JIT_INPUT_CUBIN,
                         "\x7f"
                         "ELF",
                         NULL),
                     CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(add(channel, CU_JIT_INPUT_FATBINARY, "\x01\x02\x03\x04", NULL),
                     CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(add(channel, CU_JIT_INPUT_NVVM, "text", NULL), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(add(channel, 77, "text", NULL), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(vgpu_send_cuLinkAddData(channel, CONTEXT, LINKER, CU_JIT_INPUT_PTX, NULL, 0,
                                             "x", 2, NULL, 0, NULL),
                     CUDA_ERROR_INVALID_VALUE); /* nothing was uploaded */
    vgpu_send_cuLinkAddData(channel, CONTEXT, LINKER, CU_JIT_INPUT_PTX, NULL, 0, "x", 1, NULL, 0,
                            NULL);
    assert_true(channel->garbage);
    fixture_close(channel);
}

static void links_go_with_their_context(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    (void)state;
    size_t before = fake.objects;
    assert_int_equal(create(channel, NULL, 0), 0);
    assert_non_null(channel->worker.linkers);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxReset(channel, 0, CONTEXT, 0), 0);
    assert_null(channel->worker.linkers);
    assert_true(fake.objects < before + 1);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_gives_its_cubin_piece_by_piece),
        cmocka_unit_test(a_long_log_is_fetched),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(inputs_are_checked),
        cmocka_unit_test(links_go_with_their_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
