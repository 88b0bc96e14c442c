/* SPDX-License-Identifier: MIT */
/**
 * The execution engine of the software GPU, as its driver (soft/driver) sees it: PTX text becomes a
 * program, a program is loaded into device memory as an image, a kernel of an image is launched.
 */
#ifndef VGPU_SOFT_SIMT_H
#define VGPU_SOFT_SIMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "soft/simt/memory.h"

struct vgpu_program; /* PTX; shared freely between threads */
struct vgpu_unit;    /* a decoded kernel; immutable */
struct vgpu_image;   /* a program whose module-scope variables have addresses */

/** PTX text; no terminating NUL needed. */
struct vgpu_text {
    const char *text;
    size_t length; /* bytes */
};

/**
 * Reads the module scope of PTX text of `length` bytes, which is copied; bodies of functions are
 * read when a kernel is prepared.
 * Errors: -EINVAL malformed PTX; -ENOTSUP a directive that is not supported; -ENOMEM. `log` (may be
 * NULL) gets one line that names the line, the text and the reason.
 */
int vgpu_program_create(const char *text, size_t length, char *log, size_t log_size,
                        struct vgpu_program **out);

/**
 * The same for several texts that know each other's names as far as they are .visible, .weak or
 * .common. -EINVAL also for a name that is defined twice.
 */
int vgpu_program_link(const struct vgpu_text *texts, uint32_t count, char *log, size_t log_size,
                      struct vgpu_program **out);
void vgpu_program_destroy(struct vgpu_program *program);

/** Whether a program was made of just these texts. */
bool vgpu_program_is_of(const struct vgpu_program *program, const struct vgpu_text *texts,
                        uint32_t count);

/**
 * Reads every body: -EINVAL with a line in `log` if one is malformed, -ENOTSUP if one has what is
 * not supported, -ENOLINK if nothing is wrong but that one uses what is defined elsewhere; or
 * -ENOMEM.
 */
int vgpu_program_check(struct vgpu_program *program, char *log, size_t log_size);

/** The name of a function or variable that is declared and defined nowhere; NULL if there is none.
 */
const char *vgpu_program_undefined(const struct vgpu_program *program);

/** What a program says of a kernel; strings and arrays live as long as the program. */
struct vgpu_kernel_info {
    const char *name;
    uint32_t parameter_count;
    const uint32_t *parameter_offset; /* bytes, in the packed parameter block */
    const uint32_t *parameter_size;   /* bytes */
    uint32_t parameter_bytes;         /* size of the block */
    uint32_t constant_bytes;          /* module-scope .const in all */
    uint32_t max_threads;             /* .maxntid product, or 1024 */
    uint32_t cluster[3];              /* .reqnctapercluster, or 0 */
    uint32_t max_cluster;             /* .maxclusterrank, or 0 */
    bool explicit_cluster;            /* .explicitcluster: launches need a cluster */
    uint32_t ptx_version;             /* 10 * major + minor of .version */
    uint32_t target;                  /* e.g. 75 of .target sm_75 */
};

uint32_t vgpu_program_kernel_count(const struct vgpu_program *program);
/** -ENOENT if `index` is out of range. */
int vgpu_program_kernel_info(const struct vgpu_program *program, uint32_t index,
                             struct vgpu_kernel_info *info);
/** Index of the kernel (.entry) `name`, or -ENOENT. */
int vgpu_program_find_kernel(const struct vgpu_program *program, const char *name);

/**
 * Decodes a kernel, or finds that this was done. The unit lives as long as the program.
 * Errors: -ENOTSUP something in it is not supported; -ENOLINK a function or variable is not
 * defined; -EINVAL malformed; -ENOENT `index` is out of range; -ENOMEM. *message (may be NULL)
 * becomes a line about the error when it was found by this call, NULL otherwise: it is to be said
 * once.
 */
int vgpu_program_prepare(struct vgpu_program *program, uint32_t index,
                         const struct vgpu_unit **unit, const char **message);

/** What a kernel needs to run. */
struct vgpu_kernel_needs {
    uint32_t static_shared_bytes; /* per block */
    uint32_t local_bytes;         /* per thread */
    uint32_t register_count;      /* an estimate, at least 1, at most 255 */
};

void vgpu_unit_needs(const struct vgpu_unit *unit, struct vgpu_kernel_needs *needs);

/** Places the module-scope variables in `memory` and runs their initialisers. */
int vgpu_image_create(struct vgpu_program *program, struct vgpu_memory *memory,
                      struct vgpu_image **out);
void vgpu_image_destroy(struct vgpu_image *image);

/** Address and size in bytes of the module-scope variable `name`, or -ENOENT. */
int vgpu_image_global(const struct vgpu_image *image, const char *name, uint64_t *address,
                      size_t *size);

/** Address of the variable `name` of an opaque type, two words, or -ENOENT. */
int vgpu_image_opaque(const struct vgpu_image *image, const char *name, bool surface,
                      uint64_t *address);

/** Address and size in bytes of the `index`th managed variable, or -ENOENT. */
int vgpu_image_managed(const struct vgpu_image *image, uint32_t index, const char **name,
                       uint64_t *address, size_t *size);

struct vgpu_launch {
    struct vgpu_image *image;
    uint32_t kernel; /* index */
    uint32_t grid[3];
    uint32_t block[3];
    /** Blocks of a cluster, of which the grid has a whole number along each axis; 0 is 1. */
    uint32_t cluster[3];
    bool explicit_cluster; /* the launch or the kernel asks for one: %is_explicit_cluster */
    uint32_t dynamic_shared_bytes;
    /** All blocks run at once, each on a thread of its own, and may wait for each other. */
    bool cooperative;
    const void *parameters; /* packed block of parameter_bytes bytes */
    /** printf of device code goes here, `text` without NUL; called from the engine's threads. */
    void (*print)(void *context, const char *text, size_t length);
    void *print_context;
    /** Set to non-zero by another thread to stop the launch at the next instruction group. */
    const volatile int *cancel; /* may be NULL */
};

enum vgpu_fault_kind {
    VGPU_FAULT_NONE,
    VGPU_FAULT_ILLEGAL_ADDRESS,     /* CUDA_ERROR_ILLEGAL_ADDRESS */
    VGPU_FAULT_MISALIGNED_ADDRESS,  /* CUDA_ERROR_MISALIGNED_ADDRESS */
    VGPU_FAULT_TRAP,                /* CUDA_ERROR_LAUNCH_FAILED */
    VGPU_FAULT_ASSERT,              /* CUDA_ERROR_ASSERT */
    VGPU_FAULT_ILLEGAL_INSTRUCTION, /* CUDA_ERROR_ILLEGAL_INSTRUCTION */
    VGPU_FAULT_STACK,               /* CUDA_ERROR_LAUNCH_FAILED: call depth */
    VGPU_FAULT_DEADLOCK,            /* CUDA_ERROR_LAUNCH_FAILED: no thread can go on */
    VGPU_FAULT_CANCELLED,           /* stopped through vgpu_launch.cancel */
    VGPU_FAULT_NO_MEMORY,           /* CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES */
};

struct vgpu_fault {
    enum vgpu_fault_kind kind;
    uint64_t address;
    uint32_t access_bytes;
    uint32_t block[3];
    uint32_t thread[3];
    uint32_t line;  /* of the PTX text */
    char text[448]; /* one line for a log: kernel, what, where */
};

/**
 * Runs a launch to its end on the engine's threads (one per processor) and the caller's.
 * Returns 0, or -EFAULT with *fault filled in (the first fault seen), or -EINVAL for a geometry
 * that no kernel may have (the driver checks limits before), or an error of vgpu_program_prepare(),
 * which the driver has called before, or -ENOMEM. May be called from several
 * threads at once.
 */
int vgpu_simt_run(const struct vgpu_launch *launch, struct vgpu_fault *fault);

#endif
