/* SPDX-License-Identifier: MIT */
/** usage: counted_launches COUNT: launches a kernel that adds one that often, from two threads with
 * a stream each, and says how many were counted. 0: until its input ends. Status 1 if any is
 * missing.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/faults/add_one.h"

enum { THREADS = 2, LOOK_EVERY = 16 };

struct thread {
    pthread_t thread;
    CUcontext context;
    CUfunction function;
    unsigned int wanted; /* 0: until the input ends */
    unsigned int launched, counted;
};

static bool is_over(const struct thread *thread)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    if (thread->wanted)
        return thread->launched == thread->wanted;
    return thread->launched % LOOK_EVERY == 0 && poll(&input, 1, 0) > 0;
}

static void *run(void *argument)
{
    struct thread *thread = argument;
    CUdeviceptr counter;
    CUstream stream;
    void *parameters[] = {&counter};

    CHECK(cuCtxSetCurrent(thread->context));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAlloc(&counter, sizeof(thread->counted)));
    CHECK(cuMemsetD32Async(counter, 0, 1, stream));
    for (; !is_over(thread); thread->launched++)
        CHECK(cuLaunchKernel(thread->function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuMemcpyDtoHAsync(&thread->counted, counter, sizeof(thread->counted), stream));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemFree(counter));
    return NULL;
}

int main(int argc, char **argv)
{
    struct thread threads[THREADS] = {0};
    unsigned int launched = 0, counted = 0;
    CUmodule module;

    if (argc != 2)
        return 2;
    CUcontext context = check_context();
    CHECK(cuModuleLoadData(&module, add_one_ptx));
    CUfunction function = check_function(module, "add_one");
    puts("ready");
    fflush(stdout);
    for (int i = 0; i < THREADS; i++) {
        threads[i].context = context;
        threads[i].function = function;
        threads[i].wanted = (unsigned int)atoi(argv[1]) / THREADS;
        if (pthread_create(&threads[i].thread, NULL, run, &threads[i]))
            return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        launched += threads[i].launched;
        counted += threads[i].counted;
    }
    printf("launched %u, counted %u\n", launched, counted);
    return launched != counted;
}
