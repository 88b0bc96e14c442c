/* SPDX-License-Identifier: MIT */
/* Copies of boxes of tensors, which a map in memory describes. */
#include "soft/ptx/parser.h"

#include <errno.h>

#include "soft/simt/tensor_map.h"

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* [map, {coordinates}]: the coordinates go before, the row of the map's address comes back. */
static uint32_t take_map(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         uint32_t rank)
{
    if (o->kind != PTX_OPERAND_ADDRESS || !o->has_register || o->bits != 0 ||
        ptx_type_width(o->type) != VGPU_ROW_64) {
        ptx_unsupported(p, s, "a tensor map that is not in a register");
        return 0;
    }
    if (o->count != rank) {
        ptx_fail(p, -EINVAL, s->line, "a tensor of %u dimensions with %u coordinates", rank,
                 o->count);
        return 0;
    }
    for (uint32_t d = 0; d < rank && p->error == 0; d++) {
        uint32_t source = ptx_source(p, s, &s->elements[o->first + d], NAMED("s32"));
        struct ptx_build b = ptx_begin(p, s, "texture_argument");

        ptx_use(&b, VGPU_A, source);
        b.inst.x = (uint8_t)d;
        ptx_push(p, &b);
    }
    return o->ref;
}

static uint32_t take_rank(struct ptx_statement *s)
{
    static const char *const names[] = {"1d", "2d", "3d", "4d", "5d"};
    uint32_t rank = 0;

    while (rank < VGPU_TENSOR_RANK && !ptx_part(s, names[rank]))
        rank++;
    return rank + 1;
}

/* cp.async.bulk.tensor.rank.to.from{.tile}.completion, and the like; `copy` is for a store. */
void ptx_decode_tensor_copy(struct ptx_parser *p, struct ptx_statement *s, uint8_t copy)
{
    uint32_t rank = take_rank(s), map, shared, counted = 0, blocks = 0;
    bool load = ptx_part(s, "mbarrier::complete_tx::bytes"), several;
    struct ptx_build b;

    several = ptx_part(s, "multicast::cluster");
    if (!load)
        ptx_part(s, "bulk_group");
    ptx_part(s, "tile");
    ptx_part(s, "cta_group::1");
    ptx_part(s, "global");
    if (!ptx_part(s, "shared::cta"))
        ptx_part(s, "shared::cluster");
    if (ptx_part(s, "L2::cache_hint") && s->operand_count > 0)
        s->operand_count--;
    if (rank > VGPU_TENSOR_RANK) {
        ptx_unsupported(p, s, "the dimensions");
        return;
    }
    if (!ptx_want(p, s, 2u + load + several) || !ptx_all_parts(p, s))
        return;
    shared = ptx_generic_row(p, s, &s->operands[load ? 0 : 1], VGPU_SPACE_SHARED);
    if (load)
        counted = ptx_generic_row(p, s, &s->operands[2], VGPU_SPACE_SHARED);
    if (several)
        blocks = ptx_source(p, s, &s->operands[3], NAMED("b16"));
    map = take_map(p, s, &s->operands[load ? 1 : 0], rank);
    b = ptx_begin(p, s, "tensor_copy");
    ptx_use(&b, VGPU_A, map);
    ptx_use(&b, VGPU_B, shared);
    if (load)
        ptx_use(&b, VGPU_E, counted);
    if (several)
        ptx_use(&b, VGPU_F, blocks);
    b.inst.x = load ? VGPU_TENSOR_LOAD : copy;
    b.inst.y = (uint8_t)rank;
    ptx_push(p, &b);
}

/* tensormap.cp_fenceproxy [to], [from], 128: a copy that others see */
void ptx_decode_tensormap(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const parts[] = {
        "global", "shared::cta", "tensormap::generic", "release", "cta", "cluster", "gpu", "sys",
        "sync",   "aligned"};
    uint32_t to, from;
    struct ptx_build b;

    if (!ptx_part(s, "cp_fenceproxy")) {
        ptx_unsupported(p, s, "the operation");
        return;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        ptx_part(s, parts[i]);
    if (!ptx_want(p, s, 3) || !ptx_all_parts(p, s))
        return;
    if (s->operands[2].kind != PTX_OPERAND_INTEGER ||
        s->operands[2].bits != VGPU_TENSOR_MAP_BYTES) {
        ptx_unsupported(p, s, "this size");
        return;
    }
    to = ptx_generic_row(p, s, &s->operands[0], VGPU_SPACE_GLOBAL);
    from = ptx_generic_row(p, s, &s->operands[1], VGPU_SPACE_SHARED);
    b = ptx_begin(p, s, "cp_async_bulk");
    ptx_use(&b, VGPU_A, to);
    ptx_use(&b, VGPU_B, from);
    ptx_use(&b, VGPU_C, ptx_constant(p, VGPU_ROW_32, VGPU_TENSOR_MAP_BYTES, -1));
    ptx_push(p, &b);
}
