/* SPDX-License-Identifier: MIT */
/** Modules, libraries, kernels and functions: objects that own each other. */
#ifndef VGPU_GUEST_CODE_H
#define VGPU_GUEST_CODE_H

#include "guest/process/caller.h"
#include "guest/process/objects.h"
#include "protocol/info.h"

#define VGPU_OCCUPANCIES 4u

/** An answer about how many blocks fit a multiprocessor. */
struct vgpu_occupancy {
    int block_size; /* 0: none yet */
    size_t dynamic_shared;
    unsigned int flags;
    int blocks;
};

/** A kernel of a library (no context) or a function of a module or kernel (of one context). */
struct vgpu_function {
    struct vgpu_object object;
    struct vgpu_object *owner;       /* module, library or kernel */
    struct vgpu_function **list;     /* that it is in; NULL: none any more */
    struct vgpu_function *next;      /* there */
    struct vgpu_function *functions; /* of a kernel: one per context that asked */
    char *name;
    struct vgpu_function_info *info; /* parameter_count parameters long */
    struct vgpu_occupancy occupancy[VGPU_OCCUPANCIES];
    unsigned int occupancy_next;
};

struct vgpu_module {
    struct vgpu_object object;
    struct vgpu_object *library; /* that it is the module of, or NULL */
    struct vgpu_module **list;   /* of that library */
    struct vgpu_module *next;
    struct vgpu_function *functions;
};

struct vgpu_library {
    struct vgpu_object object;
    struct vgpu_function *kernels;
    struct vgpu_module *modules; /* one per context that asked */
};

/** Makes a function or kernel in `list`; `reply` is what the host said of it. NULL: no memory.
 * Sends nothing: `function` was taken before, so that the host could be told its id. */
CUresult vgpu_function_add(struct vgpu_function *function, struct vgpu_object *owner,
                           struct vgpu_function **list, const char *name,
                           const struct vgpu_function_info *info, size_t info_bytes);
struct vgpu_function *vgpu_function_take(struct vgpu_context *context);
void vgpu_function_discard(struct vgpu_function *function);

/** The function of that name, or of that context (the other is NULL), or NULL. */
struct vgpu_function *vgpu_function_in(struct vgpu_function *const *list, const char *name,
                                       const struct vgpu_context *context);

/** Ends all functions of a list. */
void vgpu_functions_end(struct vgpu_function **list);

/** Remembers a variable's memory until its module or library ends. CUDA_ERROR_OUT_OF_MEMORY. */
CUresult vgpu_variable_keep(const struct vgpu_caller *caller, const struct vgpu_object *owner,
                            CUdeviceptr start, size_t bytes);

#endif
