/* SPDX-License-Identifier: MIT */
/* What the runtime has around kernels: streams, events, copies, pools, graphs, launches of kinds.
 */
#include "cases.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

__global__ void add(int *values, int by, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        values[i] += by;
}

static void streams_and_events()
{
    enum { N = 1 << 16, STREAMS = 4 };
    cudaStream_t streams[STREAMS];
    cudaEvent_t begin, done[STREAMS];
    int *host, *device;
    float milliseconds;

    CHECK(cudaMallocHost(&host, N * sizeof(int)));
    CHECK(cudaMalloc(&device, N * sizeof(int)));
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventRecord(begin));
    for (int i = 0; i < N; i++)
        host[i] = i;
    for (int s = 0; s < STREAMS; s++) {
        int first = s * (N / STREAMS), bytes = N / STREAMS * sizeof(int);
        CHECK(cudaStreamCreateWithFlags(&streams[s], cudaStreamNonBlocking));
        CHECK(cudaEventCreate(&done[s]));
        CHECK(cudaStreamWaitEvent(streams[s], begin, 0)); /* or its end may be measured before it */
        CHECK(cudaMemcpyAsync(device + first, host + first, bytes, cudaMemcpyHostToDevice,
                              streams[s]));
        add<<<N / STREAMS / 256, 256, 0, streams[s]>>>(device + first, s + 1, N / STREAMS);
        CHECK(cudaMemcpyAsync(host + first, device + first, bytes, cudaMemcpyDeviceToHost,
                              streams[s]));
        CHECK(cudaEventRecord(done[s], streams[s]));
    }
    for (int s = 0; s < STREAMS; s++)
        CHECK(cudaStreamWaitEvent(streams[0], done[s], 0));
    CHECK(cudaStreamSynchronize(streams[0]));
    for (int i = 0; i < N; i++)
        EXPECT(host[i] == i + i / (N / STREAMS) + 1);
    CHECK(cudaEventElapsedTime(&milliseconds, begin, done[3]));
    EXPECT(milliseconds >= 0);
    EXPECT(cudaStreamQuery(streams[1]) == cudaSuccess);
    CHECK(cudaFreeHost(host));
    CHECK(cudaFree(device));
}

static void CUDART_CB note(void *data)
{
    *(int *)data += 1;
}

static void host_functions()
{
    cudaStream_t stream;
    array<int> a(1);
    int noted = 0;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaLaunchHostFunc(stream, note, &noted));
    add<<<1, 1, 0, stream>>>(a.device, 1, 1);
    CHECK(cudaLaunchHostFunc(stream, note, &noted));
    CHECK(cudaStreamSynchronize(stream));
    EXPECT(noted == 2);
}

static void pitched_copies()
{
    char *device, host[50 * 30], back[50 * 30] = "";
    size_t pitch;
    CHECK(cudaMallocPitch(&device, &pitch, 50, 30));
    for (int i = 0; i < 50 * 30; i++)
        host[i] = (char)(i * 7);
    CHECK(cudaMemcpy2D(device, pitch, host, 50, 50, 30, cudaMemcpyHostToDevice));
    CHECK(cudaMemset2D(device, pitch, 9, 10, 30));
    CHECK(cudaMemcpy2D(back, 50, device, pitch, 50, 30, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 50 * 30; i++)
        EXPECT(back[i] == (i % 50 < 10 ? 9 : host[i]));
}

static void pools()
{
    cudaStream_t stream;
    int *a, *b, value = 0;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaMallocAsync((void **)&a, 1 << 20, stream));
    CHECK(cudaMemsetAsync(a, 0, 1 << 20, stream));
    add<<<1, 1, 0, stream>>>(a, 5, 1);
    CHECK(cudaMemcpyAsync(&value, a, sizeof(value), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaFreeAsync(a, stream));
    CHECK(cudaMallocAsync((void **)&b, 1 << 20, stream));
    CHECK(cudaFreeAsync(b, stream));
    CHECK(cudaStreamSynchronize(stream));
    EXPECT(value == 5);
}

static void graphs()
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    array<int> a(256);
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    add<<<1, 256, 0, stream>>>(a.device, 1, 256);
    add<<<1, 256, 0, stream>>>(a.device, 10, 256);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&ready, graph, 0));
    for (int i = 0; i < 3; i++)
        CHECK(cudaGraphLaunch(ready, stream));
    CHECK(cudaStreamSynchronize(stream));
    a.fetch();
    for (int i = 0; i < 256; i++)
        EXPECT(a[i] == 33);
    CHECK(cudaGraphExecDestroy(ready));
    CHECK(cudaGraphDestroy(graph));
}

__global__ void groups(int *out)
{
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<8> tile = cg::tiled_partition<8>(block);
    int sum = tile.thread_rank();
    for (int step = 4; step; step /= 2)
        sum += tile.shfl_down(sum, step);
    cg::coalesced_group together = cg::coalesced_threads();
    if (tile.thread_rank() == 0)
        atomicAdd(out, sum);
    block.sync();
    if (block.thread_rank() == 0)
        out[1] = together.size();
}

static void group_tiles()
{
    array<int> out(2);
    groups<<<1, 64>>>(out.device);
    out.fetch();
    EXPECT(out[0] == 8 * 28 && out[1] == 32);
}

/* Each block reads in step n + 1 what its neighbour wrote in step n. */
__global__ void pass_around(int *values, int steps)
{
    cg::grid_group grid = cg::this_grid();
    int blocks = gridDim.x;
    for (int n = 0; n < steps; n++) {
        int got = values[(n % 2) * blocks + (blockIdx.x + 1) % blocks];
        if (threadIdx.x == 0)
            values[(n + 1) % 2 * blocks + blockIdx.x] = got + 1;
        grid.sync();
    }
}

static void grid_barrier()
{
    int blocks = 4, steps = 9, possible = 0;
    array<int> values(2 * blocks);
    void *arguments[] = {&values.device, &steps};
    CHECK(cudaDeviceGetAttribute(&possible, cudaDevAttrCooperativeLaunch, 0));
    EXPECT(possible == 1);
    for (int i = 0; i < blocks; i++)
        values[i] = 100 * i;
    values.send();
    CHECK(
        cudaLaunchCooperativeKernel((void *)pass_around, dim3(blocks), dim3(64), arguments, 0, 0));
    values.fetch();
    for (int i = 0; i < blocks; i++)
        EXPECT(values[steps % 2 * blocks + i] == 100 * ((i + steps) % blocks) + steps);
}

static void occupancy()
{
    int blocks, threads, smallest;
    cudaFuncAttributes attributes;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add, 256, 0));
    EXPECT(blocks > 0);
    CHECK(cudaOccupancyMaxPotentialBlockSize(&smallest, &threads, add));
    EXPECT(threads > 0 && smallest > 0);
    CHECK(cudaFuncGetAttributes(&attributes, add));
    EXPECT(attributes.maxThreadsPerBlock >= 256 && attributes.numRegs > 0);
}

/* As much as a kernel may be given. */
struct parcel {
    unsigned char bytes[32700];
};

__global__ void unpack(parcel given, int *sum)
{
    int part = 0;
    for (int i = threadIdx.x; i < (int)sizeof(given.bytes); i += blockDim.x)
        part += given.bytes[i];
    atomicAdd(sum, part);
}

static void large_parameters()
{
    static parcel given;
    array<int> sum(1);
    int expected = 0;
    for (size_t i = 0; i < sizeof(given.bytes); i++)
        expected += given.bytes[i] = (unsigned char)(i * 7);
    for (int i = 0; i < 100; i++) /* more than waits anywhere at once */
        unpack<<<1, 64>>>(given, sum.device);
    sum.fetch();
    EXPECT(sum[0] == 100 * expected);
}

__device__ int counted = 5;

static void reset_in_the_middle()
{
    cudaStream_t stream;
    int *values, value = 9;
    for (int i = 0; i < 3; i++) {
        CHECK(cudaMalloc(&values, 400));
        CHECK(cudaStreamCreate(&stream));
        CHECK(cudaMemcpyFromSymbol(&value, counted, sizeof(value)));
        EXPECT(value == 5);
        value = 9;
        CHECK(cudaMemcpyToSymbol(counted, &value, sizeof(value)));
        add<<<1, 100, 0, stream>>>(values, 1, 100);
        CHECK(cudaDeviceReset());
    }
}

static void CUDART_CB leave(void *)
{
    exit(0);
}

/* The runtime's own handlers, too, run in the callback, which the stream waits for. */
static void exit_in_a_host_function()
{
    CHECK(cudaLaunchHostFunc(0, leave, nullptr));
    CHECK(cudaDeviceSynchronize());
    for (;;)
        ;
}

static void errors()
{
    array<int> a(1);
    add<<<1, 2048>>>(a.device, 1, 1);
    EXPECT(cudaGetLastError() != cudaSuccess);
    EXPECT(cudaGetLastError() == cudaSuccess);
    EXPECT(cudaMalloc((void **)&a.host, (size_t)1 << 60) == cudaErrorMemoryAllocation);
    EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
    a.host = nullptr;
    add<<<1, 1>>>((int *)16, 1, 1);
    EXPECT(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    exit(0); /* the context is lost */
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(streams_and_events),
        CASE(host_functions),
        CASE(pitched_copies),
        CASE(pools),
        CASE(graphs),
        CASE(group_tiles),
        CASE(grid_barrier),
        CASE(occupancy),
        CASE(large_parameters),
        CASE(reset_in_the_middle),
        CASE(exit_in_a_host_function),
        CASE(errors),
    };
    return run_cases(argc, argv, cases);
}
