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
    uint32_t told;                   /* the attributes, as bits, that it was told itself */
    struct vgpu_occupancy occupancy[VGPU_OCCUPANCIES];
    unsigned int occupancy_next;
};

struct vgpu_module {
    struct vgpu_object object;
    struct vgpu_object *library; /* that it is the module of, or NULL */
    struct vgpu_module **list;   /* of that library */
    struct vgpu_module *next;
    struct vgpu_function *functions;
    struct vgpu_reference *references; /* to textures and surfaces, that were asked for */
};

struct vgpu_library {
    struct vgpu_object object;
    struct vgpu_function *kernels;
    struct vgpu_module *modules; /* one per context that asked */
};

/** How the host is asked for the functions of a module, or for the kernels of a library. */
struct vgpu_function_source {
    CUresult (*get)(struct vgpu_channel *channel, uint32_t context, uint32_t function,
                    uint32_t owner, const char *name, void *info, size_t room, size_t *bytes);
    CUresult (*count)(struct vgpu_channel *channel, uint32_t context, uint32_t *count,
                      uint32_t owner);
    CUresult (*name)(struct vgpu_channel *channel, uint32_t context, uint32_t owner, uint32_t index,
                     void *name, size_t room, size_t *bytes);
};

/** The handle of the function of that name of a module or library; the host is asked once. The
 * function belongs to `context` (NULL: to none). CUDA_ERROR_NOT_FOUND, OUT_OF_MEMORY, or sticky. */
CUresult vgpu_function_get(const struct vgpu_function_source *source,
                           const struct vgpu_caller *caller, struct vgpu_context *context,
                           struct vgpu_object *owner, struct vgpu_function **list, const char *name,
                           void **handle);

/** The handles of all functions, `room` at most, in the host's order: as vgpu_function_get. */
CUresult vgpu_functions_enumerate(const struct vgpu_function_source *source,
                                  const struct vgpu_caller *caller, struct vgpu_context *context,
                                  struct vgpu_object *owner, struct vgpu_function **list,
                                  void **handles, unsigned int room);

/** Ends all functions of a list. */
void vgpu_functions_end(struct vgpu_function **list);

/** Remembers a variable's memory until its module or library ends. CUDA_ERROR_OUT_OF_MEMORY. */
CUresult vgpu_variable_keep(const struct vgpu_caller *caller, const struct vgpu_object *owner,
                            CUdeviceptr start, size_t bytes);

#endif
