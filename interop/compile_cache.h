/* SPDX-License-Identifier: MIT */
/**
 * What compilers in the program (NVRTC, nvJitLink) have made before: kept in memory, and in a
 * folder of the user for the next program. Entries are named by the SHA-256 of all that went into
 * them; a file also holds the hash of its content, so that a damaged one is no answer. Any thread.
 *
 * The folder is $CUDA_CACHE_PATH/vgpu, or $XDG_CACHE_HOME/vgpu/compiled (~/.cache). Its size is
 * $CUDA_CACHE_MAXSIZE bytes, 1 GiB without; what was not used for longest goes first.
 * CUDA_CACHE_DISABLE=1: nothing is found or kept.
 */
#ifndef VGPU_INTEROP_COMPILE_CACHE_H
#define VGPU_INTEROP_COMPILE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** All that decides what a compiler makes. Strings may be NULL. */
struct vgpu_compile_inputs {
    uint32_t kind;         /* 1: machine code, 2: PTX */
    uint32_t architecture; /* 90 for 9.0 */
    const void *source;
    size_t source_bytes;
    const char *options;
    const char *platform;
    const char *compiler; /* when it was built */
};

struct vgpu_compile_key;

/** A name for these inputs; NULL: no memory. The inputs are not needed afterwards. */
struct vgpu_compile_key *vgpu_compile_key_create(const struct vgpu_compile_inputs *inputs);
void vgpu_compile_key_destroy(struct vgpu_compile_key *key);

/** True and a copy for free(), or false. */
bool vgpu_compile_cache_find(const struct vgpu_compile_key *key, void **data, size_t *bytes);

/** Keeps a copy. What cannot be kept is not: the caller has it anyway. */
void vgpu_compile_cache_keep(const struct vgpu_compile_key *key, const void *data, size_t bytes);

#endif
