/* SPDX-License-Identifier: MIT */
/* Thrust and CUB, which are templates that are compiled into the program. */
#include "cases.h"

#include <algorithm>
#include <cub/cub.cuh>
#include <numeric>
#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <vector>

static std::vector<int> numbers(size_t n)
{
    std::vector<int> v(n);
    unsigned state = 12345;
    for (int &x : v)
        x = (int)((state = state * 1664525u + 1013904223u) >> 8) % 10007;
    return v;
}

static void sort()
{
    std::vector<int> host = numbers(20000);
    thrust::device_vector<int> device(host.begin(), host.end());
    thrust::sort(device.begin(), device.end());
    std::sort(host.begin(), host.end());
    std::vector<int> back(host.size());
    thrust::copy(device.begin(), device.end(), back.begin());
    EXPECT(back == host);
}

static void sort_with_comparison()
{
    std::vector<int> host = numbers(3000);
    thrust::device_vector<int> device(host.begin(), host.end());
    thrust::stable_sort(device.begin(), device.end(),
                        [] __device__(int a, int b) { return a % 100 < b % 100; });
    std::stable_sort(host.begin(), host.end(), [](int a, int b) { return a % 100 < b % 100; });
    std::vector<int> back(host.size());
    thrust::copy(device.begin(), device.end(), back.begin());
    EXPECT(back == host);
}

static void scan()
{
    std::vector<int> host = numbers(50000), want(host.size()), back(host.size());
    thrust::device_vector<int> device(host.begin(), host.end());
    thrust::inclusive_scan(device.begin(), device.end(), device.begin());
    std::partial_sum(host.begin(), host.end(), want.begin());
    thrust::copy(device.begin(), device.end(), back.begin());
    EXPECT(back == want);
}

static void reduce()
{
    std::vector<int> host = numbers(100000);
    thrust::device_vector<int> device(host.begin(), host.end());
    long want = std::accumulate(host.begin(), host.end(), 0L);
    EXPECT(thrust::reduce(device.begin(), device.end(), 0L, thrust::plus<long>()) == want);
    EXPECT(*thrust::max_element(device.begin(), device.end()) ==
           *std::max_element(host.begin(), host.end()));
}

static void cub_select()
{
    std::vector<int> host = numbers(5000), want;
    array<int> in(host.size()), out(host.size()), count(1);
    size_t bytes = 0;
    void *room;
    auto odd = [] __device__(int x) { return x % 2 == 1; };
    for (size_t i = 0; i < host.size(); i++) {
        in[i] = host[i];
        if (host[i] % 2 == 1)
            want.push_back(host[i]);
    }
    in.send();
    CHECK(cub::DeviceSelect::If(nullptr, bytes, in.device, out.device, count.device,
                                (int)host.size(), odd));
    CHECK(cudaMalloc(&room, bytes));
    CHECK(cub::DeviceSelect::If(room, bytes, in.device, out.device, count.device, (int)host.size(),
                                odd));
    out.fetch(), count.fetch();
    EXPECT(count[0] == (int)want.size());
    EXPECT(std::equal(want.begin(), want.end(), out.host));
}

static void cub_histogram()
{
    std::vector<int> host = numbers(5000);
    array<int> in(host.size()), out(16);
    size_t bytes = 0;
    void *room;
    int want[16] = {0};
    for (size_t i = 0; i < host.size(); i++) {
        in[i] = host[i] % 16;
        want[host[i] % 16]++;
    }
    in.send();
    CHECK(cub::DeviceHistogram::HistogramEven(nullptr, bytes, in.device, out.device, 17, 0, 16,
                                              (int)host.size()));
    CHECK(cudaMalloc(&room, bytes));
    CHECK(cub::DeviceHistogram::HistogramEven(room, bytes, in.device, out.device, 17, 0, 16,
                                              (int)host.size()));
    out.fetch();
    EXPECT(std::equal(want, want + 16, out.host));
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(sort),   CASE(sort_with_comparison), CASE(scan),
        CASE(reduce), CASE(cub_select),           CASE(cub_histogram),
    };
    return run_cases(argc, argv, cases);
}
