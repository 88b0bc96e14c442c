/* SPDX-License-Identifier: MIT */
/* Clusters of blocks: addresses in them, and blocks that have not begun. */
#include "soft/ptx/parser.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* mapa: where something of this block is in block b of the cluster */
static void decode_mapa(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type;
    uint32_t address, rank;
    struct ptx_build b;
    char key[16];

    ptx_part_space(s);
    type = ptx_part_type(s);
    if (type == NULL || type->bits < 32) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (!ptx_want(p, s, 3) || !ptx_all_parts(p, s))
        return;
    snprintf(key, sizeof(key), "mapa_%u", type->bits);
    address = ptx_source(p, s, &s->operands[1], type);
    rank = ptx_source(p, s, &s->operands[2], NAMED("u32"));
    b = ptx_begin(p, s, key);
    ptx_use(&b, VGPU_A, address);
    ptx_use(&b, VGPU_B, rank);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    ptx_push(p, &b);
}

/* getctarank: the other way round */
static void decode_rank(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type;
    char key[20];

    ptx_part_space(s);
    type = ptx_part_type(s);
    if (type == NULL || type->bits < 32) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    snprintf(key, sizeof(key), "getctarank_%u", type->bits);
    if (ptx_want(p, s, 2) && ptx_all_parts(p, s))
        ptx_emit1(p, s, key, ptx_destination(p, s, &s->operands[0], NAMED("u32")),
                  ptx_source(p, s, &s->operands[1], type));
}

/* The lower half of an answer, in a row of its own. */
static uint32_t answer_half(struct ptx_parser *p, struct ptx_statement *s,
                            const struct ptx_operand *o)
{
    uint32_t source = ptx_source(p, s, o, NAMED("b128")), low = ptx_new_register(p, VGPU_ROW_64);
    struct ptx_build b = ptx_begin(p, s, "unpack_128_64");

    ptx_use(&b, VGPU_A, source);
    ptx_define(&b, VGPU_D, low);
    ptx_define(&b, VGPU_B, ptx_new_register(p, VGPU_ROW_64));
    ptx_push(p, &b);
    return low;
}

/* clusterlaunchcontrol.query_cancel.is_canceled: whether the answer is not 0. Where the first block
   is that was cancelled is not said if there is none, and is the answer's words here. */
static void decode_cancel_query(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const words[] = {"get_first_ctaid", "get_first_ctaid::x",
                                        "get_first_ctaid::y", "get_first_ctaid::z"};
    const struct ptx_operand *to = &s->operands[0];
    uint32_t low;

    if (ptx_part(s, "is_canceled")) {
        struct ptx_build b;

        ptx_part(s, "pred");
        ptx_part(s, "b128");
        if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
            return;
        low = answer_half(p, s, &s->operands[1]);
        b = ptx_begin(p, s, "setp_ne_b64");
        ptx_define(&b, VGPU_D, ptx_destination(p, s, to, NAMED("pred")));
        ptx_use(&b, VGPU_A, low);
        ptx_use(&b, VGPU_B, ptx_constant(p, VGPU_ROW_64, 0, -1));
        ptx_push(p, &b);
        return;
    }
    for (size_t i = 0; i < COUNT(words); i++)
        ptx_part(s, words[i]);
    ptx_part(s, "v4");
    ptx_part(s, "b32");
    ptx_part(s, "b128");
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    for (uint32_t n = 0; n < (to->kind == PTX_OPERAND_VECTOR ? to->count : 1) && p->error == 0; n++)
        ptx_emit1(p, s, "mov_b32",
                  ptx_destination(p, s,
                                  to->kind == PTX_OPERAND_VECTOR ? &s->elements[to->first + n] : to,
                                  NAMED("b32")),
                  ptx_constant(p, VGPU_ROW_32, 0, -1));
}

/*
 * clusterlaunchcontrol.try_cancel [to], [barrier]: asks for a block that has not begun yet. The
 * answer is that there is none, which it may always be: 16 bytes of zeros, that are counted at the
 * barrier.
 */
static void decode_cancel(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const parts[] = {"async", "shared::cta", "mbarrier::complete_tx::bytes",
                                        "b128"};
    uint32_t to, counted;
    struct ptx_build b;

    if (ptx_part(s, "query_cancel")) {
        decode_cancel_query(p, s);
        return;
    }
    if (!ptx_part(s, "try_cancel")) {
        ptx_unsupported(p, s, "the operation");
        return;
    }
    for (size_t i = 0; i < COUNT(parts); i++)
        ptx_part(s, parts[i]);
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    to = ptx_generic_row(p, s, &s->operands[0], VGPU_SPACE_SHARED);
    counted = ptx_constant(p, VGPU_ROW_64, 16, -1);
    b = ptx_begin(p, s, "st_bulk");
    ptx_use(&b, VGPU_A, to);
    ptx_use(&b, VGPU_B, counted);
    ptx_push(p, &b);
    ptx_emit_completion(p, s, &s->operands[1], 16);
}

static const struct ptx_opcode table[] = {
    {"mapa", decode_mapa},
    {"getctarank", decode_rank},
    {"clusterlaunchcontrol", decode_cancel},
};

ptx_decoder ptx_decode_cluster(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
