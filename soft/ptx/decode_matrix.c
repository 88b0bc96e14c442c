/* SPDX-License-Identifier: MIT */
/* mma wmma ldmatrix stmatrix movmatrix */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soft/simt/matrix.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

static const char *const element_names[VGPU_ELEMENTS] = {
    "f16", "bf16", "tf32", "e4m3", "e5m2", "f32", "f64", "s32", "s8", "u8", "s4", "u4", "b1"};

/* Every shape that PTX has, with a type of A that stands for its kin: what else has the same size
   and is of the same kind. */
static const struct shape {
    uint8_t m, n;
    uint16_t k;
    uint8_t a;
    bool dense, sparse, wmma;
} shapes[] = {
    {8, 8, 4, VGPU_ELEMENT_F64, true, false, true},
    {16, 8, 4, VGPU_ELEMENT_F64, true, false, false},
    {16, 8, 8, VGPU_ELEMENT_F64, true, false, false},
    {16, 8, 16, VGPU_ELEMENT_F64, true, false, false},
    {8, 8, 4, VGPU_ELEMENT_F16, true, false, false},
    {16, 8, 8, VGPU_ELEMENT_F16, true, false, false},
    {16, 8, 16, VGPU_ELEMENT_F16, true, true, false},
    {16, 8, 32, VGPU_ELEMENT_F16, false, true, false},
    {16, 8, 4, VGPU_ELEMENT_TF32, true, false, false},
    {16, 8, 8, VGPU_ELEMENT_TF32, true, true, false},
    {16, 8, 16, VGPU_ELEMENT_TF32, false, true, false},
    {16, 8, 16, VGPU_ELEMENT_E4M3, true, false, false},
    {16, 8, 32, VGPU_ELEMENT_E4M3, true, false, false},
    {16, 8, 64, VGPU_ELEMENT_E4M3, false, true, false},
    {8, 8, 16, VGPU_ELEMENT_S8, true, false, false},
    {16, 8, 16, VGPU_ELEMENT_S8, true, false, false},
    {16, 8, 32, VGPU_ELEMENT_S8, true, true, false},
    {16, 8, 64, VGPU_ELEMENT_S8, false, true, false},
    {8, 8, 32, VGPU_ELEMENT_S4, true, false, true},
    {16, 8, 32, VGPU_ELEMENT_S4, true, false, false},
    {16, 8, 64, VGPU_ELEMENT_S4, true, true, false},
    {16, 8, 128, VGPU_ELEMENT_S4, false, true, false},
    {8, 8, 128, VGPU_ELEMENT_B1, true, false, true},
    {16, 8, 128, VGPU_ELEMENT_B1, true, false, false},
    {16, 8, 256, VGPU_ELEMENT_B1, true, false, false},
    {16, 16, 16, VGPU_ELEMENT_F16, false, false, true},
    {32, 8, 16, VGPU_ELEMENT_F16, false, false, true},
    {8, 32, 16, VGPU_ELEMENT_F16, false, false, true},
    {16, 16, 8, VGPU_ELEMENT_TF32, false, false, true},
    {16, 16, 16, VGPU_ELEMENT_S8, false, false, true},
    {32, 8, 16, VGPU_ELEMENT_S8, false, false, true},
    {8, 32, 16, VGPU_ELEMENT_S8, false, false, true},
};

/* The one that stands for a type and its kin in shapes[]. */
static enum vgpu_element kin(enum vgpu_element element)
{
    switch (element) {
    case VGPU_ELEMENT_BF16:
        return VGPU_ELEMENT_F16;
    case VGPU_ELEMENT_E5M2:
        return VGPU_ELEMENT_E4M3;
    case VGPU_ELEMENT_U8:
        return VGPU_ELEMENT_S8;
    case VGPU_ELEMENT_U4:
        return VGPU_ELEMENT_S4;
    default:
        return element;
    }
}

/* The next part of the opcode that names an element, or VGPU_ELEMENTS. */
static enum vgpu_element take_element(struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        for (int e = 0; e < VGPU_ELEMENTS && (s->used >> i & 1) == 0; e++) {
            if (!ptx_slice_is(s->parts[i], element_names[e]))
                continue;
            s->used |= 1u << i;
            return (enum vgpu_element)e;
        }
    }
    return VGPU_ELEMENTS;
}

static bool take_shape(struct ptx_statement *s, struct vgpu_matrix *form)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        char name[24];

        snprintf(name, sizeof(name), "m%un%uk%u", shapes[i].m, shapes[i].n, shapes[i].k);
        if (!ptx_part(s, name))
            continue;
        form->m = shapes[i].m;
        form->n = shapes[i].n;
        form->k = shapes[i].k;
        return true;
    }
    return false;
}

static bool is_shape(const struct vgpu_matrix *f, bool wmma)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const struct shape *s = &shapes[i];

        if (s->m == f->m && s->n == f->n && s->k == f->k && s->a == kin((enum vgpu_element)f->a) &&
            (wmma                            ? s->wmma
             : f->flags & VGPU_MATRIX_SPARSE ? s->sparse
                                             : s->dense))
            return true;
    }
    return false;
}

/* Which accumulators go with the factors. */
static bool are_types(const struct vgpu_matrix *f)
{
    enum vgpu_element a = kin((enum vgpu_element)f->a), c = (enum vgpu_element)(f->cd >> 4);
    enum vgpu_element d = (enum vgpu_element)(f->cd & 15);

    if (a != kin((enum vgpu_element)f->b))
        return false;
    switch (a) {
    case VGPU_ELEMENT_F64:
        return c == VGPU_ELEMENT_F64 && d == c;
    case VGPU_ELEMENT_TF32:
        return c == VGPU_ELEMENT_F32 && d == c;
    case VGPU_ELEMENT_F16:
        if (f->a == VGPU_ELEMENT_BF16 || f->b == VGPU_ELEMENT_BF16)
            return f->a == f->b && c == VGPU_ELEMENT_F32 && d == c;
        /* fall through */
    case VGPU_ELEMENT_E4M3:
        return (c == VGPU_ELEMENT_F32 || c == VGPU_ELEMENT_F16) &&
               (d == VGPU_ELEMENT_F32 || d == VGPU_ELEMENT_F16);
    default:
        return c == VGPU_ELEMENT_S32 && d == c;
    }
}

/* ---- operands ---- */

static const struct ptx_type *register_type(enum vgpu_element element)
{
    return element == VGPU_ELEMENT_F64 ? NAMED("b64") : NAMED("b32");
}

/* The n-th register of a fragment, which may be a vector or one register alone. */
static const struct ptx_operand *fragment_register(struct ptx_parser *p, struct ptx_statement *s,
                                                   const struct ptx_operand *o, uint32_t n,
                                                   uint32_t count)
{
    if (o->kind == PTX_OPERAND_VECTOR && o->count == count)
        return &s->elements[o->first + n];
    if (o->kind == PTX_OPERAND_VECTOR || count != 1)
        ptx_fail(p, -EINVAL, s->line, "a fragment of %u registers instead of %u",
                 o->kind == PTX_OPERAND_VECTOR ? o->count : 1, count);
    return o;
}

/* The rows of a fragment; `count` of them are written, `used` are put on the list. */
static void add_fragment(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         enum vgpu_element element, uint32_t count, uint32_t used, bool result,
                         uint32_t *rows, uint32_t *at)
{
    const struct ptx_type *type = register_type(element);

    for (uint32_t n = 0; n < count && p->error == 0; n++) {
        const struct ptx_operand *one = fragment_register(p, s, o, n, count);
        uint32_t row;

        if (p->error != 0)
            return;
        row = result ? ptx_destination(p, s, one, type) : ptx_source(p, s, one, type);
        if (n < used)
            rows[(*at)++] = row;
    }
}

/* An operation of the whole warp with its list of rows. */
static void push_list(struct ptx_parser *p, struct ptx_build *b, const uint32_t *rows,
                      uint32_t count)
{
    b->inst.control = VGPU_CONTROL_COLLECTIVE;
    ptx_use(b, VGPU_F, ptx_constant(p, VGPU_ROW_32, UINT32_MAX, -1));
    for (uint32_t n = 0; n < count; n++)
        ptx_list(p, b, rows[n]);
    ptx_push(p, b);
}

/* How many registers of A or B wmma has, copies included. */
static uint32_t wmma_registers(const struct vgpu_matrix *f, bool is_a)
{
    return f->a == VGPU_ELEMENT_F16 ? 8 : is_a ? vgpu_matrix_a(f) : vgpu_matrix_b(f);
}

static void push_multiply(struct ptx_parser *p, struct ptx_statement *s, struct vgpu_matrix f,
                          bool wmma)
{
    bool pairs = f.m == 8 && f.k == 4 && f.a == VGPU_ELEMENT_F16;
    bool sparse = f.flags & VGPU_MATRIX_SPARSE;
    enum vgpu_element c = (enum vgpu_element)(f.cd >> 4), d = (enum vgpu_element)(f.cd & 15);
    uint32_t rows[40], n = 0, a_count = pairs ? 2 : vgpu_matrix_a(&f);
    uint32_t b_count = pairs ? 2 : vgpu_matrix_b(&f);
    uint32_t c_count = pairs ? (c == VGPU_ELEMENT_F16 ? 4 : 8) : vgpu_matrix_accumulators(&f, c);
    uint32_t d_count = pairs ? (d == VGPU_ELEMENT_F16 ? 4 : 8) : vgpu_matrix_accumulators(&f, d);
    const struct ptx_operand *o = s->operands;
    struct ptx_build b;

    if (!ptx_want(p, s, sparse ? 6 : 4) || !ptx_all_parts(p, s))
        return;
    if (sparse) {
        uint32_t most = vgpu_element_bits((enum vgpu_element)f.a) == 32  ? f.k * 2u
                        : vgpu_element_bits((enum vgpu_element)f.a) == 4 ? f.k / 2u
                                                                         : f.k;

        if (o[5].kind != PTX_OPERAND_INTEGER || o[5].bits >= 64 / most) {
            ptx_unsupported(p, s, "this selector of threads");
            return;
        }
        f.flags |= (uint8_t)(o[5].bits * VGPU_MATRIX_SELECTOR);
    }
    add_fragment(p, s, &o[0], d, d_count, d_count, true, rows, &n);
    add_fragment(p, s, &o[3], c, c_count, c_count, false, rows, &n);
    add_fragment(p, s, &o[1], (enum vgpu_element)f.a, wmma ? wmma_registers(&f, true) : a_count,
                 a_count, false, rows, &n);
    add_fragment(p, s, &o[2], (enum vgpu_element)f.b, wmma ? wmma_registers(&f, false) : b_count,
                 b_count, false, rows, &n);
    if (sparse)
        rows[n++] = ptx_source(p, s, &o[4], NAMED("b32"));
    if (p->error != 0)
        return;
    b = ptx_begin(p, s,
                  pairs                     ? "mma_pairs"
                  : f.a == VGPU_ELEMENT_F64 ? "mma_double"
                  : c == VGPU_ELEMENT_S32   ? "mma_integer"
                                            : "mma_float");
    b.inst.imm = vgpu_matrix_as(f);
    push_list(p, &b, rows, n);
}

/* d, a, b and c in this order, or d and c alone. */
static bool take_types(struct ptx_parser *p, struct ptx_statement *s, struct vgpu_matrix *f)
{
    enum vgpu_element types[4];
    uint32_t n = 0;

    while (n < 4) {
        types[n] = take_element(s);
        if (types[n] == VGPU_ELEMENTS)
            break;
        n++;
    }
    if (n != 2 && n != 4) {
        ptx_unsupported(p, s, "the types");
        return false;
    }
    f->a = (uint8_t)(n == 4 ? types[1] : VGPU_ELEMENT_F16);
    f->b = (uint8_t)(n == 4 ? types[2] : VGPU_ELEMENT_F16);
    f->cd = (uint8_t)(types[n - 1] << 4 | types[0]);
    return true;
}

/* xor or and of single bits; the count of ones is the sum. */
static bool take_bit_operation(struct ptx_statement *s, struct vgpu_matrix *f)
{
    bool and = ptx_part(s, "and");

    if (!and&&!ptx_part(s, "xor"))
        return false;
    f->flags |= and? VGPU_MATRIX_AND : 0;
    return ptx_part(s, "popc");
}

/* The next layout of the opcode: whether it is .col. */
static bool take_column(struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        bool column = ptx_slice_is(s->parts[i], "col");

        if ((s->used >> i & 1) == 0 && (column || ptx_slice_is(s->parts[i], "row"))) {
            s->used |= 1u << i;
            return column;
        }
    }
    return false;
}

/* ---- mma ---- */

static void decode_mma(struct ptx_parser *p, struct ptx_statement *s)
{
    struct vgpu_matrix f = {0};
    bool column_a, column_b, bits;

    if (ptx_part(s, "sp") || ptx_part(s, "sp::ordered_metadata"))
        f.flags |= VGPU_MATRIX_SPARSE;
    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    if (!take_shape(s, &f)) {
        ptx_unsupported(p, s, "the shape");
        return;
    }
    column_a = take_column(s);
    column_b = take_column(s);
    ptx_part(s, "rn");
    if (ptx_part(s, "satfinite"))
        f.flags |= VGPU_MATRIX_FINITE;
    bits = take_bit_operation(s, &f);
    if (!take_types(p, s, &f))
        return;
    if (!is_shape(&f, false) || !are_types(&f) || bits != (f.a == VGPU_ELEMENT_B1)) {
        ptx_unsupported(p, s, "the shape with these types");
        return;
    }
    if (f.m == 8 && f.k == 4 && f.a == VGPU_ELEMENT_F16) {
        f.flags |= (column_a ? VGPU_MATRIX_A_COLUMN : 0) | (column_b ? VGPU_MATRIX_B_COLUMN : 0);
    } else if (column_a || !column_b) {
        ptx_unsupported(p, s, "layouts other than .row.col");
        return;
    }
    push_multiply(p, s, f, false);
}

/* ---- wmma ---- */

static void decode_wmma_multiply(struct ptx_parser *p, struct ptx_statement *s)
{
    struct vgpu_matrix f = {0};
    bool bits;

    /* Fragments are the same for both layouts: the load has seen to that. */
    take_column(s);
    take_column(s);
    if (!take_shape(s, &f)) {
        ptx_unsupported(p, s, "the shape");
        return;
    }
    if (ptx_part(s, "satfinite"))
        f.flags |= VGPU_MATRIX_FINITE;
    ptx_part(s, "rn");
    bits = take_bit_operation(s, &f);
    if (!take_types(p, s, &f))
        return;
    if (!is_shape(&f, true) || !are_types(&f) || bits != (f.a == VGPU_ELEMENT_B1)) {
        ptx_unsupported(p, s, "the shape with these types");
        return;
    }
    push_multiply(p, s, f, true);
}

/* What a load or store says of its matrix: rows, columns, registers, layout and name in one. */
static uint64_t fragment_constant(const struct vgpu_matrix *f, char which, bool by_column,
                                  uint32_t *registers)
{
    uint32_t rows = which == 'b' ? f->k : f->m, columns = which == 'a' ? f->k : f->n;
    uint32_t distinct = which == 'b' ? vgpu_matrix_b(f) : vgpu_matrix_a(f);
    uint32_t high =
        (uint32_t)__builtin_ctz(which == 'b' ? f->k / (4 * VGPU_MATRIX_PARTS_B(f)) : f->m / 8u);

    *registers = which == 'a'   ? wmma_registers(f, true)
                 : which == 'b' ? wmma_registers(f, false)
                                : vgpu_matrix_accumulators(f, (enum vgpu_element)(f->cd & 15));
    return rows | (uint64_t)columns << 8 | (uint64_t)*registers << 24 | (uint64_t)by_column << 32 |
           (uint64_t)which << 40 | (uint64_t)distinct << 48 | (uint64_t)high << 56;
}

/* A type of A for which the accumulator's load or store has the given shape. */
static bool is_accumulator(struct vgpu_matrix *f)
{
    for (int a = 0; a < VGPU_ELEMENTS; a++) {
        f->a = f->b = (uint8_t)a;
        if (is_shape(f, true) && are_types(f))
            return true;
    }
    return false;
}

static void decode_wmma_memory(struct ptx_parser *p, struct ptx_statement *s, bool store)
{
    struct vgpu_matrix f = {0};
    char which = ptx_part(s, "a") ? 'a' : ptx_part(s, "b") ? 'b' : 'c';
    bool by_column = ptx_part(s, "col");
    const struct ptx_operand *fragment = &s->operands[store ? 1 : 0];
    enum vgpu_space space = ptx_part_space(s);
    uint32_t registers, rows[8], n = 0, stride;
    enum vgpu_element type;
    struct ptx_place place;
    struct ptx_build b;
    uint64_t constant;

    ptx_part(s, store ? "d" : "c");
    if (!by_column)
        ptx_part(s, "row");
    if (!take_shape(s, &f) || (type = take_element(s)) == VGPU_ELEMENTS) {
        ptx_unsupported(p, s, "the shape or the type");
        return;
    }
    f.a = f.b = (uint8_t)type;
    f.cd = (uint8_t)(type << 4 | type);
    if (which == 'c' ? !is_accumulator(&f) : !is_shape(&f, true) || store) {
        ptx_unsupported(p, s, "the shape with this type");
        return;
    }
    if ((s->operand_count != 3 && !ptx_want(p, s, 2)) || !ptx_all_parts(p, s))
        return;
    constant = fragment_constant(&f, which, by_column, &registers);
    stride = s->operand_count == 3
                 ? ptx_source(p, s, &s->operands[2], NAMED("u32"))
                 : ptx_constant(p, VGPU_ROW_32,
                                by_column ? constant & 0xff : constant >> 8 & 0xffff, -1);
    place = ptx_address(p, s, &s->operands[store ? 0 : 1], space);
    add_fragment(p, s, fragment, type, registers, registers, !store, rows, &n);
    if (p->error != 0)
        return;
    b = ptx_begin(p, s, store ? "wmma_store" : "wmma_load");
    ptx_set_place(&b, &place, space, 0);
    ptx_use(&b, VGPU_B, stride);
    ptx_use(&b, VGPU_C, ptx_constant(p, VGPU_ROW_64, constant, -1));
    b.inst.y = (uint8_t)type;
    push_list(p, &b, rows, n);
}

static void decode_wmma(struct ptx_parser *p, struct ptx_statement *s)
{
    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    if (ptx_part(s, "mma"))
        decode_wmma_multiply(p, s);
    else if (ptx_part(s, "load"))
        decode_wmma_memory(p, s, false);
    else if (ptx_part(s, "store"))
        decode_wmma_memory(p, s, true);
    else
        ptx_unsupported(p, s, "the operation");
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */

static void decode_matrix_memory(struct ptx_parser *p, struct ptx_statement *s)
{
    bool store = ptx_slice_is(s->opcode, "stmatrix"), transposed;
    uint32_t count, rows[4], n = 0;
    enum vgpu_space space;
    struct ptx_place place;
    struct ptx_build b;

    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    if (!ptx_part(s, "m8n8")) {
        ptx_unsupported(p, s, "the shape");
        return;
    }
    count = ptx_part(s, "x4") ? 4 : ptx_part(s, "x2") ? 2 : ptx_part(s, "x1") ? 1 : 0;
    transposed = ptx_part(s, "trans");
    space = ptx_part_space(s);
    if (!ptx_part(s, "b16") || count == 0 || !ptx_want(p, s, 2) || !ptx_all_parts(p, s)) {
        ptx_unsupported(p, s, "the number of matrices or the type");
        return;
    }
    place = ptx_address(p, s, &s->operands[store ? 0 : 1], space);
    add_fragment(p, s, &s->operands[store ? 1 : 0], VGPU_ELEMENT_F32, count, count, !store, rows,
                 &n);
    if (p->error != 0)
        return;
    b = ptx_begin(p, s, store ? "stmatrix" : "ldmatrix");
    ptx_set_place(&b, &place, space, 0);
    ptx_use(&b, VGPU_C, ptx_constant(p, VGPU_ROW_PREDICATE, transposed, -1));
    b.inst.y = (uint8_t)count;
    push_list(p, &b, rows, n);
}

static void decode_movmatrix(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *types[2] = {NAMED("b32"), NAMED("b32")};
    struct ptx_build b;

    ptx_part(s, "sync");
    ptx_part(s, "aligned");
    ptx_part(s, "m8n8");
    ptx_part(s, "trans");
    ptx_part(s, "b16");
    b = ptx_form(p, s, "movmatrix", types, 1);
    b.inst.control = VGPU_CONTROL_COLLECTIVE;
    ptx_use(&b, VGPU_F, ptx_constant(p, VGPU_ROW_32, UINT32_MAX, -1));
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"mma", decode_mma},
    {"wmma", decode_wmma},
    {"ldmatrix", decode_matrix_memory},
    {"stmatrix", decode_matrix_memory},
    {"movmatrix", decode_movmatrix},
};

ptx_decoder ptx_decode_matrix(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
