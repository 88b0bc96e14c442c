/* SPDX-License-Identifier: MIT */
/** Contexts, and which of them is current in which thread. */
#ifndef VGPU_SOFT_DRIVER_CONTEXT_H
#define VGPU_SOFT_DRIVER_CONTEXT_H

#include <stdbool.h>

#include "interop/local_storage.h"
#include "soft/driver/driver.h"
#include "soft/driver/object.h"

struct vgpu_stream;

/**
 * The structure of a context is kept until the process ends (a kilobyte each), so a context that is
 * current somewhere when it is destroyed is an error to use and not a danger.
 */
struct vgpu_context {
    struct vgpu_object object;
    struct vgpu_context *next; /* of all contexts */
    struct vgpu_device *device;
    bool primary;
    unsigned int retained; /* of a primary context; guarded by the driver's lock */
    unsigned int flags;
    unsigned int api_version;
    _Atomic bool alive;  /* created or retained, and not yet destroyed, reset or released */
    _Atomic uint64_t id; /* new for each life of a primary context */
    _Atomic int failed;  /* a CUresult that every call returns from now on */
    volatile int cancel; /* stops kernels when the context is torn down */
    _Atomic int cache_config;
    _Atomic size_t limits[CU_LIMIT_MAX];
    struct vgpu_local_storage storage;
    struct vgpu_context **peers; /* whose memory its kernels reach, too; the driver's lock */
    size_t peer_count;
    struct vgpu_stream *legacy;  /* streams[]'s member that stream 0 means */
    struct vgpu_stream *streams; /* all of them; guarded by the driver's lock */
};

/** The primary context of a device, not active yet. NULL if out of memory. */
struct vgpu_context *vgpu_context_create_primary(struct vgpu_device *device);

/**
 * What most entry points begin with: the thread's current context, if it can be used. Errors:
 * NOT_INITIALIZED, INVALID_CONTEXT, CONTEXT_IS_DESTROYED, or the context's own failure.
 */
CUresult vgpu_context_enter(struct vgpu_context **context);

/** The same for a context that is named by a handle, NULL meaning the current one. */
CUresult vgpu_context_named(CUcontext handle, struct vgpu_context **context);

/** The same whether it can be used or not. */
CUresult vgpu_context_find(CUcontext handle, struct vgpu_context **context);

/** Whether work may still be given to it, or why not. */
CUresult vgpu_context_usable(const struct vgpu_context *context);

/** True when it is being torn down, and what runs should end. */
static inline bool vgpu_context_cancelled(const struct vgpu_context *context)
{
    return __atomic_load_n(&context->cancel, __ATOMIC_RELAXED);
}

/** Makes `result` what every later call returns, if it is the first failure. */
void vgpu_context_fail(struct vgpu_context *context, CUresult result);

/** What the driver keeps per thread; NULL if there is no memory for it. */
struct vgpu_thread {
    CUcontext *stack; /* the current context is the last */
    size_t depth;
    size_t room;
    CUstreamCaptureMode capture_mode;
    bool in_callback; /* in a function of the program's, from which no calls are allowed */
    struct vgpu_thread_stream *streams; /* one per context: see stream.c */
};
struct vgpu_thread *vgpu_thread_self(void);

/** True in a function of the program's that the driver has called. */
bool vgpu_thread_in_callback(void);

#endif
