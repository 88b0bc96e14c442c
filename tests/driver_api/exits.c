/* SPDX-License-Identifier: MIT */
/* Ways to end: with work under way, with exit handlers that still call CUDA, with threads in calls.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

static CUlibrary library;
static CUmodule module;
static CUcontext context;
static int in_a_callback;

static void start_work(void)
{
    unsigned int rounds = 3000000;
    CUdeviceptr out = check_memory(16);
    void *parameters[] = {&out, &rounds};
    CHECK(cuLaunchKernel(check_function(module, "busy"), 1, 1, 1, 1, 1, 1, 0, NULL, parameters,
                         NULL));
}

static void expect_late(CUresult error)
{
    if (error != CUDA_SUCCESS && error != CUDA_ERROR_DEINITIALIZED &&
        !(in_a_callback && error == CUDA_ERROR_NOT_PERMITTED))
        _exit(3);
}

static void at_exit(void)
{
    expect_late(cuLibraryUnload(library));
    expect_late(cuModuleUnload(module));
    expect_late(cuDevicePrimaryCtxRelease(0));
}

/* Registered before libcuda's own end, and so runs after it where that is an exit handler. */
__attribute__((destructor)) static void at_the_very_end(void)
{
    CUdeviceptr address;
    if (context && cuMemAlloc(&address, 16) == CUDA_SUCCESS && address == 0)
        _exit(4);
}

static void set_up(void)
{
    context = check_context();
    module = check_module();
    CHECK(cuLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
}

static void leave_with_work(void)
{
    set_up();
    start_work();
    exit(0);
}

static void leave_by_handlers(void)
{
    set_up();
    atexit(at_exit);
    start_work();
    exit(0);
}

static void CUDA_CB leave(void *data)
{
    (void)data;
    in_a_callback = 1;
    exit(0);
}

/* The handlers run in the callback, which the stream waits for. */
static void leave_in_a_callback(void)
{
    set_up();
    atexit(at_exit);
    start_work();
    CHECK(cuLaunchHostFunc(NULL, leave, NULL));
    CHECK(cuCtxSynchronize());
    for (;;)
        pause();
}

static void *keep_calling(void *argument)
{
    unsigned int word;
    (void)argument;
    if (cuCtxSetCurrent(context) != CUDA_SUCCESS)
        return NULL;
    for (;;) {
        CUdeviceptr address;
        if (cuMemAlloc(&address, 4096) != CUDA_SUCCESS)
            return NULL;
        cuMemcpyDtoH(&word, address, 4);
        cuMemFree(address);
    }
}

static void leave_with_threads(void)
{
    pthread_t threads[4];
    set_up();
    for (int i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, keep_calling, NULL) == 0);
    usleep(50000);
    exit(0);
}

/* A child that only execs or exits does not disturb its parent. */
static void leave_after_fork(void)
{
    CUdeviceptr address;
    int status;
    set_up();
    address = check_memory(4096);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0)
            exit(0);
        EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
               WEXITSTATUS(status) == 0);
        CHECK(cuMemsetD8(address, 1, 4096));
        CHECK(cuCtxSynchronize());
    }
    exit(0);
}

/* The same where no handler of a fork has run. */
static void leave_after_clone(void)
{
    CUdeviceptr address;
    int status;
    set_up();
    address = check_memory(4096);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        exit(0);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    CHECK(cuMemsetD8(address, 1, 4096));
    CHECK(cuCtxSynchronize());
    exit(0);
}

static void expect_clean(void (*run)(void), const char *name)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        run();
    }
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        printf("FAIL %s: status 0x%x\n", name, (unsigned int)status);
        exit(1);
    }
}

int main(void)
{
    expect_clean(leave_with_work, "with work under way");
    expect_clean(leave_by_handlers, "through exit handlers");
    expect_clean(leave_in_a_callback, "in a callback");
    expect_clean(leave_with_threads, "with threads in calls");
    expect_clean(leave_after_fork, "after forks");
    expect_clean(leave_after_clone, "after a clone");
    printf("exits: all right\n");
    return 0;
}
