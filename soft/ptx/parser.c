/* SPDX-License-Identifier: MIT */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    while (p->blocks != NULL) {
        struct ptx_block *next = p->blocks->next;

        free(p->blocks);
        p->blocks = next;
    }
    free(p->buckets);
    free(p->info);
    free(p->fixups);
    free(p->constant_map);
    free(p->shared);
}

int ptx_read(const char *text, size_t length, char *log, size_t log_size, struct vgpu_program **out)
{
    struct ptx_parser p = {.log = log, .log_size = log_size, .function = UINT32_MAX};

    if (log != NULL && log_size > 0)
        log[0] = '\0';
    p.program = calloc(1, sizeof(*p.program));
    if (p.program == NULL)
        return -ENOMEM;
    p.text = (struct ptx_text){text, text + length, 1};
    if (length > PTX_MAX_TEXT)
        ptx_fail(&p, -EINVAL, 1, "the text is longer than %zu bytes", PTX_MAX_TEXT);
    else
        ptx_read_module(&p);
    if (p.error == 0)
        ptx_layout(&p);
    release(&p);
    if (p.error != 0) {
        ptx_program_free(p.program);
        return p.error;
    }
    *out = p.program;
    return 0;
}

void ptx_program_free(struct vgpu_program *program)
{
    if (program == NULL)
        return;
    for (uint32_t i = 0; i < program->function_count; i++) {
        free(program->functions[i].name);
        free(program->functions[i].formals);
        free(program->functions[i].parameter_offset);
        free(program->functions[i].parameter_size);
    }
    for (uint32_t i = 0; i < program->variable_count; i++) {
        free(program->variables[i].name);
        free(program->variables[i].bytes);
    }
    for (uint32_t i = 0; i < program->call_count; i++)
        free(program->calls[i].arguments);
    free(program->code);
    free(program->functions);
    free(program->variables);
    free(program->relocations);
    free(program->constants);
    free(program->calls);
    free(program->targets);
    free(program->kernels);
    free(program);
}
