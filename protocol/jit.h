/* SPDX-License-Identifier: MIT */
/**
 * How code is to be compiled, and what the compiler says: options of loads and links on the wire.
 * A request is a head, its options, the addresses of its symbols (64-bit each) and their names,
 * each with a NUL. An answer is a head and then, if both fit, information and errors as two
 * strings; if they do not, or for a link's result, the guest fetches them (vgpuJitRead).
 */
#ifndef VGPU_PROTOCOL_JIT_H
#define VGPU_PROTOCOL_JIT_H

#include "protocol/channel.h"

#define VGPU_JIT_OPTIONS_MAX 40u
#define VGPU_JIT_SYMBOLS_MAX 4096u
#define VGPU_JIT_LOG_MAX     (1u << 20) /* bytes of each log */

struct vgpu_jit_option {
    uint32_t option; /* CUjit_option, one whose value is a number */
    uint32_t reserved;
    uint64_t value;
};

/** The head of a request. */
struct vgpu_jit_request {
    uint32_t option_count;
    uint32_t symbol_count;
    uint32_t log_room[2]; /* bytes that the program has for information and errors; 0: not asked */
    uint32_t wants_time;
    uint32_t reserved;
};

struct vgpu_jit_answer {
    float milliseconds;
    uint32_t threads;      /* per block that were compiled for; 0: not asked */
    uint32_t log_bytes[2]; /* without NUL */
    uint64_t result_bytes; /* of a link's cubin */
};

enum vgpu_jit_text {
    VGPU_JIT_INFORMATION,
    VGPU_JIT_ERRORS,
    VGPU_JIT_RESULT, /* the cubin of the last link */
};

/** No CUresult: an image that the host was asked for by its hash is not there. */
#define VGPU_IMAGE_MISSING 10000u

static_assert(sizeof(struct vgpu_jit_request) == 24, "wire format");
static_assert(sizeof(struct vgpu_jit_option) == 16, "wire format");
static_assert(sizeof(struct vgpu_jit_answer) == 24, "wire format");

#endif
