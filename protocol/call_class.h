/* SPDX-License-Identifier: MIT */
/** What calls are for, in eight classes: by them calls are counted and timed for operators. */
#ifndef VGPU_PROTOCOL_CALL_CLASS_H
#define VGPU_PROTOCOL_CALL_CLASS_H

#include <stdint.h>

#include "protocol/calls.h"

enum vgpu_call_class {
    VGPU_CLASS_OTHER,
    VGPU_CLASS_LAUNCH,
    VGPU_CLASS_COPY_IN,  /* host to device */
    VGPU_CLASS_COPY_OUT, /* device to host */
    VGPU_CLASS_COPY,     /* within the device, and filling it */
    VGPU_CLASS_ALLOC,
    VGPU_CLASS_SYNC, /* streams, events, fences */
    VGPU_CLASS_MODULE,
    VGPU_CALL_CLASSES
};

extern const uint8_t vgpu_call_classes[VGPU_CALL_MAX + 1];

/** The class of a call; of a number that is none: OTHER. */
static inline enum vgpu_call_class vgpu_call_class(uint32_t call)
{
    return call <= VGPU_CALL_MAX ? (enum vgpu_call_class)vgpu_call_classes[call] : VGPU_CLASS_OTHER;
}

/** "launch", "memcpy_h2d", ...: label values of metrics, which do not change. */
const char *vgpu_call_class_name(enum vgpu_call_class which);

#endif
