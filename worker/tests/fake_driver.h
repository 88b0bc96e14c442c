/* SPDX-License-Identifier: MIT */
/**
 * A driver that does nothing but keep order: streams are queues that run when the test says so (or
 * at once), memory is real, and every handle and address that it is given is checked. It aborts the
 * test when the worker hands it something that it never gave out or that is gone.
 */
#ifndef VGPU_WORKER_TESTS_FAKE_DRIVER_H
#define VGPU_WORKER_TESTS_FAKE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/driver.h"

#define FAKE_PARAMETER_BYTES  20u /* of every function: a u64 at 0, a u64 at 8, a u32 at 16 */
#define FAKE_ALLOCATION_MOST  ((size_t)1 << 22)
#define FAKE_PITCH            256u
#define FAKE_POOL_STEP        65536u /* bytes that a pool reserves at a time */
#define FAKE_PAGE             4096u  /* granularity of physical memory */
#define FAKE_STEP_NANOSECONDS 1000u  /* each operation of a stream takes this long */

struct fake_state {
    bool queued;          /* operations wait for fake_run(); else they run when they are queued */
    CUresult fail_next;   /* the next call that allocates or launches returns this, once */
    CUresult sticky;      /* every call of a context returns this */
    bool no_registration; /* cuMemHostRegister is refused */
    bool no_write_value;  /* cuStreamWriteValue32 is refused */
    const char *prints;   /* every launch prints this at the next synchronisation */
    const char *function_name; /* of every function, if not NULL */
    uint8_t image[4];          /* the last image's first bytes */
    char *link_log;            /* of the last link, with room for 5000 bytes */
    const char **link_symbols;
    CUDA_TEXTURE_DESC texture; /* the last one */
    bool texture_view;         /* it had a view */
    uint32_t launches;
    uint32_t loads;
    CUlaunchConfig launched; /* the last launch */
    uint8_t parameters[64];
    size_t parameter_bytes;
    uint32_t synchronised; /* how often something was waited for */
    uint32_t queried;      /* how often an event was asked for */
    size_t memory;         /* bytes that are allocated */
    size_t objects;        /* that live */
};

extern struct fake_state fake;

/** A fresh driver; what the last one had is freed. */
const struct vgpu_driver *fake_driver(void);
struct vgpu_driver *fake_driver_table(void);

/** Whether memory of the host is registered there. */
bool fake_is_registered(uint64_t address);

/** Runs at most `operations` of a stream (NULL: legacy). Returns how many ran. */
unsigned int fake_run(CUstream stream, unsigned int operations);

/** Lets time pass on the GPU's clock. */
void fake_pass(uint64_t nanoseconds);

#endif
