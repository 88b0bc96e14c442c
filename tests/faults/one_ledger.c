/* SPDX-License-Identifier: MIT */
/** usage: one_ledger BYTES: takes so much of the GPU's memory in each way that there is (managed
 *  memory is the program's), one after the other, and gives it back. After each step prints "WAY
 * TAKEN INFO NVML": what it holds now, and how much is used as cuMemGetInfo and as NVML say; then
 * waits for a line. Then tries to get all of the device's memory and 1 MiB in each way: status 1 if
 * anything but CUDA_ERROR_OUT_OF_MEMORY comes of it. */
#include <dlfcn.h>
#include <stdbool.h>
#include <time.h>

#include "tests/check.h"

#define MIB (1ull << 20)

struct nvml_memory {
    unsigned long long total, free, used;
};

struct rig {
    CUstream stream;
    CUdeviceptr address;
    CUarray array;
    CUmemGenericAllocationHandle handle;
    CUmemoryPool pool;
    CUgraph graph;
    CUgraphExec executable;
    void *nvml;
    int (*memory_info)(void *device, struct nvml_memory *memory);
};

struct way {
    const char *name;
    CUresult (*take)(struct rig *rig, size_t bytes);
    CUresult (*give)(struct rig *rig);
};

static CUresult take_plain(struct rig *rig, size_t bytes)
{
    return cuMemAlloc(&rig->address, bytes);
}

static CUresult give_plain(struct rig *rig)
{
    return cuMemFree(rig->address);
}

static CUresult take_pitched(struct rig *rig, size_t bytes)
{
    size_t pitch;
    return cuMemAllocPitch(&rig->address, &pitch, 4096, bytes / 4096, 4);
}

static CUresult take_array(struct rig *rig, size_t bytes)
{
    const CUDA_ARRAY_DESCRIPTOR shape = {
        .Width = 4096, .Height = bytes / 16384, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    return cuArrayCreate(&rig->array, &shape);
}

static CUresult give_array(struct rig *rig)
{
    return cuArrayDestroy(rig->array);
}

static CUresult take_pool(struct rig *rig, size_t bytes)
{
    CUresult error = cuMemAllocAsync(&rig->address, bytes, rig->stream);
    CUresult ended = cuStreamSynchronize(rig->stream);
    return error ? error : ended;
}

static CUresult give_pool(struct rig *rig)
{
    CHECK(cuMemFreeAsync(rig->address, rig->stream));
    CHECK(cuStreamSynchronize(rig->stream));
    return cuMemPoolTrimTo(rig->pool, 0);
}

static CUresult take_virtual(struct rig *rig, size_t bytes)
{
    const CUmemAllocationProp kind = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
    size_t grain;
    CHECK(cuMemGetAllocationGranularity(&grain, &kind, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    return cuMemCreate(&rig->handle, (bytes + grain - 1) / grain * grain, &kind, 0);
}

static CUresult give_virtual(struct rig *rig)
{
    return cuMemRelease(rig->handle);
}

static CUresult take_graph(struct rig *rig, size_t bytes)
{
    CUDA_MEM_ALLOC_NODE_PARAMS node = {
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}},
        .bytesize = bytes};
    CUgraphNode added;
    CHECK(cuGraphCreate(&rig->graph, 0));
    CUresult error = cuGraphAddMemAllocNode(&added, rig->graph, NULL, 0, &node);
    if (!error)
        error = cuGraphInstantiate(&rig->executable, rig->graph, 0);
    if (!error) {
        error = cuGraphLaunch(rig->executable, rig->stream);
        if (!error)
            error = cuStreamSynchronize(rig->stream);
        if (error)
            cuGraphExecDestroy(rig->executable);
    }
    if (error)
        cuGraphDestroy(rig->graph);
    rig->address = node.dptr;
    return error;
}

static CUresult give_graph(struct rig *rig)
{
    CHECK(cuMemFree(rig->address));
    CHECK(cuGraphExecDestroy(rig->executable));
    CHECK(cuGraphDestroy(rig->graph));
    return cuDeviceGraphMemTrim(0);
}

static const struct way ways[] = {
    {"cuMemAlloc", take_plain, give_plain},      {"cuMemAllocPitch", take_pitched, give_plain},
    {"cuArrayCreate", take_array, give_array},   {"cuMemAllocAsync", take_pool, give_pool},
    {"cuMemCreate", take_virtual, give_virtual}, {"cuGraphAddMemAllocNode", take_graph, give_graph},
};

static void open_nvml(struct rig *rig)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    int (*init)(void) = library ? dlsym(library, "nvmlInit_v2") : NULL;
    int (*find)(unsigned int, void **) =
        library ? dlsym(library, "nvmlDeviceGetHandleByIndex_v2") : NULL;
    rig->memory_info = library ? dlsym(library, "nvmlDeviceGetMemoryInfo") : NULL;
    if (!init || !find || !rig->memory_info || init() || find(0, &rig->nvml)) {
        fprintf(stderr, "no NVML\n");
        exit(1);
    }
}

static void tell(const struct rig *rig, const char *way, size_t taken)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    struct nvml_memory memory = {0};
    char line[16];
    size_t left, total;
    CHECK(cuMemGetInfo(&left, &total));
    for (int i = 0; i < 50; i++) { /* NVML's answers may be a moment old */
        if (rig->memory_info(rig->nvml, &memory))
            exit(1);
        if (memory.used == total - left)
            break;
        nanosleep(&pause, NULL);
    }
    printf("%s %zu %zu %llu\n", way, taken, total - left, memory.used);
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

/* Whether more than there is is refused in every way. */
static bool ends_at_the_quota(struct rig *rig)
{
    size_t left, total;
    bool good = true;
    CHECK(cuMemGetInfo(&left, &total));
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        CUresult error = ways[i].take(rig, total + MIB);
        if (error != CUDA_ERROR_OUT_OF_MEMORY)
            fprintf(stderr, "%s beyond the quota: %d\n", ways[i].name, (int)error);
        good &= error == CUDA_ERROR_OUT_OF_MEMORY;
    }
    return good;
}

int main(int argc, char **argv)
{
    struct rig rig = {0};
    size_t bytes = argc == 2 ? (size_t)atoll(argv[1]) : 0;

    if (bytes == 0)
        return 2;
    check_context();
    CHECK(cuStreamCreate(&rig.stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuDeviceGetDefaultMemPool(&rig.pool, 0));
    open_nvml(&rig);
    tell(&rig, "nothing", 0);
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        CHECK(ways[i].take(&rig, bytes));
        tell(&rig, ways[i].name, bytes);
        CHECK(ways[i].give(&rig));
        tell(&rig, "nothing", 0);
    }
    return ends_at_the_quota(&rig) ? 0 : 1;
}
