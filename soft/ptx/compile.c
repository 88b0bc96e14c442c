/* SPDX-License-Identifier: MIT */
/* Units: the bodies of a kernel and of what it calls, decoded when the kernel is first used. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "soft/jit/jit.h"
#include "soft/ptx/parser.h"
#include "soft/simt/simt.h"

void ptx_unit_free(struct vgpu_unit *unit)
{
    if (unit == NULL)
        return;
    for (uint32_t i = unit->module_functions; i < unit->function_count; i++) {
        free(unit->functions[i].name);
        free(unit->functions[i].formals);
        free(unit->functions[i].parameter_offset);
        free(unit->functions[i].parameter_size);
    }
    for (uint32_t i = unit->module_variables; i < unit->variable_count; i++) {
        free(unit->variables[i].name);
        free(unit->variables[i].bytes);
    }
    for (uint32_t i = 0; i < unit->call_count; i++)
        free(unit->calls[i].arguments);
    vgpu_jit_destroy(unit->jit);
    free(unit->code);
    free(unit->operands);
    free(unit->functions);
    free(unit->variables);
    free(unit->relocations);
    free(unit->constants);
    free(unit->calls);
    free(unit->targets);
    free(unit->products);
    free(unit->lists);
    free(unit);
}

static void want(struct ptx_parser *p, uint32_t index)
{
    if (p->wanted[index] != 0 || p->heads[index].body.at == NULL)
        return;
    p->wanted[index] = 1;
    p->queue[p->queue_count++] = index;
}

void ptx_want_function(struct ptx_parser *p, const struct ptx_statement *s, uint32_t index)
{
    const struct vgpu_function *f = &p->unit->functions[index];

    if (p->heads[index].body.at == NULL && f->builtin == VGPU_BUILTIN_NONE)
        ptx_fail(p, -ENOLINK, s->line, "the function '%.100s' is not defined", f->name);
    else
        want(p, index);
}

/* ---- a unit from start to end ---- */

/* The functions and variables of the module, to which the unit adds its own. */
static struct vgpu_unit *create_unit(struct ptx_parser *p)
{
    const struct vgpu_unit *module = p->program->module;
    struct vgpu_unit *unit = calloc(1, sizeof(*unit));

    if (unit == NULL)
        return NULL;
    unit->functions = calloc(module->function_count + 1u, sizeof(*unit->functions));
    unit->variables = calloc(module->variable_count + 1u, sizeof(*unit->variables));
    if (unit->functions == NULL || unit->variables == NULL) {
        ptx_unit_free(unit);
        return NULL;
    }
    if (module->function_count > 0)
        memcpy(unit->functions, module->functions,
               module->function_count * sizeof(*unit->functions));
    if (module->variable_count > 0)
        memcpy(unit->variables, module->variables,
               module->variable_count * sizeof(*unit->variables));
    unit->function_count = unit->module_functions = module->function_count;
    unit->variable_count = unit->module_variables = module->variable_count;
    unit->stack_align = module->stack_align;
    return unit;
}

/* What the parser keeps between units is the scope of the module and its scratch memory. */
static bool begin(struct ptx_parser *p, char *log, size_t log_size)
{
    uint32_t functions = p->program->module->function_count;
    struct vgpu_unit *unit = create_unit(p);

    if (p->wanted == NULL) {
        p->wanted = calloc(functions + 1u, sizeof(*p->wanted));
        p->queue = calloc(functions + 1u, sizeof(*p->queue));
    }
    if (unit == NULL || p->wanted == NULL || p->queue == NULL) {
        ptx_unit_free(unit);
        return false;
    }
    memset(p->wanted, 0, functions);
    p->queue_count = 0;
    p->unit = unit;
    p->error = 0;
    p->log = log;
    p->log_size = log_size;
    p->capacity[PTX_FUNCTIONS] = unit->function_count + 1;
    p->capacity[PTX_VARIABLES] = unit->variable_count + 1;
    p->capacity[PTX_CODE] = p->capacity[PTX_CONSTANTS] = p->capacity[PTX_CALLS] = 0;
    p->capacity[PTX_TARGETS] = p->capacity[PTX_RELOCATIONS] = p->capacity[PTX_LISTS] = 0;
    p->fixup_count = p->shared_count = 0;
    if (p->constant_map != NULL)
        memset(p->constant_map, 0, p->constant_map_size * sizeof(*p->constant_map));
    return true;
}

/* After begin(): the parser is as before, and the unit is the caller's. */
static struct vgpu_unit *end(struct ptx_parser *p)
{
    struct vgpu_unit *unit = p->unit;

    ptx_scope_abandon(p);
    ptx_release(p);
    p->unit = p->program->module;
    p->log = NULL;
    p->log_size = 0;
    return unit;
}

/* Takes back what a body that cannot be decoded has added. */
static void give_up_function(struct ptx_parser *p, uint32_t index, uint32_t calls, uint32_t shared)
{
    struct vgpu_unit *unit = p->unit;
    struct vgpu_function *f = &unit->functions[index];

    ptx_scope_abandon(p);
    while (unit->call_count > calls)
        free(unit->calls[--unit->call_count].arguments);
    unit->code_count = f->start;
    f->start = f->count = 0;
    memset(f->rows, 0, sizeof(f->rows));
    p->shared_count = shared;
    p->error = 0;
}

static bool has_indirect_calls(const struct vgpu_unit *unit)
{
    for (uint32_t i = 0; i < unit->module_functions; i++) {
        if (unit->functions[i].indirect_calls)
            return true;
    }
    return false;
}

/*
 * Decodes what is wanted and what that wants. A call through a pointer may reach any function, so
 * then all are decoded; those that cannot be are as if they were not there.
 */
static void read_bodies(struct ptx_parser *p)
{
    uint32_t at = 0, needed;

    while (p->error == 0 && at < p->queue_count)
        ptx_read_definition(p, p->queue[at++]);
    if (p->error != 0 || !has_indirect_calls(p->unit))
        return;
    needed = p->queue_count;
    for (uint32_t i = 0; i < p->unit->module_functions; i++) {
        if (!p->unit->functions[i].entry)
            want(p, i);
    }
    for (at = needed; at < p->queue_count; at++) {
        uint32_t calls = p->unit->call_count, shared = p->shared_count;

        ptx_read_definition(p, p->queue[at]);
        if (p->error == -ENOTSUP || p->error == -EINVAL || p->error == -ENOLINK)
            give_up_function(p, p->queue[at], calls, shared);
    }
}

static struct vgpu_unit *compile(struct ptx_parser *p, uint32_t kernel, char *log, size_t log_size,
                                 int *error)
{
    struct vgpu_unit *unit;

    if (!begin(p, log, log_size)) {
        *error = -ENOMEM;
        return NULL;
    }
    p->unit->kernel = kernel;
    want(p, kernel);
    read_bodies(p);
    if (p->error == 0)
        ptx_layout(p);
    *error = p->error;
    unit = end(p);
    if (*error == 0)
        return unit;
    ptx_unit_free(unit);
    return NULL;
}

int vgpu_program_prepare(struct vgpu_program *program, uint32_t index,
                         const struct vgpu_unit **unit, const char **message)
{
    struct vgpu_kernel *kernel;
    struct vgpu_unit *made;
    char log[512] = "";
    int error = 0;

    if (index >= program->kernel_count)
        return -ENOENT;
    kernel = &program->kernels[index];
    if (message != NULL)
        *message = NULL;
    /* Pairs with the release below: a unit that is seen is complete. */
    *unit = atomic_load_explicit(&kernel->unit, memory_order_acquire);
    if (*unit != NULL)
        return 0;
    pthread_mutex_lock(&program->lock);
    made = atomic_load_explicit(&kernel->unit, memory_order_relaxed);
    if (made == NULL && kernel->error == 0) {
        made = compile(program->parser, kernel->function, log, sizeof(log), &error);
        if (made != NULL) {
            made->jit = vgpu_jit_create(made);
            atomic_store_explicit(&kernel->unit, made, memory_order_release);
        } else if (error != -ENOMEM) {
            kernel->error = error;
            kernel->message = strdup(log);
            if (message != NULL)
                *message = kernel->message;
        }
    } else {
        error = kernel->error;
    }
    pthread_mutex_unlock(&program->lock);
    *unit = made;
    return made != NULL ? 0 : error;
}

int vgpu_program_check(struct vgpu_program *program, char *log, size_t log_size)
{
    struct ptx_parser *p = program->parser;
    int error = 0;

    pthread_mutex_lock(&program->lock);
    for (uint32_t i = 0; i < program->module->function_count && (error == 0 || error == -ENOLINK);
         i++) {
        if (p->heads[i].body.at == NULL)
            continue;
        if (!begin(p, log, log_size)) {
            error = -ENOMEM;
            break;
        }
        ptx_read_definition(p, i);
        error = p->error != 0 ? p->error : error;
        ptx_unit_free(end(p));
    }
    if (error == 0 && log_size > 0)
        log[0] = '\0';
    pthread_mutex_unlock(&program->lock);
    return error;
}

const char *vgpu_program_undefined(const struct vgpu_program *program)
{
    const struct vgpu_unit *module = program->module;

    for (uint32_t i = 0; i < module->function_count; i++) {
        if (program->parser->heads[i].body.at == NULL &&
            module->functions[i].builtin == VGPU_BUILTIN_NONE)
            return module->functions[i].name;
    }
    for (uint32_t i = 0; i < module->variable_count; i++) {
        if (module->variables[i].external)
            return module->variables[i].name;
    }
    return NULL;
}
