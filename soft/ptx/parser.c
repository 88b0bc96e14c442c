/* SPDX-License-Identifier: MIT */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soft/simt/simt.h"

/* Longest text that is read: positions and counts then fit in 32 bits with room to spare. */
#define PTX_MAX_TEXT ((size_t)256 << 20)

struct ptx_block {
    struct ptx_block *next;
    size_t used, size;
    max_align_t bytes[];
};

void ptx_fail(struct ptx_parser *p, int error, uint32_t line, const char *format, ...)
{
    va_list arguments;
    int n;

    if (p->error != 0)
        return;
    p->error = error;
    p->text.at = p->text.end;
    p->token = (struct ptx_token){.kind = PTX_END, .line = line};
    if (p->log == NULL || p->log_size == 0)
        return;
    n = snprintf(p->log, p->log_size, "line %u: ", line);
    if (n < 0 || (size_t)n >= p->log_size)
        return;
    va_start(arguments, format);
    vsnprintf(p->log + n, p->log_size - (size_t)n, format, arguments);
    va_end(arguments);
}

bool ptx_grow(struct ptx_parser *p, void *array, enum ptx_array which, uint32_t count, size_t size)
{
    uint32_t capacity = p->capacity[which];
    void *old, *grown;

    if (p->error != 0)
        return false;
    if (count < capacity)
        return true;
    memcpy(&old, array, sizeof(old));
    capacity = capacity == 0 ? 64 : capacity * 2;
    grown = capacity > UINT32_MAX / 4 ? NULL : reallocarray(old, capacity, size);
    if (grown == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return false;
    }
    memset((char *)grown + count * size, 0, (capacity - count) * size);
    memcpy(array, &grown, sizeof(grown));
    p->capacity[which] = capacity;
    return true;
}

void *ptx_take(struct ptx_parser *p, size_t size)
{
    struct ptx_block *block = p->blocks;
    void *at;

    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > 65536 ? size : 65536;

        block = malloc(sizeof(*block) + room);
        if (block == NULL) {
            ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
            return NULL;
        }
        *block = (struct ptx_block){.next = p->blocks, .size = room};
        p->blocks = block;
    }
    at = (char *)block->bytes + block->used;
    block->used += size;
    memset(at, 0, size);
    return at;
}

void ptx_keep(struct ptx_parser *p)
{
    p->kept = p->blocks;
    if (p->kept != NULL)
        p->kept->used = p->kept->size;
}

void ptx_release(struct ptx_parser *p)
{
    while (p->blocks != p->kept) {
        struct ptx_block *next = p->blocks->next;

        free(p->blocks);
        p->blocks = next;
    }
}

void ptx_advance(struct ptx_parser *p)
{
    p->token = ptx_text_next(&p->text);
    if (p->token.kind == PTX_BAD)
        ptx_fail(p, -EINVAL, p->token.line, "'%.*s' is not a token of PTX",
                 (int)(p->token.text.length < 60 ? p->token.text.length : 60), p->token.text.start);
}

bool ptx_is(const struct ptx_parser *p, char sign)
{
    return p->token.kind == PTX_SIGN && *p->token.text.start == sign;
}

bool ptx_is_word(const struct ptx_parser *p, const char *word)
{
    return p->token.kind == PTX_WORD && ptx_slice_is(p->token.text, word);
}

bool ptx_accept(struct ptx_parser *p, char sign)
{
    if (!ptx_is(p, sign))
        return false;
    ptx_advance(p);
    return true;
}

bool ptx_accept_word(struct ptx_parser *p, const char *word)
{
    if (!ptx_is_word(p, word))
        return false;
    ptx_advance(p);
    return true;
}

static void unexpected(struct ptx_parser *p, const char *wanted)
{
    uint32_t length = p->token.text.length < 60 ? p->token.text.length : 60;

    if (p->token.kind == PTX_END)
        ptx_fail(p, -EINVAL, p->token.line, "the text ends where %s is expected", wanted);
    else
        ptx_fail(p, -EINVAL, p->token.line, "'%.*s' where %s is expected", (int)length,
                 p->token.text.start, wanted);
}

void ptx_expect(struct ptx_parser *p, char sign)
{
    char wanted[4] = {'\'', sign, '\'', '\0'};

    if (!ptx_accept(p, sign))
        unexpected(p, wanted);
}

struct ptx_slice ptx_expect_word(struct ptx_parser *p)
{
    struct ptx_slice name = p->token.text;

    if (p->token.kind != PTX_WORD) {
        unexpected(p, "a name");
        return (struct ptx_slice){"", 0};
    }
    ptx_advance(p);
    return name;
}

uint64_t ptx_expect_integer(struct ptx_parser *p, uint64_t most)
{
    uint64_t value = p->token.bits;

    if (p->token.kind != PTX_INTEGER) {
        unexpected(p, "a number");
        return 0;
    }
    if (value > most) {
        ptx_fail(p, -EINVAL, p->token.line, "%llu is more than %llu", (unsigned long long)value,
                 (unsigned long long)most);
        return 0;
    }
    ptx_advance(p);
    return value;
}

char *ptx_copy_name(struct ptx_parser *p, struct ptx_slice name)
{
    char *copy = strndup(name.start, name.length);

    if (copy == NULL)
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
    return copy;
}

static void release(struct ptx_parser *p)
{
    if (p == NULL)
        return;
    p->kept = NULL;
    ptx_release(p);
    for (uint32_t i = 0; i < p->text_count; i++)
        free(p->texts[i].text);
    free(p->texts);
    free(p->buckets);
    free(p->info);
    free(p->fixups);
    free(p->constant_map);
    free(p->shared);
    free(p->heads);
    free(p->wanted);
    free(p->queue);
    free(p);
}

static int copy_texts(struct ptx_parser *p, const struct vgpu_text *texts, uint32_t count)
{
    p->texts = calloc(count, sizeof(*p->texts));
    if (p->texts == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        if (texts[i].length > PTX_MAX_TEXT) {
            ptx_fail(p, -EINVAL, 1, "the text is longer than %zu bytes", PTX_MAX_TEXT);
            return -EINVAL;
        }
        p->texts[i].text = malloc(texts[i].length + 1);
        if (p->texts[i].text == NULL)
            return -ENOMEM;
        memcpy(p->texts[i].text, texts[i].text, texts[i].length);
        p->texts[i].length = texts[i].length;
        p->text_count++;
    }
    return 0;
}

static void list_kernels(struct ptx_parser *p)
{
    struct vgpu_program *program = p->program;
    const struct vgpu_unit *module = program->module;

    program->kernels = calloc(module->function_count + 1, sizeof(*program->kernels));
    if (program->kernels == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < module->function_count; i++) {
        if (module->functions[i].entry && p->heads[i].body.at != NULL)
            program->kernels[program->kernel_count++].function = i;
    }
    for (uint32_t i = 0; i < module->variable_count; i++) {
        if (module->variables[i].space == VGPU_SPACE_CONST)
            program->constant_bytes += (uint32_t)module->variables[i].size;
    }
}

static int read_texts(struct ptx_parser *p, const struct vgpu_text *texts, uint32_t count)
{
    int error = copy_texts(p, texts, count);

    if (error != 0)
        return error;
    for (uint32_t i = 0; i < count && p->error == 0; i++) {
        p->current = i + 1;
        p->text = (struct ptx_text){p->texts[i].text, p->texts[i].text + p->texts[i].length, 1};
        ptx_read_module(p);
    }
    if (p->error == 0)
        ptx_check_externals(p);
    if (p->error == 0)
        list_kernels(p);
    ptx_keep(p);
    return p->error;
}

int vgpu_program_link(const struct vgpu_text *texts, uint32_t count, char *log, size_t log_size,
                      struct vgpu_program **out)
{
    struct vgpu_program *program = calloc(1, sizeof(*program));
    int error = -ENOMEM;

    if (log != NULL && log_size > 0)
        log[0] = '\0';
    if (program == NULL)
        return -ENOMEM;
    pthread_mutex_init(&program->lock, NULL);
    program->parser = calloc(1, sizeof(*program->parser));
    program->module = calloc(1, sizeof(*program->module));
    if (program->parser != NULL && program->module != NULL) {
        *program->parser = (struct ptx_parser){.log = log,
                                               .log_size = log_size,
                                               .program = program,
                                               .unit = program->module,
                                               .function = UINT32_MAX};
        program->module->stack_align = 16;
        error = read_texts(program->parser, texts, count);
        program->parser->log = NULL;
    }
    if (error != 0) {
        vgpu_program_destroy(program);
        return error;
    }
    *out = program;
    return 0;
}

int vgpu_program_create(const char *text, size_t length, char *log, size_t log_size,
                        struct vgpu_program **out)
{
    return vgpu_program_link(&(struct vgpu_text){text, length}, 1, log, log_size, out);
}

void vgpu_program_destroy(struct vgpu_program *program)
{
    if (program == NULL)
        return;
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        ptx_unit_free(atomic_load_explicit(&program->kernels[i].unit, memory_order_relaxed));
        free(program->kernels[i].message);
    }
    free(program->kernels);
    ptx_unit_free(program->module);
    release(program->parser);
    pthread_mutex_destroy(&program->lock);
    free(program);
}
