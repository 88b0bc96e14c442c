/* SPDX-License-Identifier: MIT */
/** Operations by name, in the build that suits this processor best. */
#ifndef VGPU_SOFT_OPS_H
#define VGPU_SOFT_OPS_H

#include "soft/ptx/program.h"

/**
 * Keeps to the builds up to `most` ("baseline", "v3", "v4"), as far as the processor has them: so
 * that tests reach every build on one machine. Only before the first vgpu_ops_find(). -EINVAL for
 * any other name.
 */
int vgpu_ops_limit(const char *most);

/** The build that is used. */
const char *vgpu_ops_level(void);

/** The handler of an operation such as "add_b32", or NULL. Any thread. */
vgpu_handler vgpu_ops_find(const char *name);

/** The handler that does the same in another way: `way` is "line" or "shaped" (shape.h). */
vgpu_handler vgpu_ops_find_for(const char *way, const char *name);

#endif
