/* SPDX-License-Identifier: MIT */
/*
 * Two or four elements for each lane, which are one access, aligned to its size: as lanes in a row,
 * or as one place for all lanes of a segment. All others are left to the handlers, which read and
 * write a lane's elements as a whole.
 */
#include "soft/jit/emit_memory.h"

static const enum vgpu_operand element_rows[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};

/* Element n of each of `count` lanes, over and over, as 32 lanes. */
static struct jit_text pick(struct jit_emitter *e, struct jit_text whole, unsigned bits,
                            unsigned count, unsigned of, unsigned n)
{
    unsigned lanes[VGPU_LANES];

    for (unsigned l = 0; l < VGPU_LANES; l++)
        lanes[l] = l % count * of + n;
    return jit_choose_lanes(e, bits, count * of, &whole, NULL, lanes, VGPU_LANES);
}

static void load_rows(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    unsigned of = e->plan->unit->code[e->pc].y, bytes = of * op->from / 8u;
    struct jit_text lanes[4] = {{""}, {""}, {""}, {""}}, whole;

    for (unsigned k = 0; k < VGPU_SEGMENTS;) {
        unsigned n = jit_run_of(&a->form, k, bytes), count = n * VGPU_SEGMENT_LANES;

        whole =
            jit_load(e, jit_vector(count * of, op->from).s, jit_segment_address(e, a, k), 0, bytes);
        for (unsigned i = 0; i < of; i++)
            lanes[i] = jit_merge(e, lanes[i], pick(e, whole, op->from, count, of, i),
                                 k * VGPU_SEGMENT_LANES, count, op->from);
        k += n;
    }
    for (unsigned i = 0; i < of; i++)
        jit_write_lanes(e, element_rows[i], op->bits, jit_extend(e, op, lanes[i], true));
}

static void load_flat(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    unsigned of = e->plan->unit->code[e->pc].y, bytes = of * op->from / 8u;
    struct jit_form form = jit_result_form(e->plan, e->pc, op);
    struct jit_text type = jit_vector(of, op->from), whole[VGPU_SEGMENTS] = {0};

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (form.group[k] == k)
            whole[k] = jit_load(e, type.s, jit_segment_address(e, a, k), 0, bytes);
    }
    for (unsigned i = 0; i < of; i++) {
        struct jit_value r = {.form = form, .bits = op->bits};

        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
            if (form.group[k] == k)
                r.symbol[k] = jit_extend(
                    e, op, jit_emit(e, "extractelement %s %s, i32 %u", type.s, whole[k].s, i),
                    false);
        }
        jit_write(e, element_rows[i], &r);
    }
}

/* The elements of two operands of `count` lanes from `first` on side by side, `size` at a time. */
static struct jit_text weave(struct jit_emitter *e, unsigned bits, unsigned from,
                             const struct jit_text *a, const struct jit_text *b, unsigned first,
                             unsigned count, unsigned size)
{
    unsigned lanes[4 * VGPU_LANES];

    for (unsigned l = 0; l < count; l++) {
        for (unsigned n = 0; n < size; n++) {
            lanes[2 * l * size + n] = (first + l) * size + n;
            lanes[(2 * l + 1) * size + n] = from + (first + l) * size + n;
        }
    }
    return jit_choose_lanes(e, bits, from, a, b, lanes, 2 * count * size);
}

/* Lanes from `first` on, with their elements side by side. */
static struct jit_text interleave(struct jit_emitter *e, const struct jit_text *values, unsigned of,
                                  unsigned bits, unsigned first, unsigned count)
{
    struct jit_text low = weave(e, bits, VGPU_LANES, &values[0], &values[1], first, count, 1), high;

    if (of == 2)
        return low;
    high = weave(e, bits, VGPU_LANES, &values[2], &values[3], first, count, 1);
    return weave(e, bits, 2 * count, &low, &high, 0, count, 2);
}

static void store_rows(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    unsigned of = e->plan->unit->code[e->pc].y, bytes = of * op->from / 8u;
    struct jit_text values[4] = {0};

    for (unsigned i = 0; i < of; i++) {
        struct jit_value v = jit_read(e, element_rows[i]);

        values[i] = jit_expand(e, &v);
        if (op->from < op->bits)
            values[i] = jit_emit(e, "trunc %s %s to %s", jit_type(op->bits, true), values[i].s,
                                 jit_type(op->from, true));
    }
    for (unsigned k = 0; k < VGPU_SEGMENTS;) {
        unsigned n = jit_run_of(&a->form, k, bytes), count = n * VGPU_SEGMENT_LANES;

        jit_store(e, jit_vector(count * of, op->from).s,
                  interleave(e, values, of, op->from, k * VGPU_SEGMENT_LANES, count),
                  jit_segment_address(e, a, k), 0, bytes);
        k += n;
    }
}

bool jit_emit_elements(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    uint32_t bytes = jit_plan_bytes(e->plan, e->pc, op);
    bool load = op->rule == JIT_RULE_LOAD, rows;

    if (!jit_form_reaches(&a->form, bytes))
        return false;
    rows = a->form.stride == bytes;
    if (!rows && !(load && jit_form_is_flat(&a->form) && op->bits != 16))
        return false;
    jit_check_line(e, a, bytes);
    if (load)
        jit_fetch_ahead(e, a);
    if (!load)
        store_rows(e, op, a);
    else if (rows)
        load_rows(e, op, a);
    else
        load_flat(e, op, a);
    return true;
}
