/* SPDX-License-Identifier: MIT */
/* cp.async, cp.async.bulk, mbarrier, fences. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>

#include "soft/simt/tensor_map.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* ---- cp.async ---- */

static void decode_copy_arrival(struct ptx_parser *p, struct ptx_statement *s);

/* cp.async.ca.shared.global [to], [from], bytes{, bytes that are read | ignored if true} */
static void decode_small_copy(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_operand *last = &s->operands[3];
    const struct ptx_type *u32 = NAMED("u32");
    struct ptx_place to, from;
    bool negated = false;
    uint64_t bytes;
    uint32_t read;
    struct ptx_build b;

    ptx_part_ordering(s);
    if (!ptx_part(s, "shared::cta") && !ptx_part(s, "shared::cluster"))
        ptx_part(s, "shared");
    ptx_part(s, "global");
    if (!ptx_all_parts(p, s))
        return;
    if (s->operand_count < 3 || s->operand_count > 4 ||
        s->operands[2].kind != PTX_OPERAND_INTEGER) {
        ptx_unsupported(p, s, "these operands");
        return;
    }
    bytes = s->operands[2].bits;
    if (bytes != 4 && bytes != 8 && bytes != 16) {
        ptx_unsupported(p, s, "this size");
        return;
    }
    to = ptx_address(p, s, &s->operands[0], VGPU_SPACE_SHARED);
    from = ptx_address(p, s, &s->operands[1], VGPU_SPACE_GLOBAL);
    read = ptx_constant(p, VGPU_ROW_32, bytes, -1);
    if (s->operand_count == 4 && last->kind == PTX_OPERAND_REGISTER &&
        last->type->kind == PTX_PRED) {
        uint32_t ignore = ptx_predicate(p, s, last, &negated), zero, count;

        zero = ptx_constant(p, VGPU_ROW_32, 0, -1);
        count = ptx_new_register(p, VGPU_ROW_32);
        b = ptx_begin(p, s, "selp_b32");
        ptx_define(&b, VGPU_D, count);
        ptx_use(&b, VGPU_A, negated ? read : zero);
        ptx_use(&b, VGPU_B, negated ? zero : read);
        ptx_use(&b, VGPU_C, ignore);
        ptx_push(p, &b);
        read = count;
    } else if (s->operand_count == 4) {
        read = ptx_source(p, s, last, u32);
    }
    b = ptx_begin(p, s, "cp_async");
    ptx_set_place(&b, &to, VGPU_SPACE_SHARED, 0);
    b.inst.y = (uint8_t)bytes;
    ptx_use(&b, VGPU_B, from.ref);
    ptx_use(&b, VGPU_C, ptx_constant(p, VGPU_ROW_64, (uint64_t)from.offset, -1));
    ptx_use(&b, VGPU_E, read);
    ptx_push(p, &b);
}

uint32_t ptx_generic_row(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         enum vgpu_space space)
{
    struct ptx_place place = ptx_address(p, s, o, space);
    uint32_t row = place.ref, sum;
    struct ptx_build b;

    if (p->error != 0)
        return 0;
    if (place.narrow) {
        row = ptx_new_register(p, VGPU_ROW_64);
        ptx_emit1(p, s, "ext_u32_32_64", row, place.ref);
    }
    sum = ptx_new_register(p, VGPU_ROW_64);
    b = ptx_begin(p, s, "add_b64");
    ptx_define(&b, VGPU_D, sum);
    ptx_use(&b, VGPU_A, row);
    ptx_use(
        &b, VGPU_B,
        ptx_constant(p, VGPU_ROW_64,
                     (uint64_t)place.offset + (space == VGPU_SPACE_SHARED ? VGPU_WINDOW_SHARED : 0),
                     -1));
    ptx_push(p, &b);
    return sum;
}

/* cp.async.bulk.to.from.completion [to], [from], bytes{, [barrier]}{, mask of blocks}, and the same
   with a reduction; `first` is where in the parts the target's space is. */
static void decode_bulk_copy(struct ptx_parser *p, struct ptx_statement *s, const char *key,
                             struct ptx_build how, uint32_t first)
{
    bool barrier = ptx_part(s, "mbarrier::complete_tx::bytes"), several;
    uint32_t to, from, bytes, counted = 0, blocks = 0;
    enum vgpu_space target, source;
    struct ptx_build b;

    if (!barrier)
        ptx_part(s, "bulk_group");
    if (ptx_part(s, "L2::cache_hint") && s->operand_count > 0)
        s->operand_count--;
    several = barrier && ptx_part(s, "multicast::cluster");
    /* "global" comes first only where it is the target; two kinds of shared memory are one. */
    target = s->part_count > first && ptx_slice_is(s->parts[first], "global") ? VGPU_SPACE_GLOBAL
                                                                              : VGPU_SPACE_SHARED;
    source = ptx_part_space(s) == VGPU_SPACE_GLOBAL && target != VGPU_SPACE_GLOBAL
                 ? VGPU_SPACE_GLOBAL
                 : VGPU_SPACE_SHARED;
    ptx_part_space(s);
    if (!ptx_want(p, s, 3u + barrier + several) || !ptx_all_parts(p, s))
        return;
    to = ptx_generic_row(p, s, &s->operands[0], target);
    from = ptx_generic_row(p, s, &s->operands[1], source);
    bytes = ptx_source(p, s, &s->operands[2], NAMED("u32"));
    if (barrier)
        counted = ptx_generic_row(p, s, &s->operands[3], VGPU_SPACE_SHARED);
    if (several)
        blocks = ptx_source(p, s, &s->operands[4], NAMED("b16"));
    b = ptx_begin(p, s, key);
    b.inst.x = how.inst.x;
    b.inst.y = how.inst.y;
    ptx_use(&b, VGPU_A, to);
    ptx_use(&b, VGPU_B, from);
    ptx_use(&b, VGPU_C, bytes);
    if (barrier)
        ptx_use(&b, VGPU_E, counted);
    if (several)
        ptx_use(&b, VGPU_F, blocks);
    ptx_push(p, &b);
}

/* cp.reduce.async.bulk.to.from.completion.op.type [to], [from], bytes{, [barrier]} */
static void decode_bulk_reduction(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const operations[] = {
        [VGPU_REDUCE_ADD] = "add", [VGPU_REDUCE_MIN] = "min", [VGPU_REDUCE_MAX] = "max",
        [VGPU_REDUCE_INC] = "inc", [VGPU_REDUCE_DEC] = "dec", [VGPU_REDUCE_AND] = "and",
        [VGPU_REDUCE_OR] = "or",   [VGPU_REDUCE_XOR] = "xor"};
    static const struct {
        const char *name;
        uint8_t type;
    } types[] = {{"u32", VGPU_REDUCE_U32}, {"b32", VGPU_REDUCE_U32},   {"s32", VGPU_REDUCE_S32},
                 {"u64", VGPU_REDUCE_U64}, {"b64", VGPU_REDUCE_U64},   {"s64", VGPU_REDUCE_S64},
                 {"f16", VGPU_REDUCE_F16}, {"bf16", VGPU_REDUCE_BF16}, {"f32", VGPU_REDUCE_F32},
                 {"f64", VGPU_REDUCE_F64}};
    struct ptx_build how = {0};
    size_t operation = 0, type = 0;

    while (operation < COUNT(operations) && !ptx_part(s, operations[operation]))
        operation++;
    if (operation < COUNT(operations) && ptx_part(s, "tensor")) {
        ptx_part(s, "async");
        ptx_part(s, "bulk");
        ptx_decode_tensor_copy(p, s, (uint8_t)(VGPU_TENSOR_REDUCE + operation));
        return;
    }
    ptx_part(s, "noftz");
    while (type < COUNT(types) && !ptx_part(s, types[type].name))
        type++;
    if (!ptx_part(s, "async") || !ptx_part(s, "bulk") || operation == COUNT(operations) ||
        type == COUNT(types)) {
        ptx_unsupported(p, s, "the operation or the type");
        return;
    }
    if (operation != VGPU_REDUCE_ADD && types[type].type >= VGPU_REDUCE_F32) {
        ptx_unsupported(p, s, "the operation for this type");
        return;
    }
    how.inst.x = (uint8_t)operation;
    how.inst.y = types[type].type;
    decode_bulk_copy(p, s, "cp_reduce_bulk", how, 3);
}

static bool has_coordinates(const struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->operand_count; i++) {
        if (s->operands[i].kind == PTX_OPERAND_ADDRESS && s->operands[i].count > 0)
            return true;
    }
    return false;
}

static void decode_copy(struct ptx_parser *p, struct ptx_statement *s)
{
    bool bulk;

    if (ptx_part(s, "reduce")) {
        decode_bulk_reduction(p, s);
        return;
    }
    if (!ptx_part(s, "async")) {
        ptx_unsupported(p, s, "only cp.async");
        return;
    }
    bulk = ptx_part(s, "bulk");
    /* Copies are done when they are issued: there is nothing to commit or to wait for. */
    if (ptx_part(s, "commit_group") || ptx_part(s, "wait_group") || ptx_part(s, "wait_all") ||
        (bulk && ptx_part(s, "prefetch"))) {
        ptx_part(s, "read");
        if (bulk) {
            static const char *const tensors[] = {"tensor", "1d", "2d", "3d", "4d", "5d", "tile"};

            for (size_t i = 0; i < COUNT(tensors); i++)
                ptx_part(s, tensors[i]);
            ptx_part(s, "L2");
            ptx_part(s, "global");
            ptx_part(s, "L2::cache_hint");
        }
        ptx_all_parts(p, s);
        return;
    }
    if (ptx_part(s, "mbarrier"))
        decode_copy_arrival(p, s);
    else if (bulk && ptx_part(s, "tensor"))
        ptx_decode_tensor_copy(p, s, VGPU_TENSOR_STORE);
    else if (has_coordinates(s))
        ptx_unsupported(p, s, "an address with coordinates");
    else if (bulk)
        decode_bulk_copy(p, s, "cp_async_bulk", (struct ptx_build){0}, 2);
    else
        decode_small_copy(p, s);
}

/* ---- mbarrier ---- */

static struct ptx_build begin_barrier(struct ptx_parser *p, struct ptx_statement *s,
                                      const char *key, const struct ptx_operand *o)
{
    enum vgpu_space space = ptx_part_space(s);
    struct ptx_place place = ptx_address(p, s, o, space);
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_set_place(&b, &place, space, 0);
    return b;
}

/* Everything but the space. */
static void take_barrier_parts(struct ptx_statement *s)
{
    ptx_part_ordering(s);
    ptx_part(s, "b64");
}

static void push_arrival(struct ptx_parser *p, struct ptx_statement *s,
                         const struct ptx_operand *state, const struct ptx_operand *address,
                         uint32_t count, uint8_t flags)
{
    struct ptx_build b = begin_barrier(p, s, "mbarrier_arrive", address);

    if (!ptx_all_parts(p, s))
        return;
    ptx_use(&b, VGPU_B, count);
    if (state != NULL && state->kind != PTX_OPERAND_SINK)
        ptx_define(&b, VGPU_D, ptx_destination(p, s, state, NAMED("b64")));
    b.inst.y = flags;
    ptx_push(p, &b);
}

/* mbarrier.arrive{.expect_tx} {state,} [barrier]{, count} */
static void decode_arrive(struct ptx_parser *p, struct ptx_statement *s, bool drop)
{
    bool expects = ptx_part(s, "expect_tx");
    const struct ptx_operand *o = s->operands, *state = NULL;
    uint32_t n = s->operand_count, count;

    ptx_part(s, "noComplete");
    take_barrier_parts(s);
    if (n > 0 && o->kind != PTX_OPERAND_ADDRESS) {
        state = o++;
        n--;
    }
    if (n == 0 || n > 2 || (expects && n != 2)) {
        ptx_unsupported(p, s, "these operands");
        return;
    }
    count = n == 2 ? ptx_source(p, s, &o[1], NAMED("u32")) : ptx_constant(p, VGPU_ROW_32, 1, -1);
    push_arrival(p, s, state, o, count, (uint8_t)((drop ? 1 : 0) | (expects ? 2 : 0)));
}

/* cp.async.mbarrier.arrive: the thread's copies are done, so this arrives at once; without .noinc
   it is an arrival that was not counted before, and that changes nothing. */
static void decode_copy_arrival(struct ptx_parser *p, struct ptx_statement *s)
{
    bool counted;

    ptx_part(s, "arrive");
    counted = ptx_part(s, "noinc");
    ptx_part(s, "b64");
    if (!ptx_want(p, s, 1))
        return;
    if (counted) {
        push_arrival(p, s, NULL, &s->operands[0], ptx_constant(p, VGPU_ROW_32, 1, -1), 0);
    } else {
        ptx_part_space(s);
        ptx_all_parts(p, s);
    }
}

/* mbarrier.test_wait{.parity} done, [barrier], state or parity; try_wait has a time as well */
static void decode_wait(struct ptx_parser *p, struct ptx_statement *s, bool may_suspend)
{
    bool parity = ptx_part(s, "parity");
    uint32_t phase;
    struct ptx_build b;

    take_barrier_parts(s);
    if (may_suspend && s->operand_count == 4)
        s->operand_count--;
    if (!ptx_want(p, s, 3))
        return;
    phase = ptx_source(p, s, &s->operands[2], parity ? NAMED("b32") : NAMED("b64"));
    b = begin_barrier(p, s, "mbarrier_wait", &s->operands[1]);
    if (!ptx_all_parts(p, s))
        return;
    ptx_use(&b, VGPU_B, phase);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], NAMED("pred")));
    b.inst.y = parity;
    ptx_push(p, &b);
}

/* init and expect_tx and complete_tx: [barrier], number */
static void decode_barrier_number(struct ptx_parser *p, struct ptx_statement *s, const char *key,
                                  uint8_t y)
{
    uint32_t number;
    struct ptx_build b;

    take_barrier_parts(s);
    if (!ptx_want(p, s, 2))
        return;
    number = ptx_source(p, s, &s->operands[1], NAMED("u32"));
    b = begin_barrier(p, s, key, &s->operands[0]);
    if (!ptx_all_parts(p, s))
        return;
    ptx_use(&b, VGPU_B, number);
    b.inst.y = y;
    ptx_push(p, &b);
}

static void decode_mbarrier(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *types[2] = {NAMED("b32"), NAMED("b64")};

    if (ptx_part(s, "init")) {
        decode_barrier_number(p, s, "mbarrier_init", 0);
    } else if (ptx_part(s, "arrive")) {
        decode_arrive(p, s, false);
    } else if (ptx_part(s, "arrive_drop")) {
        decode_arrive(p, s, true);
    } else if (ptx_part(s, "test_wait")) {
        decode_wait(p, s, false);
    } else if (ptx_part(s, "try_wait")) {
        decode_wait(p, s, true);
    } else if (ptx_part(s, "expect_tx")) {
        decode_barrier_number(p, s, "mbarrier_tx", 0);
    } else if (ptx_part(s, "complete_tx")) {
        decode_barrier_number(p, s, "mbarrier_tx", 1);
    } else if (ptx_part(s, "pending_count")) {
        struct ptx_build b;

        ptx_part(s, "b64");
        b = ptx_form(p, s, "mbarrier_pending", types, 1);
        ptx_push(p, &b);
    } else if (ptx_part(s, "inval")) {
        /* The memory may be used for something else now. */
        take_barrier_parts(s);
        ptx_part_space(s);
        if (ptx_want(p, s, 1))
            ptx_all_parts(p, s);
    } else {
        ptx_unsupported(p, s, "the operation");
    }
}

void ptx_emit_completion(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         uint32_t bytes)
{
    struct ptx_place place = ptx_address(p, s, o, VGPU_SPACE_SHARED);
    struct ptx_build b = ptx_begin(p, s, "mbarrier_tx");

    ptx_set_place(&b, &place, VGPU_SPACE_SHARED, 0);
    ptx_use(&b, VGPU_B, ptx_constant(p, VGPU_ROW_32, bytes, -1));
    b.inst.y = 1;
    ptx_push(p, &b);
}

/* st.bulk [a], bytes, 0 */
void ptx_decode_clear(struct ptx_parser *p, struct ptx_statement *s, enum vgpu_space space)
{
    uint32_t to, bytes;
    struct ptx_build b;

    ptx_part(s, "weak");
    if (!ptx_want(p, s, 3) || !ptx_all_parts(p, s))
        return;
    if (s->operands[2].kind != PTX_OPERAND_INTEGER || s->operands[2].bits != 0) {
        ptx_unsupported(p, s, "a value that is not 0");
        return;
    }
    to = ptx_generic_row(p, s, &s->operands[0], space);
    bytes = ptx_source(p, s, &s->operands[1], NAMED("u64"));
    b = ptx_begin(p, s, "st_bulk");
    ptx_use(&b, VGPU_A, to);
    ptx_use(&b, VGPU_B, bytes);
    ptx_push(p, &b);
}

/* ---- multicast ---- */

/*
 * multimem.{ld_reduce,st,red}: of addresses of multicast objects, which the driver has none of. So
 * whatever the address is, it is no such one; kernels for several devices that are only loaded, or
 * that find out that there is one device, are none the worse.
 */
static void decode_multimem(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const parts[] = {"st",  "red", "min", "max", "add",      "and",     "or",
                                        "xor", "v2",  "v4",  "v8",  "acc::f32", "acc::f16"};
    uint32_t address = ptx_part(s, "ld_reduce") ? 1 : 0, row;
    struct ptx_build b;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        ptx_part(s, parts[i]);
    ptx_part_ordering(s);
    ptx_part(s, "global");
    if (ptx_part_type(s) == NULL || !ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    row = ptx_generic_row(p, s, &s->operands[address], VGPU_SPACE_GLOBAL);
    b = ptx_begin(p, s, "multimem");
    ptx_use(&b, VGPU_A, row);
    ptx_push(p, &b);
}

/* ---- fences ---- */

static void decode_fence(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const levels[] = {"sc",
                                         "acq_rel",
                                         "acquire",
                                         "release",
                                         "cta",
                                         "gl",
                                         "gpu",
                                         "sys",
                                         "cluster",
                                         "proxy",
                                         "alias",
                                         "async",
                                         "global",
                                         "shared::cta",
                                         "shared::cluster",
                                         "mbarrier_init",
                                         "tensormap::generic",
                                         "async::generic",
                                         "sync_restrict::shared::cta",
                                         "sync_restrict::shared::cluster"};
    struct ptx_build b;

    for (size_t i = 0; i < COUNT(levels); i++)
        ptx_part(s, levels[i]);
    /* The one about tensor maps has an address and a size, which do not matter. */
    if ((s->operand_count != 2 && !ptx_want(p, s, 0)) || !ptx_all_parts(p, s))
        return;
    b = ptx_begin(p, s, "fence");
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"cp", decode_copy},     {"mbarrier", decode_mbarrier},       {"membar", decode_fence},
    {"fence", decode_fence}, {"tensormap", ptx_decode_tensormap}, {"multimem", decode_multimem},
};

ptx_decoder ptx_decode_async(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
