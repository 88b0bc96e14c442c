/* SPDX-License-Identifier: MIT */
/** usage: counted_launches COUNT: launches a kernel that adds one that often, from two threads with
 * a stream each, and says how many were counted. 0: until its input ends. Status 1 if any is
 * missing.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cuda.h>

#define CHECK(call) check((call), #call)

enum { THREADS = 2, LOOK_EVERY = 16 };

static const char kernel[] = ".version 7.0\n"
                             ".target sm_50\n"
                             ".address_size 64\n"
                             ".visible .entry add_one(.param .u64 counter)\n"
                             "{\n"
                             "    .reg .u64 %a;\n"
                             "    .reg .u32 %v;\n"
                             "    ld.param.u64 %a, [counter];\n"
                             "    ld.global.u32 %v, [%a];\n"
                             "    add.u32 %v, %v, 1;\n"
                             "    st.global.u32 [%a], %v;\n"
                             "    ret;\n"
                             "}\n";

struct thread {
    pthread_t thread;
    CUcontext context;
    CUfunction function;
    unsigned int wanted; /* 0: until the input ends */
    unsigned int launched, counted;
};

static void check(CUresult error, const char *what)
{
    if (error == CUDA_SUCCESS)
        return;
    fprintf(stderr, "%s: error %d\n", what, (int)error);
    exit(1);
}

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
    CUcontext context;
    CUmodule module;
    CUfunction function;

    if (argc != 2)
        return 2;
    CHECK(cuInit(0));
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuModuleLoadData(&module, kernel));
    CHECK(cuModuleGetFunction(&function, module, "add_one"));
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
