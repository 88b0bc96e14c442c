/* SPDX-License-Identifier: MIT */
/* Functions: heads, bodies, declarations and labels inside them. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct ptx_formal **read_formals(struct ptx_parser *p, struct ptx_formal **link,
                                        bool is_return)
{
    if (!ptx_accept(p, '('))
        return link;
    while (p->error == 0 && !ptx_is(p, ')')) {
        struct ptx_formal *f = ptx_take(p, sizeof(*f));

        if (f == NULL)
            return link;
        if (ptx_accept_word(p, ".reg"))
            f->is_register = true;
        else if (!ptx_accept_word(p, ".param"))
            ptx_fail(p, -EINVAL, p->token.line, "a parameter that is not .param or .reg");
        f->is_return = is_return;
        ptx_read_declaration(p, &f->declaration, false);
        if (f->declaration.size == 0 && f->declaration.dimensions == 1 && !is_return) {
            f->is_variadic = true;
            f->declaration.size = PTX_VARIADIC_BYTES;
        }
        *link = f;
        link = &f->next;
        if (!ptx_accept(p, ','))
            break;
    }
    ptx_expect(p, ')');
    return link;
}

/* Gives every formal its place: return values first, then parameters, each on its alignment. */
static void place_formals(struct ptx_parser *p, struct vgpu_function *f, struct ptx_formal *list)
{
    uint32_t bytes = 0, n = 0, i = 0;

    for (struct ptx_formal *l = list; l != NULL; l = l->next)
        n++;
    f->formals = calloc(n + 1, sizeof(*f->formals));
    f->parameter_offset = calloc(n + 1, sizeof(uint32_t));
    f->parameter_size = calloc(n + 1, sizeof(uint32_t));
    if (f->formals == NULL || f->parameter_offset == NULL || f->parameter_size == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return;
    }
    for (struct ptx_formal *l = list; l != NULL; l = l->next, i++) {
        l->offset = ptx_place(p, &bytes, l->declaration.size, l->declaration.align);
        f->formals[i] = (struct vgpu_formal){l->offset, (uint32_t)l->declaration.size,
                                             l->declaration.align, l->is_variadic};
        if (l->is_variadic && (l->next != NULL || f->entry))
            ptx_fail(p, -EINVAL, p->token.line,
                     "an array without a size that is not the last parameter of a .func");
        f->parameter_offset[i] = l->offset;
        f->parameter_size[i] = (uint32_t)l->declaration.size;
        if (l->is_return)
            f->return_count++;
        else
            f->formal_count++;
    }
    f->parameter_bytes = bytes;
}

static bool same_formals(const struct vgpu_function *a, const struct vgpu_function *b)
{
    return a->entry == b->entry && a->return_count == b->return_count &&
           a->formal_count == b->formal_count &&
           (a->formal_count + a->return_count == 0 ||
            memcmp(a->formals, b->formals,
                   (a->formal_count + a->return_count) * sizeof(*a->formals)) == 0);
}

static void drop_formals(struct vgpu_function *f)
{
    free(f->formals);
    free(f->parameter_offset);
    free(f->parameter_size);
}

static uint8_t builtin_named(struct ptx_slice name)
{
    return ptx_slice_is(name, "vprintf")                   ? VGPU_BUILTIN_PRINTF
           : ptx_slice_is(name, "__assertfail")            ? VGPU_BUILTIN_ASSERT
           : ptx_slice_is(name, "malloc")                  ? VGPU_BUILTIN_MALLOC
           : ptx_slice_is(name, "free")                    ? VGPU_BUILTIN_FREE
           : ptx_slice_is(name, "cudaGraphSetConditional") ? VGPU_BUILTIN_SET_CONDITION
                                                           : VGPU_BUILTIN_NONE;
}

/* What the run-time reads and writes of a built-in's arguments. */
static bool builtin_fits(const struct vgpu_function *f)
{
    uint32_t n = f->return_count + f->formal_count;

    for (uint32_t i = f->return_count; i < n && f->builtin != VGPU_BUILTIN_NONE; i++) {
        if (f->builtin != VGPU_BUILTIN_ASSERT && f->builtin != VGPU_BUILTIN_SET_CONDITION &&
            f->formals[i].size != 8)
            return false;
    }
    switch (f->builtin) {
    case VGPU_BUILTIN_PRINTF:
        return f->formal_count == 2 && f->return_count == 1 && f->formals[0].size == 4;
    case VGPU_BUILTIN_ASSERT:
        return f->formal_count == 5 && f->return_count == 0 && f->formals[0].size == 8 &&
               f->formals[1].size == 8 && f->formals[2].size == 4 && f->formals[3].size == 8;
    case VGPU_BUILTIN_MALLOC:
        return f->formal_count == 1 && f->return_count == 1 && f->formals[0].size == 8;
    case VGPU_BUILTIN_FREE:
        return f->formal_count == 1 && f->return_count == 0;
    case VGPU_BUILTIN_SET_CONDITION:
        return f->formal_count == 2 && f->return_count == 0 && f->formals[0].size == 8 &&
               f->formals[1].size == 4;
    default:
        return true;
    }
}

/* Adds a function, or finds the one that was declared before. Returns its index. */
static uint32_t add_function(struct ptx_parser *p, struct ptx_slice name, bool entry,
                             struct ptx_formal *formals, enum ptx_symbol_kind kind)
{
    struct vgpu_function fresh = {.entry = entry, .max_threads = 1024};
    struct ptx_symbol *s = NULL;
    uint32_t index = p->unit->function_count;

    place_formals(p, &fresh, formals);
    if (kind == PTX_SYMBOL_FUNCTION) {
        s = ptx_symbol_here(p, name);
        if (s != NULL && s->kind == PTX_SYMBOL_FUNCTION) {
            if (p->error == 0 && !same_formals(&fresh, &p->unit->functions[s->index]))
                ptx_fail(p, -EINVAL, p->token.line, "'%.*s' was declared with other parameters",
                         (int)(name.length < 100 ? name.length : 100), name.start);
            drop_formals(&fresh);
            return s->index;
        }
        s = ptx_symbol_add(p, name, PTX_SYMBOL_FUNCTION);
    }
    if (!ptx_grow(p, &p->unit->functions, PTX_FUNCTIONS, index, sizeof(fresh))) {
        drop_formals(&fresh);
        return 0;
    }
    if (s != NULL)
        s->index = index;
    fresh.name = ptx_copy_name(p, name);
    if (kind == PTX_SYMBOL_FUNCTION && !entry) {
        fresh.builtin = builtin_named(name);
        if (p->error == 0 && !builtin_fits(&fresh))
            ptx_fail(p, -ENOTSUP, p->token.line, "'%s' with other parameters", fresh.name);
    }
    p->unit->functions[index] = fresh;
    p->unit->function_count++;
    return index;
}

/* "2, 1, 1": those that are not given are 1. */
static void read_cluster(struct ptx_parser *p, uint32_t cluster[3])
{
    uint32_t n = 0;

    cluster[0] = cluster[1] = cluster[2] = 1;
    do {
        if (n == 3)
            ptx_fail(p, -EINVAL, p->token.line, "a cluster of more than three dimensions");
        else
            cluster[n++] = (uint32_t)ptx_expect_integer(p, 65535);
    } while (p->error == 0 && ptx_accept(p, ','));
}

/* A number of threads may be given as x, y, z. */
static uint64_t read_product(struct ptx_parser *p)
{
    uint64_t product = 1;

    do {
        product *= ptx_expect_integer(p, 65536);
        if (product > 65536)
            product = 65536;
    } while (ptx_accept(p, ','));
    return product;
}

static void read_attributes(struct ptx_parser *p, struct vgpu_function *f)
{
    while (p->error == 0 && p->token.kind == PTX_WORD && *p->token.text.start == '.') {
        if (ptx_accept_word(p, ".maxntid") || ptx_accept_word(p, ".reqntid")) {
            uint64_t threads = read_product(p);

            if (threads < f->max_threads)
                f->max_threads = (uint32_t)threads;
        } else if (ptx_accept_word(p, ".reqnctapercluster")) {
            read_cluster(p, f->cluster);
        } else if (ptx_accept_word(p, ".maxclusterrank")) {
            f->max_cluster = (uint32_t)ptx_expect_integer(p, 65535);
        } else if (ptx_accept_word(p, ".explicitcluster")) {
            f->explicit_cluster = true;
        } else if (ptx_accept_word(p, ".minnctapersm") || ptx_accept_word(p, ".maxnreg") ||
                   ptx_accept_word(p, ".maxnctapersm")) {
            read_product(p);
        } else if (ptx_accept_word(p, ".pragma")) {
            while (p->token.kind != PTX_END && !ptx_accept(p, ';'))
                ptx_advance(p);
        } else if (!ptx_accept_word(p, ".noreturn")) {
            ptx_fail(p, -ENOTSUP, p->token.line, "'%.*s' of a function",
                     (int)(p->token.text.length < 60 ? p->token.text.length : 60),
                     p->token.text.start);
        }
    }
}

/* ---- declarations inside a body ---- */

static void read_register(struct ptx_parser *p)
{
    struct ptx_slice type_name = ptx_expect_word(p);
    const struct ptx_type *type = NULL;

    if (type_name.length > 1)
        type = ptx_type_named((struct ptx_slice){type_name.start + 1, type_name.length - 1});
    if (type == NULL) {
        ptx_fail(p, -ENOTSUP, p->token.line, "a register of type '%.*s'",
                 (int)(type_name.length < 60 ? type_name.length : 60), type_name.start);
        return;
    }
    do {
        struct ptx_slice name = ptx_expect_word(p);
        bool family = ptx_accept(p, '<');
        struct ptx_symbol *s =
            ptx_symbol_add(p, name, family ? PTX_SYMBOL_FAMILY : PTX_SYMBOL_REGISTER);

        if (s == NULL)
            return;
        s->type = type;
        if (family) {
            s->count = (uint32_t)ptx_expect_integer(p, UINT32_MAX);
            ptx_expect(p, '>');
        } else {
            s->ref = ptx_new_register(p, ptx_type_width(type));
        }
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}

static void read_local(struct ptx_parser *p)
{
    struct ptx_declaration d;
    bool again = false;

    do {
        struct ptx_symbol *s;

        ptx_read_declaration(p, &d, again);
        again = true;
        s = p->error == 0 ? ptx_symbol_add(p, d.name, PTX_SYMBOL_LOCAL) : NULL;
        if (s == NULL)
            return;
        s->offset = ptx_place(p, &p->local_bytes, d.size, d.align);
        s->size = (uint32_t)d.size;
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}

uint32_t ptx_read_prototype(struct ptx_parser *p)
{
    struct ptx_formal *list = NULL, **end = read_formals(p, &list, true);
    struct ptx_slice name = ptx_expect_word(p);

    read_formals(p, end, false);
    while (p->error == 0 && p->token.kind == PTX_WORD && ptx_accept_word(p, ".noreturn"))
        ;
    ptx_expect(p, ';');
    return p->error == 0 ? add_function(p, name, false, list, PTX_SYMBOL_PROTOTYPE) : 0;
}

static void read_branch_targets(struct ptx_parser *p, struct ptx_symbol *s)
{
    struct vgpu_unit *unit = p->unit;

    s->kind = PTX_SYMBOL_TARGETS;
    s->index = unit->target_count;
    do {
        struct ptx_slice label = ptx_expect_word(p);

        if (!ptx_grow(p, &unit->targets, PTX_TARGETS, unit->target_count, sizeof(uint32_t)))
            return;
        ptx_fixup_add(p, label, unit->target_count++, true, p->token.line);
        s->count++;
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}

/* Functions of one kind that a call may go to: the first of them says what kind. */
static void read_call_targets(struct ptx_parser *p, struct ptx_symbol *s)
{
    bool first = true;

    s->kind = PTX_SYMBOL_PROTOTYPE;
    do {
        struct ptx_slice name = ptx_expect_word(p);
        const struct ptx_symbol *target = ptx_symbol_find(p, name);

        if (p->error == 0 && (target == NULL || target->kind != PTX_SYMBOL_FUNCTION))
            ptx_fail(p, -EINVAL, p->token.line, "'%.*s' is not a function",
                     (int)(name.length < 100 ? name.length : 100), name.start);
        if (p->error != 0 || target == NULL)
            return;
        if (first)
            s->index = target->index;
        first = false;
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}

static void read_label(struct ptx_parser *p, struct ptx_slice name)
{
    struct ptx_symbol *s = ptx_symbol_add(p, name, PTX_SYMBOL_LABEL);

    if (s == NULL)
        return;
    s->index = p->unit->code_count;
    if (ptx_accept_word(p, ".callprototype")) {
        s->kind = PTX_SYMBOL_PROTOTYPE;
        s->index = ptx_read_prototype(p);
    } else if (ptx_accept_word(p, ".branchtargets")) {
        read_branch_targets(p, s);
    } else if (ptx_accept_word(p, ".calltargets")) {
        read_call_targets(p, s);
    }
}

/* ---- statements ---- */

static void split_opcode(struct ptx_parser *p, struct ptx_statement *s, struct ptx_slice word)
{
    uint32_t at = 0, start;

    while (at < word.length && word.start[at] != '.')
        at++;
    s->opcode = (struct ptx_slice){word.start, at};
    while (at < word.length) {
        start = ++at;
        while (at < word.length && word.start[at] != '.')
            at++;
        if (s->part_count == PTX_MAX_PARTS) {
            ptx_fail(p, -ENOTSUP, s->line, "'%.*s': too many modifiers",
                     (int)(word.length < 100 ? word.length : 100), word.start);
            return;
        }
        s->parts[s->part_count++] = (struct ptx_slice){word.start + start, at - start};
    }
}

static void read_guard(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_slice name;
    struct ptx_symbol *symbol;

    s->guard_negated = ptx_accept(p, '!');
    name = ptx_expect_word(p);
    symbol = ptx_symbol_find(p, name);
    if (symbol == NULL || symbol->kind != PTX_SYMBOL_REGISTER || symbol->type->kind != PTX_PRED)
        ptx_fail(p, -EINVAL, p->token.line, "the guard '%.*s' is not a predicate",
                 (int)(name.length < 100 ? name.length : 100), name.start);
    else
        s->guard = symbol->ref;
}

/* One statement that does not start with a directive: a label or an instruction. */
static void read_statement(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_slice word;

    s->part_count = s->used = s->operand_count = s->element_count = 0;
    s->guard = 0;
    s->line = p->token.line;
    if (ptx_accept(p, '@'))
        read_guard(p, s);
    word = ptx_expect_word(p);
    if (s->guard == 0 && ptx_accept(p, ':')) {
        read_label(p, word);
        return;
    }
    split_opcode(p, s, word);
    ptx_read_operands(p, s);
    ptx_expect(p, ';');
    if (p->error == 0)
        ptx_decode(p, s);
}

static void read_directive(struct ptx_parser *p)
{
    if (ptx_accept_word(p, ".reg"))
        read_register(p);
    else if (ptx_accept_word(p, ".param") || ptx_accept_word(p, ".local"))
        read_local(p);
    else if (ptx_accept_word(p, ".shared"))
        ptx_read_variable(p, VGPU_SPACE_SHARED, false);
    else if (ptx_accept_word(p, ".global"))
        ptx_read_variable(p, VGPU_SPACE_GLOBAL, false);
    else if (ptx_accept_word(p, ".const"))
        ptx_read_variable(p, VGPU_SPACE_CONST, false);
    else if (p->token.text.length > 5 && memcmp(p->token.text.start, ".reg.", 5) == 0) {
        /* ".reg.b32": two words without a blank between them */
        p->token.text.start += 4;
        p->token.text.length -= 4;
        read_register(p);
    } else if (ptx_is_word(p, ".loc") || ptx_is_word(p, ".file")) {
        ptx_text_skip_line(&p->text);
        ptx_advance(p);
    } else if (ptx_accept_word(p, ".pragma")) {
        while (p->token.kind != PTX_END && !ptx_accept(p, ';'))
            ptx_advance(p);
    } else {
        ptx_fail(p, -ENOTSUP, p->token.line, "'%.*s' in a function",
                 (int)(p->token.text.length < 60 ? p->token.text.length : 60), p->token.text.start);
    }
}

static void read_body(struct ptx_parser *p)
{
    struct ptx_statement *s = ptx_take(p, sizeof(*s));
    uint32_t outer = p->scope;

    ptx_expect(p, '{');
    while (p->error == 0 && p->scope >= outer) {
        if (ptx_accept(p, '{')) {
            ptx_scope_open(p);
        } else if (ptx_is(p, '}')) {
            if (p->scope == outer)
                break;
            ptx_scope_close(p);
            ptx_advance(p);
        } else if (p->token.kind == PTX_WORD && *p->token.text.start == '.') {
            read_directive(p);
        } else if (!ptx_accept(p, ';')) {
            read_statement(p, s);
        }
    }
}

static void bind_formals(struct ptx_parser *p, struct ptx_formal *formals, bool entry)
{
    for (struct ptx_formal *f = formals; f != NULL && p->error == 0; f = f->next) {
        struct ptx_symbol *s = ptx_symbol_add(p, f->declaration.name,
                                              f->is_register ? PTX_SYMBOL_REGISTER
                                              : entry        ? PTX_SYMBOL_PARAMETER
                                                             : PTX_SYMBOL_LOCAL);

        if (s == NULL)
            return;
        s->offset = f->offset;
        s->size = (uint32_t)f->declaration.size;
        if (!f->is_register)
            continue;
        s->type = f->declaration.type;
        s->ref = f->ref = ptx_new_register(p, ptx_type_width(s->type));
    }
}

void ptx_read_definition(struct ptx_parser *p, uint32_t index)
{
    const struct ptx_head *head = &p->heads[index];
    struct vgpu_function *f = &p->unit->functions[index];
    struct ptx_statement end = {.line = head->body.line};

    p->text = head->body;
    p->current = head->owner;
    ptx_advance(p);
    f->start = p->unit->code_count;
    p->function = index;
    memset(p->rows, 0, sizeof(p->rows));
    p->rows[VGPU_ROW_PREDICATE] = 1; /* the number 0 says "no predicate" */
    p->local_bytes = f->entry ? 0 : f->parameter_bytes;
    p->carry = 0;
    p->formals = head->formals;
    ptx_scope_open(p);
    bind_formals(p, head->formals, f->entry);
    if (!f->entry)
        ptx_emit_call_prologue(p);
    read_body(p);
    /* A body need not end in ret; running off its end is a return. */
    if (p->error == 0) {
        end.line = p->token.line;
        ptx_emit_return(p, &end);
    }
    ptx_scope_close(p);
    ptx_expect(p, '}');
    /* Prototypes in the body may have moved the functions. */
    f = &p->unit->functions[index];
    f->count = p->unit->code_count - f->start;
    f->local_bytes = p->local_bytes;
    memcpy(f->rows, p->rows, sizeof(f->rows));
    f->defined = p->error == 0;
    p->function = UINT32_MAX;
}

/* Notes where a body is, and goes on behind it. */
static void skip_definition(struct ptx_parser *p, uint32_t index, struct ptx_formal *formals)
{
    struct ptx_head *head = &p->heads[index];
    struct ptx_text body = {p->token.text.start, NULL, p->token.line};

    if (!ptx_text_skip_body(&p->text)) {
        ptx_fail(p, -EINVAL, p->text.line, "the text ends where '}' is expected");
        return;
    }
    body.end = p->text.at;
    ptx_advance(p);
    if (head->body.at != NULL && p->weak)
        return;
    if (head->body.at != NULL && !head->weak) {
        ptx_fail(p, -EINVAL, body.line, "'%.100s' is defined twice",
                 p->unit->functions[index].name);
        return;
    }
    *head =
        (struct ptx_head){.body = body, .formals = formals, .owner = p->current, .weak = p->weak};
    p->unit->functions[index].builtin = VGPU_BUILTIN_NONE;
}

void ptx_read_function(struct ptx_parser *p, bool entry)
{
    struct ptx_formal *list = NULL, **end;
    struct ptx_slice name;
    uint32_t index;

    end = entry ? &list : read_formals(p, &list, true);
    name = ptx_expect_word(p);
    read_formals(p, end, false);
    for (struct ptx_formal *f = list; f != NULL && entry; f = f->next) {
        if (f->is_register)
            ptx_fail(p, -EINVAL, p->token.line, "a register as a parameter of a kernel");
    }
    if (p->error != 0)
        return;
    index = add_function(p, name, entry, list, PTX_SYMBOL_FUNCTION);
    if (p->error != 0 ||
        !ptx_grow(p, &p->heads, PTX_HEADS, p->unit->function_count - 1, sizeof(*p->heads)))
        return;
    read_attributes(p, &p->unit->functions[index]);
    if (ptx_is(p, '{'))
        skip_definition(p, index, list);
    else
        ptx_expect(p, ';');
}
