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

/* Says what is wrong, if anything is and `quiet` is not set. */
static bool passes(const struct test_case *test, bool quiet)
{
    int ends[2], status = 0, answer = -1;
    pid_t child;

    if (pipe(ends) != 0 || (child = fork()) < 0) {
        perror("bad_input");
        exit(2);
    }
    if (child == 0) {
        close(ends[0]);
        run_in_child(test, ends[1]);
    }
    close(ends[1]);
    if (read(ends[0], &answer, sizeof(answer)) != sizeof(answer))
        answer = -1;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (answer == (int)test->expected || (test->prepared == FATAL && WIFSIGNALED(status)))
        return true;
    if (quiet)
        return false;
    if (answer >= 0)
        printf("FAIL %s: %d %s instead of %d %s\n", test->name, answer, name_of(answer),
               test->expected, name_of((int)test->expected));
    else if (WIFSIGNALED(status))
        printf("FAIL %s: died of signal %d\n", test->name, WTERMSIG(status));
    else
        printf("FAIL %s: could not be set up (exit %d)\n", test->name, WEXITSTATUS(status));
    fflush(stdout);
    return false;
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
    char line[128];
    snprintf(line, sizeof(line), "\n%s\n", name);
    return names && strstr(names, line);
}

static bool as_known(const struct test_case *test, const char *known)
{
    if (!is_named(known, test->name))
        return passes(test, false);
    if (!passes(test, true))
        return true;
    printf("FAIL %s: differs no more: take it off the list\n", test->name);
    return false;
}

int main(int argc, char **argv)
{
    const char *known = argc == 3 && strcmp(argv[1], "-x") == 0 ? read_names(argv[2]) : NULL;
    bool list = argc == 2 && strcmp(argv[1], "-l") == 0;
    const struct test_case *const tables[] = {context_cases, memory_cases, module_cases,
                                              launch_cases,  stream_cases, dead_cases};
    int run = 0, failed = 0;

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct test_case *test = tables[i]; test->name; test++) {
            if (list)
                puts(test->name);
            if (list || (!known && !chosen(test->name, argc - 1, argv + 1)))
                continue;
            run++;
            failed += !as_known(test, known);
        }
    }
    if (list)
        return 0;
    printf("bad_input: %d cases, %d failed\n", run, failed);
    return failed || !run;
}
