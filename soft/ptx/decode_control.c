/* SPDX-License-Identifier: MIT */
/* Branches, calls, returns, barriers. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

static void decode_bra(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_BRANCH);

    ptx_part(s, "uni");
    if (!ptx_want(p, s, 1) || !ptx_all_parts(p, s))
        return;
    if (s->operands[0].kind != PTX_OPERAND_SYMBOL) {
        ptx_unsupported(p, s, "a branch to what is not a label");
        return;
    }
    ptx_fixup_add(p, s->operands[0].name, p->unit->code_count, false, s->line);
    ptx_push(p, &b);
}

static void decode_brx(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_BRANCH_TABLE);
    const struct ptx_symbol *targets;
    uint32_t index;

    ptx_part(s, "idx");
    ptx_part(s, "uni");
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    targets = s->operands[1].kind == PTX_OPERAND_SYMBOL ? s->operands[1].symbol : NULL;
    if (targets == NULL || targets->kind != PTX_SYMBOL_TARGETS) {
        ptx_unsupported(p, s, "a branch without .branchtargets before it");
        return;
    }
    index = ptx_source(p, s, &s->operands[0], NAMED("u32"));
    ptx_use(&b, VGPU_A, index);
    b.inst.imm = (int64_t)((uint64_t)targets->count << 32 | targets->index);
    ptx_push(p, &b);
}

/* ---- calls ---- */

static struct ptx_operand *element(struct ptx_statement *s, const struct ptx_operand *list,
                                   uint32_t i)
{
    return &s->elements[list->first + i];
}

/* The slot in the caller's frame that stands for one argument or return value. */
static bool argument_slot(struct ptx_parser *p, struct ptx_statement *s,
                          const struct ptx_operand *o, const struct vgpu_formal *formal,
                          bool is_return, struct vgpu_argument *argument)
{
    const struct ptx_type *type;

    argument->size = formal->size;
    if (o->kind == PTX_OPERAND_SYMBOL && o->symbol != NULL && o->symbol->kind == PTX_SYMBOL_LOCAL) {
        if (formal->variadic && o->symbol->size > formal->size)
            ptx_fail(p, -ENOTSUP, s->line, "more than %u bytes of variadic arguments",
                     PTX_VARIADIC_BYTES);
        else if (formal->variadic)
            argument->size = o->symbol->size;
        else if (o->symbol->size != formal->size)
            ptx_fail(p, -EINVAL, s->line, "'%.*s' has another size than the parameter",
                     (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
        argument->source = o->symbol->offset;
        return true;
    }
    argument->source = ptx_place(p, &p->local_bytes, formal->size, formal->align);
    if (is_return && o->kind == PTX_OPERAND_SINK)
        return true;
    if (formal->size > 8 || (is_return && o->kind != PTX_OPERAND_REGISTER)) {
        ptx_unsupported(p, s, "an argument of this form");
        return false;
    }
    type = ptx_type_of(PTX_UNTYPED, formal->size * 8);
    if (type == NULL)
        ptx_unsupported(p, s, "an argument of this size");
    else if (!is_return)
        ptx_emit_slot(p, s, true,
                      ptx_source(p, s, o,
                                 o->kind == PTX_OPERAND_FLOAT || o->kind == PTX_OPERAND_DOUBLE
                                     ? ptx_type_of(PTX_FLOATING, formal->size * 8)
                                     : type),
                      type, argument->source);
    return p->error == 0;
}

static bool fill_call(struct ptx_parser *p, struct ptx_statement *s, struct vgpu_call *call,
                      const struct vgpu_function *shape, const struct ptx_operand *returns,
                      const struct ptx_operand *arguments)
{
    uint32_t given_returns = returns == NULL ? 0 : returns->count;
    uint32_t given = arguments == NULL ? 0 : arguments->count;
    bool variadic = shape->formal_count > 0 &&
                    shape->formals[shape->return_count + shape->formal_count - 1].variadic;

    if (given_returns != shape->return_count ||
        (given != shape->formal_count && !(variadic && given + 1 == shape->formal_count))) {
        ptx_fail(p, -EINVAL, s->line, "a call of '%.100s' with another number of arguments",
                 shape->name);
        return false;
    }
    call->return_count = given_returns;
    call->argument_count = shape->formal_count; /* of nothing variadic, there are 0 bytes */
    call->arguments = calloc(given_returns + shape->formal_count + 1, sizeof(*call->arguments));
    if (call->arguments == NULL) {
        ptx_fail(p, -ENOMEM, s->line, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < given_returns + given; i++) {
        bool is_return = i < given_returns;
        const struct ptx_operand *o =
            is_return ? element(s, returns, i) : element(s, arguments, i - given_returns);

        if (!argument_slot(p, s, o, &shape->formals[i], is_return, &call->arguments[i]))
            return false;
    }
    for (uint32_t i = 0; i < given_returns + shape->formal_count; i++)
        call->arguments[i].target = shape->formals[i].offset;
    return true;
}

/* Return values that go to registers are fetched from their slots after the call. */
static void fetch_returns(struct ptx_parser *p, struct ptx_statement *s,
                          const struct vgpu_call *call, const struct ptx_operand *returns)
{
    for (uint32_t i = 0; i < call->return_count && p->error == 0; i++) {
        const struct ptx_operand *o = element(s, returns, i);
        const struct ptx_type *type = ptx_type_of(PTX_UNTYPED, call->arguments[i].size * 8);

        if (o->kind == PTX_OPERAND_REGISTER)
            ptx_emit_slot(p, s, false, ptx_destination(p, s, o, type), type,
                          call->arguments[i].source);
    }
}

static void decode_call(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_operand *at = s->operands, *end = at + s->operand_count;
    const struct ptx_operand *returns = NULL, *arguments = NULL, *callee;
    const struct vgpu_function *shape = NULL;
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_CALL);
    struct vgpu_call call = {.callee = -1};

    ptx_part(s, "uni");
    if (!ptx_all_parts(p, s))
        return;
    if (at < end && at->kind == PTX_OPERAND_LIST)
        returns = at++;
    callee = at < end ? at++ : NULL;
    if (at < end && at->kind == PTX_OPERAND_LIST)
        arguments = at++;
    if (callee != NULL && callee->kind == PTX_OPERAND_SYMBOL && callee->symbol != NULL &&
        callee->symbol->kind == PTX_SYMBOL_FUNCTION) {
        call.callee = (int32_t)callee->symbol->index;
        shape = &p->unit->functions[call.callee];
        if (shape->entry)
            shape = NULL;
        else
            ptx_want_function(p, s, (uint32_t)call.callee);
    } else if (callee != NULL && callee->kind == PTX_OPERAND_REGISTER && at < end &&
               at->kind == PTX_OPERAND_SYMBOL && at->symbol != NULL &&
               at->symbol->kind == PTX_SYMBOL_PROTOTYPE) {
        shape = &p->unit->functions[at->symbol->index];
        ptx_use(&b, VGPU_A, ptx_source(p, s, callee, NAMED("b64")));
        p->unit->functions[p->function].indirect_calls = true;
        at++;
    }
    if (shape == NULL || at != end) {
        ptx_unsupported(p, s, "a call of this form, or of a function that is not declared");
        return;
    }
    if (!ptx_grow(p, &p->unit->calls, PTX_CALLS, p->unit->call_count, sizeof(call)))
        return;
    b.inst.imm = p->unit->call_count++;
    if (fill_call(p, s, &call, shape, returns, arguments)) {
        p->unit->calls[b.inst.imm] = call;
        ptx_push(p, &b);
        fetch_returns(p, s, &call, returns);
    } else {
        p->unit->calls[b.inst.imm] = call; /* freed with the unit */
    }
}

void ptx_emit_call_prologue(struct ptx_parser *p)
{
    struct ptx_statement s = {.line = p->token.line};

    for (const struct ptx_formal *f = p->formals; f != NULL; f = f->next) {
        if (f->is_register && !f->is_return)
            ptx_emit_slot(p, &s, false, f->ref, f->declaration.type, f->offset);
    }
}

void ptx_emit_return(struct ptx_parser *p, struct ptx_statement *s)
{
    bool entry = p->unit->functions[p->function].entry;
    struct ptx_build b = ptx_begin_control(s, entry ? VGPU_CONTROL_EXIT : VGPU_CONTROL_RETURN);

    for (const struct ptx_formal *f = p->formals; f != NULL && !entry; f = f->next) {
        if (f->is_register && f->is_return)
            ptx_emit_slot(p, s, true, f->ref, f->declaration.type, f->offset);
    }
    ptx_push(p, &b);
}

static void decode_ret(struct ptx_parser *p, struct ptx_statement *s)
{
    ptx_part(s, "uni");
    if (ptx_want(p, s, 0) && ptx_all_parts(p, s))
        ptx_emit_return(p, s);
}

static void decode_end(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b = ptx_begin_control(s, ptx_slice_is(s->opcode, "exit") ? VGPU_CONTROL_EXIT
                                                                              : VGPU_CONTROL_TRAP);

    if (ptx_want(p, s, 0) && ptx_all_parts(p, s))
        ptx_push(p, &b);
}

static void decode_sleep(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_SLEEP);

    ptx_part(s, "u32");
    if (ptx_want(p, s, 1) && ptx_all_parts(p, s))
        ptx_push(p, &b);
}

/* ---- the local frame ---- */

/* alloca.type d, size{, alignment}; stacksave.type d; stackrestore.type a */
static void decode_stack(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_STACK);
    bool allocates = ptx_slice_is(s->opcode, "alloca");
    bool wide = ptx_part(s, "u64");
    const struct ptx_type *type = wide ? NAMED("u64") : NAMED("u32");
    uint64_t align = 8;

    if (!wide && !ptx_part(s, "u32"))
        ptx_unsupported(p, s, "the type");
    if (allocates && s->operand_count == 3 && s->operands[2].kind == PTX_OPERAND_INTEGER)
        align = s->operands[--s->operand_count].bits;
    if (!ptx_want(p, s, allocates ? 2 : 1) || !ptx_all_parts(p, s))
        return;
    if (align == 0 || (align & (align - 1)) != 0 || align > VGPU_MAX_STACK_ALIGN) {
        ptx_fail(p, -EINVAL, s->line, "an alignment that is no power of two up to %u",
                 VGPU_MAX_STACK_ALIGN);
        return;
    }
    if (!ptx_grow(p, &p->unit->calls, PTX_CALLS, p->unit->call_count, sizeof(struct vgpu_call)))
        return;
    b.inst.imm = p->unit->call_count;
    p->unit->calls[p->unit->call_count++] = (struct vgpu_call){.callee = -1};
    b.inst.x = allocates                              ? VGPU_STACK_ALLOCATE
               : ptx_slice_is(s->opcode, "stacksave") ? VGPU_STACK_SAVE
                                                      : VGPU_STACK_RESTORE;
    b.inst.y = (uint8_t)__builtin_ctzll(align);
    b.inst.z = !wide;
    if (b.inst.x != VGPU_STACK_SAVE)
        ptx_use(&b, VGPU_A, ptx_source(p, s, &s->operands[allocates], type));
    if (b.inst.x != VGPU_STACK_RESTORE)
        ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    p->unit->allocates = p->unit->functions[p->function].allocates = true;
    ptx_push(p, &b);
}

/* ---- barriers ---- */

static void decode_warp_barrier(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b = ptx_begin_control(s, VGPU_CONTROL_WARP_SYNC);

    ptx_part(s, "sync");
    if (!ptx_want(p, s, 1) || !ptx_all_parts(p, s))
        return;
    ptx_use(&b, VGPU_F, ptx_source(p, s, &s->operands[0], NAMED("b32")));
    ptx_push(p, &b);
}

/* bar.red.op.type d, a{, b}, {!}c */
static void decode_barrier_reduction(struct ptx_parser *p, struct ptx_statement *s,
                                     struct ptx_build b)
{
    bool negated, popc = ptx_part(s, "popc");
    uint32_t n = s->operand_count, id, threads = 0;

    b.inst.x = popc ? VGPU_BARRIER_POPC : ptx_part(s, "and") ? VGPU_BARRIER_AND : VGPU_BARRIER_OR;
    if (b.inst.x == VGPU_BARRIER_OR && !ptx_part(s, "or"))
        ptx_unsupported(p, s, "no reduction");
    ptx_part(s, popc ? "u32" : "pred");
    if (n != 3 && n != 4) {
        ptx_unsupported(p, s, "these operands");
        return;
    }
    if (!ptx_all_parts(p, s))
        return;
    id = ptx_source(p, s, &s->operands[1], NAMED("u32"));
    if (n == 4)
        threads = ptx_source(p, s, &s->operands[2], NAMED("u32"));
    ptx_use(&b, VGPU_A, id);
    if (n == 4)
        ptx_use(&b, VGPU_B, threads);
    ptx_use(&b, VGPU_C, ptx_predicate(p, s, &s->operands[n - 1], &negated));
    b.inst.y = negated;
    ptx_define(&b, VGPU_D,
               ptx_destination(p, s, &s->operands[0], popc ? NAMED("u32") : NAMED("pred")));
    ptx_push(p, &b);
}

/* barrier.cluster.arrive and .wait */
static void decode_cluster_barrier(struct ptx_parser *p, struct ptx_statement *s)
{
    bool wait = ptx_part(s, "wait");
    struct ptx_build b =
        ptx_begin_control(s, wait ? VGPU_CONTROL_CLUSTER_WAIT : VGPU_CONTROL_CLUSTER_ARRIVE);

    if (!wait && !ptx_part(s, "arrive"))
        ptx_unsupported(p, s, "the operation");
    if (!ptx_part(s, "acquire") && !ptx_part(s, "release"))
        ptx_part(s, "relaxed");
    ptx_part(s, "aligned");
    if (ptx_want(p, s, 0) && ptx_all_parts(p, s))
        ptx_push(p, &b);
}

static void decode_barrier(struct ptx_parser *p, struct ptx_statement *s)
{
    struct ptx_build b;
    uint32_t id, threads = 0;

    if (ptx_part(s, "warp")) {
        decode_warp_barrier(p, s);
        return;
    }
    if (ptx_part(s, "cluster")) {
        decode_cluster_barrier(p, s);
        return;
    }
    ptx_part(s, "cta");
    ptx_part(s, "aligned");
    b = ptx_begin_control(s, VGPU_CONTROL_BARRIER);
    if (ptx_part(s, "red")) {
        decode_barrier_reduction(p, s, b);
        return;
    }
    b.inst.x = ptx_part(s, "arrive") ? VGPU_BARRIER_ARRIVE : VGPU_BARRIER_SYNC;
    ptx_part(s, "sync");
    if (s->operand_count == 0 || s->operand_count > 2 ||
        (b.inst.x == VGPU_BARRIER_ARRIVE && s->operand_count != 2)) {
        ptx_unsupported(p, s, "these operands");
        return;
    }
    if (!ptx_all_parts(p, s))
        return;
    id = ptx_source(p, s, &s->operands[0], NAMED("u32"));
    if (s->operand_count == 2)
        threads = ptx_source(p, s, &s->operands[1], NAMED("u32"));
    ptx_use(&b, VGPU_A, id);
    if (s->operand_count == 2)
        ptx_use(&b, VGPU_B, threads);
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"bra", decode_bra},
    {"brx", decode_brx},
    {"call", decode_call},
    {"ret", decode_ret},
    {"exit", decode_end},
    {"trap", decode_end},
    {"brkpt", decode_end},
    {"nanosleep", decode_sleep},
    {"bar", decode_barrier},
    {"barrier", decode_barrier},
    {"alloca", decode_stack},
    {"stacksave", decode_stack},
    {"stackrestore", decode_stack},
};

ptx_decoder ptx_decode_control(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
