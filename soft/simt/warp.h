/* SPDX-License-Identifier: MIT */
/**
 * State of a block and its warps while they run. Internal to soft/simt.
 *
 * A block is run by one host thread from start to end, so nothing here is shared between threads
 * except the launch it belongs to.
 */
#ifndef VGPU_SOFT_WARP_H
#define VGPU_SOFT_WARP_H

#include "soft/ptx/program.h"
#include "soft/simt/memory_pages.h"
#include "soft/simt/profile.h"
#include "soft/simt/shape.h"
#include "soft/simt/simt.h"

#define VGPU_MAX_WARPS    32
#define VGPU_MAX_BARRIERS 16
/* Bytes of shared memory behind a kernel's own: cooperative groups have barriers there. */
#define VGPU_RESERVED_SHARED 1024u
/* Number of the barrier of the cluster in a group that waits there. */
#define VGPU_CLUSTER_BARRIER VGPU_MAX_BARRIERS

/** A kernel with addresses. The constant rows are what operands with bit 0 set refer to. */
struct vgpu_placed_kernel {
    const struct vgpu_unit *unit;
    uint64_t *addresses; /* of the unit's variables; 0 for .shared ones */
    uint8_t *constant_rows;
};

/** A program with addresses. */
struct vgpu_image {
    struct vgpu_program *program;
    struct vgpu_memory *memory;
    uint64_t *addresses; /* of the module's variables; 0 for .shared ones */
    pthread_mutex_t lock;
    struct vgpu_placed_kernel **kernels; /* those that were launched; under the lock */
};

/** A kernel of an image, ready to run; lives as long as the image. Errors as of
 * vgpu_program_prepare(). Any thread. */
int vgpu_image_kernel(struct vgpu_image *image, uint32_t index,
                      const struct vgpu_placed_kernel **kernel);

enum vgpu_group_state {
    VGPU_GROUP_READY,
    VGPU_GROUP_SYNC,      /* waits for lanes of its member mask at a collective operation */
    VGPU_GROUP_WARP_SYNC, /* waits at bar.warp.sync */
    VGPU_GROUP_BARRIER,   /* waits at a barrier of the block */
};

/** Lanes that are at the same instruction at the same call depth. */
struct vgpu_group {
    uint32_t mask;
    uint32_t pc;
    uint16_t depth;
    uint8_t state;
    uint8_t barrier;
    uint32_t stamp; /* when it last ran */
};

struct vgpu_block;
struct vgpu_jit_code;

struct vgpu_warp {
    uint8_t *base[2]; /* rows: [0] the frame of the group that runs, [1] constants */
    uint32_t mask;    /* lanes of the group that runs */
    uint32_t alive;   /* lanes that have not exited */
    uint32_t waited;  /* per lane, which phase of the cluster's barrier it waits for next */
    int32_t budget;   /* branches until another group or warp gets a turn */
    struct vgpu_block *block;
    uint8_t *local; /* local memory of lane 0 */
    uint32_t index; /* in the block */
    uint32_t group_count;
    uint32_t clock, clock_seen; /* groups run, in all and at the last look */
    uint32_t frame_count;       /* frames that exist, the kernel's included */
    bool started, done;
    bool rotate;    /* the last turn ended because its budget did */
    bool parked;    /* the only group's registers are in `state`, not in its frame */
    uint8_t *state; /* of compiled code */
    struct vgpu_group groups[VGPU_LANES];
    uint8_t **frames; /* by call depth */
    uint32_t frame_capacity;
    /* Noted by a handler that fails: the lane and what it did. */
    enum vgpu_fault_kind fault;
    uint32_t fault_lane;
    uint64_t fault_address;
    uint32_t fault_bytes;
    char fault_text[96];
    uint32_t tid[3][VGPU_LANES];
    struct vgpu_shape tid_shape[3];
    /* What the next texture instruction takes beside its own rows: no branch is in between. */
    uint32_t arguments[VGPU_ARGUMENTS][VGPU_LANES];
};

#define VGPU_MAX_CLUSTER 16u

/*
 * Blocks that are run in turns by one thread, and reach each other's shared memory: an address
 * there has, from this bit on, one more than the rank of the block, or 0 for the block's own.
 */
#define VGPU_RANK_SHIFT 24u

struct vgpu_cluster {
    struct vgpu_block *blocks[VGPU_MAX_CLUSTER]; /* by rank */
    uint32_t count;
    uint32_t shape[3]; /* blocks along each axis */
    uint32_t arrived;  /* threads, at the barrier of the cluster */
    bool phase;        /* changes when all have arrived */
};

struct vgpu_barrier {
    uint32_t arrived;  /* threads that wait or have arrived */
    uint32_t expected; /* 0: every thread of the block that has not exited */
    uint32_t count;    /* of true predicates, for reductions */
};

struct vgpu_meeting;

struct vgpu_block {
    const struct vgpu_launch *launch;
    const struct vgpu_unit *unit;
    const struct vgpu_placed_kernel *placed;
    const struct vgpu_function *kernel;
    struct vgpu_memory *memory;
    const uint8_t *pages; /* see vgpu_memory_pages() */
    uint8_t *shared;
    uint32_t shared_bytes;    /* all that may be accessed */
    uint32_t total_shared;    /* static, alignment and dynamic */
    uint32_t reserved_shared; /* where what belongs to the system starts, if the kernel uses it */
    uint32_t local_bytes;     /* per lane */
    uint32_t local_stride;
    uint32_t id[3];
    uint32_t shape[3]; /* threads along each axis that the warps' thread numbers are for */
    uint32_t threads, alive;
    uint32_t warp_count;
    uint32_t worker; /* number of the host thread: %smid */
    uint32_t worker_count;
    struct vgpu_counts *counts; /* NULL unless a profile is wanted */
    bool together; /* a barrier of all threads has opened in this round, and there is compiled code
                    */
    const struct vgpu_jit_code *code; /* NULL while the kernel is interpreted only */
    uint64_t grid_id;
    uint64_t workspace;           /* see %envreg1 */
    struct vgpu_meeting *meeting; /* of a cooperative grid, or NULL */
    uint32_t meeting_value;       /* what the last access to the workspace found there */
    uint32_t meeting_looks;       /* how many accesses in a row have found that */
    uint32_t blocks_gone;         /* of a deadlock of the grid: blocks that have ended */
    int32_t turn;                 /* branches until another group or warp gets a turn */
    uint64_t frame_memory;        /* bytes of call frames in use */
    uint32_t barriers_used;       /* bit by number: some thread has arrived there in this block */
    struct vgpu_barrier barriers[VGPU_MAX_BARRIERS];
    struct vgpu_cluster *cluster; /* of this block alone, mostly */
    uint32_t rank;                /* in the cluster */
    struct vgpu_warp warps[VGPU_MAX_WARPS];
};

/** Notes a fault of one lane; returns non-zero for handlers to return. */
int vgpu_warp_fault(struct vgpu_warp *warp, enum vgpu_fault_kind kind, uint32_t lane,
                    uint64_t address, uint32_t bytes);

/**
 * Host address of `size` bytes that a lane may access at a generic address, or NULL.
 * The slow path of memory operations, and how built-in functions read their arguments.
 */
void *vgpu_warp_generic(const struct vgpu_warp *warp, uint32_t lane, uint64_t address,
                        uint32_t size);

/** The address is in one of the constants that the running kernel knows. */
bool vgpu_is_constant(const struct vgpu_block *block, uint64_t address);

enum vgpu_turn {
    VGPU_TURN_DONE,    /* every lane has exited */
    VGPU_TURN_BLOCKED, /* every group waits */
    VGPU_TURN_SPENT,   /* the budget is used up */
    VGPU_TURN_FAULT,
};

/** Runs a warp until it is done, cannot go on, or has had its turn. `pc` of a fault: groups[0]. */
enum vgpu_turn vgpu_warp_run(struct vgpu_warp *warp, uint32_t *fault_pc);

/** A built-in function for the lanes in `mask`; arguments and result are in local memory. */
int vgpu_builtin_call(struct vgpu_warp *warp, const struct vgpu_function *function,
                      const struct vgpu_call *call, uint32_t mask);

/** Lane `lane`'s local memory at `offset`, or NULL if `size` bytes do not fit. */
static inline uint8_t *vgpu_warp_local(const struct vgpu_warp *warp, uint32_t lane, uint64_t offset,
                                       uint32_t size)
{
    const struct vgpu_block *block = warp->block;

    if (offset > block->local_bytes || size > block->local_bytes - offset)
        return NULL;
    return warp->local + (size_t)lane * block->local_stride + offset;
}

/** `size` bytes at an offset in the shared memory of the block or of another one of its cluster, or
 * NULL. */
static inline uint8_t *vgpu_block_shared(const struct vgpu_block *block, uint64_t offset,
                                         uint32_t size)
{
    uint64_t rank = offset >> VGPU_RANK_SHIFT;

    if (rank > block->cluster->count)
        return NULL;
    if (rank > 0) {
        block = block->cluster->blocks[rank - 1];
        offset &= (UINT64_C(1) << VGPU_RANK_SHIFT) - 1;
    }
    if (offset > block->shared_bytes || size > block->shared_bytes - offset)
        return NULL;
    return block->shared + offset;
}

/* Bytes of a cooperative grid's workspace. */
#define VGPU_WORKSPACE_BYTES 512u

/** Wakes blocks that sleep until the meeting's word changes. Any thread. */
void vgpu_meeting_wake(struct vgpu_meeting *meeting);

/**
 * True if the bytes are in the workspace of the grid, where its blocks meet. No page of it is in
 * any map: accesses to it are few, and all of them are seen here.
 */
static inline bool vgpu_block_meets(struct vgpu_block *block, uint64_t address, uint32_t size)
{
    uint64_t offset = address - block->workspace;
    uint32_t value;

    if (block->workspace == 0 || offset > VGPU_WORKSPACE_BYTES ||
        size > VGPU_WORKSPACE_BYTES - offset)
        return false;
    if (size == sizeof(value) && address % sizeof(value) == 0) {
        value = __atomic_load_n((const uint32_t *)(uintptr_t)address, __ATOMIC_RELAXED);
        block->meeting_looks = value == block->meeting_value ? block->meeting_looks + 1 : 1;
        /* So the library of device code says that all have come. */
        if ((value ^ block->meeting_value) >> 31 != 0)
            vgpu_meeting_wake(block->meeting);
        block->meeting_value = value;
    }
    return true;
}

/** True if all bytes are on allocated or mapped pages. `pages` as in vgpu_memory_pages(). */
static inline bool vgpu_pages_valid(const uint8_t *pages, uint64_t address, uint64_t size)
{
    uint64_t last;

    if (__builtin_add_overflow(address, size - 1, &last) || last >= UINT64_C(1) << 47)
        return false;
    for (uint64_t page = address >> 12; page <= last >> 12; page++) {
        if (__atomic_load_n(&pages[page], __ATOMIC_RELAXED) == 0)
            return false;
    }
    return true;
}

#endif
