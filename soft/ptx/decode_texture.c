/* SPDX-License-Identifier: MIT */
/*
 * tex tld4 txq suld sust suq. They have more operands than an instruction has rows for: coordinates
 * and the like are handed over by a texture_argument each, which come right before.
 */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>

#include "soft/simt/texture.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

static const enum vgpu_operand element_rows[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};

/* ---- what the instructions share ---- */

static const struct {
    const char *name;
    enum vgpu_geometry geometry;
    bool layered;
    uint32_t dimensions;
} geometries[] = {
    {"1d", VGPU_GEOMETRY_1D, false, 1},
    {"2d", VGPU_GEOMETRY_2D, false, 2},
    {"3d", VGPU_GEOMETRY_3D, false, 3},
    {"a1d", VGPU_GEOMETRY_1D_LAYERS, true, 1},
    {"a2d", VGPU_GEOMETRY_2D_LAYERS, true, 2},
    {"cube", VGPU_GEOMETRY_CUBE, false, 3},
    {"acube", VGPU_GEOMETRY_CUBE_LAYERS, true, 3},
};

/* Index in geometries[], or its size. */
static size_t take_geometry(struct ptx_statement *s)
{
    size_t i = 0;

    while (i < COUNT(geometries) && !ptx_part(s, geometries[i].name))
        i++;
    return i;
}

static void pass(struct ptx_parser *p, struct ptx_statement *s, enum vgpu_texture_argument which,
                 const struct ptx_operand *o, const struct ptx_type *type)
{
    uint32_t source = ptx_source(p, s, o, type);
    struct ptx_build b = ptx_begin(p, s, "texture_argument");

    ptx_use(&b, VGPU_A, source);
    b.inst.x = (uint8_t)which;
    ptx_push(p, &b);
}

/* The elements of a vector; there may be more than are used. */
static void pass_vector(struct ptx_parser *p, struct ptx_statement *s,
                        enum vgpu_texture_argument first, const struct ptx_operand *o,
                        uint32_t count, const struct ptx_type *type)
{
    if (o->count < count) {
        ptx_fail(p, -EINVAL, s->line, "a vector of less than %u elements", count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        pass(p, s, (enum vgpu_texture_argument)(first + i), &s->elements[o->first + i], type);
}

static void pass_coordinates(struct ptx_parser *p, struct ptx_statement *s,
                             const struct ptx_operand *address, size_t geometry,
                             const struct ptx_type *type)
{
    struct ptx_operand rest = *address;

    if (geometries[geometry].layered && rest.count > 0) {
        pass(p, s, VGPU_ARGUMENT_LAYER, &s->elements[rest.first], NAMED("u32"));
        rest.first++;
        rest.count--;
    }
    pass_vector(p, s, VGPU_ARGUMENT_X, &rest, geometries[geometry].dimensions, type);
}

/* The row of handles: a register, or what a .texref or .surfref variable holds. */
static uint32_t handle_of(struct ptx_parser *p, struct ptx_statement *s,
                          const struct ptx_operand *o)
{
    struct ptx_operand base = *o;
    struct ptx_build b;
    uint32_t address, handle;

    if (p->error != 0)
        return 0;
    if (o->kind != PTX_OPERAND_ADDRESS || o->bits != 0) {
        ptx_fail(p, -EINVAL, s->line, "an operand that should be a texture is none");
        return 0;
    }
    if (o->has_register) {
        if (ptx_type_width(o->type) != VGPU_ROW_64)
            ptx_fail(p, -EINVAL, s->line, "a texture's handle of less than 64 bits");
        return o->ref;
    }
    if (o->symbol == NULL || o->symbol->kind != PTX_SYMBOL_VARIABLE) {
        ptx_unsupported(p, s, "a texture that is a parameter");
        return 0;
    }
    if (p->unit->variables[o->symbol->index].opaque != VGPU_OPAQUE_TEXTURE &&
        p->unit->variables[o->symbol->index].opaque != VGPU_OPAQUE_SURFACE) {
        ptx_fail(p, -EINVAL, s->line, "'%.*s' is no texture and no surface",
                 (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        return 0;
    }
    base.bits = 0;
    address = ptx_symbol_address(p, s, &base, VGPU_ROW_64);
    handle = ptx_new_register(p, VGPU_ROW_64);
    b = ptx_begin(p, s, "ld_u64_64");
    ptx_define(&b, VGPU_D, handle);
    ptx_use(&b, VGPU_A, address);
    b.inst.x = VGPU_SPACE_GLOBAL;
    b.inst.y = 1;
    ptx_push(p, &b);
    return handle;
}

/* ---- tex and tld4 ---- */

/* The four registers for channels, or two for pairs of them. */
static void define_channels(struct ptx_parser *p, struct ptx_statement *s, struct ptx_build *b,
                            const struct ptx_type *type)
{
    const struct ptx_operand *to = &s->operands[0];
    uint32_t count = type->packed == 2 ? 2 : 4;

    if (to->kind != PTX_OPERAND_VECTOR || to->count != count) {
        ptx_fail(p, -EINVAL, s->line, "a destination that is not a vector of %u", count);
        return;
    }
    for (uint32_t i = 0; i < count && p->error == 0; i++)
        ptx_define(
            b, element_rows[i],
            ptx_destination(p, s, &s->elements[to->first + i], count == 2 ? NAMED("b32") : type));
}

/* "{...}|p": whether all that was read is in memory, which it always is. */
static void define_residency(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b;

    if (s->operands[0].second == 0)
        return;
    b = ptx_begin(p, s, "mov_pred");
    ptx_use(&b, VGPU_A, ptx_constant(p, VGPU_ROW_PREDICATE, UINT32_MAX, -1));
    ptx_define(&b, VGPU_D, s->operands[0].second);
    ptx_push(p, &b);
}

static enum vgpu_sample_form take_form(struct ptx_statement *s)
{
    if (ptx_part(s, "level"))
        return VGPU_SAMPLE_LEVEL;
    if (ptx_part(s, "grad"))
        return VGPU_SAMPLE_GRADIENT;
    ptx_part(s, "base");
    return VGPU_SAMPLE_BASE;
}

static void pass_level(struct ptx_parser *p, struct ptx_statement *s, enum vgpu_sample_form form,
                       uint32_t dimensions)
{
    if (form == VGPU_SAMPLE_LEVEL) {
        pass(p, s, VGPU_ARGUMENT_LEVEL, &s->operands[2], NAMED("f32"));
    } else if (form == VGPU_SAMPLE_GRADIENT) {
        pass_vector(p, s, VGPU_ARGUMENT_DX, &s->operands[2], dimensions, NAMED("f32"));
        pass_vector(p, s, VGPU_ARGUMENT_DY, &s->operands[3], dimensions, NAMED("f32"));
    }
}

static void decode_tex(struct ptx_parser *p, struct ptx_statement *s)
{
    enum vgpu_sample_form form = take_form(s);
    uint32_t operands = form == VGPU_SAMPLE_LEVEL ? 3 : form == VGPU_SAMPLE_GRADIENT ? 4 : 2;
    size_t geometry = take_geometry(s);
    bool halves = ptx_part(s, "v2"), vector = halves || ptx_part(s, "v4");
    const struct ptx_type *type = ptx_part_type(s), *coordinates = ptx_part_type(s);
    bool offsets = s->operand_count == operands + 1;
    struct ptx_build b;
    uint32_t handle;

    if (geometry == COUNT(geometries) || !vector || type == NULL || coordinates == NULL ||
        ptx_type_bits(type) != 32 || (type->packed == 2) != halves ||
        (halves && type->kind != PTX_FLOATING) || coordinates->bits != 32 ||
        coordinates->packed != 1) {
        ptx_unsupported(p, s, "the geometry or one of the types");
        return;
    }
    if (!ptx_want(p, s, operands + offsets) || !ptx_all_parts(p, s))
        return;
    if (offsets && s->operands[operands].count == 0) {
        ptx_unsupported(p, s, "a form with a depth");
        return;
    }
    handle = handle_of(p, s, &s->operands[1]);
    pass_coordinates(p, s, &s->operands[1], geometry, coordinates);
    pass_level(p, s, form, geometries[geometry].dimensions);
    if (offsets)
        pass_vector(p, s, VGPU_ARGUMENT_OFFSET, &s->operands[operands],
                    geometries[geometry].dimensions, NAMED("s32"));
    b = ptx_begin(p, s, "tex");
    define_channels(p, s, &b, type);
    ptx_use(&b, VGPU_A, handle);
    b.inst.x = (uint8_t)(geometries[geometry].geometry | form << 4);
    b.inst.y = (uint8_t)((coordinates->kind == PTX_FLOATING ? 0 : VGPU_TEXTURE_INTEGERS) |
                         (offsets ? VGPU_TEXTURE_OFFSETS : 0) | (halves ? VGPU_TEXTURE_HALVES : 0));
    ptx_push(p, &b);
    define_residency(p, s);
}

static void decode_tld4(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const channels[] = {"r", "g", "b", "a"};
    size_t geometry = take_geometry(s);
    bool vector = ptx_part(s, "v4");
    const struct ptx_type *type, *coordinates;
    bool offsets = s->operand_count == 3;
    uint32_t channel = 0, handle;
    struct ptx_build b;

    while (channel < 4 && !ptx_part(s, channels[channel]))
        channel++;
    type = ptx_part_type(s);
    coordinates = ptx_part_type(s);
    if (channel == 4 || geometry == COUNT(geometries) || !vector || type == NULL ||
        coordinates == NULL || type->bits != 32 || type->packed != 1 || coordinates->bits != 32 ||
        coordinates->kind != PTX_FLOATING || geometries[geometry].dimensions == 1 ||
        geometries[geometry].geometry == VGPU_GEOMETRY_3D) {
        ptx_unsupported(p, s, "the geometry, the channel or one of the types");
        return;
    }
    if (!ptx_want(p, s, 2 + offsets) || !ptx_all_parts(p, s))
        return;
    if (offsets && s->operands[2].count == 0) {
        ptx_unsupported(p, s, "a form with a depth");
        return;
    }
    handle = handle_of(p, s, &s->operands[1]);
    pass_coordinates(p, s, &s->operands[1], geometry, coordinates);
    if (offsets)
        pass_vector(p, s, VGPU_ARGUMENT_OFFSET, &s->operands[2], 2, NAMED("s32"));
    b = ptx_begin(p, s, "tex");
    define_channels(p, s, &b, type);
    ptx_use(&b, VGPU_A, handle);
    b.inst.x = (uint8_t)(geometries[geometry].geometry | VGPU_SAMPLE_GATHER << 4);
    b.inst.y = offsets ? VGPU_TEXTURE_OFFSETS : 0;
    b.inst.z = (uint8_t)channel;
    ptx_push(p, &b);
    define_residency(p, s);
}

/* ---- txq and suq ---- */

static void decode_query(struct ptx_parser *p, struct ptx_statement *s)
{
    static const struct {
        const char *name;
        enum vgpu_texture_query query;
    } queries[] = {
        {"width", VGPU_QUERY_WIDTH},
        {"height", VGPU_QUERY_HEIGHT},
        {"depth", VGPU_QUERY_DEPTH},
        {"array_size", VGPU_QUERY_LAYERS},
        {"num_mipmap_levels", VGPU_QUERY_LEVELS},
        {"num_samples", VGPU_QUERY_SAMPLES},
        {"normalized_coords", VGPU_QUERY_NORMALIZED},
    };
    bool level = ptx_part(s, "level");
    struct ptx_operand zero = {.kind = PTX_OPERAND_INTEGER};
    size_t query = 0;
    struct ptx_build b;
    uint32_t handle;

    while (query < COUNT(queries) && !ptx_part(s, queries[query].name))
        query++;
    if (query == COUNT(queries) || !ptx_part(s, "b32")) {
        ptx_unsupported(p, s, "what it asks for");
        return;
    }
    if (!ptx_want(p, s, level ? 3 : 2) || !ptx_all_parts(p, s))
        return;
    handle = handle_of(p, s, &s->operands[1]);
    pass(p, s, VGPU_ARGUMENT_LEVEL, level ? &s->operands[2] : &zero, NAMED("u32"));
    b = ptx_begin(p, s, "texture_query");
    ptx_use(&b, VGPU_A, handle);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], NAMED("b32")));
    b.inst.x = (uint8_t)queries[query].query;
    ptx_push(p, &b);
}

/* ---- suld, sust and sured ---- */

/* What is the same for both. */
struct surface_access {
    size_t geometry;
    uint32_t count;
    const struct ptx_type *type;
    enum vgpu_surface_bounds bounds;
    bool formatted;
};

static bool take_access(struct ptx_parser *p, struct ptx_statement *s, struct surface_access *a)
{
    static const char *const hints[] = {"ca", "cg", "cs", "cv", "wb", "wt"};

    a->formatted = ptx_part(s, "p");
    if (!a->formatted)
        ptx_part(s, "b");
    a->geometry = take_geometry(s);
    for (size_t i = 0; i < COUNT(hints); i++)
        ptx_part(s, hints[i]);
    a->count = ptx_part(s, "v2") ? 2 : ptx_part(s, "v4") ? 4 : 1;
    a->type = ptx_part_type(s);
    a->bounds = VGPU_BOUNDS_TRAP;
    if (ptx_part(s, "clamp"))
        a->bounds = VGPU_BOUNDS_CLAMP;
    else if (ptx_part(s, "zero"))
        a->bounds = VGPU_BOUNDS_ZERO;
    else
        ptx_part(s, "trap");
    if (a->geometry == COUNT(geometries) ||
        geometries[a->geometry].geometry >= VGPU_GEOMETRY_CUBE || a->type == NULL ||
        a->type->packed != 1 || a->type->kind == PTX_PRED ||
        (a->formatted && a->type->bits != 32)) {
        ptx_unsupported(p, s, "the geometry or the type");
        return false;
    }
    return ptx_want(p, s, 2) && ptx_all_parts(p, s);
}

/* The registers of a value, as a vector or one alone; returns their width in bits. */
static uint32_t value_elements(struct ptx_parser *p, struct ptx_statement *s,
                               const struct ptx_operand *o, const struct surface_access *a,
                               const struct ptx_operand *list[4])
{
    uint32_t wide = 0;

    if (o->kind == PTX_OPERAND_VECTOR ? o->count != a->count : a->count != 1) {
        ptx_fail(p, -EINVAL, s->line, "the value is not a vector of %u", a->count);
        return 0;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        list[i] = o->kind == PTX_OPERAND_VECTOR ? &s->elements[o->first + i] : o;
        if (list[i]->kind == PTX_OPERAND_REGISTER && wide == 0)
            wide = ptx_type_bits(list[i]->type);
    }
    if (wide == 0 || wide == 8)
        wide = a->type->bits == 8 ? 16 : a->type->bits;
    return wide;
}

static struct ptx_build begin_access(struct ptx_parser *p, struct ptx_statement *s, const char *key,
                                     const struct surface_access *a, uint32_t handle)
{
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_use(&b, VGPU_A, handle);
    b.inst.x = (uint8_t)geometries[a->geometry].geometry;
    b.inst.y = (uint8_t)a->count;
    b.inst.z = (uint8_t)a->bounds;
    return b;
}

static void decode_suld(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_operand *to[4] = {NULL};
    struct surface_access a;
    struct ptx_build b;
    uint32_t wide, handle;
    char key[32];

    if (!take_access(p, s, &a))
        return;
    if (a.formatted) {
        ptx_unsupported(p, s, "a formatted load");
        return;
    }
    wide = value_elements(p, s, &s->operands[0], &a, to);
    handle = handle_of(p, s, &s->operands[1]);
    pass_coordinates(p, s, &s->operands[1], a.geometry, NAMED("s32"));
    if (p->error != 0)
        return;
    snprintf(key, sizeof(key), "suld_b%u_%u", a.type->bits, wide);
    b = begin_access(p, s, key, &a, handle);
    for (uint32_t i = 0; i < a.count && p->error == 0; i++)
        ptx_define(&b, element_rows[i],
                   ptx_destination(p, s, to[i], ptx_type_of(PTX_UNTYPED, wide)));
    ptx_push(p, &b);
}

static void decode_sust(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_operand *from[4] = {NULL};
    uint32_t rows[4] = {0}, wide, handle;
    struct surface_access a;
    struct ptx_build b;
    char key[32];

    if (!take_access(p, s, &a))
        return;
    wide = value_elements(p, s, &s->operands[1], &a, from);
    handle = handle_of(p, s, &s->operands[0]);
    pass_coordinates(p, s, &s->operands[0], a.geometry, NAMED("s32"));
    for (uint32_t i = 0; i < a.count && p->error == 0; i++)
        rows[i] = ptx_source(p, s, from[i], ptx_type_of(PTX_UNTYPED, wide));
    if (p->error != 0)
        return;
    snprintf(key, sizeof(key), a.formatted ? "sust_p" : "sust_b%u_%u", a.type->bits, wide);
    b = begin_access(p, s, key, &a, handle);
    for (uint32_t i = 0; i < a.count; i++)
        ptx_use(&b, element_rows[i], rows[i]);
    ptx_push(p, &b);
}

/* sured.b.op.geometry.type.bounds [a, {b}], c; sured.p for elements of the surface's own type */
static void decode_sured(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const operations[] = {"add", "min", "max", "and", "or"};
    struct surface_access a;
    struct ptx_build b;
    uint32_t source, handle;
    size_t operation = 0;
    char key[32];

    while (operation < COUNT(operations) && !ptx_part(s, operations[operation]))
        operation++;
    if (operation == COUNT(operations)) {
        ptx_unsupported(p, s, "the operation");
        return;
    }
    if (!take_access(p, s, &a))
        return;
    if (a.type->bits < 32 || a.type->kind == PTX_FLOATING || geometries[a.geometry].layered ||
        a.count != 1) {
        ptx_unsupported(p, s, "the geometry or the type");
        return;
    }
    handle = handle_of(p, s, &s->operands[0]);
    pass_coordinates(p, s, &s->operands[0], a.geometry, NAMED("s32"));
    source = ptx_source(p, s, &s->operands[1], a.type);
    snprintf(key, sizeof(key), "sured_%s_%u", operations[operation], a.type->bits);
    b = begin_access(p, s, key, &a, handle);
    ptx_use(&b, VGPU_B, source);
    b.inst.y = (uint8_t)((a.type->kind == PTX_SIGNED ? VGPU_SURFACE_SIGNED : 0) |
                         (a.formatted ? VGPU_SURFACE_FORMATTED : 0));
    ptx_push(p, &b);
}

ptx_decoder ptx_decode_texture(struct ptx_slice opcode)
{
    static const struct ptx_opcode table[] = {
        {"tex", decode_tex},     {"tld4", decode_tld4}, {"txq", decode_query},
        {"suq", decode_query},   {"suld", decode_suld}, {"sust", decode_sust},
        {"sured", decode_sured},
    };

    return ptx_decoder_in(table, COUNT(table), opcode);
}
