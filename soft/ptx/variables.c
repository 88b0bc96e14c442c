/* SPDX-License-Identifier: MIT */
/* Declarations of variables, and initial values. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PTX_MAX_BYTES ((uint64_t)1 << 40)

static void skip_pointer_attributes(struct ptx_parser *p)
{
    while (p->token.kind == PTX_WORD && *p->token.text.start == '.') {
        if (ptx_accept_word(p, ".align")) {
            ptx_expect_integer(p, 1u << 20);
        } else if (ptx_is_word(p, ".global") || ptx_is_word(p, ".shared") ||
                   ptx_is_word(p, ".const") || ptx_is_word(p, ".local")) {
            ptx_advance(p);
        } else {
            return;
        }
    }
}

/* ".attribute(.managed, .unified(1, 2))": the latter is a name, which nobody asks for here. */
static void read_attributes(struct ptx_parser *p, struct ptx_declaration *d)
{
    ptx_expect(p, '(');
    do {
        if (ptx_accept_word(p, ".managed")) {
            d->managed = true;
        } else if (ptx_accept_word(p, ".unified")) {
            ptx_expect(p, '(');
            ptx_expect_integer(p, UINT64_MAX);
            ptx_expect(p, ',');
            ptx_expect_integer(p, UINT64_MAX);
            ptx_expect(p, ')');
        } else {
            ptx_fail(p, -ENOTSUP, p->token.line, "an attribute that is not known");
        }
    } while (p->error == 0 && ptx_accept(p, ','));
    ptx_expect(p, ')');
}

static void read_dimensions(struct ptx_parser *p, struct ptx_declaration *d)
{
    uint64_t counts[PTX_MAX_DIMENSIONS];

    while (ptx_accept(p, '[')) {
        if (d->dimensions == PTX_MAX_DIMENSIONS) {
            ptx_fail(p, -ENOTSUP, p->token.line, "an array of more than %d dimensions",
                     PTX_MAX_DIMENSIONS);
            return;
        }
        if (d->dimensions == 0 && ptx_is(p, ']'))
            counts[0] = 0;
        else
            counts[d->dimensions] = ptx_expect_integer(p, PTX_MAX_BYTES);
        d->dimensions++;
        ptx_expect(p, ']');
    }
    d->stride[d->dimensions] = d->size;
    for (uint32_t i = d->dimensions; i > 0; i--) {
        if (__builtin_mul_overflow(d->stride[i], counts[i - 1], &d->stride[i - 1]) ||
            d->stride[i - 1] > PTX_MAX_BYTES)
            ptx_fail(p, -EINVAL, p->token.line, "the array is too large");
    }
    d->size = d->stride[0];
}

/* An opaque type, which is two words of 64 bits here. */
static bool read_opaque(struct ptx_parser *p, struct ptx_declaration *d)
{
    if (ptx_accept_word(p, ".texref"))
        d->opaque = VGPU_OPAQUE_TEXTURE;
    else if (ptx_accept_word(p, ".surfref"))
        d->opaque = VGPU_OPAQUE_SURFACE;
    else if (ptx_accept_word(p, ".samplerref"))
        d->opaque = VGPU_OPAQUE_SAMPLER;
    else
        return false;
    d->type = ptx_type_of(PTX_UNTYPED, 64);
    return true;
}

/* What stands before the name: alignment, vector, type. */
static void read_type(struct ptx_parser *p, struct ptx_declaration *d)
{
    uint32_t vector = 1;

    memset(d, 0, sizeof(*d));
    while (p->token.kind == PTX_WORD && *p->token.text.start == '.') {
        if (ptx_accept_word(p, ".align")) {
            d->align = (uint32_t)ptx_expect_integer(p, 1u << 20);
        } else if (ptx_accept_word(p, ".attribute")) {
            read_attributes(p, d);
        } else if (ptx_accept_word(p, ".v2")) {
            vector = 2;
        } else if (ptx_accept_word(p, ".v4")) {
            vector = 4;
        } else if (ptx_accept_word(p, ".ptr")) {
            skip_pointer_attributes(p);
        } else if (d->type == NULL && read_opaque(p, d)) {
            vector = 2;
        } else if (d->type == NULL) {
            struct ptx_slice word = p->token.text;

            d->type = ptx_type_named((struct ptx_slice){word.start + 1, word.length - 1});
            if (d->type == NULL || d->type->kind == PTX_PRED)
                ptx_fail(p, -ENOTSUP, p->token.line, "'%.*s' in a declaration",
                         (int)(word.length < 60 ? word.length : 60), word.start);
            ptx_advance(p);
        } else {
            break;
        }
    }
    if (p->error == 0 && d->type == NULL)
        ptx_fail(p, -EINVAL, p->token.line, "a declaration without a type");
    if (p->error != 0 || d->type == NULL)
        return;
    d->element = ptx_type_bits(d->type) / 8 * vector;
    if (d->align == 0)
        d->align = d->element;
    if ((d->align & (d->align - 1)) != 0)
        ptx_fail(p, -EINVAL, p->token.line, "an alignment of %u", d->align);
}

void ptx_read_declaration(struct ptx_parser *p, struct ptx_declaration *d, bool again)
{
    if (!again)
        read_type(p, d);
    d->name = ptx_expect_word(p);
    d->dimensions = 0;
    d->size = d->element;
    if (p->error == 0)
        read_dimensions(p, d);
}

uint32_t ptx_place(struct ptx_parser *p, uint32_t *bytes, uint64_t size, uint32_t align)
{
    uint64_t start = ((uint64_t)*bytes + align - 1) & ~(uint64_t)(align - 1);

    if (size > (1u << 28) || start + size > (1u << 28)) {
        ptx_fail(p, -ENOTSUP, p->token.line, "more than 256 MiB of local, shared or parameters");
        return 0;
    }
    if (align > p->unit->stack_align)
        p->unit->stack_align = align;
    *bytes = (uint32_t)(start + size);
    return (uint32_t)start;
}

/* ---- initial values ---- */

static bool make_room(struct ptx_parser *p, struct vgpu_variable *v, uint64_t end)
{
    uint64_t size = end + end / 2;
    uint8_t *bytes;

    if (end > UINT32_MAX / 2) {
        ptx_fail(p, -ENOTSUP, p->token.line, "an initial value of more than 2 GiB");
        return false;
    }
    if (end <= v->byte_count)
        return true;
    /* Only what the text spells out is kept, in steps so that long lists stay linear. */
    size = size < 64 ? 64 : size;
    if (v->size != 0 && size > v->size)
        size = v->size;
    bytes = realloc(v->bytes, size);
    if (bytes == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return false;
    }
    memset(bytes + v->byte_count, 0, size - v->byte_count);
    v->bytes = bytes;
    v->byte_count = (uint32_t)size;
    return true;
}

static void relocate(struct ptx_parser *p, uint32_t variable, uint64_t offset, uint64_t mask,
                     uint32_t size, struct ptx_slice name)
{
    struct ptx_symbol *s = ptx_symbol_find(p, name);
    struct vgpu_relocation *r;
    int64_t addend = 0;

    if (s == NULL || (s->kind != PTX_SYMBOL_VARIABLE && s->kind != PTX_SYMBOL_FUNCTION)) {
        ptx_fail(p, -EINVAL, p->token.line, "'%.*s' in an initial value is not known",
                 (int)(name.length < 100 ? name.length : 100), name.start);
        return;
    }
    if (s->kind == PTX_SYMBOL_VARIABLE && p->unit->variables[s->index].space == VGPU_SPACE_SHARED)
        ptx_fail(p, -ENOTSUP, p->token.line, "the address of a .shared variable as initial value");
    if (ptx_accept(p, '+'))
        addend = (int64_t)ptx_expect_integer(p, INT64_MAX);
    else if (ptx_accept(p, '-'))
        addend = -(int64_t)ptx_expect_integer(p, INT64_MAX);
    if (!ptx_grow(p, &p->unit->relocations, PTX_RELOCATIONS, p->unit->relocation_count, sizeof(*r)))
        return;
    r = &p->unit->relocations[p->unit->relocation_count++];
    *r = (struct vgpu_relocation){.variable = variable,
                                  .offset = (uint32_t)offset,
                                  .bytes = (uint8_t)size,
                                  .shift = mask == 0 ? 0 : (uint8_t)__builtin_ctzll(mask),
                                  .is_function = s->kind == PTX_SYMBOL_FUNCTION,
                                  .target = s->index,
                                  .addend = addend};
}

static void store_value(struct ptx_parser *p, const struct ptx_type *type, uint8_t *to,
                        bool negative)
{
    uint64_t bits = p->token.bits;
    uint32_t size = ptx_type_bits(type) / 8;
    bool is_float = type->kind == PTX_FLOATING && type->packed == 1;

    if (is_float && type->bits >= 32 && p->token.kind != PTX_INTEGER) {
        double d;
        float f;

        if (p->token.kind == PTX_FLOAT) {
            memcpy(&f, &bits, sizeof(f));
            d = f;
        } else {
            memcpy(&d, &bits, sizeof(d));
        }
        d = negative ? -d : d;
        f = (float)d;
        memcpy(&bits, type->bits == 32 ? (void *)&f : (void *)&d, size);
    } else if (p->token.kind == PTX_INTEGER && !(is_float && type->bits >= 32)) {
        bits = negative ? -bits : bits;
    } else {
        ptx_fail(p, -EINVAL, p->token.line, "an initial value of another type");
    }
    memcpy(to, &bits, size);
    ptx_advance(p);
}

static void read_value(struct ptx_parser *p, uint32_t variable, const struct ptx_declaration *d,
                       uint64_t offset)
{
    struct vgpu_variable *v = &p->unit->variables[variable];
    uint32_t size = ptx_type_bits(d->type) / 8;
    bool negative = ptx_accept(p, '-');
    struct ptx_slice name;

    if (!make_room(p, v, offset + size))
        return;
    if (p->token.kind == PTX_WORD) {
        name = ptx_expect_word(p);
        if (ptx_slice_is(name, "generic") && ptx_accept(p, '(')) {
            name = ptx_expect_word(p);
            ptx_expect(p, ')');
        }
        relocate(p, variable, offset, 0, size, name);
        return;
    }
    if (p->token.kind == PTX_INTEGER) {
        /* 0xFF00(name): these bits of the address. */
        struct ptx_parser before = *p;
        uint64_t mask = ptx_expect_integer(p, UINT64_MAX);

        if (ptx_accept(p, '(')) {
            name = ptx_expect_word(p);
            ptx_expect(p, ')');
            relocate(p, variable, offset, mask, size, name);
            return;
        }
        if (p->error != 0)
            return;
        p->text = before.text;
        p->token = before.token;
    }
    store_value(p, d->type, v->bytes + offset, negative);
}

static void read_list(struct ptx_parser *p, uint32_t variable, const struct ptx_declaration *d,
                      uint64_t offset, uint32_t level)
{
    uint64_t end = offset + d->stride[level];
    bool open = level == 0 && d->size == 0;
    bool scalars = level >= d->dimensions;

    ptx_expect(p, '{');
    while (p->error == 0 && !ptx_is(p, '}')) {
        uint64_t step = scalars ? ptx_type_bits(d->type) / 8 : d->stride[level + 1];

        if (ptx_is(p, '{') && level < d->dimensions && level < PTX_MAX_DIMENSIONS) {
            read_list(p, variable, d, offset, level + 1);
        } else {
            step = ptx_type_bits(d->type) / 8;
            if (!open && offset + step > end) {
                ptx_fail(p, -EINVAL, p->token.line, "more initial values than elements");
                return;
            }
            read_value(p, variable, d, offset);
        }
        offset += step;
        if (!ptx_accept(p, ','))
            break;
    }
    ptx_expect(p, '}');
    if (open && level == 0)
        p->unit->variables[variable].size = offset;
}

/* The index of a new variable, or of one that gets its value now; UINT32_MAX if what is declared
   changes nothing, or after an error. */
static uint32_t add_variable(struct ptx_parser *p, enum vgpu_space space, bool external,
                             const struct ptx_declaration *d)
{
    struct ptx_symbol *s = ptx_symbol_here(p, d->name);
    struct vgpu_variable *v;
    uint32_t index;

    if (s != NULL && s->kind == PTX_SYMBOL_VARIABLE &&
        p->unit->variables[s->index].space == space &&
        (external || p->weak || p->unit->variables[s->index].external ||
         p->unit->variables[s->index].weak)) {
        index = s->index;
        v = &p->unit->variables[index];
        if (external || (p->weak && !v->external))
            return UINT32_MAX;
        free(v->bytes);
        v->bytes = NULL;
        v->byte_count = 0;
    } else {
        s = ptx_symbol_add(p, d->name, PTX_SYMBOL_VARIABLE);
        if (s == NULL ||
            !ptx_grow(p, &p->unit->variables, PTX_VARIABLES, p->unit->variable_count, sizeof(*v)))
            return UINT32_MAX;
        index = s->index = p->unit->variable_count;
        v = &p->unit->variables[index];
        v->name = ptx_copy_name(p, d->name);
        p->unit->variable_count++;
    }
    v->space = (uint8_t)space;
    v->align = d->align;
    v->size = d->size;
    v->opaque = (uint8_t)d->opaque;
    v->managed = d->managed && space == VGPU_SPACE_GLOBAL;
    v->dynamic = external && space == VGPU_SPACE_SHARED;
    v->external = external && space != VGPU_SPACE_SHARED;
    v->weak = p->weak && p->scope == 0;
    return index;
}

/* A token, or all in braces. */
static void skip_value(struct ptx_parser *p)
{
    uint32_t depth = 0;

    do {
        if (ptx_is(p, '{'))
            depth++;
        else if (ptx_is(p, '}') && depth > 0)
            depth--;
        ptx_advance(p);
    } while (depth > 0 && p->token.kind != PTX_END);
}

void ptx_read_variable(struct ptx_parser *p, enum vgpu_space space, bool external)
{
    struct ptx_declaration d;
    uint32_t index;
    bool again = false;

    do {
        ptx_read_declaration(p, &d, again);
        again = true;
        if (space != VGPU_SPACE_SHARED && p->function != UINT32_MAX &&
            !p->unit->functions[p->function].entry)
            ptx_fail(p, -ENOTSUP, p->token.line, "a variable of module space in a function");
        index = p->error == 0 ? add_variable(p, space, external, &d) : UINT32_MAX;
        if (index == UINT32_MAX) {
            while (p->error == 0 && !ptx_is(p, ',') && !ptx_is(p, ';') && p->token.kind != PTX_END)
                skip_value(p);
            continue;
        }
        if (ptx_accept(p, '=')) {
            if (space == VGPU_SPACE_SHARED)
                ptx_fail(p, -EINVAL, p->token.line, "a .shared variable with an initial value");
            else if (ptx_is(p, '{'))
                read_list(p, index, &d, 0, 0);
            else if (d.dimensions == 0)
                read_value(p, index, &d, 0);
            else
                ptx_fail(p, -EINVAL, p->token.line, "an array without a list of initial values");
        }
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}
