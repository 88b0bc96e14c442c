/* SPDX-License-Identifier: MIT */
/*
 * Runs every case of wrong use in a process of its own and compares what it answered with what the
 * NVIDIA driver answers.
 *
 *   bad_input            all cases
 *   bad_input PREFIX...  cases whose name begins so
 *   bad_input -l         their names, one a line
 *   bad_input -x FILE    all; those that the file names are known to differ, and it is a failure if
 *                        one does no more
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/cases.h"
#include "tests/driver_api/kernels.h"

const char *const test_ptx = kernels_ptx;

enum { NOT_SET_UP = 77, SECONDS_PER_CASE = 60 };

void test_need(CUresult error, const char *what)
{
    if (error == CUDA_SUCCESS)
        return;
    fprintf(stderr, "%s: %d\n", what, error);
    _exit(NOT_SET_UP);
}

CUmodule test_module(void)
{
    CUmodule module;

    NEED(cuModuleLoadData(&module, test_ptx));
    return module;
}

CUfunction test_kernel(const char *name)
{
    CUfunction function;

    NEED(cuModuleGetFunction(&function, test_module(), name));
    return function;
}

CUdeviceptr test_memory(size_t bytes)
{
    CUdeviceptr address;

    NEED(cuMemAlloc(&address, bytes));
    return address;
}

void test_kill_context(void)
{
    CUfunction function = test_kernel("write_to");
    CUdeviceptr nowhere = 0x10;
    void *parameters[] = {&nowhere};

    NEED(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    if (cuCtxSynchronize() != CUDA_ERROR_ILLEGAL_ADDRESS)
        test_need(CUDA_ERROR_UNKNOWN, "the kernel's illegal address was not reported");
}

static void run_in_child(const struct test_case *test, int out)
{
    CUcontext context;
    CUdevice device;
    int answer;

    alarm(SECONDS_PER_CASE);
    if (test->prepared != BARE)
        NEED(cuInit(0));
    if (test->prepared >= READY) {
        NEED(cuDeviceGet(&device, 0));
        NEED(cuCtxCreate(&context, NULL, 0, device));
    }
    answer = (int)test->run();
    if (write(out, &answer, sizeof(answer)) != sizeof(answer))
        _exit(1);
    _exit(0);
}

static const char *name_of(int error)
{
    const char *name = NULL;

    if (cuGetErrorName((CUresult)error, &name) != CUDA_SUCCESS || name == NULL)
        return "an unknown code";
    return name;
}

/* A case in its process. */
struct run {
    const struct test_case *test;
    pid_t child;
    int out;
    bool differs; /* is known to */
};

static struct run start(const struct test_case *test)
{
    struct run run = {.test = test};
    int ends[2];
    fflush(stdout);
    if (pipe(ends) != 0 || (run.child = fork()) < 0) {
        perror("bad_input");
        exit(2);
    }
    if (run.child == 0) {
        close(ends[0]);
        run_in_child(test, ends[1]);
    }
    close(ends[1]);
    run.out = ends[0];
    return run;
}

static void explain(const struct test_case *test, int answer, int status)
{
    if (answer >= 0)
        printf("FAIL %s: %d %s instead of %d %s\n", test->name, answer, name_of(answer),
               test->expected, name_of((int)test->expected));
    else if (WIFSIGNALED(status))
        printf("FAIL %s: died of signal %d\n", test->name, WTERMSIG(status));
    else
        printf("FAIL %s: could not be set up (exit %d)\n", test->name, WEXITSTATUS(status));
}

/* Waits for a case; says what is wrong with it. */
static bool passes(const struct run *run)
{
    const struct test_case *test = run->test;
    int status = 0, answer = -1;
    bool right;

    if (read(run->out, &answer, sizeof(answer)) != sizeof(answer))
        answer = -1;
    close(run->out);
    waitpid(run->child, &status, 0);
    right = answer == (int)test->expected || (test->prepared == FATAL && WIFSIGNALED(status));
    if (!right && !run->differs)
        explain(test, answer, status);
    if (right && run->differs)
        printf("FAIL %s: differs no more: take it off the list\n", test->name);
    return right != run->differs;
}

static bool chosen(const char *name, int count, char **prefixes)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return count == 0;
}

/* The names of a file, one a line, as one text between newlines. */
static char *read_names(const char *path)
{
    static char text[16384] = "\n";
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    text[1 + fread(text + 1, 1, sizeof(text) - 2, file)] = 0;
    fclose(file);
    return text;
}

static bool is_named(const char *names, const char *name)
{
    char line[128]; /* a name and behind it a reason */
    snprintf(line, sizeof(line), "\n%s ", name);
    return names && strstr(names, line);
}

/* Contexts take a second to make on some machines, so several cases run at once. */
enum { AT_ONCE = 8 };

static int finish(struct run *runs, int *count)
{
    int failed = 0;
    for (int i = 0; i < *count; i++)
        failed += !passes(&runs[i]);
    *count = 0;
    return failed;
}

int main(int argc, char **argv)
{
    const char *known = argc == 3 && strcmp(argv[1], "-x") == 0 ? read_names(argv[2]) : NULL;
    bool list = argc == 2 && strcmp(argv[1], "-l") == 0;
    const struct test_case *const tables[] = {context_cases, memory_cases, module_cases,
                                              launch_cases,  stream_cases, dead_cases};
    struct run runs[AT_ONCE];
    int started = 0, failed = 0, running = 0;

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct test_case *test = tables[i]; test->name; test++) {
            if (list)
                puts(test->name);
            if (list || (!known && !chosen(test->name, argc - 1, argv + 1)))
                continue;
            runs[running] = start(test);
            runs[running++].differs = is_named(known, test->name);
            started++;
            if (running == AT_ONCE)
                failed += finish(runs, &running);
        }
    }
    failed += finish(runs, &running);
    if (list)
        return 0;
    printf("bad_input: %d cases, %d failed\n", started, failed);
    return failed || !started;
}
