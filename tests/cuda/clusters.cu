/* SPDX-License-Identifier: MIT */
/* Clusters of blocks: their shared memory, their barrier, launches with and without an attribute. */
#include "cases.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

enum { BINS = 64, THREADS = 128 };

/* Each block has a part of the bins; threads add to whichever block's they need. */
__global__ void histogram(const unsigned char *values, int count, unsigned *bins)
{
    __shared__ unsigned own[BINS];
    cg::cluster_group cluster = cg::this_cluster();
    unsigned blocks = cluster.num_blocks(), part = BINS / blocks;

    for (unsigned b = threadIdx.x; b < part; b += blockDim.x)
        own[b] = 0;
    cluster.sync();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        unsigned bin = values[i] % BINS;

        atomicAdd(cluster.map_shared_rank(own, bin / part) + bin % part, 1u);
    }
    cluster.sync();
    for (unsigned b = threadIdx.x; b < part; b += blockDim.x)
        atomicAdd(&bins[cluster.block_rank() * part + b], own[b]);
}

static void launch_in_clusters(int blocks, int size, const unsigned char *values, int count,
                               unsigned *bins)
{
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};

    config.gridDim = blocks;
    config.blockDim = THREADS;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = size;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    config.attrs = &attribute;
    config.numAttrs = 1;
    CHECK(cudaLaunchKernelEx(&config, histogram, values, count, bins));
}

static void shared_memory_of_a_cluster()
{
    enum { COUNT = 20000 };
    array<unsigned char> values(COUNT);
    unsigned expected[BINS] = {0};

    for (int i = 0; i < COUNT; i++) {
        values[i] = (unsigned char)(i * i + i / 7);
        expected[values[i] % BINS]++;
    }
    values.send();
    for (int size = 1; size <= 8; size *= 2) {
        array<unsigned> bins(BINS);

        launch_in_clusters(16, size, values.device, COUNT, bins.device);
        bins.fetch();
        for (int b = 0; b < BINS; b++)
            EXPECT(bins[b] == expected[b]);
    }
}

__global__ void __cluster_dims__(2, 2, 1) places(unsigned *out)
{
    cg::cluster_group cluster = cg::this_cluster();
    unsigned block = blockIdx.y * gridDim.x + blockIdx.x;

    if (threadIdx.x == 0) {
        out[4 * block] = cluster.block_rank();
        out[4 * block + 1] = cluster.num_blocks();
        out[4 * block + 2] = cluster.block_index().x + 10 * cluster.block_index().y;
        out[4 * block + 3] = cluster.num_threads();
    }
}

static void kernels_with_clusters()
{
    array<unsigned> out(4 * 4 * 6);

    places<<<dim3(4, 6), 32>>>(out.device);
    CHECK(cudaGetLastError());
    out.fetch();
    for (unsigned y = 0; y < 6; y++) {
        for (unsigned x = 0; x < 4; x++) {
            unsigned *got = &out[4 * (4 * y + x)];

            EXPECT(got[0] == y % 2 * 2 + x % 2);
            EXPECT(got[1] == 4);
            EXPECT(got[2] == x % 2 + 10 * (y % 2));
            EXPECT(got[3] == 128);
        }
    }
    places<<<dim3(3, 6), 32>>>(out.device);
    /* At once or, through vgpu, with the next synchronisation. */
    EXPECT((cudaGetLastError() != cudaSuccess) + (cudaDeviceSynchronize() != cudaSuccess) == 1);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {CASE(shared_memory_of_a_cluster),
                                      CASE(kernels_with_clusters)};
    return run_cases(argc, argv, cases);
}
