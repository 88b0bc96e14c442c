/* SPDX-License-Identifier: MIT */
/* ld st cvta isspacep, and hints that need nothing done. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

enum vgpu_space ptx_part_space(struct ptx_statement *s)
{
    if (ptx_part(s, "global") || ptx_part(s, "const"))
        return VGPU_SPACE_GLOBAL;
    /* Addresses say which block of a cluster they are of. */
    if (ptx_part(s, "shared") || ptx_part(s, "shared::cta") || ptx_part(s, "shared::cluster"))
        return VGPU_SPACE_SHARED;
    if (ptx_part(s, "local"))
        return VGPU_SPACE_LOCAL;
    if (ptx_part(s, "param") || ptx_part(s, "param::entry") || ptx_part(s, "param::func"))
        return VGPU_SPACE_PARAM;
    return VGPU_SPACE_GENERIC;
}

/* L2::cache_hint brings a last operand, which is as good as not there. */
static void drop_cache_hint(struct ptx_statement *s)
{
    if (ptx_part(s, "L2::cache_hint") && s->operand_count > 0)
        s->operand_count--;
}

/* Modifiers of caches do nothing; those of ordering are told to the handler. Returns z flags. */
uint8_t ptx_part_ordering(struct ptx_statement *s)
{
    static const char *const hints[] = {"weak", "nc", "unified", "ca",  "cg",      "cs",  "lu",
                                        "cv",   "wb", "wt",      "cta", "cluster", "gpu", "sys"};
    static const char *const orders[] = {"volatile", "relaxed", "acquire",
                                         "release",  "acq_rel", "mmio"};
    uint8_t flags = 0;

    drop_cache_hint(s);
    for (size_t i = 0; i < COUNT(orders); i++)
        flags |= ptx_part(s, orders[i]) ? VGPU_ORDERED : 0;
    for (size_t i = 0; i < COUNT(hints); i++)
        ptx_part(s, hints[i]);
    for (uint32_t i = 0; i < s->part_count; i++) {
        const struct ptx_slice *part = &s->parts[i];

        if (part->length > 4 &&
            (memcmp(part->start, "L1::", 4) == 0 ||
             (memcmp(part->start, "L2::", 4) == 0 && !ptx_slice_is(*part, "L2::cache_hint"))))
            s->used |= 1u << i;
    }
    return flags;
}

static bool symbol_in(const struct ptx_parser *p, const struct ptx_symbol *symbol,
                      enum vgpu_space space)
{
    bool shared;

    if (symbol->kind == PTX_SYMBOL_LOCAL)
        return space == VGPU_SPACE_LOCAL || space == VGPU_SPACE_PARAM;
    if (symbol->kind == PTX_SYMBOL_PARAMETER)
        return space == VGPU_SPACE_PARAM;
    if (symbol->kind != PTX_SYMBOL_VARIABLE)
        return false;
    shared = p->unit->variables[symbol->index].space == VGPU_SPACE_SHARED;
    return space == VGPU_SPACE_SHARED
               ? shared
               : !shared && (space == VGPU_SPACE_GLOBAL || space == VGPU_SPACE_GENERIC);
}

struct ptx_place ptx_address(struct ptx_parser *p, struct ptx_statement *s,
                             const struct ptx_operand *o, enum vgpu_space space)
{
    struct ptx_place place = {.offset = (int64_t)o->bits};
    struct ptx_operand base = *o;
    uint32_t width;

    if (p->error != 0)
        return place;
    if (o->kind != PTX_OPERAND_ADDRESS) {
        ptx_fail(p, -EINVAL, s->line, "an operand that should be an address is none");
        return place;
    }
    if (o->has_register) {
        width = ptx_type_width(o->type);
        place.ref = o->ref;
        place.narrow = width == VGPU_ROW_32;
        if (width != VGPU_ROW_64 &&
            (!place.narrow || space == VGPU_SPACE_GLOBAL || space == VGPU_SPACE_GENERIC))
            ptx_fail(p, -EINVAL, s->line, "'%.*s' is not as wide as an address",
                     (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        return place;
    }
    if (o->symbol == NULL) {
        place.ref = ptx_constant(p, VGPU_ROW_64, 0, -1);
        return place;
    }
    if (!symbol_in(p, o->symbol, space)) {
        ptx_fail(p, -EINVAL, s->line, "'%.*s' is in another state space",
                 (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        return place;
    }
    if (o->symbol->kind == PTX_SYMBOL_LOCAL) {
        place.ref = PTX_REF_STACK;
        place.narrow = true;
        place.offset = (int64_t)(o->bits + o->symbol->offset);
        return place;
    }
    base.bits = 0;
    place.ref = ptx_symbol_address(p, s, &base, VGPU_ROW_64);
    return place;
}

void ptx_set_place(struct ptx_build *b, const struct ptx_place *place, enum vgpu_space space,
                   uint8_t ordering)
{
    ptx_use(b, VGPU_A, place->ref);
    b->inst.imm = place->offset;
    b->inst.x = (uint8_t)space;
    b->inst.z = (uint8_t)(ordering | (place->narrow ? VGPU_ADDRESS_32 : 0));
}

void ptx_emit_slot(struct ptx_parser *p, struct ptx_statement *s, bool store, uint32_t ref,
                   const struct ptx_type *type, uint32_t offset)
{
    struct ptx_place place = {.ref = PTX_REF_STACK, .narrow = true, .offset = offset};
    uint32_t bits = ptx_type_bits(type), wide = bits == 8 ? 16 : bits;
    struct ptx_build b;
    char key[32];

    snprintf(key, sizeof(key), "%s_%s%u_%u", store ? "st" : "ld", store ? "b" : "u", bits, wide);
    b = ptx_begin(p, s, key);
    ptx_set_place(&b, &place, VGPU_SPACE_LOCAL, 0);
    b.inst.y = 1;
    if (store)
        ptx_use(&b, VGPU_D, ref);
    else
        ptx_define(&b, VGPU_D, ref);
    ptx_push(p, &b);
}

/* ---- ld and st ---- */

static const enum vgpu_operand element_rows[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};

static uint32_t register_bits(const struct ptx_type *type)
{
    uint32_t bits = ptx_type_bits(type);

    return bits == 8 ? 16 : bits;
}

/* ld.param of a kernel's parameter by name: the same value for every lane. */
static void load_parameter(struct ptx_parser *p, struct ptx_statement *s,
                           const struct ptx_type *type, const struct ptx_operand *const *to,
                           uint32_t count)
{
    const struct ptx_operand *from = &s->operands[1];
    uint32_t bytes = ptx_type_bits(type) / 8;
    const struct vgpu_function *f = &p->unit->functions[p->function];
    int64_t offset = (int64_t)(from->symbol->offset + from->bits); /* checked below */
    char key[32];

    for (uint32_t i = 0; i < count; i++, offset += bytes) {
        uint32_t wide = register_bits(to[i]->type != NULL ? to[i]->type : type);
        struct ptx_build b;

        if (offset < 0 || offset > f->parameter_bytes || offset + bytes > f->parameter_bytes) {
            ptx_fail(p, -EINVAL, s->line, "a load beyond the parameters of the kernel");
            return;
        }
        snprintf(key, sizeof(key), "ldp_%c%u_%u",
                 type->kind == PTX_SIGNED && ptx_type_bits(type) < wide ? 's' : 'u',
                 ptx_type_bits(type), wide);
        b = ptx_begin(p, s, key);
        b.inst.imm = offset;
        ptx_define(&b, VGPU_D, ptx_destination(p, s, to[i], to[i]->type ? to[i]->type : type));
        ptx_push(p, &b);
    }
}

uint32_t ptx_part_vector(struct ptx_statement *s)
{
    return ptx_part(s, "v2") ? 2 : ptx_part(s, "v4") ? 4 : ptx_part(s, "v8") ? 8 : 1;
}

/* The registers of a vector operand, or of a plain one. All have one width, which is returned; 0
 * after an error. */
static uint32_t elements_of(struct ptx_parser *p, struct ptx_statement *s,
                            const struct ptx_operand *o, uint32_t count,
                            const struct ptx_type *type, const struct ptx_operand *list[8])
{
    uint32_t wide = 0;

    if (count > 1 && (o->kind != PTX_OPERAND_VECTOR || o->count != count)) {
        ptx_fail(p, -EINVAL, s->line, "the operand is not a vector of %u", count);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        /* One register may stand in braces, too. */
        list[i] =
            o->kind == PTX_OPERAND_VECTOR && o->count == count ? &s->elements[o->first + i] : o;
        if (list[i]->kind != PTX_OPERAND_REGISTER)
            continue;
        if (list[i]->type->kind == PTX_PRED || register_bits(list[i]->type) < ptx_type_bits(type) ||
            (wide != 0 && wide != register_bits(list[i]->type))) {
            ptx_fail(p, -EINVAL, s->line, "'%.*s' has a width that does not fit the instruction",
                     (int)(list[i]->name.length < 100 ? list[i]->name.length : 100),
                     list[i]->name.start);
            return 0;
        }
        wide = register_bits(list[i]->type);
    }
    return wide != 0 ? wide : register_bits(type);
}

/* Up to four elements are operands, eight are a list. */
static void add_element(struct ptx_parser *p, struct ptx_build *b, uint32_t count, uint32_t n,
                        uint32_t ref, bool result)
{
    if (count > 4)
        ptx_list(p, b, ref);
    else if (result)
        ptx_define(b, element_rows[n], ref);
    else
        ptx_use(b, element_rows[n], ref);
}

static bool too_long(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_type *type,
                     uint32_t count, enum vgpu_space space)
{
    uint32_t bytes = ptx_type_bits(type) / 8 * count;

    if (bytes <= 16 || (bytes == 32 && type->bits >= 32 && space == VGPU_SPACE_GLOBAL))
        return false;
    ptx_unsupported(p, s, "a vector of this length, here");
    return true;
}

static void decode_ld(struct ptx_parser *p, struct ptx_statement *s)
{
    enum vgpu_space space = ptx_part_space(s);
    uint8_t ordering = ptx_part_ordering(s);
    uint32_t count = ptx_part_vector(s), wide;
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_operand *to[8] = {NULL}, *from = &s->operands[1];
    struct ptx_place place;
    struct ptx_build b;
    char key[32];

    if (type == NULL || type->kind == PTX_PRED) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    wide = elements_of(p, s, &s->operands[0], count, type, to);
    if (wide == 0 || too_long(p, s, type, count, space))
        return;
    if (space == VGPU_SPACE_PARAM && from->kind == PTX_OPERAND_ADDRESS && from->symbol != NULL &&
        from->symbol->kind == PTX_SYMBOL_PARAMETER) {
        load_parameter(p, s, type, to, count);
        return;
    }
    place = ptx_address(p, s, from, space);
    if (place.ref == PTX_REF_STACK)
        space = VGPU_SPACE_LOCAL;
    else if (space == VGPU_SPACE_PARAM && !p->unit->functions[p->function].entry)
        space = VGPU_SPACE_LOCAL;
    snprintf(key, sizeof(key), "ld_%c%u_%u",
             type->kind == PTX_SIGNED && ptx_type_bits(type) < wide ? 's' : 'u',
             ptx_type_bits(type), wide);
    b = ptx_begin(p, s, key);
    ptx_set_place(&b, &place, space, ordering);
    b.inst.y = (uint8_t)count;
    for (uint32_t i = 0; i < count && p->error == 0; i++)
        add_element(p, &b, count, i, ptx_destination(p, s, to[i], ptx_type_of(PTX_UNTYPED, wide)),
                    true);
    ptx_push(p, &b);
}

static void decode_st(struct ptx_parser *p, struct ptx_statement *s)
{
    /* st.async also counts its bytes at a barrier. */
    bool async = ptx_part(s, "async");
    bool counted = async && ptx_part(s, "mbarrier::complete_tx::bytes");
    enum vgpu_space space = ptx_part_space(s);
    uint8_t ordering = ptx_part_ordering(s);
    uint32_t count = ptx_part_vector(s), wide;
    const struct ptx_type *type, *stored;
    const struct ptx_operand *from[8] = {NULL};
    struct ptx_place place;
    uint32_t rows[8] = {0};
    struct ptx_build b;
    char key[32];

    if (!async && ptx_part(s, "bulk")) {
        ptx_decode_clear(p, s, space);
        return;
    }
    type = ptx_part_type(s);
    if (type == NULL || type->kind == PTX_PRED || async != counted) {
        ptx_unsupported(p, s, async ? "a form without a barrier" : "the type");
        return;
    }
    if (!ptx_want(p, s, async ? 3 : 2) || !ptx_all_parts(p, s))
        return;
    wide = elements_of(p, s, &s->operands[1], count, type, from);
    if (wide == 0 || too_long(p, s, type, count, space))
        return;
    place = ptx_address(p, s, &s->operands[0], space);
    if (p->error != 0)
        return;
    if (space == VGPU_SPACE_PARAM && place.ref != PTX_REF_STACK) {
        ptx_unsupported(p, s, "a store to a parameter");
        return;
    }
    if (place.ref == PTX_REF_STACK)
        space = VGPU_SPACE_LOCAL;
    stored = wide == register_bits(type) ? type : ptx_type_of(PTX_UNTYPED, wide);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = ptx_source(p, s, from[i], stored);
    snprintf(key, sizeof(key), "st_b%u_%u", ptx_type_bits(type), wide);
    b = ptx_begin(p, s, key);
    ptx_set_place(&b, &place, space, ordering);
    b.inst.y = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++)
        add_element(p, &b, count, i, rows[i], false);
    ptx_push(p, &b);
    if (async)
        ptx_emit_completion(p, s, &s->operands[2], count * ptx_type_bits(type) / 8);
}

/* ---- addresses ---- */

static uint64_t window_of(enum vgpu_space space)
{
    return space == VGPU_SPACE_SHARED  ? VGPU_WINDOW_SHARED
           : space == VGPU_SPACE_LOCAL ? VGPU_WINDOW_LOCAL
           : space == VGPU_SPACE_PARAM ? VGPU_WINDOW_PARAM
                                       : 0;
}

static void decode_cvta(struct ptx_parser *p, struct ptx_statement *s)
{
    bool to = ptx_part(s, "to");
    enum vgpu_space space = ptx_part_space(s);
    const struct ptx_type *type = ptx_part_type(s);
    uint64_t window = window_of(space);
    struct ptx_build b;
    uint32_t source;

    if (type == NULL || ptx_type_bits(type) != 64 || space == VGPU_SPACE_GENERIC) {
        ptx_unsupported(p, s, "the type or the state space");
        return;
    }
    /* Parameters of a .func are in its local frame. */
    if (space == VGPU_SPACE_PARAM && !p->unit->functions[p->function].entry)
        window = VGPU_WINDOW_LOCAL;
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    source = ptx_source(p, s, &s->operands[1], type);
    b = ptx_begin(p, s, window == 0 ? "mov_b64" : to ? "sub_b64" : "add_b64");
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    ptx_use(&b, VGPU_A, source);
    if (window != 0)
        ptx_use(&b, VGPU_B, ptx_constant(p, VGPU_ROW_64, window, -1));
    ptx_push(p, &b);
}

static void decode_isspacep(struct ptx_parser *p, struct ptx_statement *s)
{
    bool constant = ptx_part(s, "const"), own = false;
    enum vgpu_space space = constant ? VGPU_SPACE_CONST : ptx_part_space(s);
    const struct ptx_type *types[2] = {NAMED("pred"), NAMED("u64")};
    struct ptx_build b;

    for (uint32_t n = 0; n < s->part_count; n++)
        own |= ptx_slice_is(s->parts[n], "shared") || ptx_slice_is(s->parts[n], "shared::cta");
    b = ptx_form(p, s, "isspacep", types, 1);
    b.inst.x = (uint8_t)space;
    b.inst.y = own;
    ptx_push(p, &b);
}

/* ---- hints ---- */

/* A policy for caches is a number that nobody looks at. */
static void decode_policy(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = NAMED("b64");

    if (s->operand_count > 0)
        ptx_emit1(p, s, "mov_b64", ptx_destination(p, s, &s->operands[0], type),
                  ptx_constant(p, VGPU_ROW_64, 0, -1));
}

/* Hints about caches and about dependent launches. */
static void decode_nothing(struct ptx_parser *p, struct ptx_statement *s)
{
    (void)p;
    (void)s;
}

static const struct ptx_opcode table[] = {
    {"ld", decode_ld},
    {"ldu", decode_ld},
    {"st", decode_st},
    {"cvta", decode_cvta},
    {"isspacep", decode_isspacep},
    {"prefetch", decode_nothing},
    {"prefetchu", decode_nothing},
    {"discard", decode_nothing},
    {"applypriority", decode_nothing},
    {"createpolicy", decode_policy},
    {"griddepcontrol", decode_nothing},
    {"pmevent", decode_nothing},
};

ptx_decoder ptx_decode_memory(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
