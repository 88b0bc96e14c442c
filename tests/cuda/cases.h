/* SPDX-License-Identifier: MIT */
/**
 * A program of named cases: PROGRAM list prints their names, PROGRAM NAME runs one and exits 0 if
 * all is right. Each case has a process of its own: an error that sticks is no other case's.
 */
#ifndef VGPU_TESTS_CUDA_CASES_H
#define VGPU_TESTS_CUDA_CASES_H

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        cudaError_t error_ = (call);                                                               \
        if (error_ != cudaSuccess) {                                                               \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                          \
                    cudaGetErrorString(error_));                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* For the status of a library: 0 is success in all of them. */
#define CALL(call)                                                                                 \
    do {                                                                                           \
        int status_ = (int)(call);                                                                 \
        if (status_ != 0) {                                                                        \
            fprintf(stderr, "%s:%d: %s: status %d\n", __FILE__, __LINE__, #call, status_);         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct test_case {
    const char *name;
    void (*run)();
};

#define CASE(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }

template <int N> static int run_cases(int argc, char **argv, const test_case (&cases)[N])
{
    for (int i = 0; i < N; i++) {
        if (argc == 2 && strcmp(argv[1], "list") == 0) {
            puts(cases[i].name);
        } else if (argc == 2 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            CHECK(cudaDeviceSynchronize());
            return 0;
        }
    }
    return argc == 2 && strcmp(argv[1], "list") == 0 ? 0 : 2;
}

/* An array on the device with a copy on the host. */
template <typename T> struct array {
    T *device = nullptr, *host;
    size_t count;

    explicit array(size_t n) : host((T *)calloc(n, sizeof(T))), count(n)
    {
        CHECK(cudaMalloc(&device, n * sizeof(T)));
        CHECK(cudaMemset(device, 0, n * sizeof(T)));
    }
    array(const array &) = delete;
    ~array()
    {
        cudaFree(device);
        free(host);
    }
    T &operator[](size_t i)
    {
        return host[i];
    }
    void send()
    {
        CHECK(cudaMemcpy(device, host, count * sizeof(T), cudaMemcpyHostToDevice));
    }
    void fetch()
    {
        CHECK(cudaMemcpy(host, device, count * sizeof(T), cudaMemcpyDeviceToHost));
    }
};

#endif
