/* SPDX-License-Identifier: MIT */
/** What the engine's tests share: running PTX on arrays, and tables of instructions. */
#ifndef VGPU_SOFT_TESTS_HARNESS_H
#define VGPU_SOFT_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "soft/simt/simt.h"

/**
 * A program, its image and the memory they are in. There are two kinds of rig: the engine itself
 * (rig.c), and whatever libcuda.so.1 is there (driver_rig.c), of which only what is declared here
 * as functions can be used.
 */
struct rig {
    struct vgpu_memory *memory;
    struct vgpu_program *program;
    struct vgpu_image *image;
    char output[65536]; /* what the device printed */
    size_t output_used;
    volatile int cancel;
    void *module; /* of a driver */
    void *allocations[16];
    unsigned allocation_count;
    bool cooperative;                          /* so are launches */
    uint32_t cluster;                          /* blocks of one, if launches have them */
    uint32_t grid_y, grid_z, block_y, block_z; /* of launches; 0 is 1 */
};

/** Loads PTX text; fails the test with the log if that does not work. */
void rig_load(struct rig *rig, const char *text);
/** The same, but false if the device is not one that the text is for. */
bool rig_try(struct rig *rig, const char *text);
void rig_load_file(struct rig *rig, const char *name);
void rig_drop(struct rig *rig);
/** Rigs tell it what they load: it goes to the file that PTX_SEEN in the environment names. */
void note_text(const char *text);
/** Zeroed device memory: its address is good on the host as well. */
void *rig_allocate(struct rig *rig, size_t size);

struct geometry {
    uint32_t grid, block, shared;
};
#define SIDE(n) ((n) == 0 ? 1 : (n))
/** Launches and returns the result; *fault may be looked at after -EFAULT. */
int rig_launch(struct rig *rig, const char *kernel, struct geometry geometry,
               const void *parameters, struct vgpu_fault *fault);
/**
 * Launches; false after saying what went wrong. What the rig had is gone then, and it is not to be
 * dropped; others can be loaded.
 */
bool rig_runs(struct rig *rig, const char *kernel, struct geometry geometry,
              const void *parameters);
/**
 * A program that tries many forms, by their numbers, goes on behind one that has broken the device
 * for this process: in a new process, which takes its place. Does not return where that is so.
 */
void rig_restart_behind(unsigned form);
/** The form to begin with: 0, or as rig_restart_behind() has said. */
unsigned rig_first_form(void);
/** Launches and fails the test on any error. */
void rig_run(struct rig *rig, const char *kernel, struct geometry geometry, const void *parameters);

/** What an instruction of up to three operands should give, in C. */
#define REFERENCE(name, EXPR)                                                                      \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        (void)c;                                                                                   \
        return (uint64_t)(EXPR);                                                                   \
    }

/**
 * One instruction and what it should compute. In the text, %d is the destination and %a %b %c are
 * the sources. The letters say what they are:
 *   h w q   integers of 16, 32 and 64 bits          p   a predicate
 *   e b     f16 and bf16                            f d f32 and f64
 *   E B v   pairs of f16, of bf16 and of f32        -   nothing
 *   s       a shift amount or position: 32 bits, mostly small
 * The reference gets the sources as bits and returns the bits of the result.
 */
struct instruction {
    const char *text;
    const char *letters; /* destination and sources */
    uint64_t (*expect)(uint64_t a, uint64_t b, uint64_t c);
    unsigned ulps; /* how far off a floating-point result may be */
};
/** With ulps: for sm_100 and later only. */
#define NEWER 0x80000000u

/** Runs each instruction on special and random values, for all lanes and for every other lane. */
void check_instructions(const struct instruction *table, size_t count);

uint64_t random_bits(void);
/** From here on the numbers are those from the start again. */
void restart_random_bits(void);
/**
 * Value `n` of 4096 of an operand of the kind that the letter says: special ones first, then random
 * ones. `step` makes operands walk through the special values differently.
 */
uint64_t operand_value(char letter, size_t n, size_t step);

static inline float as_f32(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float f;

    memcpy(&f, &low, sizeof(f));
    return f;
}

static inline uint64_t of_f32(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return f != f ? 0x7fffffff : bits;
}

static inline double as_f64(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

static inline uint64_t of_f64(double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define HEADER ".version 8.5\n.target sm_90\n.address_size 64\n"

#endif
