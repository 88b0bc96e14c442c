/* SPDX-License-Identifier: MIT */
/**
 * Cases of wrong use, each with the CUresult that the NVIDIA driver answers. Every case runs in a
 * process of its own (bad_input.c), so it may leave behind whatever it likes.
 */
#ifndef VGPU_TESTS_CASES_H
#define VGPU_TESTS_CASES_H

#include <cuda.h>
#include <stddef.h>

struct test_case {
    const char *name;
    CUresult (*run)(void);
    CUresult expected;
    int prepared; /* how far the process is when it runs */
};

enum {
    BARE,        /* nothing was called yet */
    INITIALISED, /* cuInit was */
    READY,       /* and a context is current */
    FATAL,       /* the same; an NVIDIA driver follows the stale pointer and crashes or hangs */
};

/** Defines a case: CASE(name) { ... return code; } */
#define CASE(name) static CUresult name(void)

/** Ends the case's process as "could not be set up" if the call fails. */
#define NEED(call) test_need((call), #call)
void test_need(CUresult error, const char *what);

/** The module made of kernels.ptx, and a kernel of it. */
CUmodule test_module(void);
CUfunction test_kernel(const char *name);
extern const char *const test_ptx;

CUdeviceptr test_memory(size_t bytes);

/** Runs a kernel that writes where it must not, and waits: the context is dead afterwards. */
void test_kill_context(void);

extern const struct test_case context_cases[], memory_cases[], module_cases[], launch_cases[],
    stream_cases[], dead_cases[];

#endif
