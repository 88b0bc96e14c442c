/* SPDX-License-Identifier: MIT */
/** A guest's options for the driver's compiler and linker, and what these say. For the worker's
 *  thread. */
#ifndef VGPU_WORKER_JIT_H
#define VGPU_WORKER_JIT_H

#include <cuda.h>
#include <stdint.h>

#include "protocol/jit.h"

enum { VGPU_JIT_DRIVER_OPTIONS = VGPU_JIT_OPTIONS_MAX + 8 };

/** Options as a driver takes them. It keeps pointers to all of this as long as a link lasts: never
 *  moved. */
struct vgpu_jit {
    unsigned int count;
    CUjit_option option[VGPU_JIT_DRIVER_OPTIONS];
    void *value[VGPU_JIT_DRIVER_OPTIONS];
    int size_at[2]; /* places of the logs' sizes; -1: not asked */
    int time_at, threads_at;
    char *log[2];
    const char **names; /* of symbols */
    void **addresses;
    char *text; /* of their names */
};

/**
 * Reads a request of `bytes` bytes (0: no options). CUDA_ERROR_INVALID_VALUE: malformed;
 * NOT_SUPPORTED: an option that cannot be passed on; OUT_OF_MEMORY. Destroy it after success only.
 */
CUresult vgpu_jit_create(struct vgpu_jit *jit, const uint8_t *request, size_t bytes);
void vgpu_jit_destroy(struct vgpu_jit *jit);

/** What the last compilation or link said, until the guest has fetched it. */
struct vgpu_jit_outbox {
    char *log[2];
    size_t log_bytes[2];
    const void *result; /* of a link, which owns it */
    size_t result_bytes;
};

void vgpu_jit_outbox_clear(struct vgpu_jit_outbox *outbox);

/** Answers what the driver said into `reply` and keeps what does not fit. Returns its size. */
uint32_t vgpu_jit_answer(const struct vgpu_jit *jit, struct vgpu_jit_outbox *outbox, uint8_t *reply,
                         uint32_t room);

#endif
