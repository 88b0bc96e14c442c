/* SPDX-License-Identifier: MIT */
/* Directives of module scope. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct ptx_type types[] = {
    {"b8", PTX_UNTYPED, 8, 1},    {"b16", PTX_UNTYPED, 16, 1},  {"b32", PTX_UNTYPED, 32, 1},
    {"b64", PTX_UNTYPED, 64, 1},  {"u8", PTX_UNSIGNED, 8, 1},   {"u16", PTX_UNSIGNED, 16, 1},
    {"u32", PTX_UNSIGNED, 32, 1}, {"u64", PTX_UNSIGNED, 64, 1}, {"s8", PTX_SIGNED, 8, 1},
    {"s16", PTX_SIGNED, 16, 1},   {"s32", PTX_SIGNED, 32, 1},   {"s64", PTX_SIGNED, 64, 1},
    {"f16", PTX_FLOATING, 16, 1}, {"f32", PTX_FLOATING, 32, 1}, {"f64", PTX_FLOATING, 64, 1},
    {"f16x2", PTX_FLOATING, 16, 2}, {"bf16", PTX_BRAIN, 16, 1}, {"bf16x2", PTX_BRAIN, 16, 2},
    {"b128", PTX_UNTYPED, 128, 1},  {"pred", PTX_PRED, 1, 1},
};
/* clang-format on */

const struct ptx_type *ptx_type_named(struct ptx_slice name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ptx_slice_is(name, types[i].name))
            return &types[i];
    }
    return NULL;
}

uint32_t ptx_type_width(const struct ptx_type *type)
{
    switch (ptx_type_bits(type)) {
    case 1:
        return VGPU_ROW_PREDICATE;
    case 8:
    case 16:
        return VGPU_ROW_16;
    case 32:
        return VGPU_ROW_32;
    case 64:
        return VGPU_ROW_64;
    default:
        return VGPU_ROW_128;
    }
}

/* ".section .debug_info { ... }": nothing in it matters here. */
static void skip_section(struct ptx_parser *p)
{
    uint32_t depth = 0;

    while (p->token.kind != PTX_END && !ptx_is(p, '{'))
        ptx_advance(p);
    do {
        if (ptx_is(p, '{'))
            depth++;
        else if (ptx_is(p, '}'))
            depth--;
        ptx_advance(p);
    } while (depth > 0 && p->token.kind != PTX_END);
    if (depth > 0)
        ptx_expect(p, '}');
}

static void read_version(struct ptx_parser *p)
{
    const char *at = p->token.text.start;
    uint32_t numbers[2] = {0, 0}, n = 0;

    /* "9.0" is read as a fraction; its digits are what counts. */
    if (p->token.kind != PTX_DOUBLE || p->token.text.length > 5) {
        ptx_fail(p, -EINVAL, p->token.line, "a .version that is not major.minor");
        return;
    }
    for (uint32_t i = 0; i < p->token.text.length; i++) {
        if (at[i] == '.')
            n = 1;
        else if (at[i] >= '0' && at[i] <= '9')
            numbers[n] = numbers[n] * 10 + (uint32_t)(at[i] - '0');
    }
    numbers[0] = 10 * numbers[0] + numbers[1];
    if (numbers[0] > p->program->ptx_version)
        p->program->ptx_version = numbers[0];
    ptx_advance(p);
}

static void read_target(struct ptx_parser *p)
{
    do {
        struct ptx_slice name = ptx_expect_word(p);

        if (name.length > 3 && memcmp(name.start, "sm_", 3) == 0) {
            uint32_t target = 0;

            for (uint32_t i = 3; i < name.length && i < 6; i++) {
                if (name.start[i] >= '0' && name.start[i] <= '9')
                    target = target * 10 + (uint32_t)(name.start[i] - '0');
            }
            if (target > p->program->target)
                p->program->target = target;
        }
    } while (ptx_accept(p, ','));
}

static void read_alias(struct ptx_parser *p)
{
    struct ptx_slice name = ptx_expect_word(p), target;
    struct ptx_symbol *s, *t;

    ptx_expect(p, ',');
    target = ptx_expect_word(p);
    ptx_expect(p, ';');
    s = ptx_symbol_find(p, name);
    t = ptx_symbol_find(p, target);
    if (s == NULL || t == NULL || s->kind != PTX_SYMBOL_FUNCTION || t->kind != PTX_SYMBOL_FUNCTION)
        ptx_fail(p, -EINVAL, p->token.line, "an .alias of what is not a function");
    else
        s->index = t->index;
}

static void read_linked(struct ptx_parser *p)
{
    bool external = false;

    p->linked = p->weak = false;
    for (;;) {
        if (ptx_accept_word(p, ".extern"))
            external = true;
        else if (ptx_accept_word(p, ".weak") || ptx_accept_word(p, ".common"))
            p->weak = true;
        else if (!ptx_accept_word(p, ".visible"))
            break;
        p->linked = true;
    }
    if (ptx_accept_word(p, ".entry"))
        ptx_read_function(p, true);
    else if (ptx_accept_word(p, ".func"))
        ptx_read_function(p, false);
    else if (ptx_accept_word(p, ".global"))
        ptx_read_variable(p, VGPU_SPACE_GLOBAL, external);
    else if (ptx_accept_word(p, ".const"))
        ptx_read_variable(p, VGPU_SPACE_CONST, external);
    else if (ptx_accept_word(p, ".shared"))
        ptx_read_variable(p, VGPU_SPACE_SHARED, external);
    else
        ptx_fail(p, p->token.kind == PTX_WORD ? -ENOTSUP : -EINVAL, p->token.line,
                 "'%.*s' at module scope",
                 (int)(p->token.text.length < 60 ? p->token.text.length : 60), p->token.text.start);
}

/* What is declared here and defined nowhere is missed by those who use it; an initial value is used
   by all. */
void ptx_check_externals(struct ptx_parser *p)
{
    for (uint32_t i = 0; i < p->unit->relocation_count && p->error == 0; i++) {
        const struct vgpu_relocation *r = &p->unit->relocations[i];

        if (!r->is_function && p->unit->variables[r->target].external)
            ptx_fail(p, -EINVAL, p->token.line, "the external variable '%.100s' is not defined",
                     p->unit->variables[r->target].name);
    }
}

void ptx_read_module(struct ptx_parser *p)
{
    ptx_advance(p);
    if (!ptx_accept_word(p, ".version"))
        ptx_fail(p, -EINVAL, p->token.line, "the text does not start with .version");
    else
        read_version(p);
    while (p->error == 0 && p->token.kind != PTX_END) {
        if (ptx_accept_word(p, ".target")) {
            read_target(p);
        } else if (ptx_accept_word(p, ".address_size")) {
            if (ptx_expect_integer(p, 64) != 64)
                ptx_fail(p, -ENOTSUP, p->token.line, "an .address_size that is not 64");
        } else if (ptx_is_word(p, ".file") || ptx_is_word(p, ".loc") || ptx_is(p, '@')) {
            ptx_text_skip_line(&p->text);
            ptx_advance(p);
        } else if (ptx_accept_word(p, ".section")) {
            skip_section(p);
        } else if (ptx_accept_word(p, ".pragma")) {
            while (p->token.kind != PTX_END && !ptx_accept(p, ';'))
                ptx_advance(p);
        } else if (ptx_accept_word(p, ".alias")) {
            read_alias(p);
        } else if (!ptx_accept(p, ';')) {
            read_linked(p);
        }
    }
}
