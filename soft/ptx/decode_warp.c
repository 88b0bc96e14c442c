/* SPDX-License-Identifier: MIT */
/* shfl vote match redux activemask elect: what lanes of a warp do together. */
#include "soft/ptx/parser.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* These need every lane of the member mask at the instruction. */
static struct ptx_build begin_collective(struct ptx_parser *p, struct ptx_statement *s,
                                         const char *key, uint32_t members)
{
    struct ptx_build b = ptx_begin(p, s, key);

    b.inst.control = VGPU_CONTROL_COLLECTIVE;
    ptx_use(&b, VGPU_F, members);
    return b;
}

static void decode_shfl(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    const struct ptx_type *type = NAMED("b32");
    struct ptx_build b;
    uint32_t rows[4];
    uint8_t mode = 0;

    if (!ptx_part(s, "sync")) {
        ptx_unsupported(p, s, "the form without .sync");
        return;
    }
    while (mode < COUNT(modes) && !ptx_part(s, modes[mode]))
        mode++;
    ptx_part(s, "b32");
    if (!ptx_want(p, s, 5) || !ptx_all_parts(p, s))
        return;
    for (uint32_t i = 0; i < 4; i++)
        rows[i] = ptx_source(p, s, &s->operands[i + 1], type);
    b = begin_collective(p, s, "shfl", rows[3]);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    ptx_use(&b, VGPU_A, rows[0]);
    ptx_use(&b, VGPU_B, rows[1]);
    ptx_use(&b, VGPU_C, rows[2]);
    if (s->operands[0].second != 0)
        ptx_define(&b, VGPU_E, s->operands[0].second);
    b.inst.x = mode;
    if (mode == COUNT(modes))
        ptx_unsupported(p, s, "the mode");
    ptx_push(p, &b);
}

static void decode_vote(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const modes[] = {"all", "any", "uni", "ballot"};
    const struct ptx_type *type;
    struct ptx_build b;
    uint32_t members, source;
    uint8_t mode = 0;
    bool negated;

    if (!ptx_part(s, "sync")) {
        ptx_unsupported(p, s, "the form without .sync");
        return;
    }
    while (mode < COUNT(modes) && !ptx_part(s, modes[mode]))
        mode++;
    type = ptx_part_type(s);
    if (mode == COUNT(modes) || type == NULL || (type->kind == PTX_PRED) != (mode != 3) ||
        (mode == 3 && ptx_type_bits(type) != 32)) {
        ptx_unsupported(p, s, "the mode or the type");
        return;
    }
    if (!ptx_want(p, s, 3) || !ptx_all_parts(p, s))
        return;
    source = ptx_predicate(p, s, &s->operands[1], &negated);
    members = ptx_source(p, s, &s->operands[2], NAMED("b32"));
    b = begin_collective(p, s, mode == 3 ? "ballot" : "vote", members);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    ptx_use(&b, VGPU_A, source);
    b.inst.x = mode;
    b.inst.z = negated;
    ptx_push(p, &b);
}

static void decode_match(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type;
    bool all = ptx_part(s, "all");
    struct ptx_build b;
    uint32_t members, source;
    char key[32];

    if (!all && !ptx_part(s, "any"))
        ptx_unsupported(p, s, "the mode");
    ptx_part(s, "sync");
    type = ptx_part_type(s);
    if (type == NULL || ptx_type_bits(type) < 32) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (!ptx_want(p, s, 3) || !ptx_all_parts(p, s))
        return;
    source = ptx_source(p, s, &s->operands[1], type);
    members = ptx_source(p, s, &s->operands[2], NAMED("b32"));
    snprintf(key, sizeof(key), "match_%s_b%u", all ? "all" : "any", ptx_type_bits(type));
    b = begin_collective(p, s, key, members);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], NAMED("b32")));
    ptx_use(&b, VGPU_A, source);
    if (s->operands[0].second != 0)
        ptx_define(&b, VGPU_E, s->operands[0].second);
    ptx_push(p, &b);
}

static void decode_redux(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const modes[] = {"add", "min", "max", "and", "or", "xor"};
    const struct ptx_type *type;
    struct ptx_build b;
    uint32_t members, source;
    uint8_t mode = 0;

    ptx_part(s, "sync");
    while (mode < COUNT(modes) && !ptx_part(s, modes[mode]))
        mode++;
    type = ptx_part_type(s);
    if (mode == COUNT(modes) || type == NULL || ptx_type_bits(type) != 32 ||
        type->kind == PTX_FLOATING) {
        ptx_unsupported(p, s, "the operation or the type");
        return;
    }
    if (!ptx_want(p, s, 3) || !ptx_all_parts(p, s))
        return;
    source = ptx_source(p, s, &s->operands[1], type);
    members = ptx_source(p, s, &s->operands[2], NAMED("b32"));
    b = begin_collective(p, s, type->kind == PTX_SIGNED ? "redux_s32" : "redux_u32", members);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    ptx_use(&b, VGPU_A, source);
    b.inst.x = mode;
    ptx_push(p, &b);
}

static void decode_activemask(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b;

    ptx_part(s, "b32");
    b = ptx_form(p, s, "activemask", (const struct ptx_type *[1]){NAMED("b32")}, 0);
    ptx_push(p, &b);
}

static void decode_elect(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b;
    uint32_t members;

    ptx_part(s, "sync");
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    members = ptx_source(p, s, &s->operands[1], NAMED("b32"));
    b = begin_collective(p, s, "elect", members);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], NAMED("b32")));
    if (s->operands[0].second != 0)
        ptx_define(&b, VGPU_E, s->operands[0].second);
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"shfl", decode_shfl},   {"vote", decode_vote},   {"match", decode_match},
    {"redux", decode_redux}, {"elect", decode_elect}, {"activemask", decode_activemask},
};

ptx_decoder ptx_decode_warp(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
