/* SPDX-License-Identifier: MIT */
/* Functions that have no meaning here: each is weak, so that the ones of the other files count.
 * This file must not see the prototypes of nvml.h: a stub reads none of what its caller passes. */
#include "interop/log.h"

enum { NOT_SUPPORTED = 3 }; /* NVML_ERROR_NOT_SUPPORTED */

#define FUNCTION(name)                                                                             \
    __attribute__((weak, visibility("default"))) int name(void);                                   \
    int name(void)                                                                                 \
    {                                                                                              \
        vgpu_log(VGPU_LOG_DEBUG, "%s is not supported", #name);                                    \
        return NOT_SUPPORTED;                                                                      \
    }
#include "nvml-functions.inc"
