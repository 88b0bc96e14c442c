/* SPDX-License-Identifier: MIT */
/* What VGPU_SOFT_MEMCHECK=1 says on stderr of a program that does wrong. Programs are children,
 * each with a driver of its own. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soft/driver/tests/driver_test.h"

static CUfunction poke(void)
{
    CUcontext context;
    CUmodule module;
    CUfunction function;

    assert_cuda(cuInit(0));
    assert_cuda(cuDevicePrimaryCtxRetain(&context, 0));
    assert_cuda(cuCtxSetCurrent(context));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "poke"));
    return function;
}

static CUresult poke_at(CUfunction function, CUdeviceptr where)
{
    int value = 7;
    void *parameters[] = {&where, &value};

    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    return cuCtxSynchronize();
}

/* Runs a program in a child and returns what it said. */
static const char *run(void (*program)(void), const char *memcheck)
{
    static char said[8192];
    size_t used = 0;
    ssize_t got;
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        setenv("VGPU_SOFT_MEMCHECK", memcheck, 1);
        program();
        exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return said;
}

static void expect(const char *said, const char *what)
{
    if (strstr(said, what) == NULL)
        fail_msg("'%s' was not said, but: %s", what, said);
}

static void writes_behind_the_end(void)
{
    CUfunction function = poke();
    CUdeviceptr memory;

    assert_cuda(cuMemAlloc(&memory, 400));
    assert_cuda(poke_at(function, memory + 396));
    assert_int_equal(poke_at(function, memory + 400), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void writes_what_it_freed(void)
{
    CUfunction function = poke();
    CUdeviceptr memory;

    assert_cuda(cuMemAlloc(&memory, 4000));
    assert_cuda(cuMemFree(memory));
    assert_int_equal(poke_at(function, memory), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void frees_all(void)
{
    CUfunction function = poke();
    CUdeviceptr memory;
    void *host;

    assert_cuda(cuMemAlloc(&memory, 400));
    assert_cuda(poke_at(function, memory));
    assert_cuda(cuMemFree(memory));
    assert_cuda(cuMemHostAlloc(&host, 100, 0));
    assert_cuda(poke_at(function, (CUdeviceptr)(uintptr_t)host + 96));
    assert_cuda(cuMemFreeHost(host));
}

static void destroys_a_context(void)
{
    CUcontext context;
    CUdeviceptr memory;

    assert_cuda(cuInit(0));
    assert_cuda(cuCtxCreate(&context, NULL, 0, 0));
    assert_cuda(cuMemAlloc(&memory, 1234));
    assert_cuda(cuCtxDestroy(context));
}

static void faults_are_told_to_the_byte(void **state)
{
    const char *said;

    (void)state;
    said = run(writes_behind_the_end, "1");
    expect(said, "kernel poke: illegal address 0x");
    expect(said, "(4 bytes; 0 behind the end of 400 bytes at 0x");
    expect(said, "block (0,0,0), thread (0,0,0)");
    said = run(writes_what_it_freed, "1");
    expect(said, "in freed 4000 bytes at 0x");
}

static void leaks_are_told_at_the_end(void **state)
{
    const char *said;

    (void)state;
    said = run(writes_behind_the_end, "1");
    expect(said, "memcheck: 400 bytes of device memory at 0x");
    expect(said, "memcheck: 1 allocations with 400 bytes were never freed");
    expect(run(destroys_a_context, "1"), "memcheck: 1234 bytes of device memory at 0x");
    assert_string_equal(run(frees_all, "1"), "");
    assert_string_equal(run(destroys_a_context, "0"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_told_to_the_byte),
        cmocka_unit_test(leaks_are_told_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
