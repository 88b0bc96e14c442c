/* SPDX-License-Identifier: MIT */
/** Operations by name, in the build that suits this processor best. */
#ifndef VGPU_SOFT_OPS_H
#define VGPU_SOFT_OPS_H

#include "soft/ptx/program.h"

/** The handler of an operation such as "add_b32", or NULL. Any thread. */
vgpu_handler vgpu_ops_find(const char *name);

#endif
