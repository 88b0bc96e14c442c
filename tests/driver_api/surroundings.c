/* SPDX-License-Identifier: MIT */
/* What programs do to their own process around CUDA: closed descriptors, limits, signals, memory
 * that their own handlers provide, threads that are cancelled. A process for each case. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

enum { WORDS = 1000, MUCH = 16 << 20, FAULT_BYTES = 64 << 10, SHARED = 1 << 20 };

static CUcontext context;
static CUmodule module;

static void set_up(void)
{
    context = check_context();
    module = check_module();
}

static void launch_busy(unsigned int rounds)
{
    CUdeviceptr out = check_memory(16);
    void *parameters[] = {&out, &rounds};
    CHECK(cuLaunchKernel(check_function(module, "busy"), 1, 1, 1, 1, 1, 1, 0, NULL, parameters,
                         NULL));
}

static void expect_work(void)
{
    unsigned int words[WORDS], value = 7;
    CUdeviceptr device = check_memory(sizeof(words));
    int count = WORDS;
    void *parameters[] = {&device, &value, &count};
    CHECK(cuLaunchKernel(check_function(module, "fill"), 8, 1, 1, 128, 1, 1, 0, NULL, parameters,
                         NULL));
    CHECK(cuMemcpyDtoH(words, device, sizeof(words)));
    for (unsigned int i = 0; i < WORDS; i++)
        EXPECT(words[i] == value + i);
    CHECK(cuMemFree(device));
}

/* Much enough that helpers of the library copy, too. */
static void copy_much(char *memory, char value)
{
    CUdeviceptr device = check_memory(MUCH);
    CHECK(cuMemcpyHtoD(device, memory, MUCH));
    CHECK(cuMemsetD8(device, (unsigned char)value, MUCH));
    CHECK(cuMemcpyDtoH(memory, device, MUCH));
    for (size_t i = 0; i < MUCH; i += 4096)
        EXPECT(memory[i] == value);
    CHECK(cuMemFree(device));
}

static char *private_memory(size_t bytes, int protection)
{
    char *memory = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED);
    return memory;
}

static void expect_bytes(const char *memory, size_t bytes, char value)
{
    for (size_t i = 0; i < bytes; i++)
        EXPECT(memory[i] == value);
}

/* Pinned memory that comes to lie where pages may have been given up too early. */
static void pin_more(void)
{
    void *memory;
    for (int i = 0; i < 6; i++) {
        CHECK(cuMemHostAlloc(&memory, SHARED, 0));
        memset(memory, 99, SHARED);
    }
}

/* ---- descriptors ---- */

/* What the program writes to 1 and 2 goes to nobody, and surely not to the host. */
static void no_standard_streams(void)
{
    int output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < 3; i++)
        close(i);
    set_up();
    for (int i = 0; i < 100; i++) {
        printf("for nobody: %d\n", i);
        fprintf(stderr, "for nobody: %d\n", i);
    }
    fflush(stdout);
    expect_work();
    copy_much(private_memory(MUCH, PROT_READ | PROT_WRITE), 3);
    dup2(output, STDOUT_FILENO); /* for what fails from now on */
}

/* As programs do that become daemons; what they open then is theirs alone. */
static void descriptors_closed(void)
{
    char name[] = "/tmp/vgpu-surroundings-XXXXXX";
    int files[16];
    struct stat status;
    set_up();
    expect_work();
    for (int i = 3; i < 900; i++)
        close(i);
    files[0] = mkstemp(name);
    EXPECT(files[0] >= 0 && unlink(name) == 0);
    for (int i = 1; i < 16; i++)
        files[i] = dup(files[0]);
    expect_work();
    pin_more();
    CHECK(cuCtxSynchronize());
    EXPECT(fstat(files[15], &status) == 0 && status.st_size == 0);
}

static void descriptors_used_up(void)
{
    struct rlimit limit = {24, 24};
    char *memory = private_memory(SHARED, PROT_READ | PROT_WRITE);
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    set_up();
    memset(memory, 5, SHARED);
    CHECK(cuMemHostRegister(memory, SHARED, 0));
    while (dup(STDOUT_FILENO) >= 0)
        continue;
    CHECK(cuMemHostUnregister(memory));
    pin_more();
    expect_bytes(memory, SHARED, 5);
    CHECK(cuMemHostRegister(memory, SHARED, 0));
    CHECK(cuMemHostUnregister(memory));
    expect_bytes(memory, SHARED, 5);
    expect_work();
}

/* ---- limits ---- */

static void small_files_only(void)
{
    struct rlimit limit = {100 << 20, 100 << 20};
    EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    set_up();
    pin_more();
    expect_work();
}

/* ---- signals ---- */

static char *lazy;

static void provide(int number, siginfo_t *information, void *place)
{
    char *at = information->si_addr;
    (void)number;
    (void)place;
    if (at < lazy || at >= lazy + MUCH)
        _exit(5);
    mprotect((char *)((uintptr_t)at & ~(uintptr_t)(FAULT_BYTES - 1)), FAULT_BYTES,
             PROT_READ | PROT_WRITE);
}

static void memory_of_a_handler(void)
{
    struct sigaction action = {.sa_sigaction = provide, .sa_flags = SA_SIGINFO};
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
    set_up();
    char *memory = private_memory(MUCH + FAULT_BYTES, PROT_NONE);
    lazy = memory + -(uintptr_t)memory % FAULT_BYTES;
    copy_much(lazy, 4);
    CHECK(mprotect(lazy, MUCH, PROT_READ) == 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN);
    copy_much(lazy, 5);
}

static void leave(int number)
{
    (void)number;
    _exit(0);
}

static void CUDA_CB raise_fault(void *data)
{
    (void)data;
    raise(SIGSEGV);
}

static void fault_in_a_callback(void)
{
    signal(SIGSEGV, leave);
    set_up();
    CHECK(cuLaunchHostFunc(NULL, raise_fault, NULL));
    CHECK(cuCtxSynchronize());
    _exit(6);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms++;
}

static void alarms_all_the_time(void)
{
    struct sigaction action = {.sa_handler = count_alarm}; /* calls are not restarted */
    struct itimerval often = {{0, 500}, {0, 500}};
    char *memory = private_memory(MUCH, PROT_READ | PROT_WRITE);
    EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
    EXPECT(setitimer(ITIMER_REAL, &often, NULL) == 0);
    set_up();
    for (int i = 0; i < 3; i++) {
        copy_much(memory, (char)i);
        launch_busy(1000000);
        CHECK(cuCtxSynchronize());
        pin_more();
        CHECK(cuMemHostRegister(memory, SHARED, 0));
        CHECK(cuMemHostUnregister(memory));
    }
    expect_work();
    EXPECT(alarms > 0);
}

/* ---- threads ---- */

static void *wait_for_ever(void *argument)
{
    CHECK(cuCtxSetCurrent(context));
    for (;;) {
        launch_busy(4000000);
        CHECK(cuCtxSynchronize());
        pthread_testcancel();
    }
    return argument;
}

static void waiting_threads_are_cancelled(void)
{
    pthread_t thread;
    set_up();
    for (int i = 0; i < 4; i++) {
        EXPECT(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
        usleep(20000);
        EXPECT(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
    }
    CHECK(cuCtxSynchronize());
    expect_work();
}

static void *call_all(void *argument)
{
    char *memory = private_memory(MUCH, PROT_READ | PROT_WRITE);
    CUstream stream;
    CUgraph graph;
    CUgraphExec exec;
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuModuleUnload(check_module()));
    expect_work();
    copy_much(memory, 1);
    pin_more();
    CHECK(cuMemHostRegister(memory, SHARED, 0));
    CHECK(cuMemHostUnregister(memory));
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuMemsetD8Async(check_memory(16), 1, 16, stream));
    CHECK(cuStreamEndCapture(stream, &graph));
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    return argument;
}

static void small_stacks(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    set_up();
    pthread_attr_init(&attributes);
    EXPECT(pthread_attr_setstacksize(&attributes, 128 << 10) == 0);
    EXPECT(pthread_create(&thread, &attributes, call_all, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
}

static void expect_clean(void (*run)(void), const char *name)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        run();
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        printf("FAIL %s: status 0x%x\n", name, (unsigned int)status);
        exit(1);
    }
}

int main(void)
{
    expect_clean(no_standard_streams, "no standard streams");
    expect_clean(descriptors_closed, "descriptors closed");
    expect_clean(descriptors_used_up, "descriptors used up");
    expect_clean(small_files_only, "small files only");
    expect_clean(memory_of_a_handler, "memory of a handler");
    expect_clean(fault_in_a_callback, "fault in a callback");
    expect_clean(alarms_all_the_time, "alarms all the time");
    expect_clean(waiting_threads_are_cancelled, "waiting threads are cancelled");
    expect_clean(small_stacks, "small stacks");
    printf("surroundings: all right\n");
    return 0;
}
