/* SPDX-License-Identifier: MIT */
/** Modules and functions: a decoded program with its variables placed in one context. */
#ifndef VGPU_SOFT_DRIVER_MODULE_H
#define VGPU_SOFT_DRIVER_MODULE_H

#include <stdbool.h>

#include "soft/driver/code/compiled.h"
#include "soft/driver/context.h"

/** What a program may set of a kernel. */
struct vgpu_kernel_settings {
    _Atomic uint32_t told;          /* the attributes, as bits, that it was set by */
    _Atomic int max_dynamic_shared; /* bytes; 0 until set: then what fits the default limit */
    _Atomic int carveout;           /* a preference that changes nothing */
    _Atomic int cluster_policy;     /* another one */
    _Atomic bool large_clusters;    /* of more blocks than every device has */
    _Atomic uint32_t cluster[3];    /* the shape of required clusters; all 0: none is */
};

struct vgpu_function {
    struct vgpu_object object;
    struct vgpu_module *module; /* with a reference */
    uint32_t index;
    struct vgpu_kernel_info info;
    struct vgpu_kernel_settings settings;
};

struct vgpu_module {
    struct vgpu_object object;
    struct vgpu_context *context;
    struct vgpu_compiled *compiled;
    struct vgpu_image *image; /* NULL if there is no program */
    uint32_t kernel_count;
    pthread_mutex_t lock;
    struct vgpu_function **functions;  /* those that were asked for; the table has the references */
    struct vgpu_reference *references; /* the same, of its textures and surfaces */
};

/** A published module; the caller gets a reference of its own, and one of `compiled` is taken. */
CUresult vgpu_module_create(struct vgpu_context *context, struct vgpu_compiled *compiled,
                            struct vgpu_module **out);

/** Ends the handle of a module and of its functions; false if it had ended already. */
bool vgpu_module_close(struct vgpu_module *module);

/** The function of a kernel, with a reference. */
CUresult vgpu_module_function(struct vgpu_module *module, uint32_t index,
                              struct vgpu_function **function);

/** Index of a kernel by name: NOT_FOUND, or NO_BINARY_FOR_GPU if there is no program at all. */
CUresult vgpu_compiled_find(const struct vgpu_compiled *compiled, const char *name,
                            uint32_t *index);

/** Takes a reference to what a CUfunction means, which may be a CUkernel, too. */
CUresult vgpu_function_resolve(struct vgpu_context *context, CUfunction handle,
                               struct vgpu_function **function);

/** What the kernel of a function needs; see vgpu_compiled_prepare(). */
static inline CUresult vgpu_function_prepare(const struct vgpu_function *function,
                                             struct vgpu_kernel_needs *needs)
{
    return vgpu_compiled_prepare(function->module->compiled, function->index, needs);
}

CUresult vgpu_kernel_attribute(const struct vgpu_kernel_info *info,
                               const struct vgpu_kernel_needs *needs,
                               const struct vgpu_kernel_settings *settings,
                               CUfunction_attribute attribute, int *value);
CUresult vgpu_kernel_set_attribute(const struct vgpu_kernel_info *info,
                                   const struct vgpu_kernel_needs *needs,
                                   struct vgpu_kernel_settings *settings,
                                   CUfunction_attribute attribute, int value);

/** Takes over what a kernel was told and the function, whose settings these are, was not itself. */
void vgpu_kernel_settings_inherit(struct vgpu_kernel_settings *settings,
                                  const struct vgpu_kernel_settings *kernel);

/** How many blocks of a kernel are on a multiprocessor at once. */
int vgpu_function_blocks(const struct vgpu_function *function,
                         const struct vgpu_kernel_needs *needs, int threads, size_t dynamic_shared);

/** The shape of the clusters that a function requires, by its code or its settings; all 0: none. */
void vgpu_function_required_cluster(const struct vgpu_function *function, uint32_t cluster[3]);

/** Whether blocks of a kernel may be clusters of this shape: INVALID_CLUSTER_SIZE if not. */
CUresult vgpu_function_check_cluster(const struct vgpu_function *function,
                                     const uint32_t cluster[3]);

/** Dynamic shared memory that a launch may ask for, in bytes. */
uint32_t vgpu_kernel_dynamic_limit(const struct vgpu_kernel_needs *needs,
                                   const struct vgpu_kernel_settings *settings);

#endif
