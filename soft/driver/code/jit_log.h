/* SPDX-License-Identifier: MIT */
/** The options of compiler and linker: the buffers for messages that they name. */
#ifndef VGPU_SOFT_DRIVER_JIT_LOG_H
#define VGPU_SOFT_DRIVER_JIT_LOG_H

#include <stddef.h>

#include "interop/driver_api.h"

/** Points into the program's arrays, which it keeps as long as what the options were given to. */
struct vgpu_jit_log {
    char *error;
    size_t error_size;
    void **error_used; /* where the option wants to know how much was written */
    char *info;
    size_t info_size;
    void **info_used;
};

/** Reads options; those that tune a compiler that is not here do nothing. INVALID_VALUE for what is
 * no option, or arrays that are missing. */
CUresult vgpu_jit_log_read(struct vgpu_jit_log *log, unsigned int count,
                           const CUjit_option *options, void **values);

/** Puts a message, which may be empty, where errors go, cut to its room. */
void vgpu_jit_log_write(const struct vgpu_jit_log *log, const char *message);

#endif
