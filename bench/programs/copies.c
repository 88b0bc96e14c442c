/* SPDX-License-Identifier: MIT */
/** How fast are copies of 4 bytes to 1 GiB each way, from and to what kinds of memory? */
#include <stdlib.h>
#include <string.h>

#include "bench/programs/bench.h"

static struct bench bench;

struct copied {
    const char *name; /* of the memory */
    char *host;
    CUstream stream; /* NULL: synchronous copies */
};

static void copy(const struct copied *what, CUdeviceptr device, size_t bytes, bool up)
{
    if (what->stream == NULL) {
        BENCH(up ? cuMemcpyHtoD(device, what->host, bytes)
                 : cuMemcpyDtoH(what->host, device, bytes));
        return;
    }
    BENCH(up ? cuMemcpyHtoDAsync(device, what->host, bytes, what->stream)
             : cuMemcpyDtoHAsync(what->host, device, bytes, what->stream));
    BENCH(cuStreamSynchronize(what->stream));
}

static unsigned int repeats(size_t bytes)
{
    size_t times = ((size_t)1 << 27) / bytes;
    unsigned int most = bench_times(&bench, 200, 5);
    return times == 0 ? 1 : times > most ? most : (unsigned int)times;
}

/* Each size has memory of its own, as the GPU has to ask a processor for what copies of other sizes
 * have left in its cache (docs/performance.md). */
static void measure(const struct copied *kind, CUdeviceptr device, size_t bytes, bool up)
{
    static struct bench_samples samples;
    struct copied what = *kind;
    what.host += bytes;
    copy(&what, device, bytes, up);
    for (unsigned int turn = repeats(bytes); turn; turn--) {
        uint64_t start = bench_now();
        copy(&what, device, bytes, up);
        bench_add(&samples, start, 1);
    }
    const char *way = up ? "to_device" : "from_device";
    if (bytes < 1 << 20)
        bench_print(&samples, "us", 1, "copy.%s.%s.%010zu", way, what.name, bytes);
    else
        bench_print(&samples, "GB/s", (double)bytes, "copy.%s.%s.%010zu", way, what.name, bytes);
}

/* What the program pays for handing a copy over, and what a queue of them carries. */
static void queue(const struct copied *what, CUdeviceptr device, size_t bytes, bool up)
{
    static struct bench_samples enqueue, all;
    unsigned int count = bench_times(&bench, 64, 8);
    for (unsigned int turn = 0; turn < bench_times(&bench, 5, 3); turn++) {
        uint64_t start = bench_now();
        for (unsigned int i = 0; i < count; i++)
            BENCH(up ? cuMemcpyHtoDAsync(device, what->host, bytes, what->stream)
                     : cuMemcpyDtoHAsync(what->host, device, bytes, what->stream));
        bench_add(&enqueue, start, count);
        BENCH(cuStreamSynchronize(what->stream));
        bench_add(&all, start, count);
    }
    const char *way = up ? "to_device" : "from_device";
    bench_print(&enqueue, "us", 1, "copy.%s.%s.enqueue.%010zu", way, what->name, bytes);
    bench_print(&all, "GB/s", (double)bytes, "copy.%s.%s.queued.%010zu", way, what->name, bytes);
}

static void within_device(CUdeviceptr device, size_t bytes)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(&bench, 5, 3); turn++) {
        uint64_t start = bench_now();
        BENCH(cuMemcpyDtoD(device, device + bytes / 2, bytes / 2));
        BENCH(cuCtxSynchronize());
        bench_add(&samples, start, 1);
    }
    bench_print(&samples, "GB/s", (double)bytes / 2, "copy.within_device.%010zu", bytes / 2);
}

static void measure_all(const struct copied kinds[3], CUdeviceptr device, size_t most)
{
    static const size_t sizes[] = {4,       256,      4096,      65536,   1 << 20,
                                   4 << 20, 16 << 20, 256 << 20, 1u << 30};
    for (size_t kind = 0; kind < 3; kind++) {
        for (int up = 1; up >= 0; up--) {
            for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && sizes[i] <= most; i++)
                measure(&kinds[kind], device, sizes[i], up);
        }
    }
    for (int up = 1; up >= 0; up--) {
        queue(&kinds[2], device, 4096, up);
        queue(&kinds[2], device, 1 << 20, up);
    }
    within_device(device, most);
}

int main(int argc, char **argv)
{
    CUdeviceptr device;
    bench_begin(&bench, argc, argv);
    size_t most = bench_times(&bench, 1u << 30, 4 << 20);
    CUstream stream;
    BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    struct copied kinds[3] = {{.name = "pageable"}, {.name = "pinned"}, {"async", NULL, stream}};
    kinds[0].host = bench_allocate(2 * most);
    BENCH(cuMemHostAlloc((void **)&kinds[1].host, 2 * most, 0));
    kinds[2].host = kinds[1].host;
    memset(kinds[0].host, 1, 2 * most); /* pages that were never touched are another question */
    memset(kinds[1].host, 2, 2 * most);
    BENCH(cuMemAlloc(&device, most));
    while (bench_turn(&bench))
        measure_all(kinds, device, most);
    return 0;
}
