/* SPDX-License-Identifier: MIT */
/** A program's options for the compiler and linker on the host, and what comes back of them. */
#ifndef VGPU_GUEST_JIT_H
#define VGPU_GUEST_JIT_H

#include "interop/driver_api.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_channel;

/** Where answers go: into the program's buffers and the values of its options. */
struct vgpu_jit_outputs {
    char *text[2]; /* information, errors */
    size_t room[2];
    void **used[2]; /* option values: in, the room; out, the length */
    void **time;    /* option value: out, a float */
    void **threads; /* option value: in and out */
};

/** Options on their way. */
struct vgpu_jit_options {
    struct vgpu_jit_outputs outputs;
    uint8_t *request; /* struct vgpu_jit_request and what follows it; NULL: there are no options */
    size_t bytes;
};

/**
 * Reads a program's options. CUDA_ERROR_INVALID_VALUE: arrays are missing, or an option is none;
 * NOT_SUPPORTED: one that holds addresses which the host could not use; OUT_OF_MEMORY. After
 * success the request is freed with vgpu_jit_options_end().
 */
CUresult vgpu_jit_options_parse(struct vgpu_jit_options *jit, unsigned int count,
                                const CUjit_option *options, void **values);
void vgpu_jit_options_end(struct vgpu_jit_options *jit);

/** Hands an answer (struct vgpu_jit_answer and what follows) to the program, fetching logs that did
 *  not fit. Under the process's image_lock. */
void vgpu_jit_answered(struct vgpu_channel *channel, const struct vgpu_jit_outputs *outputs,
                       const uint8_t *reply, size_t bytes);

/** Fetches `bytes` of a log or result (enum vgpu_jit_text). Under the process's image_lock. */
CUresult vgpu_jit_read(struct vgpu_channel *channel, uint32_t text, char *to, size_t bytes);

#endif
