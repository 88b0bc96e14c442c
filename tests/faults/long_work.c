/* SPDX-License-Identifier: MIT */
/**
 * A CUDA program whose work takes long, each time in another way.
 *
 *   long_work hang                a kernel that never ends, and a wait for it
 *   long_work hang-unload         the same, and cuModuleUnload, which waits for it in the driver
 *   long_work hang-full           the same, and launches until the driver's queue is full
 *   long_work hang-behind         a thousand short kernels, and behind them one that never ends
 *   long_work hang-graph          a graph with such a kernel
 *   long_work queue COUNT MS      COUNT kernels of MS milliseconds each, and a wait for all
 *   long_work queue-free COUNT MS the same, and cuMemFree
 *   long_work streams COUNT MS    the same in two streams, the second waits for the first
 *   long_work steady COUNT MS     COUNT kernels, each waited for
 *   long_work function SECONDS    a function of the host that takes so long, and a kernel behind it
 *   long_work value SECONDS       a stream that waits for a value that comes so late
 *   long_work idle SECONDS        nothing between two kernels
 *
 * Exit status 0: all was done. 2: a call failed; its name and error are printed, and what calls
 * after it return.
 */
#include <cuda.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          /* works until so many nanoseconds have passed */
                          ".visible .entry pass(.param .u64 nanoseconds)\n{\n"
                          ".reg .u64 %start, %now, %most;\n.reg .pred %go;\n"
                          "ld.param.u64 %most, [nanoseconds];\nmov.u64 %start, %globaltimer;\n"
                          "again:\nmov.u64 %now, %globaltimer;\nsub.u64 %now, %now, %start;\n"
                          "setp.lt.u64 %go, %now, %most;\n@%go bra again;\nret;\n}\n";

static struct {
    CUcontext context;
    CUmodule module;
    CUfunction pass;
    CUdeviceptr memory;
    CUstream first, second;
} program;

static void complain(const char *what, CUresult error)
{
    const char *name = NULL;
    cuGetErrorName(error, &name);
    printf("%s: %s\n", what, name ? name : "?");
}

static void require(CUresult error, const char *what)
{
    CUdeviceptr memory;
    if (error == CUDA_SUCCESS)
        return;
    complain(what, error);
    complain("then cuMemAlloc", cuMemAlloc(&memory, 16));
    complain("then cuCtxSynchronize", cuCtxSynchronize());
    complain("then cuStreamQuery", cuStreamQuery(NULL));
    exit(2);
}

#define CHECK(call) require(call, #call)

static void work_of(unsigned int threads, CUstream stream, uint64_t milliseconds)
{
    uint64_t nanoseconds = milliseconds * 1000000u;
    void *parameters[] = {&nanoseconds};
    CHECK(cuLaunchKernel(program.pass, 1, 1, 1, threads, 1, 1, 0, stream, parameters, NULL));
}

static void work(CUstream stream, uint64_t milliseconds)
{
    work_of(1, stream, milliseconds);
}

static void start(void)
{
    CUdevice device;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&program.context, device));
    CHECK(cuCtxSetCurrent(program.context));
    CHECK(cuModuleLoadData(&program.module, ptx));
    CHECK(cuModuleGetFunction(&program.pass, program.module, "pass"));
    CHECK(cuMemAlloc(&program.memory, 4096));
    CHECK(cuStreamCreate(&program.first, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&program.second, CU_STREAM_NON_BLOCKING));
    work(program.first, 0);
    CHECK(cuCtxSynchronize());
    printf("started\n");
}

#define FOR_EVER 1000000000u /* milliseconds */

static void hang_in_graph(void)
{
    CUgraph graph;
    CUgraphExec executable;
    CHECK(cuStreamBeginCapture(program.first, CU_STREAM_CAPTURE_MODE_GLOBAL));
    work(program.first, FOR_EVER);
    CHECK(cuStreamEndCapture(program.first, &graph));
    CHECK(cuGraphInstantiate(&executable, graph, 0));
    CHECK(cuGraphLaunch(executable, program.first));
    CHECK(cuCtxSynchronize());
}

static void hang(const char *how)
{
    if (strcmp(how, "hang-graph") == 0)
        hang_in_graph();
    for (int i = 0; strcmp(how, "hang-behind") == 0 && i < 1000; i++)
        work(program.first, 0);
    work(program.first, FOR_EVER);
    if (strcmp(how, "hang-unload") == 0)
        CHECK(cuModuleUnload(program.module));
    for (int i = 0; strcmp(how, "hang-full") == 0 && i < 100000; i++)
        work(program.first, 0);
    CHECK(cuCtxSynchronize());
}

static void queue(const char *how, int count, uint64_t milliseconds)
{
    CUevent event;
    for (int i = 0; i < count; i++)
        work(program.first, milliseconds);
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuEventRecord(event, program.first));
    if (strcmp(how, "streams") == 0) {
        CHECK(cuStreamWaitEvent(program.second, event, 0));
        work(program.second, milliseconds);
    }
    if (strcmp(how, "queue-free") == 0)
        CHECK(cuMemFree(program.memory));
    CHECK(cuCtxSynchronize());
}

static void steady(int count, uint64_t milliseconds)
{
    for (int i = 0; i < count; i++) {
        work(program.first, milliseconds);
        CHECK(cuStreamSynchronize(program.first));
    }
}

static void CUDA_CB sleep_so_long(void *seconds)
{
    sleep(*(unsigned int *)seconds);
}

static void function(unsigned int seconds)
{
    CHECK(cuLaunchHostFunc(program.first, sleep_so_long, &seconds));
    work(program.first, 1);
    CHECK(cuStreamSynchronize(program.first));
}

static void *write_later(void *seconds)
{
    sleep(*(unsigned int *)seconds);
    CHECK(cuCtxSetCurrent(program.context));
    CHECK(cuStreamWriteValue32(program.second, program.memory, 1, 0));
    CHECK(cuStreamSynchronize(program.second));
    return NULL;
}

static void value(unsigned int seconds)
{
    pthread_t writer;
    CHECK(cuMemsetD8(program.memory, 0, 4096));
    CHECK(cuStreamWaitValue32(program.first, program.memory, 1, CU_STREAM_WAIT_VALUE_EQ));
    work(program.first, 1);
    if (pthread_create(&writer, NULL, write_later, &seconds) != 0)
        exit(1);
    CHECK(cuStreamSynchronize(program.first));
    pthread_join(writer, NULL);
}

static void idle(unsigned int seconds)
{
    work_of(32, program.first, 1); /* which the software GPU may compile */
    CHECK(cuCtxSynchronize());
    sleep(seconds);
    work(program.first, 1);
    CHECK(cuCtxSynchronize());
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    unsigned int first = argc > 2 ? (unsigned int)atoi(argv[2]) : 0;
    uint64_t milliseconds = argc > 3 ? (uint64_t)atoi(argv[3]) : 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    start();
    if (strncmp(how, "hang", 4) == 0)
        hang(how);
    else if (strcmp(how, "steady") == 0)
        steady((int)first, milliseconds);
    else if (strcmp(how, "function") == 0)
        function(first);
    else if (strcmp(how, "value") == 0)
        value(first);
    else if (strcmp(how, "idle") == 0)
        idle(first);
    else
        queue(how, (int)first, milliseconds);
    printf("done\n");
    return 0;
}
