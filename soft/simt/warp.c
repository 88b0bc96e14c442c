/* SPDX-License-Identifier: MIT */
/*
 * The scheduler of a warp. Lanes that are at the same instruction and call depth form a group; the
 * deepest group with the lowest address runs first, so that groups meet again where branches join.
 * A group that has had its turn lets the others run: lanes that wait for other lanes of their own
 * warp make progress.
 */
#include "soft/simt/group.h"

#include <string.h>

#include "soft/jit/jit.h"

int vgpu_warp_fault(struct vgpu_warp *w, enum vgpu_fault_kind kind, uint32_t lane, uint64_t address,
                    uint32_t bytes)
{
    w->fault = kind;
    w->fault_lane = lane;
    w->fault_address = address;
    w->fault_bytes = bytes;
    return -1;
}

void *vgpu_warp_generic(const struct vgpu_warp *w, uint32_t lane, uint64_t address, uint32_t size)
{
    const struct vgpu_block *b = w->block;
    uint64_t offset;

    if (address < VGPU_WINDOW_SHARED)
        return vgpu_pages_valid(b->pages, address, size) ||
                       vgpu_memory_reaches(b->memory, address, size)
                   ? (void *)(uintptr_t)address
                   : NULL;
    offset = address & (VGPU_WINDOW_BYTES - 1);
    switch (address - offset) {
    case VGPU_WINDOW_SHARED:
        return vgpu_block_shared(b, offset, size);
    case VGPU_WINDOW_LOCAL:
        return vgpu_warp_local(w, lane, offset, size);
    case VGPU_WINDOW_PARAM:
        if (offset <= b->kernel->parameter_bytes && size <= b->kernel->parameter_bytes - offset)
            return (uint8_t *)(uintptr_t)b->launch->parameters + offset;
        return NULL;
    default:
        return NULL;
    }
}

/* ---- groups ---- */

static void remove_group(struct vgpu_warp *w, uint32_t index)
{
    if (index != --w->group_count)
        w->groups[index] = w->groups[w->group_count];
}

/* Lanes that have come to the same place go on together. Those at a barrier of the block have
   arrived there already, and stay apart until it opens. */
static void merge_groups(struct vgpu_warp *w)
{
    for (uint32_t a = 0; a + 1 < w->group_count; a++) {
        for (uint32_t b = a + 1; b < w->group_count; b++) {
            struct vgpu_group *x = &w->groups[a], *y = &w->groups[b];

            if (x->pc != y->pc || x->depth != y->depth || x->state == VGPU_GROUP_BARRIER ||
                y->state == VGPU_GROUP_BARRIER)
                continue;
            x->mask |= y->mask;
            x->state = VGPU_GROUP_READY;
            x->stamp = x->stamp < y->stamp ? x->stamp : y->stamp;
            remove_group(w, b--);
        }
    }
}

static bool runs_before(const struct vgpu_group *a, const struct vgpu_group *b, bool oldest)
{
    if (oldest)
        return a->stamp < b->stamp;
    if (a->depth != b->depth)
        return a->depth > b->depth;
    return a->pc < b->pc;
}

/* The group to run next, or -1 if all of them wait. */
static int pick_group(struct vgpu_warp *w)
{
    int best = -1;

    if (w->group_count == 1) {
        w->rotate = false;
        return w->groups[0].state == VGPU_GROUP_READY ? 0 : -1;
    }
    merge_groups(w);
    for (uint32_t g = 0; g < w->group_count; g++) {
        if (w->groups[g].state == VGPU_GROUP_READY &&
            (best < 0 || runs_before(&w->groups[g], &w->groups[best], w->rotate)))
            best = (int)g;
    }
    w->rotate = false;
    return best;
}

/* The first address from `pc` on where another group of the same depth is: this one stops there. */
static uint32_t meeting_point(const struct vgpu_warp *w, const struct vgpu_group *self, uint32_t pc)
{
    uint32_t stop = UINT32_MAX;

    for (uint32_t g = 0; g < w->group_count; g++) {
        const struct vgpu_group *other = &w->groups[g];

        if (other != self && other->depth == self->depth && other->pc >= pc && other->pc < stop)
            stop = other->pc;
    }
    return stop;
}

/* ---- synchronisation inside the warp ---- */

/* Of the lanes that are there, those that all alive members of their masks are there with, and with
   the same mask: lanes that wait for others wait for them to say the same. */
static uint32_t agreed(const uint32_t *members, uint32_t there, uint32_t alive)
{
    uint32_t result = 0;

    for (uint32_t left = there; left != 0;) {
        uint32_t mask = members[__builtin_ctz(left)], same = 0;

        for (unsigned l = 0; l < VGPU_LANES; l++)
            same |= (uint32_t)(members[l] == mask) << l;
        same &= left;
        left &= ~same;
        if ((mask & alive & ~same) == 0)
            result |= same;
    }
    return result;
}

static const uint32_t *members_of(const struct vgpu_warp *w, const struct vgpu_inst *i)
{
    return (const uint32_t *)(w->base[i->row[VGPU_F] & 1] + (i->row[VGPU_F] & ~1u));
}

/* The lanes of a group at a collective operation that need not wait. */
static uint32_t satisfied(const struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t lanes)
{
    const uint32_t *members = members_of(w, i);

    /* Nearly always all of them say the same, as a constant. */
    if ((i->row[VGPU_F] & 1) != 0)
        return (members[0] & w->alive & ~lanes) == 0 ? lanes : 0;
    return agreed(members, lanes, w->alive);
}

/* bar.warp.sync does not need one address: every group that waits at one counts. Lets go whoever
   has all its members waiting; returns whether any group was let go. */
static bool open_warp_sync(struct vgpu_warp *w)
{
    const struct vgpu_inst *code = w->block->unit->code;
    uint32_t members[VGPU_LANES] = {0}, there = 0, count = w->group_count, all;
    uint8_t *frame = w->base[0];

    for (uint32_t g = 0; g < count; g++) {
        const struct vgpu_group *group = &w->groups[g];
        const uint32_t *own;

        if (group->state != VGPU_GROUP_WARP_SYNC)
            continue;
        w->base[0] = w->frames[group->depth];
        own = members_of(w, &code[group->pc]);
        for (unsigned l = 0; l < VGPU_LANES; l++)
            members[l] = group->mask >> l & 1 ? own[l] : members[l];
        there |= group->mask;
    }
    w->base[0] = frame;
    all = agreed(members, there, w->alive);
    for (uint32_t g = 0; g < count; g++) {
        struct vgpu_group *group = &w->groups[g];
        uint32_t go = group->mask & all;

        if (group->state != VGPU_GROUP_WARP_SYNC || go == 0)
            continue;
        if (go == group->mask) {
            group->state = VGPU_GROUP_READY;
            group->pc++;
        } else {
            group->mask &= ~go;
            vgpu_group_add(w, go, group->pc + 1, group->depth);
        }
    }
    return all != 0;
}

/* ---- exits and barriers ---- */

static void open_barrier(struct vgpu_block *b, uint32_t id)
{
    uint32_t all = b->barriers[id].arrived, count = b->barriers[id].count;

    for (uint32_t n = 0; n < b->warp_count; n++) {
        struct vgpu_warp *w = &b->warps[n];

        for (uint32_t g = 0; g < w->group_count; g++) {
            struct vgpu_group *group = &w->groups[g];
            const struct vgpu_inst *i = &b->unit->code[group->pc];
            uint8_t *d;

            if (group->state != VGPU_GROUP_BARRIER || group->barrier != id)
                continue;
            d = w->frames[group->depth] + i->row[VGPU_D];
            for (unsigned l = 0; l < VGPU_LANES && i->x == VGPU_BARRIER_POPC; l++) {
                if (group->mask >> l & 1)
                    ((uint32_t *)(void *)d)[l] = count;
            }
            if (i->x == VGPU_BARRIER_AND || i->x == VGPU_BARRIER_OR) {
                bool value = i->x == VGPU_BARRIER_AND ? count == all : count != 0;
                uint32_t *p = (uint32_t *)(void *)d;

                *p = (*p & ~group->mask) | (value ? group->mask : 0);
            }
            group->state = VGPU_GROUP_READY;
            group->pc++;
        }
    }
    b->together = b->code != NULL && b->barriers[id].expected == 0;
    b->barriers[id] = (struct vgpu_barrier){0};
}

/* The barrier of the cluster is in two parts: arriving does not wait, and waiting is for the phase
   that was current when the lane arrived. A lane takes turns in both, so one bit knows its phase.
 */
static void check_cluster_barrier(struct vgpu_cluster *cluster)
{
    uint32_t alive = 0;

    for (uint32_t k = 0; k < cluster->count; k++)
        alive += cluster->blocks[k]->alive;
    if (cluster->arrived == 0 || cluster->arrived < alive)
        return;
    cluster->arrived = 0;
    cluster->phase = !cluster->phase;
    for (uint32_t k = 0; k < cluster->count; k++) {
        for (uint32_t n = 0; n < cluster->blocks[k]->warp_count; n++) {
            struct vgpu_warp *w = &cluster->blocks[k]->warps[n];

            for (uint32_t g = 0; g < w->group_count; g++) {
                struct vgpu_group *group = &w->groups[g];

                if (group->state == VGPU_GROUP_BARRIER && group->barrier == VGPU_CLUSTER_BARRIER)
                    group->state = VGPU_GROUP_READY; /* to look again */
            }
        }
    }
}

static void wait_for_cluster(struct vgpu_warp *w, struct vgpu_group *group, uint32_t mask)
{
    uint32_t go = mask & (w->block->cluster->phase ? ~w->waited : w->waited);
    uint32_t others = group->mask & ~mask, pc = group->pc;

    w->waited ^= go;
    if (go == mask) {
        group->pc++;
        return;
    }
    group->mask = mask & ~go;
    group->state = VGPU_GROUP_BARRIER;
    group->barrier = VGPU_CLUSTER_BARRIER;
    if ((go | others) != 0)
        vgpu_group_add(w, go | others, pc + 1, group->depth);
}

static void check_barriers(struct vgpu_block *b)
{
    check_cluster_barrier(b->cluster);
    for (uint32_t left = b->barriers_used; left != 0; left &= left - 1) {
        uint32_t id = (uint32_t)__builtin_ctz(left);
        const struct vgpu_barrier *bar = &b->barriers[id];

        if (bar->arrived > 0 && bar->expected == 0 && bar->arrived >= b->alive)
            open_barrier(b, id);
    }
}

static void lanes_exit(struct vgpu_warp *w, uint32_t mask)
{
    w->alive &= ~mask;
    w->block->alive -= mask == VGPU_ALL_LANES ? VGPU_LANES : (uint32_t)__builtin_popcount(mask);
    /* Who waited for these lanes looks again. */
    for (uint32_t g = 0; g < w->group_count; g++) {
        if (w->groups[g].state == VGPU_GROUP_SYNC)
            w->groups[g].state = VGPU_GROUP_READY;
    }
    if (w->group_count > 0)
        open_warp_sync(w);
    if ((w->block->barriers_used | w->block->cluster->arrived) != 0)
        check_barriers(w->block);
}

/* The group's lanes `mask` arrive. Returns non-zero on a fault. */
static int arrive(struct vgpu_warp *w, struct vgpu_group *group, const struct vgpu_inst *i,
                  uint32_t mask)
{
    struct vgpu_block *b = w->block;
    unsigned lane = (unsigned)__builtin_ctz(mask);
    uint32_t id =
        ((const uint32_t *)(void *)(w->base[i->row[VGPU_A] & 1] + (i->row[VGPU_A] & ~1u)))[lane];
    uint32_t expected = 0, test;
    struct vgpu_barrier *bar;

    if (i->row[VGPU_B] != 0)
        expected = ((const uint32_t *)(void *)(w->base[i->row[VGPU_B] & 1] +
                                               (i->row[VGPU_B] & ~1u)))[lane];
    if (id >= VGPU_MAX_BARRIERS || (i->row[VGPU_B] != 0 && expected == 0))
        return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, lane, 0, 0);
    bar = &b->barriers[id];
    b->barriers_used |= UINT32_C(1) << id;
    bar->expected = expected;
    bar->arrived += (uint32_t)__builtin_popcount(mask);
    if (i->x >= VGPU_BARRIER_POPC) {
        test = *(const uint32_t *)(w->base[i->row[VGPU_C] & 1] + (i->row[VGPU_C] & ~1u));
        bar->count += (uint32_t)__builtin_popcount((i->y ? ~test : test) & mask);
    }
    if (i->x == VGPU_BARRIER_ARRIVE) {
        group->pc++;
    } else {
        group->state = VGPU_GROUP_BARRIER;
        group->barrier = (uint8_t)id;
    }
    if (bar->arrived >= (expected != 0 ? expected : b->alive))
        open_barrier(b, id);
    return 0;
}

/* ---- branches ---- */

static int branch_table(struct vgpu_warp *w, struct vgpu_group *group, const struct vgpu_inst *i,
                        uint32_t mask)
{
    const struct vgpu_unit *unit = w->block->unit;
    const uint32_t *index =
        (const uint32_t *)(void *)(w->base[i->row[VGPU_A] & 1] + (i->row[VGPU_A] & ~1u));
    uint32_t count = (uint32_t)((uint64_t)i->imm >> 32), base = (uint32_t)i->imm;
    uint32_t stay = group->mask & ~mask, next = group->pc + 1;
    bool first = true;

    for (uint32_t left = mask; left != 0;) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint32_t same = 0;

        if (index[lane] >= count)
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, lane, index[lane], 0);
        for (unsigned l = 0; l < VGPU_LANES; l++)
            same |= (uint32_t)(index[l] == index[lane]) << l;
        same &= left;
        left &= ~same;
        if (first) {
            group->mask = same;
            group->pc = unit->targets[base + index[lane]];
            first = false;
        } else {
            vgpu_group_add(w, same, unit->targets[base + index[lane]], group->depth);
        }
    }
    if (stay != 0)
        vgpu_group_add(w, stay, next, group->depth);
    return 0;
}

/* Whoever lacks a member waits here; the others, and those off by guard, go on. */
static int collective(struct vgpu_warp *w, struct vgpu_group *group, const struct vgpu_inst *i,
                      uint32_t mask)
{
    uint32_t others = group->mask & ~mask, go = satisfied(w, i, mask);

    if (go != 0 && i->run(w, i, go) != 0)
        return -1;
    if (go == mask) {
        group->pc++;
        return 0;
    }
    group->mask = mask & ~go;
    group->state = VGPU_GROUP_SYNC;
    if ((go | others) != 0)
        vgpu_group_add(w, go | others, group->pc + 1, group->depth);
    return 0;
}

/* Control that is rarer than a branch. Returns non-zero on a fault; the group may be gone after. */
static int control(struct vgpu_warp *w, struct vgpu_group *group, const struct vgpu_inst *i,
                   uint32_t mask)
{
    uint32_t others = group->mask & ~mask;

    switch (i->control) {
    case VGPU_CONTROL_BRANCH_TABLE:
        return branch_table(w, group, i, mask);
    case VGPU_CONTROL_CALL:
        return vgpu_group_call(w, group, i, mask);
    case VGPU_CONTROL_RETURN:
        vgpu_group_return(w, group, mask);
        return 0;
    case VGPU_CONTROL_EXIT:
        group->pc++;
        group->mask = others;
        if (others == 0)
            remove_group(w, (uint32_t)(group - w->groups));
        lanes_exit(w, mask);
        return 0;
    case VGPU_CONTROL_BARRIER:
        group->mask = mask;
        if (others != 0)
            vgpu_group_add(w, others, group->pc + 1, group->depth);
        return arrive(w, group, i, mask);
    case VGPU_CONTROL_WARP_SYNC:
        group->mask = mask;
        group->state = VGPU_GROUP_WARP_SYNC;
        if (others != 0)
            vgpu_group_add(w, others, group->pc + 1, group->depth);
        open_warp_sync(w);
        return 0;
    case VGPU_CONTROL_COLLECTIVE:
        return collective(w, group, i, mask);
    case VGPU_CONTROL_CLUSTER_ARRIVE:
        group->pc++;
        w->block->cluster->arrived += (uint32_t)__builtin_popcount(mask);
        check_cluster_barrier(w->block->cluster);
        return 0;
    case VGPU_CONTROL_CLUSTER_WAIT:
        wait_for_cluster(w, group, mask);
        return 0;
    case VGPU_CONTROL_STACK:
        if (vgpu_group_stack(w, group, i, mask) != 0)
            return -1;
        group->pc++;
        return 0;
    case VGPU_CONTROL_SLEEP:
        group->pc++;
        w->budget = 0;
        return 0;
    default:
        return vgpu_warp_fault(w, VGPU_FAULT_TRAP, (uint32_t)__builtin_ctz(mask), 0, 0);
    }
}

/* Runs `length` instructions that every lane of the group takes, one after the other. */
static inline int run_straight(struct vgpu_warp *w, struct vgpu_group *group,
                               const struct vgpu_inst *i, uint32_t length)
{
    const struct vgpu_inst *code = w->block->unit->code;
    uint32_t mask = group->mask;

    if (__builtin_expect(w->block->counts != NULL, 0))
        vgpu_counts_add(w->block->counts, i, length, mask);
    for (const struct vgpu_inst *end = i + length; i < end; i++) {
        int more = i->run(w, i, mask);

        if (__builtin_expect(more < 0, 0)) {
            group->pc = (uint32_t)(i - code);
            return -1;
        }
        i += more;
    }
    return 0;
}

/* Interprets one group until it meets another, splits, waits, has had its turn, or gets to where
 * `compiled` goes on, unless that is NULL. */
static int interpret(struct vgpu_warp *w, struct vgpu_group *group,
                     const struct vgpu_jit_code *compiled)
{
    const struct vgpu_inst *code = w->block->unit->code;
    uint32_t pc = group->pc, mask = group->mask;
    uint32_t stop = w->group_count > 1 ? meeting_point(w, group, pc + 1) : UINT32_MAX;

    do {
        const struct vgpu_inst *i = &code[pc];
        uint32_t m = mask, length = i->run_length;

        if (length > 0) {
            length = length < stop - pc ? length : stop - pc;
            if (__builtin_expect(run_straight(w, group, i, length) != 0, 0))
                return -1;
            pc += length;
            continue;
        }
        if (i->guard != 0) {
            m = vgpu_warp_guarded(w, i, mask);
            if (m == 0) {
                pc++;
                continue;
            }
        }
        if (__builtin_expect(w->block->counts != NULL, 0))
            vgpu_counts_add(w->block->counts, i, 1, m);
        if (i->control == VGPU_CONTROL_NONE) {
            if (__builtin_expect(i->run(w, i, m) != 0, 0)) {
                group->pc = pc;
                return -1;
            }
            pc++;
            continue;
        }
        if (i->control == VGPU_CONTROL_BRANCH) {
            uint32_t target = (uint32_t)i->imm;

            w->budget--;
            if (m != mask) {
                group->mask = m;
                group->pc = target;
                vgpu_group_add(w, mask & ~m, pc + 1, group->depth);
                return 0;
            }
            /* Going back may make other groups' places lie ahead again. */
            if (target <= pc && w->group_count > 1)
                stop = meeting_point(w, group, target);
            pc = target;
            if (w->budget <= 0 || (compiled != NULL && vgpu_jit_enters(compiled, target)))
                break;
            continue;
        }
        group->pc = pc;
        w->budget--;
        if (i->control == VGPU_CONTROL_COLLECTIVE && m == mask && satisfied(w, i, mask) == mask) {
            if (i->run(w, i, mask) != 0)
                return -1;
            pc++;
            continue;
        }
        if (control(w, group, i, m) != 0)
            return -1;
        return 0;
    } while (pc < stop);
    group->pc = pc;
    return 0;
}

/* Runs one group until it meets another, splits, waits or has had its turn. */
static int run_group(struct vgpu_warp *w, struct vgpu_group *group)
{
    const struct vgpu_inst *code = w->block->unit->code;

    w->base[0] = w->frames[group->depth];
    w->mask = group->mask;
    if (w->block->code == NULL || group->mask != VGPU_ALL_LANES || group->depth != 0)
        return interpret(w, group, NULL);
    switch (vgpu_jit_run(w, group)) {
    case VGPU_JIT_CONTROL:
        return control(w, group, &code[group->pc], group->mask);
    case VGPU_JIT_SPENT:
        return 0;
    case VGPU_JIT_FAULT:
        return -1;
    default:
        return interpret(w, group, w->block->code);
    }
}

enum vgpu_turn vgpu_warp_run(struct vgpu_warp *w, uint32_t *fault_pc)
{
    w->budget = w->block->turn;
    while (w->group_count > 0) {
        int g = pick_group(w);
        struct vgpu_group *group;

        if (g < 0)
            return VGPU_TURN_BLOCKED;
        group = &w->groups[g];
        group->stamp = ++w->clock;
        *fault_pc = group->pc;
        if (run_group(w, group) != 0) {
            *fault_pc = group->pc;
            return VGPU_TURN_FAULT;
        }
        if (w->block->together)
            return w->group_count > 0 ? VGPU_TURN_SPENT : VGPU_TURN_DONE;
        if (w->budget <= 0) {
            w->rotate = true;
            return w->group_count > 0 ? VGPU_TURN_SPENT : VGPU_TURN_DONE;
        }
    }
    return VGPU_TURN_DONE;
}
