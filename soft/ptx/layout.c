/* SPDX-License-Identifier: MIT */
/* When a unit is read: places for shared variables, rows in frames, sizes of stacks. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Local memory beyond what the call graph says, where it has cycles or calls through pointers. */
#define PTX_RECURSION_BYTES 32768u
#define PTX_ALLOCA_BYTES    65536u

/* The widest rows come first, so that every row is aligned to its own size, up to a cache line. */
uint64_t vgpu_row_offset(const uint32_t rows[VGPU_ROW_CLASSES], uint32_t width, uint32_t index,
                         uint32_t header)
{
    static const uint32_t shape[VGPU_ROW_CLASSES] = {0, 0, VGPU_SHAPE_BYTES, VGPU_SHAPE_BYTES, 0};
    static const uint32_t lanes[VGPU_ROW_CLASSES] = {4, 2 * VGPU_LANES, 4 * VGPU_LANES,
                                                     8 * VGPU_LANES, 16 * VGPU_LANES};
    uint64_t offset = header;

    for (uint32_t w = VGPU_ROW_CLASSES; w > width + 1; w--)
        offset += (uint64_t)rows[w - 1] * (shape[w - 1] + lanes[w - 1]);
    return offset + (uint64_t)index * (shape[width] + lanes[width]) + shape[width];
}

uint64_t vgpu_rows_end(const uint32_t rows[VGPU_ROW_CLASSES], uint32_t header)
{
    return (vgpu_row_offset(rows, 0, rows[0], header) + 63) & ~UINT64_C(63);
}

/* ---- constants ---- */

/* Numbers the constants within their class; returns the offset of each. */
static uint32_t *place_constants(struct ptx_parser *p)
{
    struct vgpu_unit *unit = p->unit;
    uint32_t *offsets = calloc(unit->constant_count + 1, sizeof(*offsets));
    uint32_t next[VGPU_ROW_CLASSES] = {0};

    if (offsets == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return NULL;
    }
    for (uint32_t i = 0; i < unit->constant_count; i++)
        unit->constant_rows[unit->constants[i].width]++;
    if (vgpu_rows_end(unit->constant_rows, 0) > UINT32_MAX / 2)
        ptx_fail(p, -ENOTSUP, p->token.line, "too many constants");
    for (uint32_t i = 0; i < unit->constant_count; i++) {
        uint32_t w = unit->constants[i].width;

        offsets[i] = (uint32_t)vgpu_row_offset(unit->constant_rows, w, next[w]++, 0) | 1u;
    }
    return offsets;
}

/* ---- shared variables ---- */

static bool has_calls(const struct vgpu_unit *unit, const struct vgpu_function *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        if (unit->code[f->start + i].control == VGPU_CONTROL_CALL)
            return true;
    }
    return false;
}

/* Variables that device functions use have one place for all kernels; the others have a place in
   each kernel that uses them, after those. */
static void place_shared(struct ptx_parser *p)
{
    struct vgpu_unit *unit = p->unit;
    uint32_t common = 0, dynamic_align = 16, at = 0;

    for (uint32_t i = 0; i < unit->variable_count; i++) {
        if (unit->variables[i].dynamic && unit->variables[i].align > dynamic_align)
            dynamic_align = unit->variables[i].align;
    }
    for (uint32_t i = 0; i < p->shared_count; i++) {
        struct vgpu_variable *v = &unit->variables[p->shared[i].variable];

        if (unit->functions[p->shared[i].function].entry || v->in_function)
            continue;
        v->in_function = true;
        v->offset = ptx_place(p, &common, v->size, v->align);
    }
    for (uint32_t f = 0; f < unit->function_count; f++) {
        struct vgpu_function *function = &unit->functions[f];
        uint32_t first = at;
        bool uses_common = function->entry && common > 0 && has_calls(unit, function);

        for (; at < p->shared_count && p->shared[at].function == f; at++)
            uses_common |= unit->variables[p->shared[at].variable].in_function;
        function->shared_bytes = uses_common ? common : 0;
        for (uint32_t i = first; i < at; i++) {
            struct vgpu_variable *v = &unit->variables[p->shared[i].variable];

            if (!v->in_function && !v->placed) {
                v->offset = ptx_place(p, &function->shared_bytes, v->size, v->align);
                v->placed = true;
            }
            unit->constants[p->shared[i].constant].value += v->offset;
        }
        for (uint32_t i = first; i < at; i++)
            unit->variables[p->shared[i].variable].placed = false;
        function->dynamic_shared =
            (function->shared_bytes + dynamic_align - 1) & ~(dynamic_align - 1);
    }
}

static int by_function(const void *a, const void *b)
{
    uint32_t fa = ((const struct ptx_shared *)a)->function;
    uint32_t fb = ((const struct ptx_shared *)b)->function;

    return fa < fb ? -1 : fa > fb;
}

/* ---- frames ---- */

static void place_frames(struct ptx_parser *p)
{
    struct vgpu_unit *unit = p->unit;
    uint32_t most[VGPU_ROW_CLASSES] = {0};

    for (uint32_t i = 0; i < unit->function_count; i++) {
        const struct vgpu_function *f = &unit->functions[i];

        for (uint32_t w = 0; w < VGPU_ROW_CLASSES && !f->entry; w++)
            most[w] = f->rows[w] > most[w] ? f->rows[w] : most[w];
    }
    for (uint32_t i = 0; i < unit->function_count; i++) {
        struct vgpu_function *f = &unit->functions[i];

        if (!f->entry)
            memcpy(f->rows, most, sizeof(most));
        if (vgpu_rows_end(f->rows, VGPU_FRAME_HEADER) > UINT32_MAX / 4)
            ptx_fail(p, -ENOTSUP, p->token.line, "'%.100s' has too many registers", f->name);
        f->frame_bytes = (uint32_t)vgpu_rows_end(f->rows, VGPU_FRAME_HEADER);
    }
    unit->call_frame_bytes = (uint32_t)vgpu_rows_end(most, VGPU_FRAME_HEADER);
}

static uint32_t resolve(const struct vgpu_function *f, const uint32_t *constants, uint32_t ref)
{
    uint32_t width = PTX_REF_WIDTH(ref);

    if ((ref & PTX_REF_CONSTANT) != 0)
        return constants[PTX_REF_INDEX(ref)];
    if (width == VGPU_ROW_STACK)
        return VGPU_FRAME_STACK;
    return (uint32_t)vgpu_row_offset(f->rows, width, PTX_REF_INDEX(ref), VGPU_FRAME_HEADER);
}

/* How far the interpreter gets without a look at guards and control. */
static void measure_runs(struct vgpu_unit *unit)
{
    uint32_t length = 0;

    for (uint32_t i = unit->code_count; i > 0; i--) {
        struct vgpu_inst *inst = &unit->code[i - 1];

        length = inst->guard != 0 || inst->control != VGPU_CONTROL_NONE ? 0 : length + 1;
        inst->run_length = (uint16_t)(length < UINT16_MAX ? length : UINT16_MAX);
    }
}

static uint32_t own_stack(const struct vgpu_unit *unit, const struct vgpu_function *f)
{
    return (f->local_bytes + unit->stack_align - 1) & ~(unit->stack_align - 1);
}

static void resolve_code(struct ptx_parser *p, const struct vgpu_function *f, uint32_t start,
                         uint32_t count, const uint32_t *constants)
{
    for (uint32_t i = start; i < start + count; i++) {
        struct vgpu_inst *inst = &p->unit->code[i];

        struct vgpu_operands *operands = &p->unit->operands[i];

        *operands = (struct vgpu_operands){
            .rows = p->info[i].rows, .defs = p->info[i].defs, .list = p->info[i].list};
        for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
            if ((p->info[i].rows >> o & 1) == 0)
                continue;
            operands->width[o] = (uint8_t)PTX_REF_WIDTH(inst->row[o] & ~PTX_REF_CONSTANT);
            inst->row[o] = resolve(f, constants, inst->row[o]);
        }
        for (uint32_t n = 0; n < p->info[i].list; n++) {
            uint32_t *row = &p->unit->lists[inst->row[VGPU_LIST] + n];

            *row = resolve(f, constants, *row);
        }
        if (inst->control == VGPU_CONTROL_CALL || inst->control == VGPU_CONTROL_STACK)
            p->unit->calls[inst->imm].caller_bytes = own_stack(p->unit, f);
        if (inst->guard != 0)
            inst->guard = resolve(f, constants, inst->guard & ~PTX_REF_CONSTANT) |
                          (inst->guard & PTX_REF_CONSTANT ? 1u : 0u);
    }
}

/* ---- stacks ---- */

struct visit {
    uint32_t function, at;
};

enum { UNSEEN, OPEN, DONE };

static void deepen(struct vgpu_function *f, uint32_t own, uint32_t callee)
{
    uint64_t sum = (uint64_t)own + callee;

    if (sum > f->stack_bytes)
        f->stack_bytes = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

/* Depth first over the call graph without recursion: call chains are as long as the text likes. */
static void measure_stack(struct ptx_parser *p, uint32_t root, uint8_t *state, struct visit *stack)
{
    struct vgpu_unit *unit = p->unit;
    uint32_t depth = 0;

    if (state[root] != UNSEEN || !unit->functions[root].defined)
        return;
    stack[depth++] = (struct visit){root, 0};
    state[root] = OPEN;
    while (depth > 0) {
        struct visit *v = &stack[depth - 1];
        struct vgpu_function *f = &unit->functions[v->function];
        uint32_t own = own_stack(unit, f) + (f->allocates ? PTX_ALLOCA_BYTES : 0);
        const struct vgpu_inst *inst;
        int32_t callee;

        deepen(f, own, f->indirect_calls ? PTX_RECURSION_BYTES : 0);
        while (v->at < f->count && unit->code[f->start + v->at].control != VGPU_CONTROL_CALL)
            v->at++;
        if (v->at == f->count) {
            state[v->function] = DONE;
            depth--;
            continue;
        }
        inst = &unit->code[f->start + v->at];
        callee = unit->calls[inst->imm].callee;
        if (callee >= 0 && state[callee] == UNSEEN && unit->functions[callee].defined) {
            state[callee] = OPEN;
            stack[depth++] = (struct visit){(uint32_t)callee, 0};
            continue; /* this call is looked at again when the callee is done */
        }
        if (callee >= 0)
            deepen(f, own,
                   state[callee] == OPEN ? PTX_RECURSION_BYTES
                                         : unit->functions[callee].stack_bytes);
        v->at++;
    }
}

static bool calls_undefined(const struct vgpu_unit *unit, const struct vgpu_function *f)
{
    for (uint32_t i = f->start; i < f->start + f->count; i++) {
        int32_t callee =
            unit->code[i].control == VGPU_CONTROL_CALL ? unit->calls[unit->code[i].imm].callee : -1;

        if (callee >= 0 && !unit->functions[callee].defined &&
            unit->functions[callee].builtin == VGPU_BUILTIN_NONE)
            return true;
    }
    return false;
}

/* Functions that are only there because a pointer may mean them, and call what could not be
   decoded, are as good as not decoded themselves. */
static void drop_incomplete(struct vgpu_unit *unit)
{
    bool again = true;

    while (again) {
        again = false;
        for (uint32_t i = 0; i < unit->function_count; i++) {
            struct vgpu_function *f = &unit->functions[i];

            if (f->defined && calls_undefined(unit, f)) {
                f->defined = false;
                again = true;
            }
        }
    }
}

static void measure_stacks(struct ptx_parser *p)
{
    uint32_t n = p->unit->function_count;
    uint8_t *state = calloc(n + 1, sizeof(*state));
    struct visit *stack = calloc(n + 1, sizeof(*stack));

    if (state != NULL && stack != NULL) {
        for (uint32_t i = 0; i < n && p->error == 0; i++)
            measure_stack(p, i, state, stack);
    } else {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
    }
    free(state);
    free(stack);
}

void ptx_layout(struct ptx_parser *p)
{
    uint32_t *constants;

    ptx_simplify(p);
    if (p->shared_count > 0)
        qsort(p->shared, p->shared_count, sizeof(*p->shared), by_function);
    place_shared(p);
    place_frames(p);
    constants = place_constants(p);
    ptx_choose_shapes(p);
    p->unit->operands = calloc(p->unit->code_count + 1u, sizeof(*p->unit->operands));
    if (p->unit->operands == NULL)
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
    for (uint32_t i = 0; i < p->unit->function_count && p->error == 0; i++) {
        const struct vgpu_function *f = &p->unit->functions[i];

        resolve_code(p, f, f->start, f->count, constants);
    }
    if (p->error == 0)
        resolve_code(p, &p->unit->functions[p->unit->kernel], p->unit->prologue_start,
                     p->unit->prologue_count, constants);
    free(constants);
    measure_runs(p->unit);
    ptx_fuse(p);
    drop_incomplete(p->unit);
    if (p->error == 0)
        measure_stacks(p);
}
