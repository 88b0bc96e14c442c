/* SPDX-License-Identifier: MIT */
/** The least a library must define for interop/ to work: two devices, one context, a few answers.
 */
#ifndef VGPU_INTEROP_TESTS_FAKE_DRIVER_H
#define VGPU_INTEROP_TESTS_FAKE_DRIVER_H

#include "interop/export_tables.h"

enum { FAKE_VERSION = 13000, FAKE_DEVICES = 2 };

extern CUcontext fake_current; /* of every thread */
extern struct vgpu_local_storage fake_storage;

#define FAKE_CONTEXT ((CUcontext)0x1000)

#endif
