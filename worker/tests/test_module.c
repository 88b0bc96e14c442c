/* SPDX-License-Identifier: MIT */
/* Images, what is in them, and launches of it. */
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "protocol/info.h"
#include "protocol/jit.h"
#include "worker/tests/fixture.h"

static CUresult load(struct vgpu_channel *channel, const void *image, size_t bytes, char *log,
                     size_t *log_bytes)
{
    for (size_t sent = 0; sent < bytes || sent == 0;) {
        size_t piece = bytes - sent < 777 ? bytes - sent : 777;
        if (piece)
            memcpy(fixture_staging(channel) + 5, (const char *)image + sent, piece);
        CUresult error = vgpu_send_vgpuImageAppend(channel, 0, 5, (uint32_t)piece, sent == 0);
        if (error)
            return error;
        sent += piece;
        if (piece == 0)
            break;
    }
    const struct vgpu_jit_request request = {.log_room = {100, 100}};
    CUresult error =
        vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, NULL, 0, log ? &request : NULL,
                                   log ? sizeof(request) : 0, log, log ? 4096 : 0, log_bytes);
    if (error == CUDA_SUCCESS)
        assert_int_equal(vgpu_send_cuModuleUnload(channel, CONTEXT, MODULE), 0);
    return error;
}

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    memcpy(at, &value, bytes);
}

/* A fatbin with one entry of PTX. Returns its size. */
static size_t make_fatbin(uint8_t *fatbin, const char *ptx)
{
    size_t text = (strlen(ptx) + 8) / 8 * 8;
    memset(fatbin, 0, 16 + 64 + text);
    put(fatbin, 0xba55ed50, 4);
    put(fatbin + 4, 1, 2);
    put(fatbin + 6, 16, 2);
    put(fatbin + 8, 64 + text, 8);
    put(fatbin + 16, VGPU_FATBIN_PTX, 2);
    put(fatbin + 18, 0x101, 2);
    put(fatbin + 20, 64, 4);
    put(fatbin + 24, text, 8);
    put(fatbin + 44, 75, 4);
    strcpy((char *)fatbin + 80, ptx);
    return 80 + text;
}

static void whole_images_are_loaded(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t fatbin[4096];
    char ptx[3000];
    memset(ptx, ' ', sizeof(ptx));
    for (int i = 0; i < 8; i++)
        ptx[i] = ".version"[i];                                                  /* and no NUL */
    assert_int_equal(load(channel, ptx, sizeof(ptx), NULL, NULL), CUDA_SUCCESS); /* without NUL */
    size_t bytes = make_fatbin(fatbin, ".version 6.4 .target sm_75");
    assert_int_equal(load(channel, fatbin, bytes, NULL, NULL), CUDA_SUCCESS);
    assert_int_equal(fake.loads, 2);
    assert_false(channel->worker.prints);
    fixture_close(channel);
}

static void broken_images_never_reach_the_driver(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t fatbin[4096], wrapper[24] = {0};
    size_t whole = make_fatbin(fatbin, ".version 6.4 .target sm_75");
    assert_int_equal(load(channel, fatbin, 0, NULL, NULL), CUDA_ERROR_INVALID_IMAGE);
    for (size_t bytes = 2; bytes < whole; bytes++) /* the first byte alone is text: a P */
        assert_int_equal(load(channel, fatbin, bytes, NULL, NULL), CUDA_ERROR_INVALID_IMAGE);
    put(fatbin + 8, UINT64_MAX - 3, 8);
    assert_int_equal(load(channel, fatbin, whole, NULL, NULL), CUDA_ERROR_INVALID_IMAGE);
    put(wrapper, 0x466243b1, 4); /* its pointer is the guest's: a driver would follow it */
    put(wrapper + 4, 1, 4);
    put(wrapper + 8, (uintptr_t)fatbin, 8);
    assert_int_equal(load(channel, wrapper, sizeof(wrapper), NULL, NULL), CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(load(channel,
                          "\x7f"
                          "ELF",
                          4, NULL, NULL),
                     CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(load(channel, "\x01\x02\x03\x04", 4, NULL, NULL), CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(fake.loads, 0);
    fixture_close(channel);
}

static void fatbins_that_belong_together_are_wrapped(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t fatbins[8192];
    size_t first = make_fatbin(fatbins, ".version 6.4 .target sm_75 and some more");
    size_t second = make_fatbin(fatbins + first, ".version vprintf");
    assert_int_equal(load(channel, fatbins, first + second, NULL, NULL), CUDA_SUCCESS);
    assert_memory_equal(fake.image, "\xb1\x43\x62\x46", 4); /* a wrapper */
    assert_true(channel->worker.prints);
    assert_int_equal(load(channel, fatbins, first + second - 8, NULL, NULL),
                     CUDA_ERROR_INVALID_IMAGE);
    memset(fatbins + first, '.', 8); /* text */
    assert_int_equal(load(channel, fatbins, first + 8, NULL, NULL), CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(fake.loads, 1);
    fixture_close(channel);
}

static void functions_have_names(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    char name[4096], *longest = malloc(5000);
    size_t bytes = 0;
    fixture_load(channel, ".version");
    assert_int_equal(
        vgpu_send_vgpuModuleFunctionName(channel, CONTEXT, MODULE, 2, name, sizeof(name), &bytes),
        CUDA_SUCCESS);
    assert_string_equal(name, "name of a function");
    assert_int_equal(bytes, strlen(name) + 1);
    assert_int_equal(
        vgpu_send_vgpuModuleFunctionName(channel, CONTEXT, MODULE, 3, name, sizeof(name), &bytes),
        CUDA_ERROR_INVALID_VALUE);
    memset(longest, 'x', 5000);
    longest[VGPU_REPLY_PAYLOAD_MAX] = 0; /* no room for the NUL */
    fake.function_name = longest;
    assert_int_equal(
        vgpu_send_vgpuModuleFunctionName(channel, CONTEXT, MODULE, 2, name, sizeof(name), &bytes),
        CUDA_ERROR_NOT_SUPPORTED);
    fake.function_name = longest + 1;
    assert_int_equal(
        vgpu_send_vgpuModuleFunctionName(channel, CONTEXT, MODULE, 2, name, sizeof(name), &bytes),
        CUDA_SUCCESS);
    assert_int_equal(bytes, VGPU_REPLY_PAYLOAD_MAX);
    free(longest);
    fixture_close(channel);
}

static void an_image_is_used_once(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(load(channel, ".version", 8, NULL, NULL), 0);
    assert_int_equal(
        vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, NULL, 0, NULL, 0, NULL, 0, NULL),
        CUDA_ERROR_INVALID_IMAGE);
    fixture_close(channel);
}

static void the_compilers_log_comes_with_success_and_failure(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    char log[4096] = "";
    size_t bytes = 0;
    assert_int_equal(load(channel, ".version", 8, log, &bytes), 0);
    const char *texts = log + sizeof(struct vgpu_jit_answer);
    assert_memory_equal(texts, "info text\0", 11);
    assert_int_equal(bytes, sizeof(struct vgpu_jit_answer) + 11);
    fake.fail_next = CUDA_ERROR_INVALID_PTX;
    assert_int_equal(load(channel, ".version", 8, log, &bytes), CUDA_ERROR_INVALID_PTX);
    assert_memory_equal(texts, "info text\0error text", 21);
    assert_int_equal(bytes, sizeof(struct vgpu_jit_answer) + 21);
    fixture_close(channel);
}

static void printing_is_noticed(void **state)
{
    (void)state;
    uint8_t fatbin[4096];
    for (int as_fatbin = 0; as_fatbin < 2; as_fatbin++) {
        struct vgpu_channel *channel = fixture_open_context();
        const char *ptx = ".version .extern .func vprintf";
        size_t bytes = make_fatbin(fatbin, ptx);
        assert_int_equal(load(channel, as_fatbin ? (void *)fatbin : (void *)ptx,
                              as_fatbin ? bytes : strlen(ptx), NULL, NULL),
                         0);
        assert_true(channel->worker.prints);
        fixture_close(channel);
    }
}

static void a_function_is_described(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_function_info info;
    size_t bytes;
    fixture_load(channel, ".version");
    assert_int_equal(vgpu_send_cuModuleGetFunction(channel, CONTEXT, OTHER, MODULE, "kernel", &info,
                                                   sizeof(info), &bytes),
                     0);
    assert_int_equal(bytes, offsetof(struct vgpu_function_info, parameter) +
                                3 * sizeof(struct vgpu_parameter));
    assert_int_equal(info.parameter_count, 3);
    assert_int_equal(info.parameter_bytes, FAKE_PARAMETER_BYTES);
    assert_int_equal(info.parameter[2].offset, 16);
    assert_int_equal(info.parameter[2].size, 4);
    for (int i = 0; i < CU_FUNC_ATTRIBUTE_MAX; i++)
        assert_int_equal(info.attribute[i], 100 + i);
    assert_int_equal(vgpu_send_cuModuleGetFunction(channel, CONTEXT, KERNEL, MODULE, "missing",
                                                   &info, sizeof(info), &bytes),
                     CUDA_ERROR_NOT_FOUND);
    assert_true(vgpu_handles_free(&channel->worker, KERNEL));
    fixture_close(channel);
}

static void launches_take_exactly_the_parameters(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t parameters[FAKE_PARAMETER_BYTES + 1] = {9, 8, 7};
    fixture_load(channel, ".version");
    for (size_t bytes = 0; bytes <= sizeof(parameters); bytes++) {
        vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 2, 3, 4, 5, 6, 7, 0, parameters, bytes,
                             NULL, 0);
        assert_int_equal(fixture_take_error(channel),
                         bytes == FAKE_PARAMETER_BYTES ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
    }
    assert_int_equal(fake.launches, 1);
    assert_memory_equal(fake.parameters, parameters, FAKE_PARAMETER_BYTES);
    assert_int_equal(fake.launched.gridDimZ, 3);
    assert_int_equal(fake.launched.blockDimX, 4);
    assert_int_equal(fake.launched.sharedMemBytes, 7);
    fixture_close(channel);
}

static void attributes_cross_with_the_events_that_they_name(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t parameters[FAKE_PARAMETER_BYTES] = {0};
    CUlaunchAttribute attributes[64];
    memset(attributes, 0, sizeof(attributes));
    fixture_load(channel, ".version");
    const struct {
        int id;
        size_t bytes;
        CUresult result;
    } cases[] = {
        {CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, sizeof(attributes[0]), CUDA_SUCCESS},
        {CU_LAUNCH_ATTRIBUTE_COOPERATIVE, 2 * sizeof(attributes[0]), CUDA_SUCCESS},
        {CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, sizeof(attributes[0]), CUDA_SUCCESS},
        {CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT, sizeof(attributes[0]), CUDA_ERROR_INVALID_HANDLE},
        {CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT, sizeof(attributes[0]),
         CUDA_ERROR_INVALID_HANDLE},
        {CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE, sizeof(attributes[0]),
         CUDA_ERROR_INVALID_VALUE},
        {12345, sizeof(attributes[0]), CUDA_ERROR_INVALID_VALUE},
        {CU_LAUNCH_ATTRIBUTE_PRIORITY, sizeof(attributes[0]) - 1, CUDA_ERROR_INVALID_VALUE},
        {CU_LAUNCH_ATTRIBUTE_PRIORITY, 33 * sizeof(attributes[0]), CUDA_ERROR_INVALID_VALUE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        attributes[0].id = (CUlaunchAttributeID)cases[i].id;
        vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 1, 1, 1, 1, 1, 0, 0, parameters,
                             sizeof(parameters), attributes, cases[i].bytes);
        assert_int_equal(fixture_take_error(channel), cases[i].result);
    }
    assert_int_equal(fake.launches, 3);
    /* An event goes by its id, and arrives as the driver's. */
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, EVENT, 0), CUDA_SUCCESS);
    attributes[0].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT;
    attributes[0].value.programmaticEvent.event = (CUevent)(uintptr_t)EVENT;
    vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 1, 1, 1, 1, 1, 0, 0, parameters,
                         sizeof(parameters), attributes, sizeof(attributes[0]));
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    assert_int_equal(fake.launches, 4);
    attributes[0].value.programmaticEvent.event = (CUevent)(uintptr_t)(1ull << 32 | EVENT);
    vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 1, 1, 1, 1, 1, 0, 0, parameters,
                         sizeof(parameters), attributes, sizeof(attributes[0]));
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(fake.launches, 4);
    fixture_close(channel);
}

static void a_device_is_described_within_the_quota(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_device_info info;
    size_t bytes;
    assert_int_equal(vgpu_send_vgpuDeviceInfo(channel, 0, 0, &info, sizeof(info), &bytes), 0);
    assert_int_equal(bytes, sizeof(info));
    assert_string_equal(info.name, "fake GPU");
    assert_int_equal(info.memory_total, QUOTA);
    assert_int_equal(info.priority_greatest, -5);
    assert_int_equal(info.attribute[16], 48);
    assert_int_equal(info.attribute_known[16], 1);
    assert_int_equal(info.attribute_known[150], 0);
    assert_int_equal(vgpu_send_vgpuDeviceInfo(channel, 0, 7, &info, sizeof(info), &bytes),
                     CUDA_ERROR_INVALID_DEVICE);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_images_are_loaded),
        cmocka_unit_test(broken_images_never_reach_the_driver),
        cmocka_unit_test(fatbins_that_belong_together_are_wrapped),
        cmocka_unit_test(functions_have_names),
        cmocka_unit_test(an_image_is_used_once),
        cmocka_unit_test(the_compilers_log_comes_with_success_and_failure),
        cmocka_unit_test(printing_is_noticed),
        cmocka_unit_test(a_function_is_described),
        cmocka_unit_test(launches_take_exactly_the_parameters),
        cmocka_unit_test(attributes_cross_with_the_events_that_they_name),
        cmocka_unit_test(a_device_is_described_within_the_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
