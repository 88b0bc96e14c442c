/* SPDX-License-Identifier: MIT */
#include "soft/simt/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *fault_name(enum vgpu_fault_kind kind)
{
    switch (kind) {
    case VGPU_FAULT_ILLEGAL_ADDRESS:
        return "illegal address";
    case VGPU_FAULT_MISALIGNED_ADDRESS:
        return "misaligned address";
    case VGPU_FAULT_TRAP:
        return "trap";
    case VGPU_FAULT_ASSERT:
        return "assertion failed";
    case VGPU_FAULT_ILLEGAL_INSTRUCTION:
        return "illegal instruction";
    case VGPU_FAULT_STACK:
        return "call stack exhausted";
    case VGPU_FAULT_DEADLOCK:
        return "deadlock: no thread can go on";
    case VGPU_FAULT_CANCELLED:
        return "cancelled";
    default:
        return "out of memory";
    }
}

/* ---- where an address is ---- */

static void describe_window(const struct vgpu_block *b, uint64_t address, char *text, size_t size)
{
    uint64_t window = address & ~(VGPU_WINDOW_BYTES - 1);

    if (window == VGPU_WINDOW_SHARED)
        snprintf(text, size, "shared memory has %u bytes", b->shared_bytes);
    else if (window == VGPU_WINDOW_LOCAL)
        snprintf(text, size, "local memory has %u bytes", b->local_bytes);
    else if (window == VGPU_WINDOW_PARAM)
        snprintf(text, size, "there are %u bytes of parameters", b->kernel->parameter_bytes);
    else
        snprintf(text, size, "no address of a program");
}

/* Where the address of an access by the instruction is, in words. */
static void describe(const struct vgpu_block *b, const struct vgpu_inst *i, uint64_t address,
                     char *text, size_t size)
{
    static const uint64_t windows[] = {[VGPU_SPACE_SHARED] = VGPU_WINDOW_SHARED,
                                       [VGPU_SPACE_LOCAL] = VGPU_WINDOW_LOCAL,
                                       [VGPU_SPACE_PARAM] = VGPU_WINDOW_PARAM};

    /* An offset in one of these memories is far below any address of a process. */
    if (address < VGPU_WINDOW_BYTES && i->x >= VGPU_SPACE_SHARED && i->x <= VGPU_SPACE_PARAM)
        describe_window(b, windows[i->x] + address, text, size);
    else if (address >= VGPU_WINDOW_SHARED)
        describe_window(b, address, text, size);
    else
        vgpu_memory_describe(b->memory, address, text, size);
}

/* ---- who waits for what ---- */

static void describe_deadlock(const struct vgpu_block *b, char *text, size_t size)
{
    uint32_t at[VGPU_MAX_BARRIERS] = {0}, lanes = 0, cluster = 0;
    size_t n;

    for (uint32_t k = 0; k < b->warp_count; k++) {
        const struct vgpu_warp *w = &b->warps[k];

        for (uint32_t g = 0; g < w->group_count && !w->done; g++) {
            uint32_t count = (uint32_t)__builtin_popcount(w->groups[g].mask);

            if (w->groups[g].state == VGPU_GROUP_BARRIER &&
                w->groups[g].barrier < VGPU_MAX_BARRIERS)
                at[w->groups[g].barrier] += count;
            else if (w->groups[g].state == VGPU_GROUP_BARRIER)
                cluster += count;
            else
                lanes += count;
        }
    }
    if (b->blocks_gone > 0) {
        snprintf(text, size,
                 "deadlock: blocks wait at the grid's barrier for %u that have ended without it",
                 b->blocks_gone);
        return;
    }
    n = (size_t)snprintf(text, size, "deadlock: of %u threads", b->threads);
    for (uint32_t id = 0; id < VGPU_MAX_BARRIERS && n < size; id++) {
        const struct vgpu_barrier *barrier = &b->barriers[id];

        if (at[id] > 0)
            n += (size_t)snprintf(text + n, size - n,
                                  ", %u wait at barrier %u that %u of %u have "
                                  "reached",
                                  at[id], id, barrier->arrived,
                                  barrier->expected != 0 ? barrier->expected : b->alive);
    }
    if (cluster > 0 && n < size)
        n += (size_t)snprintf(text + n, size - n, ", %u wait at the cluster's barrier", cluster);
    if (lanes > 0 && n < size)
        n +=
            (size_t)snprintf(text + n, size - n, ", %u wait for other lanes of their warps", lanes);
    if (b->alive < b->threads && n < size)
        snprintf(text + n, size - n, ", %u have exited", b->threads - b->alive);
}

/* ---- reports ---- */

static uint32_t function_of(const struct vgpu_unit *unit, uint32_t pc)
{
    for (uint32_t n = 0; n < unit->function_count; n++) {
        const struct vgpu_function *f = &unit->functions[n];

        if (f->defined && pc - f->start < f->count)
            return n;
    }
    return unit->kernel;
}

int vgpu_fault_report(const struct vgpu_warp *w, enum vgpu_fault_kind kind, uint32_t lane,
                      uint32_t pc, struct vgpu_fault *fault)
{
    const struct vgpu_block *b = w->block;
    char what[192], place[96], source[80];

    *fault = (struct vgpu_fault){
        .kind = kind,
        .block = {b->id[0], b->id[1], b->id[2]},
        .thread = {w->tid[0][lane], w->tid[1][lane], w->tid[2][lane]},
        .line = b->unit->code[pc].line,
    };
    if (kind == VGPU_FAULT_ILLEGAL_ADDRESS || kind == VGPU_FAULT_MISALIGNED_ADDRESS) {
        fault->address = w->fault_address;
        fault->access_bytes = w->fault_bytes;
        describe(b, &b->unit->code[pc], w->fault_address, place, sizeof(place));
        snprintf(what, sizeof(what), "%s 0x%llx (%u bytes; %s)", fault_name(kind),
                 (unsigned long long)w->fault_address, w->fault_bytes, place);
    } else if (kind == VGPU_FAULT_DEADLOCK) {
        describe_deadlock(b, what, sizeof(what));
    } else {
        snprintf(what, sizeof(what), "%s",
                 w->fault_text[0] != '\0' ? w->fault_text : fault_name(kind));
    }
    if (vgpu_program_source(b->launch->image->program, function_of(b->unit, pc), fault->line,
                            source, sizeof(source)) == 0)
        source[0] = '\0';
    snprintf(fault->text, sizeof(fault->text),
             "kernel %.48s: %s, block (%u,%u,%u), thread (%u,%u,%u), line %u%s%s", b->kernel->name,
             what, fault->block[0], fault->block[1], fault->block[2], fault->thread[0],
             fault->thread[1], fault->thread[2], fault->line, source[0] != '\0' ? ": " : "",
             source);
    return -EFAULT;
}
