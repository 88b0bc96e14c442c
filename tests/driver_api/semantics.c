/* SPDX-License-Identifier: MIT */
/* When errors come, and how often: the rows of docs/semantics.md that no other program shows. Each
 * runs in a process of its own, because some errors end CUDA in theirs. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

#define NOWHERE ((CUdeviceptr)0x10)

static CUmodule start(void)
{
    check_context();
    return check_module();
}

static CUresult write_nowhere(CUfunction write_to)
{
    CUdeviceptr address = NOWHERE;
    void *parameters[] = {&address};
    return cuLaunchKernel(write_to, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL);
}

static void expect_fill(CUmodule module)
{
    unsigned int value = 5, word = 0;
    int count = 1;
    CUdeviceptr out = check_memory(4);
    void *parameters[] = {&out, &value, &count};
    CHECK(cuLaunchKernel(check_function(module, "fill"), 1, 1, 1, 1, 1, 1, 0, NULL, parameters,
                         NULL));
    CHECK(cuMemcpyDtoH(&word, out, 4));
    EXPECT(word == 5);
}

/* A kernel's fault is seen by the next synchronisation, and by everything after that. */
static void fault_stays(void)
{
    CUfunction write_to = check_function(start(), "write_to");
    CUdeviceptr memory;
    CHECK(write_nowhere(write_to));
    EXPECT(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(cuStreamQuery(NULL) == CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(cuMemAlloc(&memory, 64) == CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(write_nowhere(write_to) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void trap_stays(void)
{
    CUmodule module = start();
    CUdeviceptr memory;
    CHECK(cuLaunchKernel(check_function(module, "trap"), 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    EXPECT(cuStreamSynchronize(NULL) == CUDA_ERROR_LAUNCH_FAILED);
    EXPECT(cuMemAlloc(&memory, 64) == CUDA_ERROR_LAUNCH_FAILED);
}

/* What a copy back waits for counts as synchronisation, too. */
static void fault_is_seen_by_a_copy(void)
{
    CUfunction write_to = check_function(start(), "write_to");
    unsigned int word;
    CUdeviceptr memory = check_memory(4);
    CHECK(write_nowhere(write_to));
    EXPECT(cuMemcpyDtoH(&word, memory, 4) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* With CUDA_LAUNCH_BLOCKING the launch itself says it. */
static void fault_is_seen_by_a_blocking_launch(void)
{
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    EXPECT(write_nowhere(check_function(start(), "write_to")) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* A launch that only the driver can refuse says so at once or, through vgpu, at the next
 * synchronisation: once, and then all is well. */
static void refusal_comes_once(void)
{
    CUmodule module = start();
    CUdeviceptr out = check_memory(4096 * 4);
    unsigned int value = 1;
    int count = 4096;
    void *parameters[] = {&out, &value, &count};
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                                   .value.clusterDim = {64, 1, 1}};
    CUlaunchConfig config = {.gridDimX = 64,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 64,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .attrs = &attribute,
                             .numAttrs = 1};
    CUresult first = cuLaunchKernelEx(&config, check_function(module, "fill"), parameters, NULL);
    CUresult then = cuStreamSynchronize(NULL);
    EXPECT((first != CUDA_SUCCESS) + (then != CUDA_SUCCESS) == 1);
    CHECK(cuCtxSynchronize());
    expect_fill(module);
}

/* Two causes: the first is told, and no error is told twice. */
static void first_of_two_refusals(void)
{
    CUmodule module = start();
    EXPECT(cuLaunchKernel(check_function(module, "trap"), 1, 1, 1, 0, 1, 1, 0, NULL, NULL, NULL) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemFree(NOWHERE) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuCtxSynchronize());
    expect_fill(module);
}

static void hidden_devices(void)
{
    setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
    EXPECT(cuInit(0) == CUDA_ERROR_NO_DEVICE);
}

static void eager_loading_is_told(void)
{
    CUmoduleLoadingMode mode;
    setenv("CUDA_MODULE_LOADING", "EAGER", 1);
    CHECK(cuInit(0));
    CHECK(cuModuleGetLoadingMode(&mode));
    EXPECT(mode == CU_MODULE_EAGER_LOADING);
}

/* A child of a process with CUDA has none; its parent goes on. */
static void child_has_no_cuda(void)
{
    CUmodule module = start();
    int status, count;
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0)
        _exit(cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    expect_fill(module);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"fault_stays", fault_stays},
    {"trap_stays", trap_stays},
    {"fault_is_seen_by_a_copy", fault_is_seen_by_a_copy},
    {"fault_is_seen_by_a_blocking_launch", fault_is_seen_by_a_blocking_launch},
    {"refusal_comes_once", refusal_comes_once},
    {"first_of_two_refusals", first_of_two_refusals},
    {"hidden_devices", hidden_devices},
    {"eager_loading_is_told", eager_loading_is_told},
    {"child_has_no_cuda", child_has_no_cuda},
};

int main(void)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int status;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            cases[i].run();
            exit(0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            printf("FAIL %s\n", cases[i].name);
            failed++;
        }
    }
    if (failed == 0)
        printf("semantics: all as it should be\n");
    return failed != 0;
}
