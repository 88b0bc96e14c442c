/* SPDX-License-Identifier: MIT */
/* Two devices: VGPU_SOFT_DEVICES=2, or a machine that has them. With one, there is nothing to test. */
#include "cases.h"

__device__ int offset = 5;

__global__ void add(int *to, const int *from, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        to[i] += from[i] + offset;
}

enum { COUNT = 10000 };

static bool there_are_two()
{
    int count = 0;

    CHECK(cudaGetDeviceCount(&count));
    return count >= 2;
}

static int *make(int device, int start)
{
    static int values[COUNT];
    int *memory;

    for (int i = 0; i < COUNT; i++)
        values[i] = start + i;
    CHECK(cudaSetDevice(device));
    CHECK(cudaMalloc(&memory, sizeof(values)));
    CHECK(cudaMemcpy(memory, values, sizeof(values), cudaMemcpyHostToDevice));
    return memory;
}

static void expect(const int *memory, int start, int step)
{
    static int values[COUNT];

    CHECK(cudaMemcpy(values, memory, sizeof(values), cudaMemcpyDeviceToHost));
    for (int i = 0; i < COUNT; i++)
        EXPECT(values[i] == start + step * i);
}

static void devices_work_side_by_side()
{
    cudaStream_t streams[2];
    int *here[2], *more[2];

    if (!there_are_two())
        return;
    for (int d = 0; d < 2; d++) {
        int own = 100 * d;

        here[d] = make(d, 0);
        more[d] = make(d, 7);
        CHECK(cudaMemcpyToSymbol(offset, &own, sizeof(own)));
        CHECK(cudaStreamCreate(&streams[d]));
    }
    for (int d = 0; d < 2; d++) {
        CHECK(cudaSetDevice(d));
        add<<<COUNT / 100, 100, 0, streams[d]>>>(here[d], more[d], COUNT);
        CHECK(cudaGetLastError());
    }
    for (int d = 0; d < 2; d++) {
        CHECK(cudaSetDevice(d));
        CHECK(cudaStreamSynchronize(streams[d]));
        expect(here[d], 7 + 100 * d, 2);
    }
}

static void copies_between_devices()
{
    cudaStream_t stream;
    cudaEvent_t done;
    int *one, *other;

    if (!there_are_two())
        return;
    one = make(0, 3);
    other = make(1, 0);
    CHECK(cudaMemcpyPeer(other, 1, one, 0, COUNT * sizeof(int)));
    expect(other, 3, 1);
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&done));
    add<<<COUNT / 100, 100, 0, stream>>>(other, other, COUNT);
    CHECK(cudaEventRecord(done, stream));
    /* The other device waits for what this one does. */
    CHECK(cudaSetDevice(0));
    CHECK(cudaStreamWaitEvent(0, done, 0));
    CHECK(cudaMemcpyPeerAsync(one, 0, other, 1, COUNT * sizeof(int), 0));
    CHECK(cudaStreamSynchronize(0));
    expect(one, 11, 2);
}

static void kernels_reach_the_other_device()
{
    int *one, *other, can = 0;

    if (!there_are_two())
        return;
    CHECK(cudaDeviceCanAccessPeer(&can, 0, 1));
    if (!can)
        return;
    other = make(1, 50);
    one = make(0, 1);
    CHECK(cudaDeviceEnablePeerAccess(1, 0));
    EXPECT(cudaDeviceEnablePeerAccess(1, 0) == cudaErrorPeerAccessAlreadyEnabled);
    cudaGetLastError();
    add<<<COUNT / 100, 100>>>(one, other, COUNT);
    add<<<COUNT / 100, 100>>>(other, one, COUNT);
    CHECK(cudaDeviceSynchronize());
    expect(one, 56, 2);
    expect(other, 111, 3);
    CHECK(cudaDeviceDisablePeerAccess(1));
}

static void managed_memory_is_every_devices()
{
    int *values;

    if (!there_are_two())
        return;
    CHECK(cudaMallocManaged(&values, COUNT * sizeof(int)));
    for (int i = 0; i < COUNT; i++)
        values[i] = i;
    for (int d = 0; d < 2; d++) {
        CHECK(cudaSetDevice(d));
        add<<<COUNT / 100, 100>>>(values, values, COUNT);
        CHECK(cudaDeviceSynchronize());
    }
    for (int i = 0; i < COUNT; i++)
        EXPECT(values[i] == 4 * i + 15);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(devices_work_side_by_side), CASE(copies_between_devices),
        CASE(kernels_reach_the_other_device), CASE(managed_memory_is_every_devices)};
    return run_cases(argc, argv, cases);
}
