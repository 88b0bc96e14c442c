/* SPDX-License-Identifier: MIT */
/**
 * The software GPU's driver: a libcuda over soft/simt. This header has its one global state,
 * devices and the threads' context stacks.
 */
#ifndef VGPU_SOFT_DRIVER_DRIVER_H
#define VGPU_SOFT_DRIVER_DRIVER_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "interop/driver_api.h"
#include "soft/simt/memory.h"

struct vgpu_context;

enum {
    VGPU_SOFT_VERSION = 13000, /* cuDriverGetVersion */
    VGPU_SOFT_WARP = 32,
    VGPU_SOFT_BLOCK_THREADS = 1024,
    VGPU_SOFT_SM_THREADS = 1536,
    VGPU_SOFT_SM_BLOCKS = 24,
    VGPU_SOFT_SM_SHARED = 228 << 10,
    VGPU_SOFT_BLOCK_SHARED = 48 << 10,
    VGPU_SOFT_BLOCK_SHARED_OPTIN = 227 << 10,
    VGPU_SOFT_BLOCK_SHARED_RESERVED = 1 << 10,
    VGPU_SOFT_MOST_DEVICES = 8,
    VGPU_SOFT_CLUSTER_BLOCKS = 16,
    VGPU_SOFT_PORTABLE_CLUSTER_BLOCKS = 8,
};

struct vgpu_memory_pool;

/** The pools of one kind of memory. */
struct vgpu_pool_slot {
    struct vgpu_memory_pool *standard;
    struct vgpu_memory_pool *current; /* with a reference; guarded by the driver's lock */
};

struct vgpu_device {
    int ordinal;
    int number;   /* of all there are: CUDA_VISIBLE_DEVICES may hide and reorder some */
    size_t bytes; /* of device memory */
    struct vgpu_memory *memory;
    struct vgpu_context *primary;
    struct vgpu_pool_slot pinned_pools;
    struct vgpu_pool_slot managed_pools;
    /* Highest bytes of graphs' memory, allocated and in all; guarded by the graphs' lock. */
    uint64_t graph_used_high;
    uint64_t graph_reserved_high;
    /* The addresses that device memory has had so far; what lies between is never host memory. */
    _Atomic uint64_t lowest;
    _Atomic uint64_t highest;
};

struct vgpu_driver {
    CUresult status; /* CUDA_ERROR_NOT_INITIALIZED until cuInit has succeeded */
    int processors;
    bool has_processor_set; /* VGPU_SOFT_PROCESSORS: streams' threads, and those that they start for
                               their kernels, run on these alone */
    cpu_set_t processor_set;
    /**
     * 10 * major + minor of the compute capability. 13.0 unless the environment says otherwise: one
     * that NVIDIA's libraries do not know, for which they take their PTX and not machine code.
     */
    int capability;
    bool launch_blocking; /* CUDA_LAUNCH_BLOCKING */
    bool memcheck;        /* VGPU_SOFT_MEMCHECK */
    bool forked;          /* this is the child of a process that had CUDA: it has none */
    int device_count;
    struct vgpu_device devices[VGPU_SOFT_MOST_DEVICES];
    /**
     * Guards contexts' lives and all queues of all streams. Never held while work runs, a callback
     * is called or memory is allocated from a device.
     */
    pthread_mutex_t lock;
    pthread_mutex_t graphs;         /* graphs and captures (graph.h); taken before the one above */
    struct vgpu_capture *captures;  /* those that were not ended yet */
    _Atomic unsigned int capturing; /* how many those are, to see that there are none */
    struct vgpu_context *contexts;  /* all that ever were */
    pthread_cond_t stream_gone;     /* a stream has left its context */
    _Atomic uint64_t next_id;       /* of contexts, streams and allocations; never reused */
};

/** The state of the process. */
struct vgpu_driver *vgpu_driver(void);

/** CUDA_SUCCESS once cuInit has succeeded, or the error that a call before it gets. */
CUresult vgpu_driver_ready(void);

uint64_t vgpu_driver_new_id(void);

/** The device of an ordinal, or NULL. */
struct vgpu_device *vgpu_device_get(CUdevice ordinal);

/** An attribute that is the same for all devices. */
int vgpu_device_attribute(CUdevice_attribute attribute);

/** Notes that `size` bytes at `address` belong to the device. */
void vgpu_device_note_range(struct vgpu_device *device, uint64_t address, size_t size);

#endif
