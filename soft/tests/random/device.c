/* SPDX-License-Identifier: MIT */
#include "soft/tests/random/device.h"

#include <cuda.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The functions of the driver that are used, by the names under which it exports them. */
#define FUNCTIONS_OF_DRIVER(X)                                                                     \
    X(cuInit, CUresult, (unsigned))                                                                \
    X(cuDeviceGetName, CUresult, (char *, int, CUdevice))                                          \
    X(cuDriverGetVersion, CUresult, (int *))                                                       \
    X(cuDevicePrimaryCtxRetain, CUresult, (CUcontext *, CUdevice))                                 \
    X(cuCtxSetCurrent, CUresult, (CUcontext))                                                      \
    X(cuCtxSetLimit, CUresult, (CUlimit, size_t))                                                  \
    X(cuStreamCreate, CUresult, (CUstream *, unsigned))                                            \
    X(cuStreamSynchronize, CUresult, (CUstream))                                                   \
    X(cuMemAlloc_v2, CUresult, (CUdeviceptr *, size_t))                                            \
    X(cuMemcpyHtoDAsync_v2, CUresult, (CUdeviceptr, const void *, size_t, CUstream))               \
    X(cuMemcpyDtoHAsync_v2, CUresult, (void *, CUdeviceptr, size_t, CUstream))                     \
    X(cuModuleLoadDataEx, CUresult, (CUmodule *, const void *, unsigned, CUjit_option *, void **)) \
    X(cuModuleUnload, CUresult, (CUmodule))                                                        \
    X(cuModuleGetFunction, CUresult, (CUfunction *, CUmodule, const char *))                       \
    X(cuModuleGetGlobal_v2, CUresult, (CUdeviceptr *, size_t *, CUmodule, const char *))           \
    X(cuLaunchKernel, CUresult,                                                                    \
      (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, \
       void **, void **))                                                                          \
    X(cuGetErrorName, CUresult, (CUresult, const char **))

struct device {
#define MEMBER(name, result, arguments) result(*name) arguments;
    FUNCTIONS_OF_DRIVER(MEMBER)
#undef MEMBER
    CUstream stream;
    CUdeviceptr input;
};

static bool good(const struct device *d, CUresult error, const char *what, uint32_t index)
{
    const char *name = "?";

    if (error == CUDA_SUCCESS)
        return true;
    d->cuGetErrorName(error, &name);
    fprintf(stderr, "kernel %u: %s: %s\n", index, what, name);
    return false;
}

#define GOOD(call) good(d, d->call, #call, index)

struct device *device_open(const uint32_t input[INPUT_WORDS])
{
    struct device *d = calloc(1, sizeof(*d));
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    uint32_t index = 0;
    CUcontext context;

    if (library == NULL || d == NULL) {
        fprintf(stderr, "%s\n", library == NULL ? dlerror() : "no memory");
        free(d);
        return NULL;
    }
#define FIND(function, result, arguments)                                                          \
    *(void **)&d->function = dlsym(library, #function);                                            \
    if (d->function == NULL) {                                                                     \
        fprintf(stderr, "libcuda.so.1 has no %s\n", #function);                                    \
        free(d);                                                                                   \
        return NULL;                                                                               \
    }
    FUNCTIONS_OF_DRIVER(FIND)
#undef FIND
    if (!GOOD(cuInit(0)) || !GOOD(cuDevicePrimaryCtxRetain(&context, 0)) ||
        !GOOD(cuCtxSetCurrent(context)) || !GOOD(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 16384)) ||
        !GOOD(cuStreamCreate(&d->stream, CU_STREAM_NON_BLOCKING)) ||
        !GOOD(cuMemAlloc_v2(&d->input, INPUT_WORDS * sizeof(*input))) ||
        !GOOD(cuMemcpyHtoDAsync_v2(d->input, input, INPUT_WORDS * sizeof(*input), d->stream)) ||
        !GOOD(cuStreamSynchronize(d->stream))) {
        free(d);
        return NULL;
    }
    return d;
}

void device_describe(const struct device *d, char *text, size_t size)
{
    char name[96] = "?";
    int version = 0;

    d->cuDeviceGetName(name, sizeof(name), 0);
    d->cuDriverGetVersion(&version);
    snprintf(text, size, "%s, CUDA %d.%d", name, version / 1000, version % 1000 / 10);
}

static bool launch(struct device *d, uint32_t index, const struct kernel *k, CUmodule module,
                   struct results *results)
{
    struct {
        const char *name;
        void *at;
        size_t size;
        CUdeviceptr address;
    } parts[] = {{"results", results->rows, results->row_bytes, 0},
                 {"own", results->own, results->own_bytes, 0},
                 {"cells", results->cells, results->cell_bytes, 0}};
    void *parameters[] = {(void *)&k->parameters[0], (void *)&k->parameters[1],
                          (void *)&k->wide_parameter};
    CUdeviceptr input;
    CUfunction function;
    size_t size;

    if (!GOOD(cuModuleGetGlobal_v2(&input, &size, module, "input")) ||
        !GOOD(cuMemcpyHtoDAsync_v2(input, &d->input, sizeof(d->input), d->stream)))
        return false;
    for (int n = 0; n < 3; n++) {
        if (!GOOD(cuModuleGetGlobal_v2(&parts[n].address, &size, module, parts[n].name)) ||
            !GOOD(cuMemcpyHtoDAsync_v2(parts[n].address, parts[n].at, parts[n].size, d->stream)))
            return false;
    }
    if (!GOOD(cuModuleGetFunction(&function, module, "k")) ||
        !GOOD(cuLaunchKernel(function, k->grid, 1, 1, k->block[0], k->block[1], 1, 0, d->stream,
                             parameters, NULL)))
        return false;
    for (int n = 0; n < 3; n++) {
        if (!GOOD(cuMemcpyDtoHAsync_v2(parts[n].at, parts[n].address, parts[n].size, d->stream)))
            return false;
    }
    return GOOD(cuStreamSynchronize(d->stream));
}

enum ran device_run(struct device *d, uint32_t index, const struct kernel *k, bool together,
                    struct results *results)
{
    char *text = kernel_text(k, together), log[2048] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    CUmodule module;
    bool loaded;

    if (text == NULL)
        return REFUSED;
    loaded = GOOD(cuModuleLoadDataEx(&module, text, 2, options, values));
    free(text);
    if (!loaded) {
        fprintf(stderr, "%.*s\n", (int)sizeof(log), log);
        return REFUSED;
    }
    /* A kernel that fails takes the context with it: nothing is to be had of this module either. */
    if (!launch(d, index, k, module, results))
        return BROKEN;
    return GOOD(cuModuleUnload(module)) ? RAN : BROKEN;
}
