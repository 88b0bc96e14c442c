/* SPDX-License-Identifier: MIT */
#include "soft/simt/block.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "soft/jit/jit.h"
#include "soft/simt/meeting.h"
#include "soft/simt/memory_pages.h"
#include "soft/simt/report.h"

/* Taken branches until another group or warp gets a turn. Blocks that are there at once are often
   waited for by others: they get shorter ones. */
#define TURN          16384
#define TURN_TOGETHER 1024

/* Distance of lanes' local memories: odd in cache lines, so that they spread over the cache. */
static uint32_t stride_of(uint32_t bytes)
{
    uint32_t lines = (bytes + 63) / 64;

    return (lines | 1) * 64;
}

struct vgpu_runner {
    struct vgpu_block block;
    struct vgpu_counts counts;
    struct vgpu_grid *grid;
    uint8_t *frames; /* of kernels: one for each warp that is under way */
    size_t frames_size;
    uint32_t frame_bytes;
    uint8_t *free_frames[VGPU_MAX_WARPS];
    uint32_t free_frame_count;
    uint8_t *states; /* of compiled code, one for each frame */
    size_t states_size;
    uint8_t *shared;
    size_t shared_size;
    uint8_t *local; /* of all warps */
    size_t local_size;
    uint32_t left;                                    /* warps of the block that are not done */
    bool spent;                                       /* some of them had all of their last turns */
    struct vgpu_cluster cluster;                      /* of which this runs the first block ... */
    struct vgpu_runner *others[VGPU_MAX_CLUSTER - 1]; /* ... and these the rest, in turns */
};

static void drop_call_frames(struct vgpu_runner *r)
{
    for (uint32_t n = 0; n < VGPU_MAX_WARPS; n++) {
        struct vgpu_warp *w = &r->block.warps[n];

        for (uint32_t d = 1; d < w->frame_count; d++)
            free(w->frames[d]);
        w->frame_count = 1;
    }
    r->block.frame_memory = 0;
}

struct vgpu_runner *vgpu_runner_create(uint32_t worker, uint32_t worker_count)
{
    struct vgpu_runner *r = aligned_alloc(64, sizeof(*r)); /* shapes want it */
    bool good = r != NULL;

    if (good)
        memset(r, 0, sizeof(*r));

    for (uint32_t n = 0; n < VGPU_MAX_WARPS && good; n++) {
        struct vgpu_warp *w = &r->block.warps[n];

        w->frame_capacity = 8;
        w->frame_count = 1;
        w->frames = calloc(w->frame_capacity, sizeof(*w->frames));
        good = w->frames != NULL;
    }
    if (!good) {
        vgpu_runner_destroy(r);
        return NULL;
    }
    r->block.worker = worker;
    r->block.worker_count = worker_count;
    r->block.cluster = &r->cluster;
    r->cluster.blocks[0] = &r->block;
    return r;
}

void vgpu_runner_destroy(struct vgpu_runner *r)
{
    if (r == NULL)
        return;
    for (uint32_t n = 0; n < VGPU_MAX_CLUSTER - 1; n++)
        vgpu_runner_destroy(r->others[n]);
    drop_call_frames(r);
    for (uint32_t n = 0; n < VGPU_MAX_WARPS; n++)
        free(r->block.warps[n].frames);
    free(r->frames);
    free(r->states);
    free(r->shared);
    if (r->local != NULL)
        munmap(r->local, r->local_size);
    free(r);
}

static bool provide(uint8_t **memory, size_t *size, size_t wanted)
{
    wanted = (wanted + 4095) & ~(size_t)4095;
    if (wanted > *size) {
        free(*memory);
        *size = 0;
        *memory = aligned_alloc(4096, wanted);
        if (*memory == NULL)
            return false;
        *size = wanted;
    }
    /* Nothing of an earlier launch may be seen. */
    memset(*memory, 0, wanted);
    return true;
}

static bool provide_local(struct vgpu_runner *r, size_t wanted)
{
    if (r->local != NULL)
        munmap(r->local, r->local_size);
    r->local = NULL;
    if (wanted == 0)
        return true;
    r->local = mmap(NULL, wanted, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->local == MAP_FAILED) {
        r->local = NULL;
        return false;
    }
    r->local_size = wanted;
    return true;
}

static void set_thread_ids(struct vgpu_warp *w, const uint32_t shape[3])
{
    uint32_t first = w->index * VGPU_LANES;
    uint32_t x = first % shape[0], y = first / shape[0] % shape[1];
    uint32_t z = first / shape[0] / shape[1];

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        w->tid[0][l] = x;
        w->tid[1][l] = y;
        w->tid[2][l] = z;
        if (++x == shape[0]) {
            x = 0;
            if (++y == shape[1]) {
                y = 0;
                z++;
            }
        }
    }
    for (unsigned axis = 0; axis < 3; axis++)
        vgpu_shape_find(w->tid[axis], &w->tid_shape[axis]);
}

/* Blocks of one shape have the same threads: the numbers stay from launch to launch. */
static void number_threads(struct vgpu_block *b, const uint32_t shape[3])
{
    if (memcmp(b->shape, shape, sizeof(b->shape)) == 0)
        return;
    memcpy(b->shape, shape, sizeof(b->shape));
    for (uint32_t n = 0; n < b->warp_count; n++) {
        b->warps[n].index = n;
        set_thread_ids(&b->warps[n], shape);
    }
}

/* What is the same in all warps of a launch: once for each of the frames that they use. */
static void run_prologue(struct vgpu_runner *r)
{
    const struct vgpu_unit *unit = r->block.unit;
    const struct vgpu_inst *first = unit->code + unit->prologue_start;
    struct vgpu_warp *w = &r->block.warps[0];

    w->block = &r->block;
    w->alive = w->mask = VGPU_ALL_LANES;
    w->base[1] = r->block.placed->constant_rows;
    for (uint32_t n = 0; n < r->free_frame_count; n++) {
        w->base[0] = r->free_frames[n];
        for (uint32_t i = 0; i < unit->prologue_count; i++)
            (void)first[i].run(w, &first[i], VGPU_ALL_LANES);
    }
}

/* Looks for compiled code, and gets ready for it; `ticks` were spent without. Every warp's frame is
   free. */
static int find_code(struct vgpu_runner *r, uint64_t ticks)
{
    struct vgpu_block *b = &r->block;
    const struct vgpu_jit_code *code;
    size_t bytes;

    /* Memory that is exact is looked at by the interpreter alone, and clusters are its, too. */
    if (b->unit->jit == NULL || b->pages != vgpu_memory_pages(b->memory) || b->cluster->count > 1)
        return 0;
    code = vgpu_jit_find(b->unit->jit, b->launch->block, ticks);
    if (code == NULL)
        return 0;
    bytes = vgpu_jit_state_bytes(code);
    if (!provide(&r->states, &r->states_size, bytes * b->warp_count))
        return -ENOMEM;
    for (uint32_t n = 0; n < b->warp_count; n++)
        vgpu_jit_begin(code, r->frames + (size_t)n * r->frame_bytes, r->states + n * bytes);
    b->code = code;
    return 0;
}

static int begin(struct vgpu_runner *r, struct vgpu_grid *grid)
{
    const struct vgpu_launch *launch = grid->launch;
    struct vgpu_block *b = &r->block;
    uint32_t threads = launch->block[0] * launch->block[1] * launch->block[2];

    r->grid = grid;
    r->counts = (struct vgpu_counts){0};
    b->counts = vgpu_profile_wanted() ? &r->counts : NULL;
    b->launch = launch;
    b->unit = grid->placed->unit;
    b->placed = grid->placed;
    b->memory = launch->image->memory;
    b->kernel = grid->kernel;
    b->grid_id = grid->id;
    b->workspace = grid->workspace;
    b->meeting = grid->meeting;
    b->turn = launch->cooperative ? TURN_TOGETHER : TURN;
    b->pages = vgpu_memory_kernel_pages(launch->image->memory);
    b->threads = threads;
    b->warp_count = (threads + VGPU_LANES - 1) / VGPU_LANES;
    number_threads(b, launch->block);
    b->shared_bytes = launch->dynamic_shared_bytes > 0
                          ? grid->kernel->dynamic_shared + launch->dynamic_shared_bytes
                          : grid->kernel->shared_bytes;
    b->total_shared = b->shared_bytes;
    if (b->unit->reserved_shared) {
        b->reserved_shared = (b->shared_bytes + 15u) & ~15u;
        b->shared_bytes = b->reserved_shared + VGPU_RESERVED_SHARED;
    }
    b->local_bytes = grid->kernel->stack_bytes;
    b->local_stride = stride_of(b->local_bytes);
    r->frame_bytes = grid->kernel->frame_bytes;
    drop_call_frames(r);
    if (!provide(&r->frames, &r->frames_size, (size_t)r->frame_bytes * b->warp_count) ||
        !provide(&r->shared, &r->shared_size, (size_t)b->shared_bytes + 64) ||
        !provide_local(
            r, b->local_bytes == 0 ? 0 : (size_t)b->local_stride * VGPU_LANES * b->warp_count))
        return -ENOMEM;
    b->shared = r->shared;
    for (uint32_t n = 0; n < b->warp_count; n++)
        r->free_frames[n] = r->frames + (size_t)n * r->frame_bytes;
    r->free_frame_count = b->warp_count;
    run_prologue(r);
    b->code = NULL;
    return find_code(r, 0);
}

int vgpu_runner_begin(struct vgpu_runner *r, struct vgpu_grid *grid)
{
    struct vgpu_cluster *c = &r->cluster;
    int error;

    memcpy(c->shape, grid->cluster, sizeof(c->shape));
    c->count = c->shape[0] * c->shape[1] * c->shape[2];
    error = begin(r, grid);
    for (uint32_t n = 1; n < c->count && error == 0; n++) {
        struct vgpu_runner **other = &r->others[n - 1];

        if (*other == NULL)
            *other = vgpu_runner_create(r->block.worker, r->block.worker_count);
        if (*other == NULL)
            return -ENOMEM;
        (*other)->block.cluster = c;
        (*other)->block.rank = n;
        c->blocks[n] = &(*other)->block;
        error = begin(*other, grid);
        (*other)->block.counts = r->block.counts;
    }
    return error;
}

/* ---- one block ---- */

/* A warp that ended leaves its frame to the next one, warm in the cache. Its local memory starts at
   zero: only deeper frames have other places. */
static void start_warp(struct vgpu_runner *r, struct vgpu_warp *w)
{
    struct vgpu_block *b = &r->block;

    w->frames[0] = r->free_frames[--r->free_frame_count];
    w->base[0] = w->frames[0];
    w->base[1] = b->placed->constant_rows;
    if (b->code != NULL)
        w->state = r->states + (size_t)(w->frames[0] - r->frames) / r->frame_bytes *
                                   vgpu_jit_state_bytes(b->code);
    /* A kernel without local memory calls functions without any: their frames have an address. */
    w->local =
        r->local == NULL ? r->frames : r->local + (size_t)w->index * VGPU_LANES * b->local_stride;
    if (b->unit->allocates)
        memset(w->frames[0] + VGPU_FRAME_ADDED, 0, VGPU_LANES * sizeof(uint32_t));
    w->started = true;
}

static void prepare_warp(struct vgpu_block *b, uint32_t index)
{
    struct vgpu_warp *w = &b->warps[index];
    uint32_t lanes = b->threads - index * VGPU_LANES;

    w->block = b;
    w->index = index;
    w->started = w->done = w->rotate = w->parked = false;
    w->clock = w->clock_seen = 0;
    w->fault = VGPU_FAULT_NONE;
    w->fault_text[0] = '\0';
    w->waited = 0;
    w->alive = lanes >= VGPU_LANES ? VGPU_ALL_LANES : (UINT32_C(1) << lanes) - 1;
    w->group_count = 1;
    w->groups[0] = (struct vgpu_group){.mask = w->alive, .pc = b->kernel->start};
}

static bool cancelled(const struct vgpu_runner *r)
{
    const volatile int *cancel = r->grid->launch->cancel;

    return (cancel != NULL && *cancel != 0) ||
           atomic_load_explicit(&r->grid->stop, memory_order_relaxed) != 0;
}

static int report_deadlock(const struct vgpu_block *b, struct vgpu_fault *fault)
{
    const struct vgpu_warp *w = b->warps;

    while (w->done)
        w++;
    return vgpu_fault_report(w, VGPU_FAULT_DEADLOCK, (uint32_t)__builtin_ctz(w->groups[0].mask),
                             w->groups[0].pc, fault);
}

/* What this block waits for may be another block's turn, or will never come. */
static int wait_for_blocks(struct vgpu_runner *r, struct vgpu_fault *fault)
{
    struct vgpu_block *b = &r->block;

    if (b->meeting_looks < VGPU_MEETING_LOOKS) {
        if (r->spent)
            sched_yield();
        return 0;
    }
    b->blocks_gone = vgpu_meeting_wait(r->grid, b->meeting_value);
    b->meeting_looks = 0;
    return b->blocks_gone == 0 ? 0 : report_deadlock(b, fault);
}

/* Compiled code runs the warps from barrier to barrier, from `pc` on, where they are in step. False
   when they no longer are, and their turns come; *error is a fault's. */
static bool run_in_step(struct vgpu_runner *r, uint32_t pc, struct vgpu_fault *fault, int *error)
{
    struct vgpu_block *b = &r->block;
    enum vgpu_jit_step step = VGPU_STEP_ON;
    uint32_t index = 0;

    while (step == VGPU_STEP_ON && !cancelled(r))
        step = vgpu_jit_step(b, &pc, &index);
    if (step == VGPU_STEP_ON)
        vgpu_jit_part(b, pc);
    if (step == VGPU_STEP_FAULT)
        *error = vgpu_fault_report(&b->warps[index], b->warps[index].fault,
                                   b->warps[index].fault_lane, b->warps[index].groups[0].pc, fault);
    for (uint32_t n = 0; n < b->warp_count && step == VGPU_STEP_DONE; n++)
        r->free_frames[r->free_frame_count++] = b->warps[n].frames[0];
    return step == VGPU_STEP_DONE || step == VGPU_STEP_FAULT;
}

static bool begin_in_step(struct vgpu_runner *r, struct vgpu_fault *fault, int *error)
{
    struct vgpu_block *b = &r->block;

    if (b->code == NULL || b->threads % VGPU_LANES != 0 || !vgpu_jit_begins(b->code))
        return false;
    for (uint32_t n = 0; n < b->warp_count; n++) {
        start_warp(r, &b->warps[n]);
        b->warps[n].mask = VGPU_ALL_LANES;
    }
    return run_in_step(r, b->kernel->start, fault, error);
}

/* Gives each warp its turn. */
static int run_round(struct vgpu_runner *r, bool *progress, struct vgpu_fault *fault)
{
    struct vgpu_block *b = &r->block;
    uint32_t pc = 0;

    b->together = false;
    r->spent = false;
    for (uint32_t n = 0; n < b->warp_count; n++) {
        struct vgpu_warp *w = &b->warps[n];
        enum vgpu_turn turn;

        if (w->done)
            continue;
        if (!w->started)
            start_warp(r, w);
        turn = vgpu_warp_run(w, &pc);
        if (turn == VGPU_TURN_FAULT)
            return vgpu_fault_report(w, w->fault, w->fault_lane, pc, fault);
        *progress |= turn != VGPU_TURN_BLOCKED || w->clock != w->clock_seen;
        r->spent |= turn == VGPU_TURN_SPENT;
        w->clock_seen = w->clock;
        if (turn == VGPU_TURN_DONE) {
            w->done = true;
            r->left--;
            r->free_frames[r->free_frame_count++] = w->frames[0];
        }
        if ((turn == VGPU_TURN_SPENT || turn == VGPU_TURN_BLOCKED) && cancelled(r))
            return vgpu_fault_report(w, VGPU_FAULT_CANCELLED, 0, pc, fault);
        /* All warps may be in step now, if none of them goes on before the others. */
        if (b->together)
            return 0;
    }
    return 0;
}

/* Until all warps are done. */
static int run_warps(struct vgpu_runner *r, struct vgpu_fault *fault)
{
    bool progress = true;
    uint32_t pc = 0;
    int error = 0;

    if (begin_in_step(r, fault, &error))
        return error;
    while (r->left > 0 && progress) {
        progress = false;
        if (r->block.launch->cooperative && wait_for_blocks(r, fault) != 0)
            return -EFAULT;
        if (run_round(r, &progress, fault) != 0)
            return -EFAULT;
        if (r->block.together && vgpu_jit_join(&r->block, &pc) && run_in_step(r, pc, fault, &error))
            return error;
    }
    return r->left > 0 ? report_deadlock(&r->block, fault) : 0;
}

const struct vgpu_counts *vgpu_runner_counts(const struct vgpu_runner *r)
{
    return r->block.counts;
}

static void prepare(struct vgpu_runner *r, uint32_t x, uint32_t y, uint32_t z)
{
    struct vgpu_block *b = &r->block;

    b->id[0] = x;
    b->id[1] = y;
    b->id[2] = z;
    b->alive = b->threads;
    b->meeting_looks = b->blocks_gone = 0;
    if (b->barriers_used != 0)
        memset(b->barriers, 0, sizeof(b->barriers));
    b->barriers_used = 0;
    for (uint32_t n = 0; n < b->warp_count; n++)
        prepare_warp(b, n);
    r->left = b->warp_count;
    r->spent = false;
}

/* The warps that were under way keep no frames. */
static void abandon(struct vgpu_runner *r)
{
    uint32_t count = r->block.warp_count;

    for (uint32_t n = 0; n < count; n++)
        r->free_frames[n] = r->frames + (size_t)n * r->frame_bytes;
    r->free_frame_count = count;
}

/* ---- several blocks ---- */

static struct vgpu_runner *member(struct vgpu_runner *r, uint32_t rank)
{
    return rank == 0 ? r : r->others[rank - 1];
}

/* Rounds of all blocks, until all of them are done. */
static int run_members(struct vgpu_runner *r, struct vgpu_fault *fault)
{
    bool progress = true;
    uint32_t left = 1;

    while (left > 0 && progress) {
        progress = false;
        left = 0;
        if (r->block.launch->cooperative)
            sched_yield();
        for (uint32_t n = 0; n < r->cluster.count; n++) {
            struct vgpu_runner *m = member(r, n);

            if (run_round(m, &progress, fault) != 0)
                return -EFAULT;
            left += m->left;
        }
    }
    for (uint32_t n = 0; n < r->cluster.count; n++) {
        if (member(r, n)->left > 0)
            return report_deadlock(&member(r, n)->block, fault);
    }
    return 0;
}

static int run_cluster(struct vgpu_runner *r, uint64_t index, struct vgpu_fault *fault)
{
    const uint32_t *grid = r->block.launch->grid, *shape = r->cluster.shape;
    uint64_t wide = grid[0] / shape[0], high = grid[1] / shape[1];
    uint32_t x = (uint32_t)(index % wide) * shape[0];
    uint32_t y = (uint32_t)(index / wide % high) * shape[1];
    uint32_t z = (uint32_t)(index / wide / high) * shape[2];
    int error;

    for (uint32_t n = 0; n < r->cluster.count; n++)
        prepare(member(r, n), x + n % shape[0], y + n / shape[0] % shape[1],
                z + n / shape[0] / shape[1]);
    error = run_members(r, fault);
    for (uint32_t n = 0; n < r->cluster.count && error != 0; n++)
        abandon(member(r, n));
    return error;
}

int vgpu_runner_block(struct vgpu_runner *r, uint64_t index, struct vgpu_fault *fault)
{
    const uint32_t *grid = r->block.launch->grid;
    uint64_t start = r->block.code == NULL ? __rdtsc() : 0;
    int error;

    r->counts.warps += (uint64_t)r->block.warp_count * r->cluster.count;
    r->cluster.arrived = 0;
    r->cluster.phase = false;
    if (r->cluster.count > 1)
        return run_cluster(r, index, fault);
    if (index < grid[0])
        prepare(r, (uint32_t)index, 0, 0);
    else
        prepare(r, (uint32_t)(index % grid[0]), (uint32_t)(index / grid[0] % grid[1]),
                (uint32_t)(index / grid[0] / grid[1]));
    error = run_warps(r, fault);
    if (error != 0)
        abandon(r);
    else if (r->block.code == NULL)
        error = find_code(r, __rdtsc() - start);
    return error;
}
