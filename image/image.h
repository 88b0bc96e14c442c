/* SPDX-License-Identifier: MIT */
/**
 * Code as programs hand it to a CUDA driver: fatbins (and the wrapper that nvcc puts around them),
 * cubins and PTX text.
 *
 * The guest uses this to find what a bare pointer means and how large it is; the worker, on bytes
 * it has copied, with their exact size; the software GPU to get at PTX. No function reads outside
 * the size it is given, keeps a pointer after it returns, or uses memory beyond a bound of its
 * caller. All functions may be called from any thread. Errors are negative errno.
 */
#ifndef VGPU_IMAGE_IMAGE_H
#define VGPU_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The size of something in the program's own memory that has no length: trusted as CUDA trusts it.
 */
#define VGPU_CODE_UNBOUNDED SIZE_MAX

/** No image is larger than this; what claims to be is refused. */
#define VGPU_CODE_MOST_BYTES ((size_t)2 << 30)

enum vgpu_code_kind {
    VGPU_CODE_FATBIN = 1,
    VGPU_CODE_CUBIN,
    VGPU_CODE_PTX,
};

enum { VGPU_CODE_PARTS = 1024 };

struct vgpu_code_part {
    const void *data;
    size_t size; /* bytes; of PTX with its terminating NUL */
};

/** What was found. Points into the memory that was looked at. */
struct vgpu_code {
    enum vgpu_code_kind kind;
    /**
     * Part 0 is the image itself. Relocatable device code (nvcc -rdc) may have more, each a fatbin:
     * part 0 can then be empty of code. They belong together and go to a driver in a wrapper again.
     */
    uint32_t part_count;
    struct vgpu_code_part parts[VGPU_CODE_PARTS];
};

/**
 * Finds out what `given` is and how large. `limit` is how many bytes may be read there, or
 * VGPU_CODE_UNBOUNDED. A wrapper holds pointers, so it is followed only when unbounded.
 * Errors: -EINVAL neither fatbin, cubin nor text, or broken off before its end; -E2BIG above
 * VGPU_CODE_MOST_BYTES or too many parts.
 */
int vgpu_code_find(const void *given, size_t limit, struct vgpu_code *code);

enum vgpu_fatbin_kind {
    VGPU_FATBIN_PTX = 1,
    VGPU_FATBIN_CUBIN = 2,
    VGPU_FATBIN_LTO = 8, /* compiler's intermediate code, of no use to anybody here */
};

enum {
    VGPU_FATBIN_LZ4 = 0x2000,
    VGPU_FATBIN_ZSTD = 0x8000,
    VGPU_FATBIN_ARCHITECTURE_SPECIFIC = 0x100000, /* sm_90a: that compute capability only */
    VGPU_FATBIN_FAMILY_SPECIFIC = 0x200000,       /* sm_100f: that major version only */
};

struct vgpu_fatbin_entry {
    uint32_t kind;         /* enum vgpu_fatbin_kind, or another number */
    uint32_t architecture; /* 10 * major + minor of the compute capability */
    uint64_t flags;
    const void *record; /* the entry with its header and padding, as it is stored */
    size_t record_bytes;
    const void *payload;
    size_t payload_bytes;  /* as stored: without padding if compressed */
    size_t expanded_bytes; /* as declared; payload_bytes if it is not compressed */
};

/** A walk over the entries of one fatbin; initialise with data, size and offset 0. */
struct vgpu_fatbin_walk {
    const void *data;
    size_t size;
    size_t offset;
};

/** Gets the next entry: 1 if there is one, 0 at the end, -EINVAL if the fatbin is malformed. */
int vgpu_fatbin_next(struct vgpu_fatbin_walk *walk, struct vgpu_fatbin_entry *entry);

/**
 * Copies or decompresses an entry's payload into new memory, for free(), with a NUL after it that
 * is not counted in *size. Errors: -E2BIG more than `limit` bytes, -EINVAL damaged, -ENOMEM.
 */
int vgpu_fatbin_expand(const struct vgpu_fatbin_entry *entry, size_t limit, void **data,
                       size_t *size);

/** True if PTX for `entry`'s architecture and flags can be compiled for compute capability
 * `device`. */
bool vgpu_fatbin_ptx_fits(const struct vgpu_fatbin_entry *entry, uint32_t device);

/** True if a cubin for `entry`'s architecture and flags runs on compute capability `device`. */
bool vgpu_fatbin_cubin_fits(const struct vgpu_fatbin_entry *entry, uint32_t device);

#endif
