/* SPDX-License-Identifier: MIT */
/* mma wmma ldmatrix stmatrix movmatrix: matrices that a warp holds in its registers. */
#include "soft/ptx/parser.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

static const struct {
    const char *name;
    uint8_t element;
    uint8_t bits;
} elements[] = {
    {"f16", VGPU_ELEMENT_F16, 16},   {"bf16", VGPU_ELEMENT_BF16, 16},
    {"tf32", VGPU_ELEMENT_TF32, 32}, {"f32", VGPU_ELEMENT_F32, 32},
    {"f64", VGPU_ELEMENT_F64, 64},   {"s8", VGPU_ELEMENT_S8, 8},
    {"u8", VGPU_ELEMENT_U8, 8},      {"s32", VGPU_ELEMENT_S32, 32},
    {"e4m3", VGPU_ELEMENT_E4M3, 8},  {"e5m2", VGPU_ELEMENT_E5M2, 8},
};

static uint32_t bits_of(uint8_t element)
{
    for (size_t i = 0; i < COUNT(elements); i++) {
        if (elements[i].element == element)
            return elements[i].bits;
    }
    return 32;
}

/* The next part of the opcode that names a type of elements. */
static uint8_t part_element(struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        for (size_t e = 0; e < COUNT(elements) && (s->used >> i & 1) == 0; e++) {
            if (ptx_slice_is(s->parts[i], elements[e].name)) {
                s->used |= 1u << i;
                return elements[e].element;
            }
        }
    }
    return VGPU_ELEMENT_NONE;
}

/* "m16n8k16" */
static bool part_shape(struct ptx_statement *s, struct vgpu_fragments *f)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        unsigned int m, n, k;
        char text[16], end;

        snprintf(text, sizeof(text), "%.*s", (int)(s->parts[i].length & 15), s->parts[i].start);
        if (sscanf(text, "m%2un%2uk%2u%c", &m, &n, &k, &end) != 3 || m == 0 || n == 0 || k == 0 ||
            m > 32 || n > 32 || k > 32)
            continue;
        s->used |= 1u << i;
        f->m = (uint8_t)m;
        f->n = (uint8_t)n;
        f->k = (uint8_t)k;
        return true;
    }
    return false;
}

static uint32_t elements_in(const struct vgpu_fragments *f, enum vgpu_role role)
{
    return role == VGPU_MATRIX_A ? f->m * f->k : role == VGPU_MATRIX_B ? f->k * f->n : f->m * f->n;
}

/* The registers of an operand: a vector, or one alone. */
static void take_rows(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                      struct vgpu_fragments *f, enum vgpu_role role, bool destination)
{
    const struct ptx_operand *from = o->kind == PTX_OPERAND_VECTOR ? &s->elements[o->first] : o;
    uint32_t count = o->kind == PTX_OPERAND_VECTOR ? o->count : 1;
    uint32_t bits = bits_of(f->types[role]), in_row = bits < 32 ? 32 / bits : 1;
    const struct ptx_type *type = bits == 64 ? NAMED("b64") : NAMED("b32");

    /* A fragment may hold an element more than once, but it holds all of them. */
    if (count > VGPU_MOST_FRAGMENT_ROWS || count * in_row * VGPU_LANES < elements_in(f, role) ||
        (!f->opaque && count * in_row * VGPU_LANES != elements_in(f, role))) {
        ptx_unsupported(p, s, "this number of registers");
        return;
    }
    f->counts[role] = (uint8_t)count;
    for (uint32_t i = 0; i < count && p->error == 0; i++)
        f->rows[role][i] =
            destination ? ptx_destination(p, s, &from[i], type) : ptx_source(p, s, &from[i], type);
}

static struct ptx_build begin(struct ptx_parser *p, struct ptx_statement *s, const char *key)
{
    struct ptx_build b = ptx_begin(p, s, key);

    b.inst.control = VGPU_CONTROL_COLLECTIVE;
    ptx_use(&b, VGPU_F, ptx_constant(p, VGPU_ROW_32, VGPU_ALL_LANES, -1));
    return b;
}

static void push(struct ptx_parser *p, struct ptx_build *b, const struct vgpu_fragments *f)
{
    struct vgpu_unit *unit = p->unit;

    if (!ptx_grow(p, &unit->fragments, PTX_FRAGMENTS, unit->fragment_count, sizeof(*f)))
        return;
    unit->fragments[unit->fragment_count] = *f;
    b->inst.row[VGPU_E] = unit->fragment_count++;
    b->fragments = true;
    ptx_push(p, b);
}

static bool is_whole(uint8_t element)
{
    return element == VGPU_ELEMENT_S8 || element == VGPU_ELEMENT_U8;
}

/* The types that go together. */
static bool types_fit(const struct vgpu_fragments *f)
{
    uint8_t a = f->types[VGPU_MATRIX_A], b = f->types[VGPU_MATRIX_B], c = f->types[VGPU_MATRIX_C],
            d = f->types[VGPU_MATRIX_D];

    switch (a) {
    case VGPU_ELEMENT_F16:
        return b == a && (c == VGPU_ELEMENT_F16 || c == VGPU_ELEMENT_F32) &&
               (d == VGPU_ELEMENT_F16 || d == VGPU_ELEMENT_F32);
    case VGPU_ELEMENT_BF16:
    case VGPU_ELEMENT_TF32:
        return b == a && c == VGPU_ELEMENT_F32 && d == c;
    case VGPU_ELEMENT_E4M3:
    case VGPU_ELEMENT_E5M2:
        return (b == VGPU_ELEMENT_E4M3 || b == VGPU_ELEMENT_E5M2) && d == c &&
               (c == VGPU_ELEMENT_F16 || c == VGPU_ELEMENT_F32);
    case VGPU_ELEMENT_F64:
        return b == a && c == a && d == a;
    case VGPU_ELEMENT_S8:
    case VGPU_ELEMENT_U8:
        return is_whole(b) && c == VGPU_ELEMENT_S32 && d == c;
    default:
        return false;
    }
}

static void multiply(struct ptx_parser *p, struct ptx_statement *s, struct vgpu_fragments *f)
{
    struct ptx_build b;

    f->saturate = ptx_part(s, "satfinite");
    ptx_part(s, "rn");
    if (!types_fit(f)) {
        ptx_unsupported(p, s, "these types");
        return;
    }
    if (!ptx_want(p, s, 4) || !ptx_all_parts(p, s))
        return;
    take_rows(p, s, &s->operands[1], f, VGPU_MATRIX_A, false);
    take_rows(p, s, &s->operands[2], f, VGPU_MATRIX_B, false);
    take_rows(p, s, &s->operands[3], f, VGPU_MATRIX_C, false);
    take_rows(p, s, &s->operands[0], f, VGPU_MATRIX_D, true);
    b = begin(p, s, "mma");
    push(p, &b, f);
}

static void decode_mma(struct ptx_parser *p, struct ptx_statement *s)
{
    struct vgpu_fragments f = {0};

    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    ptx_part(s, "row");
    ptx_part(s, "col");
    if (!part_shape(s, &f) || f.n != 8 || (f.m != 16 && f.m != 8)) {
        ptx_unsupported(p, s, "this shape");
        return;
    }
    f.types[VGPU_MATRIX_D] = part_element(s);
    f.types[VGPU_MATRIX_A] = part_element(s);
    f.types[VGPU_MATRIX_B] = part_element(s);
    f.types[VGPU_MATRIX_C] = part_element(s);
    multiply(p, s, &f);
}

/* ---- wmma ---- */

static void decode_wmma_mma(struct ptx_parser *p, struct ptx_statement *s)
{
    struct vgpu_fragments f = {.opaque = true};
    uint8_t types[4];

    /* How a and b lie in memory has been dealt with when they were loaded. */
    while (ptx_part(s, "row") || ptx_part(s, "col"))
        ;
    if (!part_shape(s, &f)) {
        ptx_unsupported(p, s, "this shape");
        return;
    }
    for (unsigned int i = 0; i < 4; i++)
        types[i] = part_element(s);
    f.types[VGPU_MATRIX_D] = types[0];
    if (types[2] == VGPU_ELEMENT_NONE) { /* .dtype.ctype of f16 matrices */
        f.types[VGPU_MATRIX_A] = f.types[VGPU_MATRIX_B] = VGPU_ELEMENT_F16;
        f.types[VGPU_MATRIX_C] = types[1];
    } else {
        f.types[VGPU_MATRIX_A] = types[1];
        f.types[VGPU_MATRIX_B] = types[2];
        f.types[VGPU_MATRIX_C] = types[3];
    }
    multiply(p, s, &f);
}

static enum vgpu_space part_space(struct ptx_statement *s)
{
    if (ptx_part(s, "shared") || ptx_part(s, "shared::cta"))
        return VGPU_SPACE_SHARED;
    return ptx_part(s, "global") ? VGPU_SPACE_GLOBAL : VGPU_SPACE_GENERIC;
}

/* load: r, [p]{, stride}; store: [p], r{, stride} */
static void decode_wmma_memory(struct ptx_parser *p, struct ptx_statement *s, bool store)
{
    enum vgpu_role role = store || ptx_part(s, "c") ? VGPU_MATRIX_C
                          : ptx_part(s, "a")        ? VGPU_MATRIX_A
                                                    : VGPU_MATRIX_B;
    struct vgpu_fragments f = {.opaque = true};
    enum vgpu_space space;
    struct ptx_place place;
    struct ptx_build b;
    uint32_t stride = 0;

    ptx_part(s, store ? "d" : "b");
    f.by_columns = ptx_part(s, "col");
    if (!f.by_columns)
        ptx_part(s, "row");
    space = part_space(s);
    if (!part_shape(s, &f)) {
        ptx_unsupported(p, s, "this shape");
        return;
    }
    f.types[role] = part_element(s);
    if (f.types[role] == VGPU_ELEMENT_NONE || s->operand_count < 2 || s->operand_count > 3) {
        ptx_unsupported(p, s, "these operands or this type");
        return;
    }
    if (!ptx_all_parts(p, s))
        return;
    place = ptx_address(p, s, &s->operands[store ? 0 : 1], space);
    if (s->operand_count == 3)
        stride = ptx_source(p, s, &s->operands[2], NAMED("b32"));
    take_rows(p, s, &s->operands[store ? 1 : 0], &f, role, !store);
    b = begin(p, s, store ? "wmma_store" : "wmma_load");
    ptx_set_place(&b, &place, space, 0);
    b.inst.y = (uint8_t)role;
    if (s->operand_count == 3)
        ptx_use(&b, VGPU_B, stride);
    push(p, &b, &f);
}

static void decode_wmma(struct ptx_parser *p, struct ptx_statement *s)
{
    bool load = ptx_part(s, "load"), store = !load && ptx_part(s, "store");

    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    if (load || store)
        decode_wmma_memory(p, s, store);
    else if (ptx_part(s, "mma"))
        decode_wmma_mma(p, s);
    else
        ptx_unsupported(p, s, "this form");
}

/* ---- 8 x 8 matrices of 16-bit elements, by rows in shared memory ---- */

static void decode_matrices(struct ptx_parser *p, struct ptx_statement *s)
{
    bool store = ptx_slice_is(s->opcode, "stmatrix");
    uint32_t count = ptx_part(s, "x4") ? 4 : ptx_part(s, "x2") ? 2 : 1;
    struct vgpu_fragments f = {.m = 8, .n = (uint8_t)(8 * count), .k = 8};
    enum vgpu_space space;
    struct ptx_place place;
    struct ptx_build b;

    ptx_part(s, "x1");
    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    ptx_part(s, "m8n8");
    ptx_part(s, "b16");
    f.by_columns = ptx_part(s, "trans");
    f.types[VGPU_MATRIX_D] = VGPU_ELEMENT_F16; /* 16 bits, of whatever */
    space = part_space(s);
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    place = ptx_address(p, s, &s->operands[store ? 0 : 1], space);
    take_rows(p, s, &s->operands[store ? 1 : 0], &f, VGPU_MATRIX_D, !store);
    b = begin(p, s, store ? "stmatrix" : "ldmatrix");
    ptx_set_place(&b, &place, space, 0);
    push(p, &b, &f);
}

static void decode_movmatrix(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b;
    uint32_t source;

    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    ptx_part(s, "m8n8");
    ptx_part(s, "trans");
    ptx_part(s, "b16");
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    source = ptx_source(p, s, &s->operands[1], NAMED("b32"));
    b = begin(p, s, "movmatrix");
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], NAMED("b32")));
    ptx_use(&b, VGPU_A, source);
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"mma", decode_mma},           {"wmma", decode_wmma},           {"ldmatrix", decode_matrices},
    {"stmatrix", decode_matrices}, {"movmatrix", decode_movmatrix},
};

ptx_decoder ptx_decode_matrix(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
