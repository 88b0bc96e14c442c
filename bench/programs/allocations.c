/* SPDX-License-Identifier: MIT */
/** What do memory allocations cost, of the device, of its pools, and of pinned host memory? */
#include "bench/programs/bench.h"

static struct bench bench;

static void device_memory(size_t bytes)
{
    static struct bench_samples both;
    for (unsigned int turn = 0; turn < bench_times(&bench, 200, 10); turn++) {
        CUdeviceptr address;
        uint64_t start = bench_now();
        BENCH(cuMemAlloc(&address, bytes));
        BENCH(cuMemFree(address));
        bench_add(&both, start, 1);
    }
    bench_print(&both, "us", 1, "alloc_free.device.%010zu", bytes);
}

static void pool_memory(size_t bytes, CUstream stream)
{
    static struct bench_samples enqueue, both;
    enum { BURST = 64 };
    for (unsigned int turn = 0; turn < bench_times(&bench, 50, 5); turn++) {
        uint64_t start = bench_now();
        for (unsigned int i = 0; i < BURST; i++) {
            CUdeviceptr address;
            BENCH(cuMemAllocAsync(&address, bytes, stream));
            BENCH(cuMemFreeAsync(address, stream));
        }
        bench_add(&enqueue, start, BURST);
        BENCH(cuStreamSynchronize(stream));
        bench_add(&both, start, BURST);
    }
    bench_print(&enqueue, "us", 1, "alloc_free.pool.enqueue.%010zu", bytes);
    bench_print(&both, "us", 1, "alloc_free.pool.done.%010zu", bytes);
}

static void host_memory(size_t bytes)
{
    static struct bench_samples both;
    for (unsigned int turn = 0; turn < bench_times(&bench, 30, 5); turn++) {
        void *address;
        uint64_t start = bench_now();
        BENCH(cuMemHostAlloc(&address, bytes, 0));
        BENCH(cuMemFreeHost(address));
        bench_add(&both, start, 1);
    }
    bench_print(&both, "us", 1, "alloc_free.pinned.%010zu", bytes);
}

int main(int argc, char **argv)
{
    CUstream stream;
    bench_begin(&bench, argc, argv);
    BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    device_memory(4096);
    device_memory(1 << 20);
    device_memory(bench_times(&bench, 256 << 20, 4 << 20));
    pool_memory(4096, stream);
    pool_memory(1 << 20, stream);
    host_memory(4096);
    host_memory(1 << 20);
    host_memory(bench_times(&bench, 256 << 20, 4 << 20));
    return 0;
}
