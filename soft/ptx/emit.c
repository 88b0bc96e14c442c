/* SPDX-License-Identifier: MIT */
/* Building instructions: rows of operands, constants, keys of handlers. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soft/simt/ops.h"

void ptx_unsupported(struct ptx_parser *p, const struct ptx_statement *s, const char *why)
{
    char opcode[120];
    size_t n = 0;

    n = (size_t)snprintf(opcode, sizeof(opcode), "%.*s",
                         (int)(s->opcode.length < 60 ? s->opcode.length : 60), s->opcode.start);
    for (uint32_t i = 0; i < s->part_count && n + 42 < sizeof(opcode); i++)
        n += (size_t)snprintf(opcode + n, sizeof(opcode) - n, ".%.*s",
                              (int)(s->parts[i].length < 40 ? s->parts[i].length : 40),
                              s->parts[i].start);
    ptx_fail(p, -ENOTSUP, s->line, "'%s' is not supported: %s", opcode, why);
}

/* ---- constant rows ---- */

static uint32_t hash_constant(const struct vgpu_constant *c)
{
    uint64_t h = (c->value ^ ((uint64_t)(uint32_t)c->variable << 32) ^ c->width) *
                 UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(h >> 32);
}

static bool enlarge_map(struct ptx_parser *p)
{
    uint32_t size = p->constant_map_size == 0 ? 1024 : p->constant_map_size * 4;
    uint32_t *map = calloc(size, sizeof(*map));

    if (map == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < p->unit->constant_count; i++) {
        uint32_t at = hash_constant(&p->unit->constants[i]) & (size - 1);

        while (map[at] != 0)
            at = (at + 1) & (size - 1);
        map[at] = i + 1;
    }
    free(p->constant_map);
    p->constant_map = map;
    p->constant_map_size = size;
    return true;
}

uint32_t ptx_constant(struct ptx_parser *p, uint32_t width, uint64_t value, int32_t variable)
{
    struct vgpu_unit *unit = p->unit;
    struct vgpu_constant c = {.variable = variable, .width = (uint8_t)width};
    uint32_t at;

    c.value = width == VGPU_ROW_PREDICATE ? (value != 0)
              : width == VGPU_ROW_16      ? (uint16_t)value
              : width == VGPU_ROW_32      ? (uint32_t)value
                                          : value;
    if (unit->constant_count * 2 >= p->constant_map_size && !enlarge_map(p))
        return 0;
    at = hash_constant(&c) & (p->constant_map_size - 1);
    while (p->constant_map[at] != 0) {
        uint32_t index = p->constant_map[at] - 1;
        const struct vgpu_constant *old = &unit->constants[index];

        if (old->value == c.value && old->variable == c.variable && old->width == c.width)
            return PTX_REF_CONSTANT | PTX_REF(width, index);
        at = (at + 1) & (p->constant_map_size - 1);
    }
    if (!ptx_grow(p, &unit->constants, PTX_CONSTANTS, unit->constant_count, sizeof(c)))
        return 0;
    if (unit->constant_count > PTX_REF_INDEX(UINT32_MAX) / 2) {
        ptx_fail(p, -ENOTSUP, p->token.line, "too many constants");
        return 0;
    }
    unit->constants[unit->constant_count++] = c;
    p->constant_map[at] = unit->constant_count;
    return PTX_REF_CONSTANT | PTX_REF(width, unit->constant_count - 1);
}

/* ---- instructions ---- */

struct ptx_build ptx_begin_control(const struct ptx_statement *s, enum vgpu_control control)
{
    struct ptx_build b = {.inst = {.control = (uint8_t)control, .line = s->line}};

    b.inst.guard = s->guard;
    if (s->guard != 0 && s->guard_negated)
        b.inst.guard |= PTX_REF_CONSTANT; /* guards are never constants: the bit is free */
    return b;
}

/* Bytes of one element that an operation reads or writes in memory; 0 if it does not. */
static uint8_t element_bytes(const char *key)
{
    unsigned int bits = 0;

    if (sscanf(key, "ld_%*[us]%u_", &bits) == 1 || sscanf(key, "st_b%u_", &bits) == 1 ||
        sscanf(key, "atom_%*[a-z]_%*[busf]%u", &bits) == 1)
        return (uint8_t)(bits / 8);
    return 0;
}

struct ptx_build ptx_begin(struct ptx_parser *p, const struct ptx_statement *s, const char *key)
{
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_NONE);

    b.inst.run = b.inst.plain = vgpu_ops_find(key);
    b.line = vgpu_ops_find_for("line", key);
    b.shaped = vgpu_ops_find_for("shaped", key);
    b.varies = strcmp(key, "sreg_tid") == 0 || strcmp(key, "sreg_ctaid") == 0;
    b.atomic = strncmp(key, "atom_", 5) == 0;
    b.inst.bytes = element_bytes(key);
    if (b.inst.run == NULL && p->error == 0) {
        char why[100];

        snprintf(why, sizeof(why), "there is no operation '%.60s'", key);
        ptx_unsupported(p, s, why);
    }
    return b;
}

void ptx_use(struct ptx_build *b, enum vgpu_operand operand, uint32_t ref)
{
    b->inst.row[operand] = ref;
    b->rows |= (uint8_t)(1u << operand);
}

void ptx_define(struct ptx_build *b, enum vgpu_operand operand, uint32_t ref)
{
    ptx_use(b, operand, ref);
    b->defs |= (uint8_t)(1u << operand);
}

void ptx_list(struct ptx_parser *p, struct ptx_build *b, uint32_t ref)
{
    struct vgpu_unit *unit = p->unit;

    if (!ptx_grow(p, &unit->lists, PTX_LISTS, unit->list_count, sizeof(*unit->lists)))
        return;
    if (b->list++ == 0)
        b->inst.row[VGPU_LIST] = unit->list_count;
    unit->lists[unit->list_count++] = ref;
}

void ptx_push(struct ptx_parser *p, const struct ptx_build *b)
{
    struct vgpu_unit *unit = p->unit;

    if (!ptx_grow(p, &unit->code, PTX_CODE, unit->code_count, sizeof(b->inst)) ||
        !ptx_grow(p, &p->info, PTX_INFO, unit->code_count, sizeof(*p->info)))
        return;
    unit->code[unit->code_count] = b->inst;
    if (b->inst.x > VGPU_SPACE_GENERIC)
        unit->code[unit->code_count].bytes = 0;
    else if (b->inst.y > 1)
        unit->code[unit->code_count].bytes *= b->inst.y;
    p->info[unit->code_count] = (struct ptx_info){.line = b->line,
                                                  .shaped = b->shaped,
                                                  .rows = b->rows,
                                                  .defs = b->defs,
                                                  .list = b->list,
                                                  .varies = b->varies,
                                                  .atomic = b->atomic};
    unit->code_count++;
}

void ptx_emit1(struct ptx_parser *p, struct ptx_statement *s, const char *key, uint32_t d,
               uint32_t a)
{
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_define(&b, VGPU_D, d);
    ptx_use(&b, VGPU_A, a);
    ptx_push(p, &b);
}

void ptx_fixup_add(struct ptx_parser *p, struct ptx_slice label, uint32_t where, bool is_target,
                   uint32_t line)
{
    if (!ptx_grow(p, &p->fixups, PTX_FIXUPS, p->fixup_count, sizeof(*p->fixups)))
        return;
    p->fixups[p->fixup_count++] = (struct ptx_fixup){.name = label,
                                                     .where = where,
                                                     .line = line,
                                                     .scope = (uint8_t)p->scope,
                                                     .is_target = is_target};
}

/* ---- operands ---- */

static uint64_t float_bits(struct ptx_parser *p, struct ptx_statement *s,
                           const struct ptx_operand *o, const struct ptx_type *type)
{
    double d;
    float f;
    uint64_t bits = 0;

    if (type->packed != 1 || type->bits < 32 ||
        (type->kind != PTX_FLOATING && type->kind != PTX_UNTYPED)) {
        ptx_unsupported(p, s, "a floating-point immediate of this type");
        return 0;
    }
    /* Bit patterns of their own width stay as they are: a NaN keeps its payload. */
    if ((o->kind == PTX_OPERAND_FLOAT) == (type->bits == 32))
        return o->bits;
    if (o->kind == PTX_OPERAND_FLOAT) {
        uint32_t low = (uint32_t)o->bits;

        memcpy(&f, &low, sizeof(f));
        d = f;
        memcpy(&bits, &d, sizeof(d));
    } else {
        memcpy(&d, &o->bits, sizeof(d));
        f = (float)d;
        memcpy(&bits, &f, sizeof(f));
    }
    return bits;
}

/* The offset of a .shared variable is known at the end (layout.c): a constant per function. */
static uint32_t shared_address(struct ptx_parser *p, uint32_t variable, uint64_t addend,
                               uint32_t width)
{
    uint32_t ref;

    for (uint32_t i = p->shared_count; i > 0; i--) {
        const struct ptx_shared *s = &p->shared[i - 1];

        if (s->function != p->function)
            break;
        if (s->variable == variable && s->addend == addend && s->width == width)
            return PTX_REF_CONSTANT | PTX_REF(width, s->constant);
    }
    if (!ptx_grow(p, &p->shared, PTX_SHARED, p->shared_count, sizeof(*p->shared)) ||
        !ptx_grow(p, &p->unit->constants, PTX_CONSTANTS, p->unit->constant_count,
                  sizeof(struct vgpu_constant)))
        return 0;
    ref = p->unit->constant_count++;
    p->unit->constants[ref] =
        (struct vgpu_constant){.value = addend, .variable = -1, .width = (uint8_t)width};
    p->shared[p->shared_count++] = (struct ptx_shared){.function = p->function,
                                                       .variable = variable,
                                                       .constant = ref,
                                                       .width = (uint8_t)width,
                                                       .addend = addend};
    return PTX_REF_CONSTANT | PTX_REF(width, ref);
}

static uint32_t add_constant(struct ptx_parser *p, struct ptx_statement *s, uint32_t ref,
                             uint64_t addend, uint32_t width)
{
    uint32_t sum = ptx_new_register(p, width);
    struct ptx_build b = ptx_begin(p, s, width == VGPU_ROW_64 ? "add_b64" : "add_b32");

    ptx_define(&b, VGPU_D, sum);
    ptx_use(&b, VGPU_A, ref);
    ptx_use(&b, VGPU_B, ptx_constant(p, width, addend, -1));
    ptx_push(p, &b);
    return sum;
}

uint32_t ptx_symbol_address(struct ptx_parser *p, struct ptx_statement *s,
                            const struct ptx_operand *o, uint32_t width)
{
    const struct ptx_symbol *symbol = o->symbol;
    const struct vgpu_variable *v;
    uint32_t ref;

    if (symbol == NULL || (width != VGPU_ROW_64 && width != VGPU_ROW_32)) {
        ptx_fail(p, -EINVAL, s->line, "'%.*s' is not known, or has no value here",
                 (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        return 0;
    }
    switch (symbol->kind) {
    case PTX_SYMBOL_VARIABLE:
        v = &p->unit->variables[symbol->index];
        if (v->dynamic) {
            ref = ptx_special(p, s, (struct ptx_slice){"%dynamic_shared", 15}, width);
            return o->bits == 0 ? ref : add_constant(p, s, ref, o->bits, width);
        }
        if (v->space == VGPU_SPACE_SHARED)
            return shared_address(p, symbol->index, o->bits, width);
        if (width != VGPU_ROW_64)
            break;
        if (v->external) {
            ptx_fail(p, -ENOLINK, s->line, "the external variable '%.100s' is not defined",
                     v->name);
            return 0;
        }
        return ptx_constant(p, width, o->bits, (int32_t)symbol->index);
    case PTX_SYMBOL_FUNCTION:
        if (width != VGPU_ROW_64)
            break;
        return ptx_constant(
            p, width,
            VGPU_WINDOW_FUNCTION + (uint64_t)symbol->index * VGPU_FUNCTION_STRIDE + o->bits, -1);
    case PTX_SYMBOL_LOCAL:
        ref = PTX_REF_STACK;
        if (width == VGPU_ROW_64) {
            ref = ptx_new_register(p, width);
            ptx_emit1(p, s, "ext_u32_32_64", ref, PTX_REF_STACK);
        }
        return add_constant(p, s, ref, symbol->offset + o->bits, width);
    case PTX_SYMBOL_PARAMETER:
        return ptx_constant(p, width, symbol->offset + o->bits, -1);
    default:
        break;
    }
    ptx_unsupported(p, s, "the address of this symbol as an operand");
    return 0;
}

uint32_t ptx_source(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                    const struct ptx_type *type)
{
    uint32_t width = ptx_type_width(type);

    if (p->error != 0)
        return 0;
    if (o->negated || (o->minus && !ptx_slice_is(s->opcode, "vmad")))
        ptx_unsupported(p, s, "a negated operand");
    switch (o->kind) {
    case PTX_OPERAND_REGISTER:
        if (ptx_type_width(o->type) != width)
            ptx_fail(p, -EINVAL, s->line, "'%.*s' has another width than the instruction",
                     (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        return o->ref;
    case PTX_OPERAND_INTEGER:
        if (width == VGPU_ROW_128)
            ptx_unsupported(p, s, "an immediate of 128 bits");
        /* An integer where a float is wanted would be its value, not its bits, in C; in PTX it is
           only allowed for the 16-bit formats, which have no literals of their own. */
        if ((type->kind == PTX_FLOATING || type->kind == PTX_BRAIN) && type->bits > 16)
            ptx_unsupported(p, s, "an integer immediate of a floating-point type");
        return ptx_constant(p, width, o->bits, -1);
    case PTX_OPERAND_FLOAT:
    case PTX_OPERAND_DOUBLE:
        return ptx_constant(p, width, float_bits(p, s, o, type), -1);
    case PTX_OPERAND_SPECIAL:
        return ptx_special(p, s, o->name, width);
    case PTX_OPERAND_SYMBOL:
        return ptx_symbol_address(p, s, o, width);
    default:
        ptx_unsupported(p, s, "an operand of this form");
        return 0;
    }
}

uint32_t ptx_destination(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         const struct ptx_type *type)
{
    uint32_t width = ptx_type_width(type);

    if (o->kind == PTX_OPERAND_SINK)
        return ptx_new_register(p, width);
    if (o->kind != PTX_OPERAND_REGISTER || o->negated) {
        ptx_fail(p, -EINVAL, s->line, "the destination is not a register");
        return 0;
    }
    if (ptx_type_width(o->type) != width)
        ptx_fail(p, -EINVAL, s->line, "'%.*s' has another width than the instruction",
                 (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
    return o->ref;
}

static const struct {
    const char *name, *key;
} specials[] = {
    {"%tid.x", "sreg_tid"},
    {"%ntid.x", "sreg_ntid"},
    {"%ctaid.x", "sreg_ctaid"},
    {"%nctaid.x", "sreg_nctaid"},
    {"%laneid", "sreg_laneid"},
    {"%warpid", "sreg_warpid"},
    {"%nwarpid", "sreg_nwarpid"},
    {"%smid", "sreg_smid"},
    {"%nsmid", "sreg_nsmid"},
    {"%gridid", "sreg_gridid"},
    {"%lanemask_eq", "sreg_lanemask_eq"},
    {"%lanemask_le", "sreg_lanemask_le"},
    {"%lanemask_lt", "sreg_lanemask_lt"},
    {"%lanemask_ge", "sreg_lanemask_ge"},
    {"%lanemask_gt", "sreg_lanemask_gt"},
    {"%clusterid.x", "sreg_clusterid"},
    {"%nclusterid.x", "sreg_nclusterid"},
    {"%cluster_ctaid.x", "sreg_cluster_ctaid"},
    {"%cluster_nctaid.x", "sreg_cluster_nctaid"},
    {"%cluster_ctarank", "sreg_cluster_ctarank"},
    {"%cluster_nctarank", "sreg_cluster_nctarank"},
    {"%aggr_smem_size", "sreg_total_smem_size"},
    {"%current_graph_exec", "sreg_none"},
    {"%reserved_smem_offset_begin", "sreg_reserved_begin"},
    {"%reserved_smem_offset_1", "sreg_reserved_begin"},
    {"%reserved_smem_offset_end", "sreg_reserved_end"},
    {"%reserved_smem_offset_cap", "sreg_reserved_cap"},
    {"%envreg1", "sreg_envreg1"},
    {"%envreg2", "sreg_envreg2"},
    {"%clock", "sreg_clock"},
    {"%clock_hi", "sreg_clock_hi"},
    {"%clock64", "sreg_clock64"},
    {"%globaltimer", "sreg_globaltimer"},
    {"%globaltimer_lo", "sreg_globaltimer_lo"},
    {"%globaltimer_hi", "sreg_globaltimer_hi"},
    {"%dynamic_smem_size", "sreg_dynamic_smem_size"},
    {"%total_smem_size", "sreg_total_smem_size"},
    {"%dynamic_shared", "sreg_dynamic_shared"},
};

/* Registers of the driver's that mean nothing here, and fourth elements of vectors. */
static bool is_always_zero(const char *name)
{
    static const char *const vectors[] = {"%tid.w", "%ntid.w", "%ctaid.w", "%nctaid.w"};
    uint32_t number;
    char end;

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        if (strcmp(name, vectors[i]) == 0)
            return true;
    }
    return sscanf(name, "%%envreg%2u%c", &number, &end) == 1 && number < 32;
}

/* Special registers that PTX has and the engine does not. */
static bool is_of_the_language(const char *name)
{
    static const char *const starts[] = {"%envreg", "%is_explicit", "%pm", "%reserved_smem"};

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    }
    return false;
}

uint32_t ptx_special(struct ptx_parser *p, struct ptx_statement *s, struct ptx_slice name,
                     uint32_t width)
{
    char text[32], axis = 0, key[48];
    uint32_t natural = VGPU_ROW_32, ref, wide;

    snprintf(text, sizeof(text), "%.*s", (int)(name.length < 31 ? name.length : 31), name.start);
    if (name.length > 2 && name.length < 31 && text[name.length - 2] == '.' &&
        text[name.length - 1] >= 'x' && text[name.length - 1] <= 'z') {
        axis = (char)(text[name.length - 1] - 'x');
        text[name.length - 1] = 'x';
    }
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        struct ptx_build b;

        if (strcmp(text, specials[i].name) != 0)
            continue;
        if (strstr(specials[i].name, "64") != NULL ||
            strcmp(specials[i].name, "%globaltimer") == 0 || strcmp(text, "%gridid") == 0 ||
            strcmp(text, "%current_graph_exec") == 0)
            natural = VGPU_ROW_64;
        if (strncmp(text, "%reserved_smem", 14) == 0)
            p->unit->reserved_shared = true;
        ref = ptx_new_register(p, natural);
        b = ptx_begin(p, s, specials[i].key);
        ptx_define(&b, VGPU_D, ref);
        b.inst.x = (uint8_t)axis;
        ptx_push(p, &b);
        if (width == natural)
            return ref;
        if (width != VGPU_ROW_16 && width != VGPU_ROW_32 && width != VGPU_ROW_64)
            break;
        wide = ptx_new_register(p, width);
        snprintf(key, sizeof(key), "ext_u%d_%d_%d", width == VGPU_ROW_16 ? 16 : 32,
                 natural == VGPU_ROW_64 ? 64 : 32,
                 width == VGPU_ROW_16   ? 16
                 : width == VGPU_ROW_32 ? 32
                                        : 64);
        ptx_emit1(p, s, key, wide, ref);
        return wide;
    }
    if (is_always_zero(text))
        return ptx_constant(p, width, 0, -1);
    if (is_of_the_language(text))
        ptx_unsupported(p, s, "the special register");
    else
        ptx_fail(p, -EINVAL, s->line, "the name '%s' is not known", text);
    return 0;
}
