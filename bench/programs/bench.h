/* SPDX-License-Identifier: MIT */
/**
 * What the benchmark programs share. A program answers one question with lines "NAME VALUE UNIT" on
 * its standard output; bench/run starts it natively and through vgpu and compares. A failing call
 * ends the program with status 1. Not for several threads but where said.
 */
#ifndef VGPU_BENCH_BENCH_H
#define VGPU_BENCH_BENCH_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Ends the program with a line if a call fails. Any thread. */
#define BENCH(call) bench_check((call), #call, __FILE__, __LINE__)
void bench_check(CUresult error, const char *what, const char *file, int line);
_Noreturn void bench_fail(const char *what);

struct bench {
    bool small; /* --small: little work, for the software GPU */
    CUcontext context;
    CUmodule module;
    CUfunction empty, scale, busy; /* of kernels.cu */
    CUdeviceptr memory;            /* 1 MiB, for kernels to write to */
    unsigned int turns_left;       /* BENCH_TURNS in the environment; 1 without it */
    bool waits_for_turns;
};

/** Makes device 0's primary context current and loads the kernels; understands --small. */
void bench_begin(struct bench *bench, int argc, char **argv);

/** Whether there is another turn of everything that is measured. Where BENCH_TURNS is set that
 *  begins with a line on the standard input, after the program has said "turn". */
bool bench_turn(struct bench *bench);

/** How often to do something: `often`, or `seldom` with --small. */
static inline unsigned int bench_times(const struct bench *bench, unsigned int often,
                                       unsigned int seldom)
{
    return bench->small ? seldom : often;
}

/** The text of the kernels, for programs that load it themselves. */
extern const char *const bench_kernels;

/** Launches one thread of the empty kernel. Any thread. */
void bench_launch(const struct bench *bench, CUstream stream);

/** Launches `scale` on 1024 elements, with its four parameters. Any thread. */
void bench_launch_scale(const struct bench *bench, CUstream stream);

/** Some milliseconds of work. Any thread. */
void bench_launch_busy(const struct bench *bench, CUstream stream);

/** Memory of malloc; ends the program where there is none. Any thread. */
void *bench_allocate(size_t bytes);

/** Monotonic nanoseconds. Any thread. */
uint64_t bench_now(void);

#define BENCH_SAMPLES_MAX 1024u

/** Times of the same thing, in nanoseconds. Zero to begin with. */
struct bench_samples {
    double sample[BENCH_SAMPLES_MAX];
    unsigned int count;
};

/** Adds what passed since `start`, divided by `calls`; what is beyond the room is dropped. */
void bench_add(struct bench_samples *samples, uint64_t start, double calls);

/** Prints the median in "ns", "us" or "ms", or as the rate of `amount` things: "1/s" or, `amount`
 *  being bytes, "GB/s". Empties the samples. The name is as for printf. */
void bench_print(struct bench_samples *samples, const char *unit, double amount, const char *name,
                 ...) __attribute__((format(printf, 4, 5)));

#endif
