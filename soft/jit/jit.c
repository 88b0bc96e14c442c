/* SPDX-License-Identifier: MIT */
/* When a kernel is compiled, and what is made of it. */
#include "soft/jit/jit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interop/thread.h"
#include "soft/jit/code.h"
#include "soft/simt/ops.h"

/*
 * What compiling is expected to take, in ticks of the processor's clock (a few in a nanosecond):
 * about 60 ms to load LLVM and begin, and 0.3 ms for each instruction. A kernel that has been
 * interpreted for as long is hot: at worst, all takes twice the time.
 */
#define TICKS_TO_BEGIN       (UINT64_C(1) << 28)
#define TICKS_OF_INSTRUCTION (UINT64_C(1) << 20)

/* Blocks of more shapes than these are interpreted. */
#define MOST_SHAPES 8u

#define COMPILER_STACK ((size_t)16 << 20)

struct vgpu_jit {
    const struct vgpu_unit *unit;
    pthread_mutex_t lock;
    struct vgpu_jit_code *_Atomic first; /* those that are done; released when complete */
    uint32_t shapes;                     /* tried; under the lock */
    _Atomic uint64_t ticks;              /* of interpreting; relaxed */
    _Atomic bool failed;                 /* nothing more is compiled; relaxed */
};

enum wanted { NEVER, HOT, ALWAYS };

static enum wanted wish = HOT;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_environment(void)
{
    const char *value = getenv("VGPU_SOFT_JIT");

    if (value != NULL && strcmp(value, "0") == 0)
        wish = NEVER;
    else if (value != NULL && strcmp(value, "always") == 0)
        wish = ALWAYS;
}

static enum wanted wanted(void)
{
    pthread_once(&once, read_environment);
    return wish;
}

/* Code needs fused multiply-adds; older processors keep to the interpreter. */
static const char *processor(void)
{
    const char *level = vgpu_ops_level();

    return strcmp(level, "v4") == 0 ? "x86-64-v4" : strcmp(level, "v3") == 0 ? "x86-64-v3" : NULL;
}

struct vgpu_jit *vgpu_jit_create(const struct vgpu_unit *unit)
{
    struct vgpu_jit *jit;

    if (wanted() == NEVER || processor() == NULL)
        return NULL;
    jit = calloc(1, sizeof(*jit));
    if (jit == NULL)
        return NULL;
    jit->unit = unit;
    pthread_mutex_init(&jit->lock, NULL);
    return jit;
}

/* ---- code ---- */

static void destroy_code(struct vgpu_jit_code *code)
{
    if (code == NULL)
        return;
    jit_llvm_free(code->machine);
    for (uint32_t n = 0; code->taken != NULL && n <= code->plan->entry_count; n++)
        free(code->taken[n].registers);
    for (uint32_t n = 0; code->given != NULL && n < code->exit_count; n++)
        free(code->given[n].registers);
    free(code->taken);
    free(code->given);
    free(code->exits);
    free(code->entries);
    free(code->open);
    free(code->scores);
    jit_plan_destroy(code->plan);
    free(code);
}

void vgpu_jit_destroy(struct vgpu_jit *jit)
{
    struct vgpu_jit_code *code, *next;

    if (jit == NULL)
        return;
    code = atomic_load_explicit(&jit->first, memory_order_relaxed);
    for (; code != NULL; code = next) {
        next = code->next;
        destroy_code(code);
    }
    pthread_mutex_destroy(&jit->lock);
    free(jit);
}

static bool list_registers(const struct jit_plan *plan, const uint64_t *set, struct jit_move *move)
{
    move->registers = calloc(plan->register_count + 1, sizeof(struct jit_register *));
    for (uint32_t i = 0; i < plan->register_count && move->registers != NULL; i++) {
        if (jit_set_has(set, i) && !plan->registers[i].constant)
            move->registers[move->count++] = &plan->registers[i];
    }
    return move->registers != NULL;
}

static bool list_moves(struct vgpu_jit_code *code)
{
    const struct jit_plan *plan = code->plan;
    uint64_t *live = calloc(plan->words, sizeof(*live));
    bool good = live != NULL;

    code->taken = calloc(plan->entry_count + 1, sizeof(*code->taken));
    code->given = calloc(code->exit_count + 1, sizeof(*code->given));
    code->entries = calloc(plan->f->count, sizeof(*code->entries));
    code->open = calloc(plan->f->count, sizeof(*code->open));
    code->scores = calloc(plan->entry_count + 1, sizeof(*code->scores));
    good = good && code->taken != NULL && code->given != NULL && code->entries != NULL &&
           code->open != NULL && code->scores != NULL;
    for (uint32_t n = 0; n < plan->block_count && good; n++) {
        const struct jit_block *b = &plan->blocks[n];

        if (b->entry == 0)
            continue;
        code->entries[b->first - plan->f->start] = b->entry;
        atomic_store_explicit(&code->open[b->first - plan->f->start], b->entry,
                              memory_order_relaxed);
        good = list_registers(plan, b->live, &code->taken[b->entry]);
    }
    for (uint32_t n = 0; n < code->exit_count && good; n++) {
        if (code->exits[n].kind != JIT_EXIT_LOOK && code->exits[n].kind != JIT_EXIT_BARRIER)
            continue;
        jit_plan_live(plan, code->exits[n].pc, live);
        good = list_registers(plan, live, &code->given[n]);
    }
    free(live);
    return good;
}

static struct vgpu_jit_code *compile(const struct vgpu_unit *unit, const uint32_t shape[3])
{
    struct vgpu_jit_code *code = calloc(1, sizeof(*code));
    char *text = NULL, log[256] = "";

    if (code != NULL)
        code->plan = jit_plan_create(unit, shape);
    if (code != NULL && code->plan != NULL)
        text = jit_emit_plan(code->plan, jit_llvm_is_opaque(), vgpu_profile_wanted(), processor(),
                             &code->exits, &code->exit_count);
    if (text != NULL && list_moves(code)) {
        code->machine = jit_llvm_compile(text, (void **)&code->run, log, sizeof(log));
        if (code->machine == NULL)
            fprintf(stderr, "vgpu: kernel %s stays interpreted: LLVM says: %s\n",
                    unit->functions[unit->kernel].name, log);
    }
    free(text);
    if (code != NULL && code->machine != NULL)
        return code;
    if (code != NULL && code->plan == NULL) {
        free(code);
        return NULL;
    }
    destroy_code(code);
    return NULL;
}

/* ---- hot kernels ---- */

static const struct vgpu_jit_code *find(const struct vgpu_jit *jit, const uint32_t shape[3])
{
    /* Pairs with the release in add(): code that is seen is complete. */
    const struct vgpu_jit_code *code = atomic_load_explicit(&jit->first, memory_order_acquire);

    while (code != NULL && memcmp(code->plan->shape, shape, sizeof(code->plan->shape)) != 0)
        code = code->next;
    return code;
}

struct task {
    const struct vgpu_unit *unit;
    const uint32_t *shape;
    struct vgpu_jit_code *code;
};

static void *run_task(void *argument)
{
    struct task *task = argument;

    task->code = jit_llvm_load() ? compile(task->unit, task->shape) : NULL;
    return NULL;
}

/* On a stack that is large enough for LLVM: the one of a program's thread may not be. */
static struct vgpu_jit_code *compile_apart(const struct vgpu_unit *unit, const uint32_t shape[3])
{
    struct task task = {.unit = unit, .shape = shape};
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, COMPILER_STACK);
    if (vgpu_thread_create(&thread, &attributes, run_task, &task) == 0)
        pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    return task.code;
}

static void add(struct vgpu_jit *jit, const uint32_t shape[3])
{
    struct vgpu_jit_code *code;

    /* Another thread that compiles is not waited for: there is the interpreter. */
    if (wanted() == ALWAYS)
        pthread_mutex_lock(&jit->lock);
    else if (pthread_mutex_trylock(&jit->lock) != 0)
        return;
    if (find(jit, shape) == NULL && !atomic_load_explicit(&jit->failed, memory_order_relaxed)) {
        code = compile_apart(jit->unit, shape);
        if (code != NULL) {
            code->next = atomic_load_explicit(&jit->first, memory_order_relaxed);
            atomic_store_explicit(&jit->first, code, memory_order_release);
        }
        if (code == NULL || ++jit->shapes == MOST_SHAPES)
            atomic_store_explicit(&jit->failed, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&jit->lock);
}

const struct vgpu_jit_code *vgpu_jit_find(struct vgpu_jit *jit, const uint32_t shape[3],
                                          uint64_t ticks)
{
    const struct vgpu_jit_code *code;
    uint64_t sum;

    if (jit == NULL)
        return NULL;
    code = find(jit, shape);
    if (code != NULL || atomic_load_explicit(&jit->failed, memory_order_relaxed) ||
        shape[0] * shape[1] * shape[2] < VGPU_LANES)
        return code;
    sum = atomic_fetch_add_explicit(&jit->ticks, ticks, memory_order_relaxed) + ticks;
    if (wanted() == HOT &&
        sum < TICKS_TO_BEGIN + TICKS_OF_INSTRUCTION * jit->unit->functions[jit->unit->kernel].count)
        return NULL;
    add(jit, shape);
    return find(jit, shape);
}
