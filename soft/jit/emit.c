/* SPDX-License-Identifier: MIT */
/* Names, values and registers in LLVM's language. */
#include "soft/jit/emit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "soft/simt/half.h"

struct jit_text jit_emit(struct jit_emitter *e, const char *format, ...)
{
    struct jit_text name;
    va_list arguments;

    snprintf(name.s, sizeof(name.s), "%%v%u", e->next++);
    fprintf(e->out, "  %s = ", name.s);
    va_start(arguments, format);
    vfprintf(e->out, format, arguments);
    va_end(arguments);
    fputc('\n', e->out);
    return name;
}

struct jit_text jit_number(int64_t value)
{
    struct jit_text t;

    snprintf(t.s, sizeof(t.s), "%" PRId64, value);
    return t;
}

const char *jit_type(unsigned bits, bool lanes)
{
    static const char *const names[2][5] = {
        {"i1", "i8", "i16", "i32", "i64"},
        {"<32 x i1>", "<32 x i8>", "<32 x i16>", "<32 x i32>", "<32 x i64>"}};

    return names[lanes][bits == 1 ? 0 : bits == 8 ? 1 : bits == 16 ? 2 : bits == 32 ? 3 : 4];
}

const char *jit_float_type(unsigned bits)
{
    return bits == 32 ? "<32 x float>" : "<32 x double>";
}

const char *jit_star(const struct jit_emitter *e)
{
    return e->opaque ? "" : "*";
}

struct jit_text jit_pointer(struct jit_emitter *e, const char *type, struct jit_text address)
{
    return e->opaque ? jit_emit(e, "inttoptr i64 %s to ptr", address.s)
                     : jit_emit(e, "inttoptr i64 %s to %s*", address.s, type);
}

static struct jit_text pointer_to(struct jit_emitter *e, const char *type, struct jit_text address,
                                  int64_t offset)
{
    if (offset != 0)
        address = jit_emit(e, "add i64 %s, %" PRId64, address.s, offset);
    return jit_pointer(e, type, address);
}

struct jit_text jit_load(struct jit_emitter *e, const char *type, struct jit_text address,
                         int64_t offset, unsigned align)
{
    struct jit_text at = pointer_to(e, type, address, offset);

    return jit_emit(e, "load %s, %s%s %s, align %u", type, e->opaque ? "ptr" : type, jit_star(e),
                    at.s, align);
}

void jit_store(struct jit_emitter *e, const char *type, struct jit_text value,
               struct jit_text address, int64_t offset, unsigned align)
{
    struct jit_text at = pointer_to(e, type, address, offset);

    fprintf(e->out, "  store %s %s, %s%s %s, align %u\n", type, value.s, e->opaque ? "ptr" : type,
            jit_star(e), at.s, align);
}

/* ---- lanes ---- */

struct jit_text jit_splat(struct jit_emitter *e, unsigned bits, struct jit_text scalar)
{
    const char *type = jit_type(bits, true), *one = jit_type(bits, false);
    struct jit_text first =
        jit_emit(e, "insertelement %s undef, %s %s, i32 0", type, one, scalar.s);

    return jit_emit(e, "shufflevector %s %s, %s undef, <32 x i32> zeroinitializer", type, first.s,
                    type);
}

struct jit_text jit_vector(unsigned lanes, unsigned bits)
{
    struct jit_text t;

    snprintf(t.s, sizeof(t.s), "<%u x i%u>", lanes, bits);
    return t;
}

struct jit_text jit_choose_lanes(struct jit_emitter *e, unsigned bits, unsigned from,
                                 const struct jit_text *a, const struct jit_text *b,
                                 const unsigned *lanes, unsigned count)
{
    struct jit_text type = jit_vector(from, bits), name;

    snprintf(name.s, sizeof(name.s), "%%v%u", e->next++);
    fprintf(e->out, "  %s = shufflevector %s %s, %s %s, <%u x i32> <", name.s, type.s, a->s, type.s,
            b != NULL ? b->s : "undef", count);
    for (unsigned l = 0; l < count; l++)
        fprintf(e->out, "%si32 %u", l > 0 ? ", " : "", lanes[l]);
    fputs(">\n", e->out);
    return name;
}

/* A name for 32 constants. */
struct jit_text jit_deltas(struct jit_emitter *e, const struct jit_form *f, unsigned bits)
{
    const char *one = jit_type(bits, false);
    struct jit_text name;

    snprintf(name.s, sizeof(name.s), "%%v%u", e->next++);
    fprintf(e->out, "  %s = add %s zeroinitializer, <", name.s, jit_type(bits, true));
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        int64_t delta = jit_form_delta(f, l);

        fprintf(e->out, "%s%s %" PRId64, l > 0 ? ", " : "", one,
                bits == 32 ? (int64_t)(int32_t)delta : delta);
    }
    fputs(">\n", e->out);
    return name;
}

static bool has_deltas(const struct jit_form *f)
{
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (jit_form_delta(f, l) != 0)
            return true;
    }
    return false;
}

struct jit_text jit_expand(struct jit_emitter *e, const struct jit_value *v)
{
    const char *type = jit_type(v->bits, true), *one = jit_type(v->bits, false);
    struct jit_text lanes = {"undef"}, deltas;
    unsigned groups[VGPU_LANES];

    if (v->form.kind != JIT_LINE)
        return v->lanes;
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (v->form.group[k] == k)
            lanes = jit_emit(e, "insertelement %s %s, %s %s, i32 %u", type, lanes.s, one,
                             v->symbol[k].s, k);
    }
    for (unsigned l = 0; l < VGPU_LANES; l++)
        groups[l] = v->form.group[l / VGPU_SEGMENT_LANES];
    lanes = jit_choose_lanes(e, v->bits, VGPU_LANES, &lanes, NULL, groups, VGPU_LANES);
    if (!has_deltas(&v->form))
        return lanes;
    deltas = jit_deltas(e, &v->form, v->bits);
    return jit_emit(e, "add %s %s, %s", type, lanes.s, deltas.s);
}

static struct jit_text add_number(struct jit_emitter *e, unsigned bits, struct jit_text a,
                                  int64_t number)
{
    number = bits == 32 ? (int64_t)(int32_t)number : number;
    return number == 0 ? a : jit_emit(e, "add %s %s, %" PRId64, jit_type(bits, false), a.s, number);
}

struct jit_text jit_segment(struct jit_emitter *e, const struct jit_value *v, unsigned k)
{
    return add_number(e, v->bits, v->symbol[v->form.group[k]], v->form.offset[k]);
}

/* ---- registers ---- */

static unsigned bits_of(uint8_t width)
{
    return width == VGPU_ROW_16 ? 16 : width == VGPU_ROW_64 ? 64 : 32;
}

static uint32_t index_of(const struct jit_emitter *e, const struct jit_register *r)
{
    return (uint32_t)(r - e->plan->registers);
}

/* The lanes of an f32 with the one pattern that NaNs have. */
static struct jit_text canonical(struct jit_emitter *e, struct jit_text lanes)
{
    struct jit_text f = jit_emit(e, "bitcast <32 x i32> %s to <32 x float>", lanes.s);
    struct jit_text nan = jit_emit(e, "fcmp uno <32 x float> %s, zeroinitializer", f.s);
    struct jit_text pattern = jit_splat(e, 32, jit_number(VGPU_NAN_F32));

    return jit_emit(e, "select <32 x i1> %s, <32 x i32> %s, <32 x i32> %s", nan.s, pattern.s,
                    lanes.s);
}

static struct jit_text load_place(struct jit_emitter *e, const char *type, uint32_t index,
                                  unsigned k)
{
    return jit_emit(e, "load %s, %s%s %%r%u_%u", type, e->opaque ? "ptr" : type, jit_star(e), index,
                    k);
}

static void store_place(struct jit_emitter *e, const char *type, struct jit_text value,
                        uint32_t index, unsigned k)
{
    fprintf(e->out, "  store %s %s, %s%s %%r%u_%u\n", type, value.s, e->opaque ? "ptr" : type,
            jit_star(e), index, k);
}

static struct jit_value read_constant(struct jit_emitter *e, const struct vgpu_constant *c,
                                      uint32_t row)
{
    struct jit_value v = {.form = jit_form_uniform(0), .bits = (uint8_t)bits_of(c->width)};

    if (c->variable >= 0)
        v.symbol[0] = jit_load(e, "i64", (struct jit_text){"%constants"}, row & ~1u, 8);
    else
        v.symbol[0] = jit_number(v.bits == 16   ? (int16_t)c->value
                                 : v.bits == 32 ? (int32_t)c->value
                                                : (int64_t)c->value);
    return v;
}

static struct jit_value read_register(struct jit_emitter *e, const struct jit_register *r, bool raw)
{
    struct jit_value v = {.form = r->form, .bits = (uint8_t)bits_of(r->width)};

    for (unsigned k = 0; k < VGPU_SEGMENTS && v.form.kind == JIT_LINE; k++) {
        if (v.form.group[k] == k)
            v.symbol[k] = load_place(e, jit_type(v.bits, false), index_of(e, r), k);
    }
    if (v.form.kind != JIT_LINE) {
        v.lanes = load_place(e, jit_type(v.bits, true), index_of(e, r), 0);
        if (r->raw && !raw)
            v.lanes = canonical(e, v.lanes);
    }
    return v;
}

static struct jit_value read_operand(struct jit_emitter *e, enum vgpu_operand o, bool raw)
{
    uint32_t row = e->plan->unit->code[e->pc].row[o];
    const struct vgpu_constant *c = jit_plan_constant(e->plan, row);
    const struct jit_register *r = jit_plan_register(e->plan, row);
    struct jit_value v = {.form = jit_form_lanes(), .bits = 32};

    if (c != NULL)
        return read_constant(e, c, row);
    if (r != NULL)
        return read_register(e, r, raw);
    /* A row that belongs to the frame. */
    v.lanes = jit_load(e, "<32 x i32>", (struct jit_text){"%frame"}, row, 64);
    return v;
}

struct jit_value jit_read(struct jit_emitter *e, enum vgpu_operand o)
{
    return read_operand(e, o, false);
}

struct jit_text jit_read_float(struct jit_emitter *e, enum vgpu_operand o)
{
    struct jit_value v = read_operand(e, o, true);
    struct jit_text lanes = jit_expand(e, &v);

    return jit_emit(e, "bitcast %s %s to %s", jit_type(v.bits, true), lanes.s,
                    jit_float_type(v.bits));
}

struct jit_text jit_read_mask(struct jit_emitter *e, uint32_t row)
{
    const struct vgpu_constant *c = jit_plan_constant(e->plan, row);

    if (c != NULL)
        return jit_number(c->value != 0 ? -1 : 0);
    return load_place(e, "i32", index_of(e, jit_plan_register(e->plan, row)), 0);
}

void jit_begin_instruction(struct jit_emitter *e, uint32_t pc)
{
    uint32_t guard = e->plan->unit->code[pc].guard;

    e->pc = pc;
    e->guard = jit_number(-1);
    if (guard == 0)
        return;
    e->guard = jit_read_mask(e, guard & ~1u);
    if (guard & 1)
        e->guard = jit_emit(e, "xor i32 %s, -1", e->guard.s);
}

void jit_write_mask(struct jit_emitter *e, uint32_t row, struct jit_text mask)
{
    const struct jit_register *r = jit_plan_register(e->plan, row);
    struct jit_text m, old;

    if (e->plan->unit->code[e->pc].guard != 0) {
        m = e->guard;
        old = jit_read_mask(e, row);
        mask = jit_emit(e, "and i32 %s, %s", mask.s, m.s);
        m = jit_emit(e, "xor i32 %s, -1", m.s);
        old = jit_emit(e, "and i32 %s, %s", old.s, m.s);
        mask = jit_emit(e, "or i32 %s, %s", old.s, mask.s);
    }
    store_place(e, "i32", mask, index_of(e, r), 0);
}

void jit_write(struct jit_emitter *e, enum vgpu_operand o, const struct jit_value *v)
{
    const struct jit_register *r = jit_plan_register(e->plan, e->plan->unit->code[e->pc].row[o]);
    struct jit_text lanes, old, m;

    if (r->form.kind == JIT_LINE) {
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
            if (r->form.group[k] == k)
                store_place(e, jit_type(v->bits, false),
                            add_number(e, v->bits, v->symbol[v->form.group[k]],
                                       jit_difference(v->form.offset[k], r->form.offset[k])),
                            index_of(e, r), k);
        }
        return;
    }
    lanes = jit_expand(e, v);
    if (e->plan->unit->code[e->pc].guard != 0) {
        old = load_place(e, jit_type(v->bits, true), index_of(e, r), 0);
        m = jit_truths_of(e, e->guard);
        lanes = jit_emit(e, "select <32 x i1> %s, %s %s, %s %s", m.s, jit_type(v->bits, true),
                         lanes.s, jit_type(v->bits, true), old.s);
    }
    store_place(e, jit_type(v->bits, true), lanes, index_of(e, r), 0);
}

void jit_write_lanes(struct jit_emitter *e, enum vgpu_operand o, unsigned bits,
                     struct jit_text lanes)
{
    struct jit_value v = {.form = jit_form_lanes(), .bits = (uint8_t)bits, .lanes = lanes};

    jit_write(e, o, &v);
}

void jit_write_float(struct jit_emitter *e, unsigned bits, struct jit_text lanes)
{
    const struct jit_register *r =
        jit_plan_register(e->plan, e->plan->unit->code[e->pc].row[VGPU_D]);

    jit_write_lanes(e, VGPU_D, bits, bits == 32 && !r->raw ? canonical(e, lanes) : lanes);
}

struct jit_text jit_mask_of(struct jit_emitter *e, struct jit_text truths)
{
    return jit_emit(e, "bitcast <32 x i1> %s to i32", truths.s);
}

struct jit_text jit_truths_of(struct jit_emitter *e, struct jit_text mask)
{
    return jit_emit(e, "bitcast i32 %s to <32 x i1>", mask.s);
}

void jit_move_register(struct jit_emitter *e, const struct jit_register *r, bool to_state)
{
    uint32_t index = index_of(e, r);
    unsigned bits = bits_of(r->width);
    const char *one = jit_type(bits, false), *all = jit_type(bits, true);
    struct jit_text state = {"%state"}, v;

    if (r->width == VGPU_ROW_PREDICATE) {
        if (to_state)
            jit_store(e, "i32", load_place(e, "i32", index, 0), state, r->slot, 8);
        else
            store_place(e, "i32", jit_load(e, "i32", state, r->slot, 8), index, 0);
        return;
    }
    if (r->form.kind != JIT_LINE) {
        if (!to_state) {
            store_place(e, all, jit_load(e, all, state, r->slot, 64), index, 0);
            return;
        }
        v = load_place(e, all, index, 0);
        jit_store(e, all, r->raw ? canonical(e, v) : v, state, r->slot, 64);
        return;
    }
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (r->form.group[k] != k)
            continue;
        if (to_state)
            jit_store(e, one, load_place(e, one, index, k), state, r->slot + 8 * k, 8);
        else
            store_place(e, one, jit_load(e, one, state, r->slot + 8 * k, 8), index, k);
    }
}

/* ---- labels and exits ---- */

uint32_t jit_label(struct jit_emitter *e)
{
    return e->next++;
}

uint32_t jit_exit_at(struct jit_emitter *e, uint32_t pc, enum jit_exit_kind kind)
{
    for (uint32_t i = e->exit_count; i > 0 && i + 16 > e->exit_count; i--) {
        if (e->exits[i - 1].pc == pc && e->exits[i - 1].kind == kind)
            return i - 1;
    }
    e->exits[e->exit_count] = (struct jit_exit){.pc = pc, .kind = (uint8_t)kind};
    return e->exit_count++;
}

void jit_need(struct jit_emitter *e, struct jit_text good)
{
    uint32_t on = jit_label(e);

    fprintf(e->out, "  br i1 %s, label %%l%u, label %%x%u, !prof !0\nl%u:\n", good.s, on,
            jit_exit_at(e, e->pc, JIT_EXIT_LOOK), on);
}
