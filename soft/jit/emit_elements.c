/* SPDX-License-Identifier: MIT */
/*
 * Two or four elements for each lane, which are one access, aligned to its size: as lanes in a row,
 * or as one place for all lanes of a segment. All others are left to the handlers, which read and
 * write a lane's elements as a whole.
 */
#include "soft/jit/emit_memory.h"

static const enum vgpu_operand element_rows[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};

static struct jit_text extend(struct jit_emitter *e, const struct jit_op *op, struct jit_text v,
                              bool lanes)
{
    if (op->from >= op->bits)
        return v;
    return jit_emit(e, "%s %s %s to %s", op->is_signed ? "sext" : "zext", jit_type(op->from, lanes),
                    v.s, jit_type(op->bits, lanes));
}

static void vector_name(char *text, size_t size, unsigned lanes, unsigned bits)
{
    snprintf(text, size, "<%u x i%u>", lanes, bits);
}

/* Element n of each of `count` lanes, as the lanes from 0 on of 32. */
static struct jit_text pick(struct jit_emitter *e, struct jit_text whole, const char *type,
                            unsigned count, unsigned of, unsigned n)
{
    struct jit_text r;

    snprintf(r.s, sizeof(r.s), "%%v%u", e->next++);
    fprintf(e->out, "  %s = shufflevector %s %s, %s undef, <32 x i32> <", r.s, type, whole.s, type);
    for (unsigned l = 0; l < VGPU_LANES; l++)
        fprintf(e->out, "%si32 %u", l > 0 ? ", " : "", l % count * of + n);
    fputs(">\n", e->out);
    return r;
}

static void load_rows(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    unsigned of = e->plan->unit->code[e->pc].y, bytes = of * op->from / 8u;
    struct jit_text lanes[4] = {{""}, {""}, {""}, {""}}, whole;

    for (unsigned k = 0; k < VGPU_SEGMENTS;) {
        unsigned n = jit_run_of(&a->form, k, bytes), count = n * VGPU_SEGMENT_LANES;
        char type[24];

        vector_name(type, sizeof(type), count * of, op->from);
        whole = jit_load(e, type, jit_segment_address(e, a, k), 0, bytes);
        for (unsigned i = 0; i < of; i++)
            lanes[i] = jit_merge(e, lanes[i], pick(e, whole, type, count, of, i),
                                 k * VGPU_SEGMENT_LANES, count, op->from);
        k += n;
    }
    for (unsigned i = 0; i < of; i++)
        jit_write_lanes(e, element_rows[i], op->bits, extend(e, op, lanes[i], true));
}

static void load_flat(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    unsigned of = e->plan->unit->code[e->pc].y, bytes = of * op->from / 8u;
    struct jit_value r[4];
    struct jit_text whole;
    char type[24];

    for (unsigned i = 0; i < of; i++)
        r[i] = (struct jit_value){.form = jit_result_form(e->plan, e->pc, op), .bits = op->bits};
    vector_name(type, sizeof(type), of, op->from);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (r[0].form.group[k] != k)
            continue;
        whole = jit_load(e, type, jit_segment_address(e, a, k), 0, bytes);
        for (unsigned i = 0; i < of; i++)
            r[i].symbol[k] =
                extend(e, op, jit_emit(e, "extractelement %s %s, i32 %u", type, whole.s, i), false);
    }
    for (unsigned i = 0; i < of; i++)
        jit_write(e, element_rows[i], &r[i]);
}

/* Lanes from `first` on, with their elements side by side. */
static struct jit_text interleave(struct jit_emitter *e, const struct jit_text *values, unsigned of,
                                  unsigned bits, unsigned first, unsigned count)
{
    struct jit_text pairs[2], r;

    for (unsigned p = 0; p < of / 2; p++) {
        snprintf(pairs[p].s, sizeof(pairs[p].s), "%%v%u", e->next++);
        fprintf(e->out, "  %s = shufflevector <32 x i%u> %s, <32 x i%u> %s, <%u x i32> <",
                pairs[p].s, bits, values[2 * p].s, bits, values[2 * p + 1].s, 2 * count);
        for (unsigned l = 0; l < count; l++)
            fprintf(e->out, "%si32 %u, i32 %u", l > 0 ? ", " : "", first + l,
                    VGPU_LANES + first + l);
        fputs(">\n", e->out);
    }
    if (of == 2)
        return pairs[0];
    snprintf(r.s, sizeof(r.s), "%%v%u", e->next++);
    fprintf(e->out, "  %s = shufflevector <%u x i%u> %s, <%u x i%u> %s, <%u x i32> <", r.s,
            2 * count, bits, pairs[0].s, 2 * count, bits, pairs[1].s, 4 * count);
    for (unsigned l = 0; l < count; l++)
        fprintf(e->out, "%si32 %u, i32 %u, i32 %u, i32 %u", l > 0 ? ", " : "", 2 * l, 2 * l + 1,
                2 * count + 2 * l, 2 * count + 2 * l + 1);
    fputs(">\n", e->out);
    return r;
}

static void store_rows(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    unsigned of = e->plan->unit->code[e->pc].y, bytes = of * op->from / 8u;
    struct jit_text values[4];

    for (unsigned i = 0; i < of; i++) {
        struct jit_value v = jit_read(e, element_rows[i]);

        values[i] = jit_expand(e, &v);
        if (op->from < op->bits)
            values[i] = jit_emit(e, "trunc %s %s to %s", jit_type(op->bits, true), values[i].s,
                                 jit_type(op->from, true));
    }
    for (unsigned k = 0; k < VGPU_SEGMENTS;) {
        unsigned n = jit_run_of(&a->form, k, bytes), count = n * VGPU_SEGMENT_LANES;
        char type[24];

        vector_name(type, sizeof(type), count * of, op->from);
        jit_store(e, type, interleave(e, values, of, op->from, k * VGPU_SEGMENT_LANES, count),
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
