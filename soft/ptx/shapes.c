/* SPDX-License-Identifier: MIT */
/*
 * Which registers of a kernel may be lines (soft/simt/shape.h): those that are written only by
 * operations that make lines of lines. They are found by taking it of all registers, and then away
 * from those that some instruction gives anything else.
 *
 * Functions are left as they are: lanes that are in different ones share the rows of a frame.
 */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>

#include "soft/simt/ops.h"

struct shapes {
    const struct vgpu_unit *unit;
    const struct vgpu_function *f;
    const struct ptx_info *info;
    uint8_t *may[2]; /* of 32-bit and of 64-bit registers */
    bool changed;
};

static bool has_shape(uint32_t ref)
{
    return PTX_REF_WIDTH(ref & ~PTX_REF_CONSTANT) == VGPU_ROW_32 ||
           PTX_REF_WIDTH(ref & ~PTX_REF_CONSTANT) == VGPU_ROW_64;
}

/* Where it is noted whether a register may be a line; NULL for what is not one that has a shape. */
static uint8_t *note_of(const struct shapes *s, uint32_t ref)
{
    if ((ref & PTX_REF_CONSTANT) != 0 || !has_shape(ref))
        return NULL;
    return &s->may[PTX_REF_WIDTH(ref) - VGPU_ROW_32][PTX_REF_INDEX(ref)];
}

static bool may_be_line(const struct shapes *s, uint32_t ref)
{
    const uint8_t *note = note_of(s, ref);

    return note != NULL ? *note != 0 : (ref & PTX_REF_CONSTANT) != 0 && has_shape(ref);
}

static void deny(struct shapes *s, uint32_t ref)
{
    uint8_t *note = note_of(s, ref);

    if (note != NULL && *note != 0) {
        *note = 0;
        s->changed = true;
    }
}

/* What does not depend on other registers. */
static void deny_users(struct shapes *s, uint32_t at)
{
    const struct vgpu_inst *inst = &s->unit->code[at];
    const struct ptx_info *info = &s->info[at];

    for (uint32_t n = 0; n < info->list; n++)
        deny(s, s->unit->lists[inst->row[VGPU_LIST] + n]);
    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        bool defined = (info->defs >> o & 1) != 0;

        if ((info->rows >> o & 1) != 0 && (inst->control != VGPU_CONTROL_NONE ||
                                           (defined && (o != VGPU_D || info->line == NULL))))
            deny(s, inst->row[o]);
    }
}

static void deny_result(struct shapes *s, uint32_t at)
{
    const struct vgpu_inst *inst = &s->unit->code[at];
    const struct ptx_info *info = &s->info[at];

    for (uint32_t o = 0; o < VGPU_OPERANDS && info->line != NULL; o++) {
        if ((info->rows & ~info->defs) >> o & 1 && !may_be_line(s, inst->row[o]))
            deny(s, inst->row[VGPU_D]);
    }
}

static void choose_handler(struct shapes *s, uint32_t at)
{
    struct vgpu_inst *inst = &s->unit->code[at];
    const struct ptx_info *info = &s->info[at];
    bool touched = false;

    if (inst->control != VGPU_CONTROL_NONE)
        return;
    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        if ((info->rows & ~info->defs) >> o & 1 && has_shape(inst->row[o])) {
            inst->shaped |= (uint8_t)(1u << o);
            touched |= (inst->row[o] & PTX_REF_CONSTANT) == 0 && may_be_line(s, inst->row[o]);
        }
    }
    if (info->line != NULL && may_be_line(s, inst->row[VGPU_D]))
        inst->run = info->line;
    else if (touched)
        inst->run = info->shaped != NULL ? info->shaped : vgpu_ops_find_for("shaped", "other");
}

/* For the kernel's instructions, those before its blocks run and the others. */
static void for_each(struct shapes *s, void (*act)(struct shapes *s, uint32_t at))
{
    const struct vgpu_unit *unit = s->unit;

    for (uint32_t i = 0; i < unit->prologue_count; i++)
        act(s, unit->prologue_start + i);
    for (uint32_t i = 0; i < s->f->count; i++)
        act(s, s->f->start + i);
}

void ptx_choose_shapes(struct ptx_parser *p)
{
    const struct vgpu_function *f = &p->unit->functions[p->unit->kernel];
    uint32_t narrow = f->rows[VGPU_ROW_32], wide = f->rows[VGPU_ROW_64];
    struct shapes s = {.unit = p->unit, .f = f, .info = p->info};
    uint8_t *notes;

    if (p->error != 0 || !f->entry || !f->defined)
        return;
    notes = malloc((size_t)narrow + wide + 1);
    if (notes == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return;
    }
    for (size_t i = 0; i < (size_t)narrow + wide; i++)
        notes[i] = 1;
    s.may[0] = notes;
    s.may[1] = notes + narrow;
    for_each(&s, deny_users);
    do {
        s.changed = false;
        for_each(&s, deny_result);
    } while (s.changed);
    for_each(&s, choose_handler);
    free(notes);
}
