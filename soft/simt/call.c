/* SPDX-License-Identifier: MIT */
/* Calls: frames of registers and of local memory, one of each for every call depth. */
#include <stdlib.h>
#include <string.h>

#include "soft/simt/group.h"

/* Deepest call, and most memory that the call frames of one block may take. */
#define MAX_DEPTH        4096u
#define MAX_FRAME_MEMORY ((uint64_t)512 << 20)

static bool ensure_frame(struct vgpu_warp *w, uint32_t depth)
{
    uint32_t bytes = w->block->unit->call_frame_bytes;

    if (depth < w->frame_count)
        return true;
    if (depth >= MAX_DEPTH || w->block->frame_memory + bytes > MAX_FRAME_MEMORY)
        return false;
    if (depth >= w->frame_capacity) {
        uint32_t capacity = w->frame_capacity * 2;
        uint8_t **grown = reallocarray(w->frames, capacity, sizeof(*grown));

        if (grown == NULL)
            return false;
        w->frames = grown;
        w->frame_capacity = capacity;
    }
    w->frames[depth] = aligned_alloc(64, bytes);
    if (w->frames[depth] == NULL)
        return false;
    memset(w->frames[depth], 0, bytes);
    w->block->frame_memory += bytes;
    w->frame_count++;
    return true;
}

static const struct vgpu_function *callee_of(struct vgpu_warp *w, const struct vgpu_inst *i,
                                             const struct vgpu_call *call, uint32_t *mask)
{
    const struct vgpu_unit *unit = w->block->unit;
    unsigned lane = (unsigned)__builtin_ctz(*mask);
    const uint64_t *addresses;
    const struct vgpu_function *f;
    uint64_t address, index;
    uint32_t same = 0;

    if (call->callee >= 0)
        return &unit->functions[call->callee];
    /* Through a pointer: the lanes that call the same function as the first one. */
    addresses = (const uint64_t *)(void *)(w->base[i->row[VGPU_A] & 1] + (i->row[VGPU_A] & ~1u));
    address = addresses[lane];
    for (unsigned l = 0; l < VGPU_LANES; l++)
        same |= (uint32_t)(addresses[l] == address) << l;
    index = (address - VGPU_WINDOW_FUNCTION) / VGPU_FUNCTION_STRIDE;
    f = index < unit->function_count ? &unit->functions[index] : NULL;
    if (f == NULL || address % VGPU_FUNCTION_STRIDE != 0 || f->entry ||
        (!f->defined && f->builtin == VGPU_BUILTIN_NONE) || f->return_count != call->return_count ||
        f->formal_count != call->argument_count) {
        vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, lane, address, 0);
        return NULL;
    }
    for (uint32_t n = 0; n < call->return_count + call->argument_count; n++) {
        if ((f->formals[n].variadic ? f->formals[n].size < call->arguments[n].size
                                    : f->formals[n].size != call->arguments[n].size) ||
            f->formals[n].offset != call->arguments[n].target) {
            vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, lane, address, 0);
            return NULL;
        }
    }
    *mask &= same;
    return f;
}

static uint32_t *stack_row(uint8_t *frame)
{
    return (uint32_t *)(void *)(frame + VGPU_FRAME_STACK);
}

static uint32_t *return_row(uint8_t *frame)
{
    return (uint32_t *)(void *)(frame + VGPU_FRAME_RETURN);
}

static uint32_t *added_row(uint8_t *frame)
{
    return (uint32_t *)(void *)(frame + VGPU_FRAME_ADDED);
}

/* Local memory, frame and arguments of a call from depth `depth`. */
static int enter(struct vgpu_warp *w, const struct vgpu_function *f, const struct vgpu_call *call,
                 uint32_t depth, uint32_t pc, uint32_t mask)
{
    uint8_t *from, *to;

    if (!ensure_frame(w, depth + 1))
        return vgpu_warp_fault(w, VGPU_FAULT_STACK, (uint32_t)__builtin_ctz(mask), 0, 0);
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        unsigned l = (unsigned)__builtin_ctz(left);
        uint32_t old = stack_row(w->frames[depth])[l], top = old + call->caller_bytes;

        if (w->block->unit->allocates) {
            uint32_t align = w->block->unit->stack_align;

            top = (top + added_row(w->frames[depth])[l] + align - 1) & ~(align - 1);
            added_row(w->frames[depth + 1])[l] = 0;
        }
        if (vgpu_warp_local(w, l, top, f->local_bytes) == NULL)
            return vgpu_warp_fault(w, VGPU_FAULT_STACK, l, 0, 0);
        stack_row(w->frames[depth + 1])[l] = top;
        return_row(w->frames[depth + 1])[l] = pc;
        from = vgpu_warp_local(w, l, old, 0);
        to = vgpu_warp_local(w, l, top, 0);
        for (uint32_t n = call->return_count; n < call->return_count + call->argument_count; n++)
            memcpy(to + call->arguments[n].target, from + call->arguments[n].source,
                   call->arguments[n].size);
    }
    return 0;
}

/* Brings return values to the callers' frames; the lanes all return to one address. */
static void leave(struct vgpu_warp *w, uint32_t depth, uint32_t pc, uint32_t mask)
{
    const struct vgpu_unit *unit = w->block->unit;
    const struct vgpu_call *call = &unit->calls[unit->code[pc - 1].imm];

    if (call->return_count == 0)
        return;
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        unsigned l = (unsigned)__builtin_ctz(left);
        uint8_t *from = vgpu_warp_local(w, l, stack_row(w->frames[depth])[l], 0);
        uint8_t *to = vgpu_warp_local(w, l, stack_row(w->frames[depth - 1])[l], 0);

        for (uint32_t n = 0; n < call->return_count; n++)
            memcpy(to + call->arguments[n].source, from + call->arguments[n].target,
                   call->arguments[n].size);
    }
}

/* ---- alloca ---- */

static void store(uint8_t *row, const struct vgpu_inst *i, unsigned lane, uint64_t value)
{
    if (i->z)
        ((uint32_t *)(void *)row)[lane] = (uint32_t)value;
    else
        ((uint64_t *)(void *)row)[lane] = value;
}

static uint64_t load(const uint8_t *row, const struct vgpu_inst *i, unsigned lane)
{
    return i->z ? ((const uint32_t *)(const void *)row)[lane]
                : ((const uint64_t *)(const void *)row)[lane];
}

int vgpu_group_stack(struct vgpu_warp *w, const struct vgpu_group *group, const struct vgpu_inst *i,
                     uint32_t mask)
{
    uint8_t *frame = w->frames[group->depth], *to = frame + i->row[VGPU_D];
    const uint8_t *from = w->base[i->row[VGPU_A] & 1] + (i->row[VGPU_A] & ~1u);
    uint64_t align = UINT64_C(1) << i->y;

    for (uint32_t left = mask; left != 0; left &= left - 1) {
        unsigned l = (unsigned)__builtin_ctz(left);
        uint32_t *added = &added_row(frame)[l];
        uint64_t base = (uint64_t)stack_row(frame)[l] + w->block->unit->calls[i->imm].caller_bytes;
        uint64_t value = i->x == VGPU_STACK_SAVE ? *added : load(from, i, l);

        if (i->x == VGPU_STACK_ALLOCATE) {
            uint64_t start = (base + *added + align - 1) & ~(align - 1);

            if (value > UINT32_MAX || vgpu_warp_local(w, l, start + value, 0) == NULL)
                return vgpu_warp_fault(w, VGPU_FAULT_STACK, l, 0, 0);
            *added = (uint32_t)(start + value - base);
            value = start;
        } else if (i->x == VGPU_STACK_RESTORE) {
            if (value > *added)
                return vgpu_warp_fault(w, VGPU_FAULT_STACK, l, 0, 0);
            *added = (uint32_t)value;
            continue;
        }
        store(to, i, l, value);
    }
    return 0;
}

/* ---- calls and returns ---- */

int vgpu_group_call(struct vgpu_warp *w, struct vgpu_group *group, const struct vgpu_inst *i,
                    uint32_t mask)
{
    const struct vgpu_call *call = &w->block->unit->calls[i->imm];
    const struct vgpu_function *f = callee_of(w, i, call, &mask);
    uint32_t others, pc = group->pc;

    if (f == NULL)
        return -1;
    if (f->builtin != VGPU_BUILTIN_NONE) {
        if (vgpu_builtin_call(w, f, call, mask) != 0)
            return -1;
    } else if (enter(w, f, call, group->depth, pc + 1, mask) != 0) {
        return -1;
    }
    /* Lanes that call something else stay at this instruction; lanes off by guard pass it. */
    others = group->mask & ~mask;
    group->mask = mask;
    if (f->builtin != VGPU_BUILTIN_NONE) {
        group->pc++;
    } else {
        group->pc = f->start;
        group->depth++;
    }
    if (others != 0) {
        uint32_t waiting = vgpu_warp_guarded(w, i, others);

        if (waiting != 0)
            vgpu_group_add(w, waiting, pc, group->depth - (f->builtin == VGPU_BUILTIN_NONE));
        if ((others & ~waiting) != 0)
            vgpu_group_add(w, others & ~waiting, pc + 1,
                           group->depth - (f->builtin == VGPU_BUILTIN_NONE));
    }
    return 0;
}

void vgpu_group_return(struct vgpu_warp *w, struct vgpu_group *group, uint32_t mask)
{
    uint32_t depth = group->depth, left = mask, stay = group->mask & ~mask, next = group->pc + 1;
    const uint32_t *to = return_row(w->frames[depth]);
    bool first = true;

    while (left != 0) {
        uint32_t pc = to[__builtin_ctz(left)], same = 0;

        for (unsigned l = 0; l < VGPU_LANES; l++)
            same |= (uint32_t)(to[l] == pc) << l;
        same &= left;
        left &= ~same;
        leave(w, depth, pc, same);
        if (first) {
            group->mask = same;
            group->pc = pc;
            group->depth = (uint16_t)(depth - 1);
            first = false;
        } else {
            vgpu_group_add(w, same, pc, depth - 1);
        }
    }
    if (stay != 0)
        vgpu_group_add(w, stay, next, depth);
}
