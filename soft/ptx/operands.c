/* SPDX-License-Identifier: MIT */
/* Operands as they are written. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <string.h>

static void read_name(struct ptx_parser *p, struct ptx_operand *o)
{
    struct ptx_slice name = ptx_expect_word(p);
    struct ptx_symbol *s = ptx_symbol_find(p, name);

    o->name = name;
    if (s != NULL && s->kind == PTX_SYMBOL_REGISTER) {
        o->kind = PTX_OPERAND_REGISTER;
        o->type = s->type;
        o->ref = s->ref;
    } else if (s == NULL && ptx_slice_is(name, "_")) {
        o->kind = PTX_OPERAND_SINK;
    } else if (s == NULL && ptx_slice_is(name, "WARP_SZ")) {
        o->kind = PTX_OPERAND_INTEGER;
        o->bits = VGPU_LANES;
    } else if (s == NULL && name.length > 0 && name.start[0] == '%') {
        o->kind = PTX_OPERAND_SPECIAL;
    } else {
        o->kind = PTX_OPERAND_SYMBOL;
        o->symbol = s;
    }
}

static void read_number(struct ptx_parser *p, struct ptx_operand *o, bool negative)
{
    o->bits = p->token.bits;
    switch (p->token.kind) {
    case PTX_INTEGER:
        o->kind = PTX_OPERAND_INTEGER;
        o->bits = negative ? -o->bits : o->bits;
        break;
    case PTX_FLOAT:
        o->kind = PTX_OPERAND_FLOAT;
        o->bits ^= negative ? UINT64_C(1) << 31 : 0;
        break;
    case PTX_DOUBLE:
        o->kind = PTX_OPERAND_DOUBLE;
        o->bits ^= negative ? UINT64_C(1) << 63 : 0;
        break;
    default:
        ptx_expect_integer(p, 0);
        return;
    }
    ptx_advance(p);
}

/* "+4", "-4", "+-4" after a symbol or the register of an address. */
static uint64_t read_offset(struct ptx_parser *p)
{
    uint64_t offset = 0;

    while (ptx_is(p, '+') || ptx_is(p, '-')) {
        bool negative = ptx_is(p, '-');
        uint64_t value;

        ptx_advance(p);
        if (ptx_accept(p, '-'))
            negative = !negative;
        value = ptx_expect_integer(p, UINT64_MAX);
        offset += negative ? -value : value;
    }
    return offset;
}

static void read_address(struct ptx_parser *p, struct ptx_operand *o)
{
    o->kind = PTX_OPERAND_ADDRESS;
    if (p->token.kind == PTX_WORD) {
        read_name(p, o);
        o->has_register = o->kind == PTX_OPERAND_REGISTER;
        if (o->kind != PTX_OPERAND_REGISTER && (o->kind != PTX_OPERAND_SYMBOL || o->symbol == NULL))
            ptx_fail(p, -EINVAL, p->token.line, "'%.*s' as an address is not known",
                     (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        o->kind = PTX_OPERAND_ADDRESS;
        o->bits = read_offset(p);
    } else {
        o->bits = ptx_expect_integer(p, UINT64_MAX) + read_offset(p);
    }
}

static void read_one(struct ptx_parser *p, struct ptx_statement *s, struct ptx_operand *o,
                     bool nested);

static void read_group(struct ptx_parser *p, struct ptx_statement *s, struct ptx_operand *o,
                       char end)
{
    uint32_t most = sizeof(s->elements) / sizeof(s->elements[0]);

    o->kind = end == '}' ? PTX_OPERAND_VECTOR : PTX_OPERAND_LIST;
    o->first = s->element_count;
    while (p->error == 0 && !ptx_is(p, end)) {
        if (s->element_count == most) {
            ptx_fail(p, -ENOTSUP, s->line, "more than %u elements in the operands", most);
            return;
        }
        s->element_count++;
        read_one(p, s, &s->elements[s->element_count - 1], true);
        o->count++;
        if (!ptx_accept(p, ','))
            break;
    }
    ptx_expect(p, end);
    if (end == '}' && o->count > PTX_MAX_VECTOR)
        ptx_fail(p, -ENOTSUP, s->line, "a vector of %u elements", o->count);
}

/* "[texture, {x, y}]": the coordinates are elements of the address. */
static void read_coordinates(struct ptx_parser *p, struct ptx_statement *s, struct ptx_operand *o)
{
    struct ptx_operand group = {0};

    if (ptx_accept(p, '{')) {
        read_group(p, s, &group, '}');
        o->first = group.first;
        o->count = group.count;
    } else {
        o->first = s->element_count;
        o->count = 1;
        if (s->element_count == sizeof(s->elements) / sizeof(s->elements[0])) {
            ptx_fail(p, -ENOTSUP, s->line, "too many elements in the operands");
            return;
        }
        s->element_count++;
        read_one(p, s, &s->elements[o->first], true);
    }
}

static void read_one(struct ptx_parser *p, struct ptx_statement *s, struct ptx_operand *o,
                     bool nested)
{
    memset(o, 0, sizeof(*o));
    if (ptx_accept(p, '!')) {
        read_name(p, o);
        o->negated = true;
        return;
    }
    if (!nested && ptx_accept(p, '{')) {
        read_group(p, s, o, '}');
    } else if (!nested && ptx_accept(p, '(')) {
        read_group(p, s, o, ')');
    } else if (!nested && ptx_accept(p, '[')) {
        read_address(p, o);
        if (ptx_accept(p, ','))
            read_coordinates(p, s, o);
        ptx_expect(p, ']');
    } else if (ptx_accept(p, '-')) {
        if (p->token.kind != PTX_WORD) {
            read_number(p, o, true);
        } else {
            read_name(p, o);
            o->minus = true;
        }
    } else if (p->token.kind != PTX_WORD) {
        read_number(p, o, false);
    } else {
        read_name(p, o);
        if (o->kind == PTX_OPERAND_SYMBOL)
            o->bits = read_offset(p);
    }
    if (!nested && ptx_accept(p, '|')) {
        struct ptx_operand second = {0};

        read_name(p, &second);
        if (second.kind == PTX_OPERAND_REGISTER && second.type->kind == PTX_PRED)
            o->second = second.ref;
        else if (second.kind != PTX_OPERAND_SINK)
            ptx_fail(p, -EINVAL, s->line, "'|' without a predicate behind it");
    }
}

void ptx_read_operands(struct ptx_parser *p, struct ptx_statement *s)
{
    if (ptx_is(p, ';'))
        return;
    do {
        if (s->operand_count == PTX_MAX_OPERANDS) {
            ptx_fail(p, -ENOTSUP, s->line, "more than %d operands", PTX_MAX_OPERANDS);
            return;
        }
        s->operand_count++;
        read_one(p, s, &s->operands[s->operand_count - 1], false);
    } while (ptx_accept(p, ','));
}
