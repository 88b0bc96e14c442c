/* SPDX-License-Identifier: MIT */
/* Order within and between streams, events, and the default streams. */
#include <string.h>
#include <time.h>

#include "tests/driver_api/words.h"

static CUfunction busy;
static CUdeviceptr scratch, scratch_words;

/* Some milliseconds of work. */
static void launch_busy(CUstream stream)
{
    unsigned int rounds = 1000000;
    void *parameters[] = {&scratch, &rounds};
    CHECK(cuLaunchKernel(busy, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

#define expect_words(address, first, step) expect_words_at(__LINE__, address, first, step)

static void expect_words_at(int line, CUdeviceptr address, unsigned int first, unsigned int step)
{
    static unsigned int words[WORDS];
    CHECK(cuMemcpyDtoH(words, address, sizeof(words)));
    for (unsigned int i = 0; i < WORDS; i++)
        check_true(words[i] == first + i * step, "the words are as they should be", __FILE__, line);
}

/* In a stream, each command sees what the ones before it did. */
static void test_order(void)
{
    CUdeviceptr a = check_memory(WORDS * 4), b = check_memory(WORDS * 4);
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < 20; i++) {
        launch_busy(stream);
        launch_fill(a, 100, stream);
        launch_fill(b, 7, stream);
        launch_add(a, b, stream);
        CHECK(cuMemcpyDtoDAsync(b, a, WORDS * 4, stream));
    }
    CHECK(cuStreamSynchronize(stream));
    EXPECT(cuStreamQuery(stream) == CUDA_SUCCESS);
    expect_words(b, 121, 4);
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFree(a));
    CHECK(cuMemFree(b));
}

/* Between streams, an event makes the order. */
static void test_events(void)
{
    CUdeviceptr a = check_memory(WORDS * 4), b = check_memory(WORDS * 4);
    CUstream first, second;
    CUevent event, done;
    CHECK(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreateWithPriority(&second, CU_STREAM_NON_BLOCKING, -1));
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuEventCreate(&done, CU_EVENT_DEFAULT));
    CHECK(cuMemsetD8(a, 0, WORDS * 4));
    CHECK(cuCtxSynchronize());
    for (int i = 0; i < 10; i++) {
        launch_busy(first);
        launch_fill(a, (unsigned int)i, first);
        CHECK(cuEventRecord(event, first));
        CHECK(cuStreamWaitEvent(second, event, 0));
        CHECK(cuMemcpyDtoDAsync(b, a, WORDS * 4, second));
        CHECK(cuEventRecord(done, second));
        CHECK(cuEventSynchronize(done));
        EXPECT(cuEventQuery(event) == CUDA_SUCCESS && cuEventQuery(done) == CUDA_SUCCESS);
        expect_words(b, (unsigned int)i, 1);
    }
    CHECK(cuEventDestroy(event));
    CHECK(cuEventDestroy(done));
    CHECK(cuStreamDestroy(first));
    CHECK(cuStreamDestroy(second));
    CHECK(cuMemFree(a));
    CHECK(cuMemFree(b));
}

/* The legacy stream waits for blocking streams, and they for it. */
static void test_legacy(void)
{
    CUdeviceptr a = check_memory(WORDS * 4), b = check_memory(WORDS * 4);
    CUstream blocking;
    CHECK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    for (int i = 0; i < 10; i++) {
        launch_busy(blocking);
        launch_fill(a, 5, blocking);
        CHECK(cuMemcpyDtoDAsync(b, a, WORDS * 4, NULL));
        launch_busy(NULL);
        launch_fill(a, 9, NULL);
        launch_add(b, a, blocking);
        CHECK(cuStreamSynchronize(NULL));
        CHECK(cuStreamSynchronize(blocking));
        expect_words(b, 32, 4);
    }
    CHECK(cuStreamDestroy(blocking));
    CHECK(cuMemFree(a));
    CHECK(cuMemFree(b));
}

static void test_context_synchronize(void)
{
    CUdeviceptr a = check_memory(WORDS * 4);
    CUstream streams[8];
    CUevent events[8];
    for (int i = 0; i < 8; i++) {
        CHECK(cuStreamCreate(&streams[i], i % 2 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
        CHECK(cuEventCreate(&events[i], CU_EVENT_DISABLE_TIMING));
        launch_busy(streams[i]);
        CHECK(cuEventRecord(events[i], streams[i]));
    }
    CHECK(cuCtxSynchronize());
    for (int i = 0; i < 8; i++) {
        EXPECT(cuStreamQuery(streams[i]) == CUDA_SUCCESS);
        EXPECT(cuEventQuery(events[i]) == CUDA_SUCCESS);
        CHECK(cuEventDestroy(events[i]));
        CHECK(cuStreamDestroy(streams[i]));
    }
    CHECK(cuMemFree(a));
}

/* A query of a busy stream says so, and at last that it is done. */
static void test_query(void)
{
    struct timespec nap = {0, 200000};
    CUstream stream;
    CUresult error;
    int waits = 0;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < 20; i++)
        launch_busy(stream);
    while ((error = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY) {
        waits++;
        nanosleep(&nap, NULL);
    }
    CHECK(error);
    EXPECT(waits > 0);
    CHECK(cuStreamDestroy(stream));
}

/* A stream or event may be destroyed while the device is at it. */
static void test_waited_for(void)
{
    CUstream streams[] = {NULL, NULL, NULL};
    CUevent event;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuStreamCreate(&streams[1], CU_STREAM_DEFAULT));
    CHECK(cuStreamCreate(&streams[2], CU_STREAM_NON_BLOCKING));
    for (int turn = 0; turn < 10; turn++) {
        for (int i = 0; i < 3; i++) {
            launch_busy(streams[i]);
            CHECK(cuEventRecord(event, streams[i]));
            CHECK(cuEventSynchronize(event));
            CHECK(cuStreamQuery(streams[i]));
            launch_busy(streams[i]);
        }
        CHECK(cuCtxSynchronize());
        for (int i = 0; i < 3; i++)
            CHECK(cuStreamQuery(streams[i]));
        launch_busy(streams[1]);
        CHECK(cuStreamQuery(streams[2]));
        CHECK(cuStreamSynchronize(NULL));
        CHECK(cuStreamQuery(streams[1]));
    }
    CHECK(cuStreamDestroy(streams[1]));
    CHECK(cuStreamDestroy(streams[2]));
    CHECK(cuEventDestroy(event));
}

static void test_destroy_busy(void)
{
    CUdeviceptr all = check_memory(50 * WORDS * 4);
    for (int i = 0; i < 50; i++) {
        CUstream stream;
        CUevent event;
        CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
        CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
        launch_busy(stream);
        launch_fill(all + (size_t)i * WORDS * 4, (unsigned int)i, stream);
        CHECK(cuEventRecord(event, stream));
        CHECK(cuEventDestroy(event));
        CHECK(cuStreamDestroy(stream));
    }
    CHECK(cuCtxSynchronize());
    for (unsigned int i = 0; i < 50; i++)
        expect_words(all + (size_t)i * WORDS * 4, i, 1);
    CHECK(cuMemFree(all));
}

static void test_timing(void)
{
    CUevent start, middle, end;
    float all = -1, part = -1;
    CHECK(cuEventCreate(&start, 0));
    CHECK(cuEventCreate(&middle, 0));
    CHECK(cuEventCreate(&end, CU_EVENT_BLOCKING_SYNC));
    CHECK(cuEventRecord(start, NULL));
    launch_busy(NULL);
    CHECK(cuEventRecord(middle, NULL));
    launch_busy(NULL);
    CHECK(cuEventRecord(end, NULL));
    CHECK(cuEventSynchronize(end));
    CHECK(cuEventElapsedTime(&all, start, end));
    CHECK(cuEventElapsedTime(&part, start, middle));
    EXPECT(part > 0 && all > part && all < 60000);
    CHECK(cuEventDestroy(start));
    CHECK(cuEventDestroy(middle));
    CHECK(cuEventDestroy(end));
}

/* Handles of many streams and events, one after the other. */
static void test_many(void)
{
    for (int i = 0; i < 3000; i++) {
        CUevent event;
        CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
        CHECK(cuEventRecord(event, NULL));
        CHECK(cuEventDestroy(event));
    }
    CHECK(cuCtxSynchronize());
}

/* Events that only streams wait for, for a long time, and for which the program asks at last. */
static void test_asked_at_last(void)
{
    CUdeviceptr a = check_memory(WORDS * 4), b = check_memory(WORDS * 4);
    CUstream streams[2];
    CUevent events[2], unused;
    float milliseconds = -1;
    for (int i = 0; i < 2; i++) {
        CHECK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
        CHECK(cuEventCreate(&events[i], CU_EVENT_DEFAULT));
    }
    launch_fill(b, 7, streams[0]);
    for (int i = 0; i < 60; i++) {
        launch_fill(a, (unsigned int)i, streams[i % 2]);
        launch_add(a, b, streams[i % 2]);
        CHECK(cuEventRecord(events[i % 2], streams[i % 2]));
        CHECK(cuStreamWaitEvent(streams[(i + 1) % 2], events[i % 2], 0));
    }
    launch_busy(streams[1]);
    CHECK(cuEventRecord(events[1], streams[1]));
    EXPECT(cuEventQuery(events[1]) == CUDA_ERROR_NOT_READY);
    EXPECT(cuEventElapsedTime(&milliseconds, events[0], events[1]) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventSynchronize(events[0]));
    CHECK(cuEventQuery(events[0]));
    CHECK(cuEventSynchronize(events[1]));
    expect_words(a, 59 + 3 * 7, 4);
    CHECK(cuEventElapsedTime(&milliseconds, events[0], events[1]));
    EXPECT(milliseconds > 0);
    CHECK(cuEventRecord(events[1], streams[1])); /* it has been asked for: it has a fence now */
    CHECK(cuStreamSynchronize(streams[1]));
    CHECK(cuEventQuery(events[1]));
    CHECK(cuEventCreate(&unused, CU_EVENT_DISABLE_TIMING));
    CHECK(cuEventSynchronize(unused));
    CHECK(cuEventDestroy(unused));
    for (int i = 0; i < 2; i++) {
        CHECK(cuEventDestroy(events[i]));
        CHECK(cuStreamDestroy(streams[i]));
    }
}

/* A context is idle if all of its streams are, not if those are that were waited for. */
static void test_other_streams_work(void)
{
    CUstream one, two;
    CHECK(cuStreamCreate(&one, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&two, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < 10; i++) {
        launch_busy(two);
        launch_fill(scratch_words, 1, one);
        CHECK(cuStreamSynchronize(one));
        CHECK(cuCtxSynchronize());
        EXPECT(cuStreamQuery(two) == CUDA_SUCCESS);
        CHECK(cuCtxSynchronize());
    }
    CHECK(cuStreamDestroy(one));
    CHECK(cuStreamDestroy(two));
}

/* What is freed may be in use: cuMemFree waits, and who gets it next has it alone. */
static void test_free_busy(void)
{
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (unsigned int i = 0; i < 10; i++) {
        CUdeviceptr used, again;
        CHECK(cuMemAlloc(&used, WORDS * 4));
        launch_busy(stream);
        launch_fill(used, 1000 * i, stream);
        CHECK(cuMemFree(used));
        CHECK(cuMemAlloc(&again, WORDS * 4));
        CHECK(cuMemsetD32(again, i, WORDS));
        expect_words(again, i, 0);
        CHECK(cuMemFree(again));
    }
    CHECK(cuStreamDestroy(stream));
}

/* As many as no pool of ours has; and as many again, none of which lives to be done. */
static void test_events_without_number(void)
{
    enum { NUMBER = 66000 };
    CUevent *events = calloc(NUMBER, sizeof(CUevent)), brief;
    float time;
    for (int i = 0; i < NUMBER; i++) {
        CHECK(cuEventCreate(&events[i], CU_EVENT_DEFAULT));
        CHECK(cuEventRecord(events[i], NULL));
    }
    CHECK(cuEventSynchronize(events[NUMBER - 1]));
    for (int i = 0; i < NUMBER; i += 1000)
        CHECK(cuEventQuery(events[i]));
    CHECK(cuEventElapsedTime(&time, events[0], events[NUMBER - 1]));
    for (int i = 0; i < NUMBER; i++)
        CHECK(cuEventDestroy(events[i]));
    launch_busy(NULL);
    for (int i = 0; i < NUMBER; i++) {
        CHECK(cuEventCreate(&brief, CU_EVENT_DEFAULT));
        CHECK(cuEventRecord(brief, NULL));
        CHECK(cuEventDestroy(brief));
    }
    CHECK(cuStreamSynchronize(NULL));
    free(events);
}

int main(void)
{
    CUmodule module;
    check_context();
    module = check_module();
    words_load(module);
    busy = check_function(module, "busy");
    scratch = check_memory(16);
    scratch_words = check_memory(WORDS * 4);
    test_order();
    test_events();
    test_legacy();
    test_context_synchronize();
    test_query();
    test_waited_for();
    test_destroy_busy();
    test_timing();
    test_many();
    test_asked_at_last();
    test_other_streams_work();
    test_free_busy();
    test_events_without_number();
    printf("streams: all right\n");
    return 0;
}
