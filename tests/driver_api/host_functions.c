/* SPDX-License-Identifier: MIT */
/* Functions of the program that a stream runs. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

enum { MANY = 2000, WORDS = 1024 };

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* ---- order ---- */

static unsigned int words[WORDS], seen;
static atomic_int count;

static void CUDA_CB read_words(void *data)
{
    seen = words[WORDS - 1];
    *(int *)data = 1;
}

static void CUDA_CB write_words(void *data)
{
    unsigned int value = *(const unsigned int *)data;
    for (int i = 0; i < WORDS; i++)
        words[i] = value;
}

/* A function sees what the stream did before it, and the stream what the function did. */
static void test_order(CUstream stream)
{
    CUdeviceptr memory = check_memory(sizeof(words));
    unsigned int value = 77, back[WORDS];
    int called = 0;
    CHECK(cuMemsetD32Async(memory, 5, WORDS, stream));
    CHECK(cuMemcpyDtoHAsync(words, memory, sizeof(words), stream));
    CHECK(cuLaunchHostFunc(stream, read_words, &called));
    CHECK(cuLaunchHostFunc(stream, write_words, &value));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(called && seen == 5 && words[0] == 77);
    CHECK(cuMemcpyHtoDAsync(memory, words, sizeof(words), stream));
    CHECK(cuMemcpyDtoHAsync(back, memory, sizeof(back), stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(back[WORDS - 1] == 77);
    CHECK(cuMemFree(memory));
}

static void CUDA_CB check_turn(void *data)
{
    int turn = atomic_fetch_add(&count, 1);
    EXPECT((size_t)data == (size_t)turn);
}

static void test_many(CUstream stream)
{
    atomic_store(&count, 0);
    for (size_t i = 0; i < MANY; i++)
        CHECK(cuLaunchHostFunc(stream, check_turn, (void *)i));
    CHECK(cuCtxSynchronize());
    EXPECT(atomic_load(&count) == MANY);
}

/* ---- a stream waits for its functions, and nobody else does ---- */

static atomic_int gate, entered;

static void CUDA_CB wait_at_gate(void *data)
{
    (void)data;
    atomic_store(&entered, 1);
    while (!atomic_load(&gate))
        nap();
}

static void test_waiting(CUstream stream)
{
    CUstream other;
    CUevent event;
    CUdeviceptr memory = check_memory(64);
    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuLaunchHostFunc(stream, wait_at_gate, NULL));
    CHECK(cuEventRecord(event, stream));
    while (!atomic_load(&entered))
        nap();
    EXPECT(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
    EXPECT(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    CHECK(cuMemsetD8Async(memory, 1, 64, other));
    CHECK(cuStreamSynchronize(other));
    EXPECT(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
    atomic_store(&gate, 1);
    CHECK(cuEventSynchronize(event));
    EXPECT(cuStreamQuery(stream) == CUDA_SUCCESS);
    CHECK(cuEventDestroy(event));
    CHECK(cuStreamDestroy(other));
    CHECK(cuMemFree(memory));
}

/* ---- several threads, each with its stream, and the default ones ---- */

static void CUDA_CB add_one(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static void *launch_from_thread(void *data)
{
    CUcontext context = data;
    atomic_int own = 0;
    CHECK(cuCtxSetCurrent(context));
    for (int i = 0; i < 100; i++) {
        CHECK(cuLaunchHostFunc(CU_STREAM_PER_THREAD, add_one, &own));
        if (i % 10 == 0)
            CHECK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    }
    CHECK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    EXPECT(atomic_load(&own) == 100);
    return NULL;
}

static void test_threads(CUcontext context)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, launch_from_thread, context) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    atomic_int own = 0;
    CHECK(cuLaunchHostFunc(NULL, add_one, &own));
    CHECK(cuLaunchHostFunc(CU_STREAM_LEGACY, add_one, &own));
    CHECK(cuStreamSynchronize(NULL));
    EXPECT(atomic_load(&own) == 2);
}

/* More than wait anywhere: who adds to them waits, too. */
static void test_flood(CUstream stream)
{
    enum { FLOOD = 70000 };
    atomic_int own = 0;
    for (int i = 0; i < FLOOD; i++)
        CHECK(cuLaunchHostFunc(stream, add_one, &own));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(atomic_load(&own) == FLOOD);
}

/* ---- callbacks ---- */

struct told {
    CUstream stream;
    CUresult status;
    CUresult of_a_call;
    int calls;
};

static void CUDA_CB note(CUstream stream, CUresult status, void *data)
{
    struct told *told = data;
    CUdeviceptr memory;
    *told = (struct told){stream, status, cuMemAlloc(&memory, 16), told->calls + 1};
}

static void test_callbacks(CUstream stream)
{
    struct told told = {.status = CUDA_ERROR_UNKNOWN};
    CHECK(cuStreamAddCallback(stream, note, &told, 0));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(told.calls == 1 && told.stream == stream && told.status == CUDA_SUCCESS);
    EXPECT(told.of_a_call == CUDA_ERROR_NOT_PERMITTED);
    EXPECT(cuStreamAddCallback(stream, NULL, &told, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamAddCallback(stream, note, &told, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLaunchHostFunc(stream, NULL, &told) == CUDA_ERROR_INVALID_VALUE);
}

/* ---- a child has no CUDA, and the parent's functions go on ---- */

static void test_fork(CUstream stream)
{
    atomic_int own = 0;
    int status, devices;
    CHECK(cuLaunchHostFunc(stream, add_one, &own));
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0)
        _exit(cuDeviceGetCount(&devices) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(cuStreamSynchronize(stream));
    EXPECT(atomic_load(&own) == 1);
}

int main(void)
{
    CUcontext context = check_context();
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    test_order(stream);
    test_many(stream);
    test_waiting(stream);
    test_threads(context);
    test_flood(stream);
    test_callbacks(stream);
    test_fork(stream);
    /* The program ends while a function is due. */
    atomic_store(&gate, 0);
    CHECK(cuLaunchHostFunc(stream, wait_at_gate, NULL));
    return 0;
}
