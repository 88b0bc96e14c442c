/* SPDX-License-Identifier: MIT */
/*
 * How fast the software GPU is, as a part of what the same processor does with plain C. Kernels and
 * plain C take turns, and what counts is the processor time of this process: other programs may run
 * beside it. `bench-soft [ROUNDS [NAME]]` (NAME: what is measured has this in its name), with the
 * driver to measure as the libcuda.so.1 that is found.
 */
#include <cuda.h>
#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/soft/kernels.h"
#include "bench/soft/native.h"

#define ELEMENTS    (16u << 20)
#define ROWS        512u
#define BLOCK       256u
#define BLOCKS      128u /* of kernels whose threads take several elements */
#define ROUNDS      9u
#define WARM_UP     1.0 /* seconds */
#define ROUNDS_MAX  101u
#define THREADS_MAX 512u

struct bench {
    unsigned int rounds;
    CUmodule module;
    CUdeviceptr memory[3]; /* ELEMENTS words each; the first two are what is read */
    float *host[3];        /* the same for plain C */
};

static void check(CUresult error, const char *what)
{
    const char *name = NULL;

    if (error == CUDA_SUCCESS)
        return;
    cuGetErrorName(error, &name);
    fprintf(stderr, "bench-soft: %s: %s\n", what, name != NULL ? name : "?");
    exit(1);
}

#define CHECK(call) check((call), #call)

static void wrong(const char *name)
{
    fprintf(stderr, "bench-soft: %s: the results differ\n", name);
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the kernels and the same in C ---- */

static void launch(struct bench *b, const char *name, const unsigned int grid[2],
                   const unsigned int block[2], void **parameters)
{
    CUfunction function;

    CHECK(cuModuleGetFunction(&function, b->module, name));
    CHECK(cuLaunchKernel(function, grid[0], grid[1], 1, block[0], block[1], 1, 0, NULL, parameters,
                         NULL));
    CHECK(cuCtxSynchronize());
}

static void add_device(struct bench *b)
{
    int n = ELEMENTS;
    void *parameters[] = {&b->memory[0], &b->memory[1], &b->memory[2], &n};

    launch(b, "add", (unsigned int[]){ELEMENTS / BLOCK, 1}, (unsigned int[]){BLOCK, 1}, parameters);
}

static void add_native(struct bench *b)
{
    native_add(b->host[0], b->host[1], b->host[2], ELEMENTS);
}

static void multiply_device(struct bench *b)
{
    int n = ROWS;
    void *parameters[] = {&b->memory[0], &b->memory[1], &b->memory[2], &n};

    launch(b, "multiply", (unsigned int[]){ROWS / 16, ROWS / 16}, (unsigned int[]){16, 16},
           parameters);
}

static void multiply_native(struct bench *b)
{
    native_multiply(b->host[0], b->host[1], b->host[2], ROWS);
}

static void grid_stride(struct bench *b, const char *name)
{
    int n = ELEMENTS;
    void *parameters[] = {&b->memory[0], &b->memory[2], &n};

    launch(b, name, (unsigned int[]){BLOCKS, 1}, (unsigned int[]){BLOCK, 1}, parameters);
}

static void sum_device(struct bench *b)
{
    grid_stride(b, "sum");
}

static void sum_native(struct bench *b)
{
    native_sum(b->host[0], b->host[2], ELEMENTS);
}

static void histogram_device(struct bench *b)
{
    grid_stride(b, "histogram");
}

static void histogram_native(struct bench *b)
{
    native_histogram((const unsigned int *)(void *)b->host[0], (unsigned int *)(void *)b->host[2],
                     ELEMENTS);
}

static const struct subject {
    const char *name, *unit;
    void (*device)(struct bench *b);
    void (*native)(struct bench *b);
    double amount;  /* of one run, in 1e9 units */
    size_t results; /* elements */
    bool counts;    /* results are whole numbers */
    double bar;     /* the part of native speed that is wanted */
} subjects[] = {
    {"tiled SGEMM", "GFLOP/s", multiply_device, multiply_native, 2e-9 * ROWS *ROWS *ROWS,
     (size_t)ROWS *ROWS, false, 1.0 / 8},
    {"vector add", "GB/s", add_device, add_native, 12e-9 * ELEMENTS, ELEMENTS, false, 1.0 / 5},
    {"shuffle reduction", "GB/s", sum_device, sum_native, 4e-9 * ELEMENTS, 1, false, 1.0 / 5},
    {"shared-atomic histogram", "GB/s", histogram_device, histogram_native, 4e-9 * ELEMENTS, 256,
     true, 1.0 / 3},
};

/* ---- one core ---- */

static void begin(struct bench *b)
{
    CUcontext context;

    CHECK(cuInit(0));
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuModuleLoadData(&b->module, kernels_ptx));
    for (int i = 0; i < 3; i++) {
        CHECK(cuMemAlloc(&b->memory[i], (size_t)ELEMENTS * 4));
        b->host[i] = malloc((size_t)ELEMENTS * 4);
        if (b->host[i] == NULL)
            abort();
    }
}

static void fill(struct bench *b, bool counts)
{
    uint64_t state = 88172645463325252u;

    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < ELEMENTS; k++) {
            uint32_t word;

            state = state * 6364136223846793005u + 1442695040888963407u;
            word = (uint32_t)(state >> 32);
            if (counts)
                memcpy(&b->host[i][k], &word, sizeof(word));
            else
                b->host[i][k] = (float)(word >> 16) / 65536;
        }
        CHECK(cuMemcpyHtoD(b->memory[i], b->host[i], (size_t)ELEMENTS * 4));
    }
}

static void clear(struct bench *b, const struct subject *s)
{
    memset(b->host[2], 0, s->results * 4);
    CHECK(cuMemsetD32(b->memory[2], 0, s->results));
}

static void compare(struct bench *b, const struct subject *s)
{
    float *got = malloc(s->results * 4);

    if (got == NULL)
        abort();
    CHECK(cuMemcpyDtoH(got, b->memory[2], s->results * 4));
    for (size_t i = 0; i < s->results; i++) {
        uint32_t counts[2];

        memcpy(&counts[0], &got[i], 4);
        memcpy(&counts[1], &b->host[2][i], 4);
        if (s->counts ? counts[0] != counts[1]
                      : fabsf(got[i] - b->host[2][i]) > 0.02f * fabsf(b->host[2][i]))
            wrong(s->name);
    }
    free(got);
}

static double time_of(struct bench *b, void (*run)(struct bench *b))
{
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);

    run(b);
    return seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
}

static int by_size(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;

    return (first > second) - (first < second);
}

static double middle(double *values, unsigned int count)
{
    qsort(values, count, sizeof(*values), by_size);
    return values[count / 2];
}

/* A kernel that is hot is compiled, which is not what is measured. */
static void warm_up(struct bench *b, void (*run)(struct bench *b))
{
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);

    while (seconds(CLOCK_PROCESS_CPUTIME_ID) - start < WARM_UP)
        run(b);
}

static bool measure(struct bench *b, const struct subject *s)
{
    double device[ROUNDS_MAX] = {0}, native[ROUNDS_MAX] = {0}, ratio[ROUNDS_MAX] = {0}, part;

    fill(b, s->counts);
    clear(b, s);
    s->device(b);
    s->native(b);
    compare(b, s);
    warm_up(b, s->device);
    for (unsigned int r = 0; r < b->rounds; r++) {
        native[r] = time_of(b, s->native);
        device[r] = time_of(b, s->device);
        ratio[r] = native[r] / device[r];
    }
    part = middle(ratio, b->rounds);
    printf("%-24s %6.2f of %6.2f %-8s 1/%-5.2f (1/%.2f to 1/%.2f)  wanted 1/%.0f  %s\n", s->name,
           s->amount / middle(device, b->rounds), s->amount / middle(native, b->rounds), s->unit,
           1 / part, 1 / ratio[0], 1 / ratio[b->rounds - 1], 1 / s->bar,
           part >= s->bar ? "good" : "TOO SLOW");
    fflush(stdout);
    return part >= s->bar;
}

/* ---- two cores ---- */

struct thread_time {
    int id;
    double time;
};

/* Processor time of each thread of this process. */
static unsigned int thread_times(struct thread_time *times)
{
    DIR *folder = opendir("/proc/self/task");
    const struct dirent *entry;
    unsigned int count = 0;

    while (folder != NULL && (entry = readdir(folder)) != NULL && count < THREADS_MAX) {
        unsigned long long run = 0;
        char path[300];
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fscanf(file, "%llu", &run) == 1)
            times[count++] = (struct thread_time){atoi(entry->d_name), 1e-9 * (double)run};
        fclose(file);
    }
    if (folder != NULL)
        closedir(folder);
    return count;
}

/* How long the thread that worked most has worked: how long it takes if no other program runs. */
static double longest(struct bench *b, void (*run)(struct bench *b))
{
    struct thread_time before[THREADS_MAX], after[THREADS_MAX];
    unsigned int old = thread_times(before), new;
    double most = 0;

    run(b);
    new = thread_times(after);
    for (unsigned int i = 0; i < new; i++) {
        double time = after[i].time;

        for (unsigned int k = 0; k < old; k++)
            time -= before[k].id == after[i].id ? before[k].time : 0;
        most = time > most ? time : most;
    }
    return most;
}

/* Leaves the process the first `count` of the processors it may use. */
static bool keep_cores(int count)
{
    cpu_set_t had, keep;

    CPU_ZERO(&keep);
    if (sched_getaffinity(0, sizeof(had), &had) != 0)
        return false;
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&keep) < count; i++) {
        if (CPU_ISSET(i, &had))
            CPU_SET(i, &keep);
    }
    return CPU_COUNT(&keep) == count && sched_setaffinity(0, sizeof(keep), &keep) == 0;
}

static double multiply_on(int cores, unsigned int rounds)
{
    double *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double time;
    int status = 1;
    pid_t child;

    if (shared == MAP_FAILED)
        abort();
    fflush(stdout);
    child = fork();
    if (child == 0) {
        struct bench b = {.rounds = rounds};
        double times[ROUNDS_MAX] = {0};

        if (!keep_cores(cores))
            _exit(2);
        begin(&b);
        fill(&b, false);
        warm_up(&b, multiply_device);
        for (unsigned int r = 0; r < rounds; r++)
            times[r] = longest(&b, multiply_device);
        *shared = middle(times, rounds);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fprintf(stderr, "bench-soft: cannot measure on %d cores\n", cores);
    time = status == 0 ? *shared : 0;
    munmap(shared, 4096);
    return time;
}

/* Rounds of one and of two cores take turns, each in a process of its own. */
static bool measure_cores(unsigned int rounds)
{
    double gains[5] = {0}, gain;

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        printf("%-24s needs 2 cores\n", "SGEMM on 2 cores");
        return true;
    }
    for (int i = 0; i < 5; i++) {
        double one = multiply_on(1, rounds), two = multiply_on(2, rounds);

        gains[i] = two > 0 ? one / two : 0;
    }
    gain = middle(gains, 5);
    printf("%-24s %.2f times one core (%.2f to %.2f)  wanted 1.8  %s\n", "SGEMM on 2 cores", gain,
           gains[0], gains[4], gain >= 1.8 ? "good" : "TOO SLOW");
    return gain >= 1.8;
}

int main(int argc, char **argv)
{
    struct bench b = {.rounds = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : ROUNDS};
    const char *wanted = argc > 2 ? argv[2] : "";
    bool good = true;

    if (b.rounds < 1 || b.rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench-soft [ROUNDS [NAME]]\n");
        return 2;
    }
    if (strstr("SGEMM on 2 cores", wanted) != NULL)
        good = measure_cores(b.rounds);
    if (!keep_cores(1))
        perror("bench-soft: sched_setaffinity");
    begin(&b);
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
        good &= strstr(subjects[i].name, wanted) == NULL || measure(&b, &subjects[i]);
    return good ? 0 : 1;
}
