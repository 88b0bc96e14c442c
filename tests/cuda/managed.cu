/* SPDX-License-Identifier: MIT */
/* Managed variables and memory: one address for the host and the device. */
#include "cases.h"

__managed__ int managed_value = 7;
__managed__ double managed_array[100];

__global__ void bump_managed(int *also)
{
    managed_value += 1;
    *also += managed_value;
}

static void managed()
{
    int *also;
    CHECK(cudaMallocManaged(&also, sizeof(*also)));
    *also = 100;
    managed_value = 41;
    bump_managed<<<1, 1>>>(also);
    CHECK(cudaDeviceSynchronize());
    EXPECT(managed_value == 42);
    EXPECT(*also == 142);
    CHECK(cudaFree(also));
}

__global__ void fill(double *values)
{
    values[threadIdx.x] = managed_array[threadIdx.x] + 0.5;
}

static void arrays()
{
    double *values;
    cudaPointerAttributes attributes;
    for (int i = 0; i < 100; i++)
        managed_array[i] = i;
    CHECK(cudaMallocManaged(&values, 100 * sizeof(*values)));
    fill<<<1, 100>>>(values);
    CHECK(cudaDeviceSynchronize());
    for (int i = 0; i < 100; i++)
        EXPECT(values[i] == i + 0.5);
    CHECK(cudaPointerGetAttributes(&attributes, values));
    EXPECT(attributes.type == cudaMemoryTypeManaged);
    CHECK(cudaFree(values));
}

static void initial_value()
{
    EXPECT(managed_value == 7);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {CASE(managed), CASE(arrays), CASE(initial_value)};
    return run_cases(argc, argv, cases);
}
