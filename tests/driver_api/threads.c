/* SPDX-License-Identifier: MIT */
/* Eight threads at once, each with its own stream, memory and modules; and their default streams.
 */
#define CUDA_API_PER_THREAD_DEFAULT_STREAM 1
#include <pthread.h>
#include <string.h>

#include "tests/driver_api/check.h"

enum { THREADS = 8, ROUNDS = 20, WORDS = 100000 };

static CUcontext context;
static CUmodule shared_module;

struct job {
    pthread_t thread;
    unsigned int number;
};

static void work(CUfunction function, CUstream stream, unsigned int seed)
{
    unsigned int *words = malloc(WORDS * 4);
    CUdeviceptr device = check_memory(WORDS * 4);
    int count = WORDS;
    void *parameters[] = {&device, &seed, &count};
    CHECK(cuMemsetD32Async(device, 0, WORDS, stream));
    CHECK(cuLaunchKernel(function, (WORDS + 127) / 128, 1, 1, 128, 1, 1, 0, stream, parameters,
                         NULL));
    CHECK(cuMemcpyDtoHAsync(words, device, WORDS * 4, stream));
    CHECK(cuStreamSynchronize(stream));
    for (unsigned int i = 0; i < WORDS; i++)
        EXPECT(words[i] == seed + i);
    CHECK(cuMemcpyHtoDAsync(device, words, WORDS * 4, stream));
    memset(words, 0, WORDS * 4);
    CHECK(cuMemcpyDtoHAsync(words, device, WORDS * 4, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(words[0] == seed && words[WORDS - 1] == seed + WORDS - 1);
    CHECK(cuMemFree(device));
    free(words);
}

static void *run(void *argument)
{
    const struct job *job = argument;
    CUstream stream;
    CUmodule module;
    CHECK(cuCtxSetCurrent(context));
    module = check_module();
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (unsigned int round = 0; round < ROUNDS; round++) {
        CUfunction function = check_function(round % 2 ? module : shared_module, "fill");
        work(function, round % 3 ? stream : NULL, job->number * 1000 + round);
    }
    CHECK(cuStreamDestroy(stream));
    CHECK(cuModuleUnload(module));
    return NULL;
}

/* A thread ends, and so does its stream; new ones come. */
static void *run_briefly(void *argument)
{
    unsigned long long *id = argument;
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuStreamGetId(CU_STREAM_PER_THREAD, id));
    work(check_function(shared_module, "fill"), CU_STREAM_PER_THREAD, 5);
    return NULL;
}

int main(void)
{
    struct job jobs[THREADS];
    unsigned long long ids[2];
    pthread_t thread;
    context = check_context();
    shared_module = check_module();
    for (unsigned int i = 0; i < THREADS; i++) {
        jobs[i].number = i;
        EXPECT(pthread_create(&jobs[i].thread, NULL, run, &jobs[i]) == 0);
    }
    for (unsigned int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(jobs[i].thread, NULL) == 0);
    for (int i = 0; i < 30; i++) {
        EXPECT(pthread_create(&thread, NULL, run_briefly, &ids[i % 2]) == 0);
        EXPECT(pthread_join(thread, NULL) == 0);
    }
    EXPECT(ids[0] != ids[1]);
    CHECK(cuCtxSynchronize());
    printf("threads: all right\n");
    return 0;
}
