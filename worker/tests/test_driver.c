/* SPDX-License-Identifier: MIT */
/* usage: test_driver WORKER DRIVER. The real worker on a real driver: NVIDIA's, or the software
 * GPU. Skipped where the driver cannot be loaded or has no GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/info.h"
#include "protocol/jit.h"
#include "worker/tests/kernels.h"
#include "worker/tests/live.h"
#include "worker/tests/printing.h"

enum {
    CONTEXT = 16,
    STREAM,
    FREE_STREAM,
    EVENT,
    EVENT2,
    MODULE,
    SCALE,
    EMPTY,
    TOIL,
    FAULT,
    SAY,
    LIBRARY,
    KERNEL,
    OTHER
};
enum { FENCE = 40 };

static const char *program, *driver;

static struct vgpu_channel *start(void)
{
    int status = 0;
    struct vgpu_channel *channel = live_start(program, driver, true, &status);
    assert_non_null(channel);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), CUDA_SUCCESS);
    return channel;
}

static void send_image(struct vgpu_channel *channel, const char *image)
{
    size_t bytes = strlen(image) + 1;
    assert_true(bytes <= VGPU_STAGING_CHUNK_BYTES);
    memcpy(live_staging(channel), image, bytes);
    assert_int_equal(vgpu_send_vgpuImageAppend(channel, 0, 0, (uint32_t)bytes, 1), CUDA_SUCCESS);
}

static uint32_t get_function(struct vgpu_channel *channel, uint32_t id, const char *name)
{
    struct vgpu_function_info info;
    size_t bytes;
    assert_int_equal(vgpu_send_cuModuleGetFunction(channel, CONTEXT, id, MODULE, name, &info,
                                                   sizeof(info), &bytes),
                     CUDA_SUCCESS);
    return info.parameter_bytes;
}

static void load(struct vgpu_channel *channel)
{
    send_image(channel, kernels_ptx);
    assert_int_equal(
        vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, NULL, 0, NULL, 0, NULL, 0, NULL),
        CUDA_SUCCESS);
    assert_int_equal(get_function(channel, SCALE, "scale"), 16);
    assert_int_equal(get_function(channel, EMPTY, "empty"), 0);
    assert_int_equal(get_function(channel, TOIL, "toil"), 12);
    assert_int_equal(get_function(channel, FAULT, "fault"), 8);
}

static void launch(struct vgpu_channel *channel, uint32_t function, uint32_t stream,
                   const void *parameters, size_t bytes)
{
    vgpu_send_vgpuLaunch(channel, CONTEXT, function, 4, 1, 1, 64, 1, 1, 0, stream, parameters,
                         bytes, NULL, 0);
}

static CUresult synchronise(struct vgpu_channel *channel, uint32_t stream)
{
    static uint32_t value;
    vgpu_send_vgpuFence(channel, CONTEXT, stream, FENCE, ++value);
    return live_wait(channel, FENCE, value);
}

static uint64_t allocate(struct vgpu_channel *channel, size_t bytes)
{
    uint64_t address = 0;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, bytes), CUDA_SUCCESS);
    return address;
}

static void a_primitive_worker_adds_vectors(void **state)
{
    (void)state;
    int status;
    struct vgpu_channel *channel = live_start(program, driver, false, &status);
    assert_non_null(channel);
    struct vgpu_worker_message message = {.op = VGPU_WORKER_PROBE};
    struct vgpu_worker_probe probe;
    live_ask(channel, &message);
    memcpy(&probe, message.data, sizeof(probe));
    assert_int_equal(probe.result, CUDA_SUCCESS);
    assert_true(probe.device_count > 0 && probe.memory_total > 0);
    assert_int_equal(probe.is_software, strstr(driver, "soft") != NULL);
    printf("driver: %s, version %u\n", probe.gpu, probe.driver_version);

    for (uint32_t count = 1; count <= VGPU_VECTOR_ADD_MAX; count += 17) {
        struct vgpu_mailbox_vector_add add = {.request = {.op = VGPU_MAILBOX_VECTOR_ADD},
                                              .count = count};
        struct vgpu_mailbox_vector_sum sum;
        for (uint32_t i = 0; i < 2 * count; i++)
            add.operand[i] = (float)i * 0.5f;
        message.op = VGPU_WORKER_PRIMITIVE;
        message.length = sizeof(add);
        memcpy(message.data, &add, sizeof(add));
        live_ask(channel, &message);
        memcpy(&sum, message.data, sizeof(sum));
        assert_int_equal(sum.response.status, VGPU_MAILBOX_OK);
        assert_int_equal(sum.count, count);
        for (uint32_t i = 0; i < count; i++)
            assert_true(sum.sum[i] == (float)(2 * i + count) * 0.5f);
    }
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void a_kernel_computes_what_was_copied(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    load(channel);
    uint64_t address = allocate(channel, 4096);
    float *staging = live_staging(channel);
    const uint32_t streams[] = {0, 1, STREAM, FREE_STREAM};
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, FREE_STREAM, 1, -1), 0);
    for (size_t s = 0; s < 4; s++) {
        struct {
            uint64_t values;
            float factor;
            int count;
        } parameters = {address, 3.0f, 200};
        for (int i = 0; i < 256; i++)
            staging[i] = (float)i;
        vgpu_send_vgpuCopyToDevice(channel, CONTEXT, address, 0, 1024, 1, 0, streams[s]);
        launch(channel, SCALE, streams[s], &parameters, sizeof(parameters));
        vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, 0, 1024, 1, 8192, streams[s]);
        assert_int_equal(synchronise(channel, streams[s]), CUDA_SUCCESS);
        for (int i = 0; i < 256; i++)
            assert_true(staging[2048 + i] == (float)i * (i < 200 ? 3.0f : 1.0f));
    }
    float nine = 9.0f;
    vgpu_send_vgpuCopyInline(channel, CONTEXT, address, 0, &nine, sizeof(nine));
    vgpu_send_cuMemcpyDtoDAsync(channel, CONTEXT, address + 4, address, 4, 0);
    vgpu_send_cuMemsetD32Async(channel, CONTEXT, address + 8, 0x40000000, 2, 0);
    vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, 8, 4, 2, 0, 0); /* every other one */
    assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    assert_true(staging[0] == 9.0f && staging[1] == 2.0f);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

/* At once, if the worker sees by then that the GPU has done all; else when it looks again. */
static void await_no_memory(const struct vgpu_channel *channel)
{
    for (int i = 0; i < 2000 && __atomic_load_n(&channel->ledger->used, __ATOMIC_RELAXED); i++)
        usleep(10000);
    assert_int_equal(channel->ledger->used, 0);
}

static void new_memory_is_cleared_and_accounted(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    size_t bytes = VGPU_STAGING_CHUNK_BYTES;
    uint64_t left, total;
    for (int round = 0; round < 3; round++) {
        uint64_t address = allocate(channel, bytes);
        vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, 0, bytes, 1, 0, 0);
        vgpu_send_cuMemsetD8Async(channel, CONTEXT, address, 0xee, bytes, 0);
        assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(((uint8_t *)live_staging(channel))[i], 0);
        assert_int_equal(channel->ledger->used, bytes);
        assert_int_equal(vgpu_send_cuMemGetInfo(channel, CONTEXT, &left, &total), 0);
        assert_true(total <= 1u << 30 && left <= total - bytes);
        assert_int_equal(vgpu_send_cuMemFree(channel, CONTEXT, address), CUDA_SUCCESS);
        assert_int_equal(vgpu_send_cuMemGetInfo(channel, CONTEXT, &left, &total), 0);
        assert_true(left > total - bytes); /* as good as free, and soon free */
        await_no_memory(channel);
    }
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void a_contexts_fence_comes_after_every_stream(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    load(channel);
    uint64_t address = allocate(channel, 1024);
    uint32_t *staging = live_staging(channel);
    struct {
        uint64_t out;
        int rounds;
    } parameters = {address, 20000};
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, FREE_STREAM, 1, 0), 0);
    const uint32_t streams[] = {STREAM, FREE_STREAM};
    for (uint32_t i = 0; i < 2; i++) {
        staging[i] = 7;
        vgpu_send_cuMemsetD32Async(channel, CONTEXT, address, 0, 1, streams[i]);
        launch(channel, TOIL, streams[i], &parameters, 12);
        vgpu_send_cuMemsetD32Async(channel, CONTEXT, address, i, 1, streams[i]);
        vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, 0, 4, 1, 4 * i, streams[i]);
        vgpu_send_vgpuFenceContext(channel, CONTEXT, FENCE + 1, i + 1);
        assert_int_equal(live_wait(channel, FENCE + 1, i + 1), CUDA_SUCCESS);
        assert_int_equal(staging[i], i);
    }
    assert_true(__atomic_load_n(&channel->page->calls_total, __ATOMIC_RELAXED) > 10);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

/* The account when it stands still, which it does not before it is at `least`, or patience ends:
 * time is accounted when the guest is quiet, on a loaded machine some time after. */
static uint64_t settled_account(struct vgpu_channel *channel, uint64_t least)
{
    uint64_t before, spent = 0;
    for (int i = 0; i < 500; i++) {
        before = spent;
        spent = __atomic_load_n(&channel->page->gpu_nanoseconds, __ATOMIC_RELAXED);
        if (spent >= least && spent == before && spent > 0)
            break;
        usleep(20000);
    }
    return spent;
}

static void events_measure_and_gpu_time_is_accounted(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    load(channel);
    struct {
        uint64_t out;
        int rounds;
    } parameters = {allocate(channel, 1024), 100000};
    float milliseconds = 0;
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, EVENT, 0), 0);
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, EVENT2, 0), 0);
    vgpu_send_vgpuEventRecord(channel, CONTEXT, EVENT, 0, 0, FENCE + 2, 1);
    launch(channel, TOIL, 0, &parameters, 12);
    vgpu_send_vgpuEventRecord(channel, CONTEXT, EVENT2, 0, 0, FENCE + 3, 1);
    assert_int_equal(live_wait(channel, FENCE + 3, 1), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_cuEventElapsedTime(channel, CONTEXT, &milliseconds, EVENT, EVENT2),
                     CUDA_SUCCESS);
    assert_true(milliseconds > 0);
    uint64_t spent = settled_account(channel, (uint64_t)((double)milliseconds * 0.8e6));
    printf("kernel %.3f ms, account %.3f ms\n", (double)milliseconds, (double)spent / 1e6);
    assert_true((double)spent >= (double)milliseconds * 0.8e6);
    assert_true((double)spent <= (double)milliseconds * 1e6 + 20e6);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void what_a_kernel_prints_reaches_the_guest(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    char text[4096] = "";
    size_t bytes = 0;
    int number = 42;
    send_image(channel, printing_ptx);
    assert_int_equal(
        vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, NULL, 0, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(get_function(channel, SAY, "say"), 4);
    for (int round = 0; round < 2; round++) {
        vgpu_send_vgpuLaunch(channel, CONTEXT, SAY, 1, 1, 1, 2, 1, 1, 0, 0, &number, 4, NULL, 0);
        assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
        assert_int_equal(channel->header->console_pending, 2 * strlen("device says 42\n"));
        assert_int_equal(vgpu_send_vgpuConsoleRead(channel, 0, text, sizeof(text), &bytes), 0);
        assert_int_equal(bytes, 2 * strlen("device says 42\n"));
        assert_memory_equal(text, "device says 42\ndevice says 42\n", bytes);
        assert_int_equal(channel->header->console_pending, 0);
    }
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void a_fault_reaches_a_guest_that_waits(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    load(channel);
    uint64_t nowhere = 0x10, address;
    launch(channel, FAULT, 0, &nowhere, sizeof(nowhere));
    assert_int_equal(synchronise(channel, 0), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 100),
                     CUDA_ERROR_ILLEGAL_ADDRESS); /* for good */
    assert_int_equal(synchronise(channel, 0), CUDA_ERROR_ILLEGAL_ADDRESS);
    vgpu_send_cuDevicePrimaryCtxReset(channel, 0, CONTEXT, 0);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void bad_text_gives_an_error_and_a_log(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    const struct vgpu_jit_request request = {.log_room = {1000, 1000}};
    struct vgpu_jit_answer answer;
    char log[4096];
    size_t bytes = 0;
    send_image(channel, ".version 6.4\n.target sm_75\n.address_size 64\nnonsense;\n");
    assert_int_equal(vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, NULL, 0, &request,
                                                sizeof(request), log, sizeof(log), &bytes),
                     CUDA_ERROR_INVALID_PTX);
    memcpy(&answer, log, sizeof(answer));
    assert_true(answer.log_bytes[1] > 0);
    assert_int_equal(bytes, sizeof(answer) + answer.log_bytes[0] + answer.log_bytes[1] + 2);
    assert_int_equal(strlen(log + sizeof(answer) + answer.log_bytes[0] + 1), answer.log_bytes[1]);
    load(channel);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void a_library_needs_no_context(void **state)
{
    (void)state;
    int status;
    struct vgpu_channel *channel = live_start(program, driver, true, &status);
    struct vgpu_function_info info;
    size_t bytes;
    int32_t blocks = 0;
    assert_non_null(channel);
    send_image(channel, kernels_ptx);
    assert_int_equal(
        vgpu_send_cuLibraryLoadData(channel, 0, LIBRARY, NULL, 0, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(vgpu_send_cuLibraryGetKernel(channel, 0, KERNEL, LIBRARY, "scale", &info,
                                                  sizeof(info), &bytes),
                     0);
    assert_int_equal(info.parameter_bytes, 16);
    assert_int_equal(info.parameter_count, 3);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), 0);
    uint64_t address = allocate(channel, 256);
    struct {
        uint64_t values;
        float factor;
        int count;
    } parameters = {address, 2.0f, 1};
    float two = 2.0f;
    vgpu_send_vgpuCopyInline(channel, CONTEXT, address, 0, &two, sizeof(two));
    launch(channel, KERNEL, 0, &parameters, sizeof(parameters));
    vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, 0, 4, 1, 0, 0);
    assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    const float *four = live_staging(channel);
    assert_true(*four == 4.0f);
    assert_int_equal(vgpu_send_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                         channel, CONTEXT, &blocks, KERNEL, 64, 0, 0),
                     0);
    assert_true(blocks > 0);
    assert_int_equal(vgpu_send_cuKernelGetFunction(channel, CONTEXT, OTHER, KERNEL), 0);
    launch(channel, OTHER, 0, &parameters, sizeof(parameters));
    assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void contexts_come_and_go(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    for (int round = 0; round < 3; round++) {
        uint64_t address;
        assert_int_equal(vgpu_send_cuCtxCreate(channel, 0, OTHER, 0, 0), CUDA_SUCCESS);
        assert_int_equal(vgpu_send_cuMemAlloc(channel, OTHER, &address, 1000), CUDA_SUCCESS);
        vgpu_send_vgpuFence(channel, OTHER, 0, FENCE + 4, (uint32_t)round + 1);
        assert_int_equal(live_wait(channel, FENCE + 4, (uint32_t)round + 1), CUDA_SUCCESS);
        if (round == 1) /* the context that had registered the window goes first */
            assert_int_equal(vgpu_send_cuDevicePrimaryCtxRelease(channel, 0, CONTEXT, 0), 0);
        vgpu_send_vgpuFence(channel, OTHER, 0, FENCE + 5, (uint32_t)round + 1);
        assert_int_equal(live_wait(channel, FENCE + 5, (uint32_t)round + 1), CUDA_SUCCESS);
        assert_int_equal(vgpu_send_cuCtxDestroy(channel, 0, OTHER), CUDA_SUCCESS);
        assert_int_equal(channel->ledger->used, 0);
        if (round == 1)
            assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), 0);
    }
    assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void the_cost_of_a_launch_and_a_wait(void **state)
{
    (void)state;
    struct vgpu_channel *channel = start();
    load(channel);
    const uint32_t count = strstr(driver, "soft") ? 200 : 20000;
    uint64_t first = live_now();
    for (uint32_t i = 0; i < 100; i++)
        launch(channel, EMPTY, 0, NULL, 0);
    assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    uint64_t begin = live_now();
    for (uint32_t i = 0; i < count; i++) {
        launch(channel, EMPTY, 0, NULL, 0);
        assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    }
    uint64_t round_trips = live_now() - begin;
    begin = live_now();
    for (uint32_t i = 0; i < count; i++)
        launch(channel, EMPTY, 0, NULL, 0);
    assert_int_equal(synchronise(channel, 0), CUDA_SUCCESS);
    uint64_t burst = live_now() - begin;
    /* The account has all launches, those before the measurement, too. */
    uint64_t spent = settled_account(channel, 1), wall = live_now() - first;
    printf("launch and wait %.2f us, launch in a row %.2f us, GPU busy %.0f %%\n",
           (double)round_trips / count / 1e3, (double)burst / count / 1e3,
           100.0 * (double)spent / (double)wall);
    assert_true(spent > 0 && spent < wall + wall / 10 + 10000000);
    assert_int_equal(live_end(channel), VGPU_WORKER_EXIT_OK);
}

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    int status = 0;
    assert_null(live_start(program, "/nonexistent/libcuda.so.1", true, &status));
    assert_int_equal(status, VGPU_WORKER_EXIT_DRIVER);
    assert_null(live_start(program, "/nonexistent/libcuda.so.1", false, &status));
    assert_int_equal(status, VGPU_WORKER_EXIT_DRIVER);
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: test_driver WORKER DRIVER\n");
        return 2;
    }
    program = argv[1];
    driver = argv[2];
    struct vgpu_channel *channel = live_start(program, driver, true, &status);
    if (channel == NULL && status == VGPU_WORKER_EXIT_DRIVER) {
        fprintf(stderr, "skipped: %s does not work here\n", driver);
        return 77;
    }
    if (channel)
        live_end(channel);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primitive_worker_adds_vectors),
        cmocka_unit_test(a_kernel_computes_what_was_copied),
        cmocka_unit_test(new_memory_is_cleared_and_accounted),
        cmocka_unit_test(a_contexts_fence_comes_after_every_stream),
        cmocka_unit_test(events_measure_and_gpu_time_is_accounted),
        cmocka_unit_test(what_a_kernel_prints_reaches_the_guest),
        cmocka_unit_test(a_fault_reaches_a_guest_that_waits),
        cmocka_unit_test(bad_text_gives_an_error_and_a_log),
        cmocka_unit_test(a_library_needs_no_context),
        cmocka_unit_test(contexts_come_and_go),
        cmocka_unit_test(the_cost_of_a_launch_and_a_wait),
        cmocka_unit_test(what_is_not_there_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
