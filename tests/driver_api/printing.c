/* SPDX-License-Identifier: MIT */
/* What kernels print is on the program's standard output after it has synchronised. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

enum { LINES = 300 };

static int real_output;
static FILE *captured;

static void begin_capture(void)
{
    fflush(stdout);
    captured = tmpfile();
    real_output = dup(STDOUT_FILENO);
    EXPECT(captured && real_output >= 0);
    dup2(fileno(captured), STDOUT_FILENO);
}

/* The captured text, NUL-terminated. */
static const char *end_capture(void)
{
    static char text[65536];
    fflush(stdout);
    dup2(real_output, STDOUT_FILENO);
    close(real_output);
    rewind(captured);
    text[fread(text, 1, sizeof(text) - 1, captured)] = 0;
    fclose(captured);
    return text;
}

static void launch(CUfunction say, int value, CUstream stream)
{
    void *parameters[] = {&value};
    CHECK(cuLaunchKernel(say, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

static void expect_one(CUfunction say, int value, CUstream stream, CUresult (*wait)(CUstream))
{
    char expected[64];
    snprintf(expected, sizeof(expected), "device says %d\n", value);
    begin_capture();
    launch(say, value, stream);
    CUresult error = wait(stream);
    const char *text = end_capture();
    CHECK(error);
    EXPECT(strcmp(text, expected) == 0);
}

static CUresult wait_for_all(CUstream stream)
{
    (void)stream;
    return cuCtxSynchronize();
}

/* Waits that find the work done already. */
static CUresult wait_for_done(CUstream stream)
{
    CUresult error;
    while ((error = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY)
        ;
    return error ? error : cuStreamSynchronize(stream);
}

static CUresult wait_behind_event(CUstream stream)
{
    CUevent event;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuEventRecord(event, stream));
    while (cuEventQuery(event) == CUDA_ERROR_NOT_READY)
        ;
    CHECK(cuEventDestroy(event));
    return cuStreamSynchronize(stream);
}

static void test_many(CUfunction say)
{
    const char *text;
    begin_capture();
    for (int i = 0; i < LINES; i++)
        launch(say, i, NULL);
    CUresult error = cuCtxSynchronize();
    text = end_capture();
    CHECK(error);
    for (int i = 0; i < LINES; i++) {
        char expected[64];
        int length = snprintf(expected, sizeof(expected), "device says %d\n", i);
        EXPECT(strncmp(text, expected, (size_t)length) == 0);
        text += length;
    }
    EXPECT(*text == 0);
}

int main(void)
{
    CUstream stream;
    CUevent unasked;
    CUfunction say;
    check_context();
    say = check_function(check_module(), "say");
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&unasked, CU_EVENT_DISABLE_TIMING));
    expect_one(say, 1, NULL, wait_for_all);
    expect_one(say, 2, NULL, cuStreamSynchronize);
    expect_one(say, 3, stream, cuStreamSynchronize);
    expect_one(say, 4, stream, wait_for_done);
    expect_one(say, 5, stream, wait_behind_event);
    for (int i = 0; i < 20; i++) /* nobody asks for these events, so they cost no more than that */
        CHECK(cuEventRecord(unasked, stream));
    expect_one(say, 6, stream, wait_behind_event);
    test_many(say);
    printf("printing: all right\n");
    return 0;
}
