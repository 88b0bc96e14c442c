/* SPDX-License-Identifier: MIT */
/* atom and red. A vector is one operation after the other: PTX has each element atomic by itself.
 */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define MOST_ELEMENTS 8

enum atomic { ADD, MIN, MAX, INC, DEC, AND, OR, XOR, EXCHANGE, COMPARE };

static const char *const names[] = {"add", "min", "max", "inc",  "dec",
                                    "and", "or",  "xor", "exch", "cas"};

/* The key of the operation of one element. */
static void key_of(char *key, size_t size, enum atomic op, const struct ptx_type *type)
{
    char letter = op != MIN && op != MAX ? 'b' : type->kind == PTX_SIGNED ? 's' : 'u';

    /* exch and cas move bits: what type they are said to have does not matter. */
    if (op >= EXCHANGE)
        snprintf(key, size, "atom_%s_b%u", names[op], ptx_type_bits(type));
    else if (type->kind == PTX_FLOATING || type->kind == PTX_BRAIN)
        snprintf(key, size, "atom_%s_%s", names[op], type->name);
    else
        snprintf(key, size, "atom_%s_%c%u", names[op], letter, type->bits);
}

struct atomic_rows {
    uint32_t b, c;
    uint32_t d; /* where the old value goes, or 0 */
};

static void push_one(struct ptx_parser *p, struct ptx_statement *s, const char *key,
                     enum vgpu_space space, struct ptx_place place, struct atomic_rows rows)
{
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_set_place(&b, &place, space, 0);
    ptx_use(&b, VGPU_B, rows.b);
    if (rows.c != 0)
        ptx_use(&b, VGPU_C, rows.c);
    if (rows.d != 0)
        ptx_define(&b, VGPU_D, rows.d);
    b.inst.y = rows.d != 0;
    ptx_push(p, &b);
}

static const struct ptx_operand *element(struct ptx_parser *p, struct ptx_statement *s,
                                         const struct ptx_operand *o, uint32_t n, uint32_t count)
{
    if (count == 1)
        return o;
    if (o->kind == PTX_OPERAND_VECTOR && o->count == count)
        return &s->elements[o->first + n];
    ptx_fail(p, -EINVAL, s->line, "the operand is not a vector of %u", count);
    return o;
}

static bool is_half(const struct ptx_type *type)
{
    return (type->kind == PTX_FLOATING || type->kind == PTX_BRAIN) && type->bits == 16;
}

/* What may be a vector. */
static bool vector_fits(const struct ptx_type *type, enum atomic op, uint32_t count)
{
    if (is_half(type))
        return op <= MAX && count * type->packed <= MOST_ELEMENTS;
    return op == ADD && type->kind == PTX_FLOATING && type->bits == 32 && count <= 4;
}

static void push_all(struct ptx_parser *p, struct ptx_statement *s, enum atomic op,
                     const struct ptx_type *type, enum vgpu_space space, uint32_t count)
{
    bool result = ptx_slice_is(s->opcode, "atom");
    const struct ptx_operand *o = s->operands;
    uint32_t at = result ? 1 : 0, old[MOST_ELEMENTS], values[MOST_ELEMENTS], third = 0;
    struct ptx_place place = ptx_address(p, s, &o[at], space);
    char key[32], move[16];

    key_of(key, sizeof(key), op, type);
    for (uint32_t n = 0; n < count && p->error == 0; n++)
        values[n] = ptx_source(p, s, element(p, s, &o[at + 1], n, count), type);
    if (op == COMPARE)
        third = ptx_source(p, s, &o[at + 2], type);
    for (uint32_t n = 0; n < count && p->error == 0; n++) {
        /* Old values wait until all new ones have been used. */
        old[n] = !result      ? 0
                 : count == 1 ? ptx_destination(p, s, &o[0], type)
                              : ptx_new_register(p, ptx_type_width(type));
        push_one(p, s, key, space, place, (struct atomic_rows){values[n], third, old[n]});
        place.offset += ptx_type_bits(type) / 8;
    }
    snprintf(move, sizeof(move), "mov_b%u", ptx_type_bits(type));
    for (uint32_t n = 0; n < count && result && count > 1 && p->error == 0; n++)
        ptx_emit1(p, s, move, ptx_destination(p, s, element(p, s, &o[0], n, count), type), old[n]);
}

static void decode_atom(struct ptx_parser *p, struct ptx_statement *s)
{
    bool result = ptx_slice_is(s->opcode, "atom"), async = !result && ptx_part(s, "async");
    enum vgpu_space space = ptx_part_space(s);
    const struct ptx_type *type;
    uint32_t count, operands;
    enum atomic op = ADD;

    ptx_part_ordering(s);
    ptx_part(s, "noftz");
    if (async)
        ptx_part(s, "mbarrier::complete_tx::bytes");
    while (op < COUNT(names) && !ptx_part(s, names[op]))
        op++;
    count = ptx_part_vector(s);
    type = ptx_part_type(s);
    if (type == NULL || op == COUNT(names) || type->kind == PTX_PRED || type->bits < 16 ||
        (space != VGPU_SPACE_GLOBAL && space != VGPU_SPACE_GENERIC && space != VGPU_SPACE_SHARED) ||
        (count > 1 && (space == VGPU_SPACE_SHARED || !vector_fits(type, op, count))) ||
        (async && space != VGPU_SPACE_SHARED)) {
        ptx_unsupported(p, s, "the operation, its type or its state space");
        return;
    }
    operands = (result ? 3 : 2) + (op == COMPARE ? 1 : 0) + (async ? 1 : 0);
    if (!ptx_want(p, s, operands) || !ptx_all_parts(p, s))
        return;
    push_all(p, s, op, type, space, count);
    if (async)
        ptx_emit_completion(p, s, &s->operands[2], ptx_type_bits(type) / 8);
}

static const struct ptx_opcode table[] = {{"atom", decode_atom}, {"red", decode_atom}};

ptx_decoder ptx_decode_atomic(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
