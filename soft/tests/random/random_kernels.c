/* SPDX-License-Identifier: MIT */
/*
 * Runs random kernels on the device that libcuda.so.1 has, and compares what they leave with what
 * they should: with an evaluation of what they are made of, or with the hashes of another device.
 * Knows the Driver API and nothing of the software GPU.
 */
#include <cuda.h>
#include <dlfcn.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "soft/tests/random/kernel.h"

#define MOST_THREADS_OF_HOST 64
#define HANGS                120 /* seconds after which a kernel will not end any more */
#define LARGEST_COUNT        10000000

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

struct driver {
#define MEMBER(name, result, arguments) result(*name) arguments;
    FUNCTIONS_OF_DRIVER(MEMBER)
#undef MEMBER
};

struct run {
    struct driver driver;
    CUcontext context;
    CUdeviceptr input_on_device;
    uint32_t input[INPUT_WORDS];
    uint64_t seed;
    uint32_t first, count, threads;
    bool only_evaluate, check;
    uint64_t *hashes;         /* of `count` kernels */
    const uint64_t *expected; /* NULL: none */
    uint32_t expected_count;
    /* Between the threads. */
    pthread_mutex_t lock;
    uint32_t next, differences;
    time_t started[MOST_THREADS_OF_HOST]; /* 0: nothing under way */
    uint32_t under_way[MOST_THREADS_OF_HOST];
    bool failed;
};

static bool good(const struct run *r, CUresult error, const char *what, uint32_t index)
{
    const char *name = "?";

    if (error == CUDA_SUCCESS)
        return true;
    r->driver.cuGetErrorName(error, &name);
    fprintf(stderr, "kernel %u: %s: %s\n", index, what, name);
    return false;
}

#define GOOD(call) good(r, r->driver.call, #call, index)

/* ---- kernels ---- */

/* The kernel of a number, and what it computes; those that would take too long are passed over. */
static struct kernel *make(const struct run *r, uint32_t index, struct results *results)
{
    uint64_t series = r->seed ^ (uint64_t)index << 32;

    for (;;) {
        struct kernel *kernel = kernel_grow(series_next(&series));

        if (kernel == NULL || results_create(kernel, results) != 0) {
            kernel_destroy(kernel);
            return NULL;
        }
        if (kernel_evaluate(kernel, r->input, results) == 0)
            return kernel;
        results_destroy(results);
        kernel_destroy(kernel);
    }
}

static bool launch(struct run *r, uint32_t index, const struct kernel *k, CUmodule module,
                   CUstream stream, struct results *results)
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
        !GOOD(cuMemcpyHtoDAsync_v2(input, &r->input_on_device, sizeof(r->input_on_device), stream)))
        return false;
    for (int n = 0; n < 3; n++) {
        if (!GOOD(cuModuleGetGlobal_v2(&parts[n].address, &size, module, parts[n].name)) ||
            !GOOD(cuMemcpyHtoDAsync_v2(parts[n].address, parts[n].at, parts[n].size, stream)))
            return false;
    }
    if (!GOOD(cuModuleGetFunction(&function, module, "k")) ||
        !GOOD(cuLaunchKernel(function, k->grid, 1, 1, k->block[0], k->block[1], 1, 0, stream,
                             parameters, NULL)))
        return false;
    for (int n = 0; n < 3; n++) {
        if (!GOOD(cuMemcpyDtoHAsync_v2(parts[n].at, parts[n].address, parts[n].size, stream)))
            return false;
    }
    return GOOD(cuStreamSynchronize(stream));
}

/* Loads and runs a kernel; its results come to `results`. */
static bool run_on_device(struct run *r, uint32_t index, const struct kernel *k, CUstream stream,
                          struct results *results)
{
    char *text = kernel_text(k), log[2048] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    CUmodule module;
    bool result;

    if (text == NULL)
        return false;
    result = GOOD(cuModuleLoadDataEx(&module, text, 2, options, values));
    free(text);
    if (!result) {
        fprintf(stderr, "%s\n", log);
        return false;
    }
    result = launch(r, index, k, module, stream, results);
    return GOOD(cuModuleUnload(module)) && result;
}

// NOLINTBEGIN(clang-analyzer-core.NullDereference): results are made before they are compared
static void say_difference(const struct kernel *k, uint32_t index, const struct results *got,
                           const struct results *want)
{
    size_t threads = (size_t)k->grid * k->block[0] * k->block[1];

    fprintf(stderr, "kernel %u differs: grid %u, block %u x %u\n", index, k->grid, k->block[0],
            k->block[1]);
    for (size_t n = 0, said = 0; n < threads * ROW_WORDS && said < 8; n++) {
        if (got->rows[n] == want->rows[n])
            continue;
        fprintf(stderr, "  thread %zu, word %zu: %08" PRIx32 ", not %08" PRIx32 "\n", n / ROW_WORDS,
                n % ROW_WORDS, got->rows[n], want->rows[n]);
        said++;
    }
    for (size_t n = 0; n < CELL_COUNT; n++) {
        if (got->cells[n] != want->cells[n])
            fprintf(stderr, "  cell %zu: %016" PRIx64 ", not %016" PRIx64 "\n", n, got->cells[n],
                    want->cells[n]);
    }
    if (memcmp(got->own, want->own, got->own_bytes) != 0)
        fprintf(stderr, "  threads' own memory\n");
}
// NOLINTEND(clang-analyzer-core.NullDereference)

static bool one(struct run *r, uint32_t index, CUstream stream)
{
    struct results want, got;
    struct kernel *k = make(r, index, &want);
    uint64_t hash;
    bool fine = true, same;

    if (k == NULL)
        return false;
    hash = results_hash(&want);
    if (!r->only_evaluate) {
        fine = results_create(k, &got) == 0 && run_on_device(r, index, k, stream, &got);
        hash = fine ? results_hash(&got) : 0;
    }
    same = fine && (!r->check || hash == results_hash(&want)) &&
           (r->expected == NULL || hash == r->expected[index]);
    pthread_mutex_lock(&r->lock);
    r->hashes[index - r->first] = hash;
    r->differences += fine && !same;
    r->failed |= !fine;
    if (fine && !same && !r->only_evaluate)
        say_difference(k, index, &got, &want);
    pthread_mutex_unlock(&r->lock);
    if (!r->only_evaluate)
        results_destroy(&got);
    results_destroy(&want);
    kernel_destroy(k);
    return fine;
}

/* ---- threads ---- */

struct worker {
    struct run *run;
    uint32_t number;
    pthread_t thread;
};

static void *work(void *argument)
{
    struct worker *w = argument;
    struct run *r = w->run;
    CUstream stream = NULL;
    uint32_t index = 0;
    bool go = r->only_evaluate || (GOOD(cuCtxSetCurrent(r->context)) &&
                                   GOOD(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING)));

    while (go) {
        pthread_mutex_lock(&r->lock);
        go = r->next < r->count && !r->failed;
        index = r->first + r->next;
        r->next += go;
        r->started[w->number] = go ? time(NULL) : 0;
        r->under_way[w->number] = index;
        pthread_mutex_unlock(&r->lock);
        go = go && one(r, index, stream);
    }
    pthread_mutex_lock(&r->lock);
    r->started[w->number] = 0;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void *watch(void *argument)
{
    struct run *r = argument;

    for (;;) {
        sleep(1);
        pthread_mutex_lock(&r->lock);
        for (uint32_t n = 0; n < r->threads; n++) {
            if (r->started[n] != 0 && time(NULL) - r->started[n] > HANGS) {
                fprintf(stderr, "kernel %u hangs\n", r->under_way[n]);
                _exit(3);
            }
        }
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

static void run_all(struct run *r)
{
    struct worker workers[MOST_THREADS_OF_HOST];
    pthread_t watcher;

    pthread_mutex_init(&r->lock, NULL);
    if (pthread_create(&watcher, NULL, watch, r) == 0)
        pthread_detach(watcher);
    for (uint32_t n = 0; n < r->threads; n++) {
        workers[n] = (struct worker){.run = r, .number = n};
        if (pthread_create(&workers[n].thread, NULL, work, &workers[n]) != 0) {
            r->failed = true;
            r->threads = n;
        }
    }
    for (uint32_t n = 0; n < r->threads; n++)
        pthread_join(workers[n].thread, NULL);
}

/* ---- the program ---- */

static bool open_driver(struct run *r)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    uint32_t index = 0;
    char name[96] = "";
    int version = 0;

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
#define FIND(function, result, arguments)                                                          \
    *(void **)&r->driver.function = dlsym(library, #function);                                     \
    if (r->driver.function == NULL) {                                                              \
        fprintf(stderr, "libcuda.so.1 has no %s\n", #function);                                    \
        return false;                                                                              \
    }
    FUNCTIONS_OF_DRIVER(FIND)
#undef FIND
    if (!GOOD(cuInit(0)) || !GOOD(cuDevicePrimaryCtxRetain(&r->context, 0)) ||
        !GOOD(cuCtxSetCurrent(r->context)) || !GOOD(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 16384)) ||
        !GOOD(cuMemAlloc_v2(&r->input_on_device, sizeof(r->input))) ||
        !GOOD(cuMemcpyHtoDAsync_v2(r->input_on_device, r->input, sizeof(r->input), NULL)) ||
        !GOOD(cuStreamSynchronize(NULL)) || !GOOD(cuDeviceGetName(name, sizeof(name), 0)) ||
        !GOOD(cuDriverGetVersion(&version)))
        return false;
    fprintf(stderr, "# %s, CUDA %d.%d\n", name, version / 1000, version % 1000 / 10);
    return true;
}

/* Lines of a number and a hash, from 0 on; lines that start with # say where they are from. */
static bool read_expected(struct run *r, const char *path)
{
    FILE *file = fopen(path, "r");
    uint64_t *hashes = calloc(LARGEST_COUNT, sizeof(*hashes));
    char line[256];
    unsigned index;
    uint64_t hash;

    while (file != NULL && hashes != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (line[0] == '#')
            continue;
        if (sscanf(line, "%u %" SCNx64, &index, &hash) != 2 || index != r->expected_count ||
            index >= LARGEST_COUNT) {
            fprintf(stderr, "%s: not understood: %s", path, line);
            break;
        }
        hashes[r->expected_count++] = hash;
    }
    if (file != NULL)
        fclose(file);
    r->expected = hashes;
    return r->expected_count > 0;
}

static bool number_of(const char *text, uint64_t most, uint64_t *number)
{
    char *end;

    *number = strtoull(text, &end, 0);
    return *text != '\0' && *end == '\0' && *number <= most;
}

static int print_kernel(struct run *r)
{
    struct results results;
    struct kernel *k = make(r, r->first, &results);
    char *text = k == NULL ? NULL : kernel_text(k);

    if (text == NULL)
        return 1;
    printf("%s", text);
    free(text);
    results_destroy(&results);
    kernel_destroy(k);
    return 0;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--seed S] [--first F] [--count N] [--threads T] [--expected FILE]\n"
            "          [--evaluate] [--no-check] [--quiet] [--print]\n"
            "Writes a line with number and hash for each kernel. Fails if one does not leave what\n"
            "was evaluated, or what FILE says (lines as written, from kernel 0 on).\n"
            "  --evaluate  no device: the hashes of the evaluation\n"
            "  --no-check  the evaluation does not count\n"
            "  --quiet     no hashes\n"
            "  --print     the PTX of kernel F, and nothing else\n",
            program);
    return 2;
}

int main(int count, char **arguments)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"first", required_argument, NULL, 'f'},
        {"count", required_argument, NULL, 'n'},    {"threads", required_argument, NULL, 't'},
        {"expected", required_argument, NULL, 'x'}, {"evaluate", no_argument, NULL, 'e'},
        {"no-check", no_argument, NULL, 'c'},       {"quiet", no_argument, NULL, 'q'},
        {"print", no_argument, NULL, 'p'},          {NULL, 0, NULL, 0}};
    static struct run r = {.seed = 1, .count = 100, .threads = 2, .check = true};
    bool quiet = false, print = false;
    uint64_t number = 0, series;
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        if (optarg != NULL && option != 'x' &&
            !number_of(optarg, option == 's' ? UINT64_MAX : LARGEST_COUNT, &number))
            return usage(arguments[0]);
        if (option == 's')
            r.seed = number;
        else if (option == 'f')
            r.first = (uint32_t)number;
        else if (option == 'n')
            r.count = (uint32_t)number;
        else if (option == 't' && number > 0 && number <= MOST_THREADS_OF_HOST)
            r.threads = (uint32_t)number;
        else if (option == 'x' && read_expected(&r, optarg))
            continue;
        else if (option == 'e')
            r.only_evaluate = true;
        else if (option == 'c')
            r.check = false;
        else if (option == 'q')
            quiet = true;
        else if (option == 'p')
            print = true;
        else
            return usage(arguments[0]);
    }
    series = r.seed;
    for (uint32_t n = 0; n < INPUT_WORDS; n++)
        r.input[n] = (uint32_t)(series_next(&series) >> (n % 4 == 0 ? 56 : 32));
    if (print)
        return print_kernel(&r);
    if (r.expected != NULL && r.first + r.count > r.expected_count)
        r.count = r.first < r.expected_count ? r.expected_count - r.first : 0;
    r.hashes = calloc(r.count + 1, sizeof(*r.hashes));
    if (r.hashes == NULL || (!r.only_evaluate && !open_driver(&r)))
        return 1;
    run_all(&r);
    for (uint32_t n = 0; n < r.next && !quiet; n++)
        printf("%u %016" PRIx64 "\n", r.first + n, r.hashes[n]);
    fprintf(stderr, "%u kernels, %u differ%s\n", r.next, r.differences,
            r.failed ? ", and not all could be run" : "");
    return r.failed || r.differences > 0 || r.next < r.count;
}
