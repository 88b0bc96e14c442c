/* SPDX-License-Identifier: MIT */
/* One thread waits, in each way that there is, for a stream that does not get on; another goes on
 * as if nothing were, and its work at last is what ends the wait. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

enum {
    ROUNDS = 8,
    WORDS = 300000,   /* too many for one piece of any copy */
    LARGE = 24 << 20, /* more than all staging memory */
    SMALL = 1000,
    MANY = 3000,
    PATIENCE = 120, /* seconds, after which somebody was held up */
};

static CUcontext context;
static CUmodule module;
static CUstream stuck, stuck_too; /* until the gate opens */
static unsigned int *gate;

/* What the waiting thread has, made before the stream is stuck. */
static struct {
    CUdeviceptr memory, spare;
    CUevent event;
    CUmodule module;
    CUlibrary library;
    CUarray array;
    CUmemoryPool pool;
    void *pinned;
    unsigned char *pageable;
} waiter;

/* ---- the ways to wait ---- */

static void synchronise_stream(void)
{
    CHECK(cuStreamSynchronize(stuck));
}

static void synchronise_event(void)
{
    CHECK(cuEventRecord(waiter.event, stuck));
    CHECK(cuEventSynchronize(waiter.event));
}

static void synchronise_context(void)
{
    CHECK(cuCtxSynchronize());
}

static void download_little(void)
{
    CHECK(cuMemcpyDtoHAsync(waiter.pageable, waiter.memory, SMALL, stuck));
}

static void download_much(void)
{
    CHECK(cuMemcpyDtoHAsync(waiter.pageable, waiter.memory, LARGE, stuck));
}

static void upload_much(void)
{
    CHECK(cuMemcpyHtoDAsync(waiter.memory, waiter.pageable, LARGE, stuck));
    CHECK(cuStreamSynchronize(stuck));
}

static void copy_planes(void)
{
    CUDA_MEMCPY3D down = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcDevice = waiter.memory,
                          .srcPitch = 512,
                          .srcHeight = 32,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = waiter.pageable,
                          .dstPitch = 500,
                          .dstHeight = 30,
                          .WidthInBytes = 400,
                          .Height = 20,
                          .Depth = 40};
    CHECK(cuMemcpy3DAsync(&down, stuck));
}

static void CUDA_CB wait_at_gate(void *data)
{
    const unsigned int *word = data;
    while (!__atomic_load_n(word, __ATOMIC_ACQUIRE))
        usleep(1000);
}

static void run_host_function(void)
{
    CHECK(cuLaunchHostFunc(CU_STREAM_PER_THREAD, wait_at_gate, gate));
    CHECK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
}

/* More than the queue of a driver may hold, so that it waits for room. */
static void launch_much(void)
{
    CUfunction busy = check_function(module, "busy");
    CUdeviceptr device = waiter.memory;
    unsigned int rounds = 1;
    void *parameters[] = {&device, &rounds};
    for (int i = 0; i < MANY; i++)
        CHECK(cuLaunchKernel(busy, 1, 1, 1, 1, 1, 1, 0, stuck, parameters, NULL));
    CHECK(cuStreamSynchronize(stuck));
}

static void free_memory(void)
{
    CHECK(cuMemFree(waiter.spare));
}

static void free_host_memory(void)
{
    CHECK(cuMemFreeHost(waiter.pinned));
}

static void unregister(void)
{
    CHECK(cuMemHostUnregister(waiter.pageable));
}

static void unload_module(void)
{
    CHECK(cuModuleUnload(waiter.module));
}

static void unload_library(void)
{
    CHECK(cuLibraryUnload(waiter.library));
}

static void destroy_array(void)
{
    CHECK(cuArrayDestroy(waiter.array));
}

static void trim_pool(void)
{
    CHECK(cuMemPoolTrimTo(waiter.pool, 0));
}

static void destroy_pool(void)
{
    CHECK(cuMemPoolDestroy(waiter.pool));
}

static const struct way {
    const char *name;
    void (*wait)(void);
    int waits;         /* whatever the driver: it cannot return before the gate opens */
    int only_if_asked; /* drivers differ */
} ways[] = {
    {"cuStreamSynchronize", synchronise_stream, 1},
    {"cuEventSynchronize", synchronise_event, 1},
    {"cuCtxSynchronize", synchronise_context, 1},
    {"a little from the device", download_little, 1},
    {"much from the device", download_much, 1},
    {"planes from the device", copy_planes, 1},
    {"much to the device", upload_much, 1},
    {"a host function", run_host_function, 1},
    {"launches", launch_much, 1, 1},
    {"cuMemFree", free_memory, 0},
    {"cuMemFreeHost", free_host_memory, 0},
    {"cuMemHostUnregister", unregister, 0},
    {"cuModuleUnload", unload_module, 0},
    {"cuLibraryUnload", unload_library, 0},
    {"cuArrayDestroy", destroy_array, 0},
    {"cuMemPoolTrimTo", trim_pool, 0},
    {"cuMemPoolDestroy", destroy_pool, 0},
};

/* ---- the thread that waits ---- */

struct thread {
    pthread_t thread;
    const struct way *way;
    atomic_int begun, ended;
};

static void *run_waiter(void *argument)
{
    struct thread *thread = argument;
    CHECK(cuCtxSetCurrent(context));
    atomic_store(&thread->begun, 1);
    thread->way->wait();
    atomic_store(&thread->ended, 1);
    return NULL;
}

static void prepare(void)
{
    CUDA_ARRAY_DESCRIPTOR shape = {
        .Width = 64, .Height = 64, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};
    CUmemPoolProps kind = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                           .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
    CUdeviceptr from_pool;
    waiter.memory = check_memory(LARGE);
    waiter.spare = check_memory(SMALL);
    waiter.pageable = aligned_alloc(4096, LARGE);
    EXPECT(waiter.pageable != NULL);
    memset(waiter.pageable, 1, LARGE);
    waiter.module = check_module();
    CHECK(cuEventCreate(&waiter.event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuLibraryLoadData(&waiter.library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuArrayCreate(&waiter.array, &shape));
    CHECK(cuMemHostAlloc(&waiter.pinned, LARGE, 0));
    CHECK(cuMemPoolCreate(&waiter.pool, &kind));
    CHECK(cuMemAllocFromPoolAsync(&from_pool, SMALL, waiter.pool, NULL));
    CHECK(cuMemFreeAsync(from_pool, NULL));
    CHECK(cuCtxSynchronize());
}

static void clean_up(const struct way *way)
{
    CHECK(cuCtxSynchronize());
    CHECK(cuMemFree(waiter.memory));
    if (way->wait != free_memory)
        CHECK(cuMemFree(waiter.spare));
    if (way->wait != unload_module)
        CHECK(cuModuleUnload(waiter.module));
    if (way->wait != unload_library)
        CHECK(cuLibraryUnload(waiter.library));
    if (way->wait != destroy_array)
        CHECK(cuArrayDestroy(waiter.array));
    if (way->wait != free_host_memory)
        CHECK(cuMemFreeHost(waiter.pinned));
    if (way->wait != destroy_pool)
        CHECK(cuMemPoolDestroy(waiter.pool));
    CHECK(cuEventDestroy(waiter.event));
    free(waiter.pageable);
}

/* ---- the thread that goes on ---- */

/* What it does must be done when it is said to be. */
static unsigned int go_on(CUstream stream, CUdeviceptr device, unsigned int *words)
{
    CUfunction fill = check_function(module, "fill");
    CUevent event;
    unsigned int launches = 0;
    int count = WORDS;
    CHECK(cuEventCreate(&event, 0));
    for (unsigned int round = 0; round < ROUNDS; round++) {
        void *parameters[] = {&device, &round, &count};
        CHECK(cuLaunchKernel(fill, (WORDS + 127) / 128, 1, 1, 128, 1, 1, 0, stream, parameters,
                             NULL));
        CHECK(cuMemcpyDtoHAsync(words, device, sizeof(*words) * WORDS, stream));
        CHECK(cuEventRecord(event, stream));
        CHECK(cuEventSynchronize(event));
        EXPECT(words[0] == round && words[WORDS - 1] == round + WORDS - 1);
        words[WORDS / 2] = ~round;
        CHECK(cuMemcpyHtoDAsync(device, words, sizeof(*words) * WORDS, stream));
        words[WORDS / 2] = 0;
        CHECK(cuMemcpyDtoHAsync(&words[WORDS / 2], device + WORDS / 2 * 4, 4, stream));
        CHECK(cuStreamSynchronize(stream));
        EXPECT(words[WORDS / 2] == ~round);
        launches++;
    }
    CHECK(cuEventDestroy(event));
    return launches;
}

static void *held_up(void *argument)
{
    const struct way *way = argument;
    struct timespec patience = {.tv_sec = PATIENCE};
    nanosleep(&patience, NULL);
    printf("FAIL %s holds another thread up\n", way->name);
    fflush(stdout);
    _exit(1);
}

static void beside(const struct way *way)
{
    struct thread waits = {.way = way};
    pthread_t watch;
    CUdeviceptr gate_address, device = check_memory(WORDS * sizeof(unsigned int)), more, freed;
    unsigned int *words = calloc(WORDS, sizeof(*words));
    size_t left, total;
    CUstream stream, blocking;
    CHECK(cuMemHostGetDevicePointer(&gate_address, gate, 0));
    CHECK(cuStreamCreate(&stuck, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&stuck_too, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    prepare();
    go_on(stream, device, words); /* a driver that loads code late waits for all work then */
    freed = check_memory(SMALL);
    if (way->wait == unregister)
        CHECK(cuMemHostRegister(waiter.pageable, LARGE, 0));
    *gate = 0;
    EXPECT(pthread_create(&watch, NULL, held_up, (void *)(uintptr_t)way) == 0);
    CHECK(cuMemFree(freed)); /* nobody needs to wait for it any more */
    CHECK(cuStreamWaitValue32(stuck_too, gate_address, 1, CU_STREAM_WAIT_VALUE_GEQ));
    CHECK(cuStreamWaitValue32(stuck, gate_address, 1, CU_STREAM_WAIT_VALUE_GEQ));
    EXPECT(pthread_create(&waits.thread, NULL, run_waiter, &waits) == 0);
    while (!atomic_load(&waits.begun))
        usleep(1000);
    usleep(5000); /* it is most probably there now */

    unsigned int launches = go_on(stream, device, words);
    launches += go_on(blocking, device, words);
    CHECK(cuMemGetInfo(&left, &total));
    more = check_memory(8 << 20);
    EXPECT(launches == 2 * ROUNDS);
    EXPECT(!way->waits || !atomic_load(&waits.ended));
    CHECK(cuStreamWriteValue32(stream, gate_address, 1, 0));
    EXPECT(pthread_join(waits.thread, NULL) == 0);
    EXPECT(pthread_cancel(watch) == 0 && pthread_join(watch, NULL) == 0);

    clean_up(way);
    CHECK(cuMemFree(device));
    CHECK(cuMemFree(more));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuStreamDestroy(blocking));
    CHECK(cuStreamDestroy(stuck));
    CHECK(cuStreamDestroy(stuck_too));
    free(words);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL; /* the name of one way: not the others */
    context = check_context();
    module = check_module();
    CHECK(cuMemHostAlloc((void **)&gate, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        if (only ? strcmp(only, ways[i].name) != 0 : ways[i].only_if_asked)
            continue;
        beside(&ways[i]);
        printf("beside %s: %d launches, each waited for\n", ways[i].name, 2 * ROUNDS);
        fflush(stdout);
    }
    CHECK(cuMemFreeHost(gate));
    printf("waits: all right\n");
    return 0;
}
