/* SPDX-License-Identifier: MIT */
/*
 * Which forms of instructions PTX texts have, how often, and which of them the front end refuses.
 * usage: soft-survey FILE.ptx...   Prints: count, form, reason (empty if it is supported).
 *
 * The linker sends calls of ptx_decode() here, so that a refused instruction is noted and skipped
 * and the rest of its function is still seen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soft/ptx/parser.h"
#include "soft/simt/simt.h"

struct form {
    char name[160];
    char reason[200];
    unsigned long count;
};

/* The one table of the program: the wrapped function has no other way to it. */
static struct {
    struct form *forms;
    size_t count;
} found;

static struct form *form_of(const struct ptx_statement *s)
{
    char name[160];
    size_t n = (size_t)snprintf(name, sizeof(name), "%.*s", (int)s->opcode.length, s->opcode.start);

    for (uint32_t i = 0; i < s->part_count && n < sizeof(name); i++)
        n += (size_t)snprintf(name + n, sizeof(name) - n, ".%.*s", (int)s->parts[i].length,
                              s->parts[i].start);
    for (size_t i = 0; i < found.count; i++) {
        if (strcmp(found.forms[i].name, name) == 0)
            return &found.forms[i];
    }
    if ((found.count & (found.count - 1)) == 0) {
        found.forms = realloc(found.forms, (found.count * 2 + 1) * sizeof(*found.forms));
        if (found.forms == NULL)
            abort();
    }
    found.forms[found.count] = (struct form){0};
    memcpy(found.forms[found.count].name, name, sizeof(name));
    return &found.forms[found.count++];
}

void __real_ptx_decode(struct ptx_parser *p, struct ptx_statement *s);
void __wrap_ptx_decode(struct ptx_parser *p, struct ptx_statement *s);

void __wrap_ptx_decode(struct ptx_parser *p, struct ptx_statement *s)
{
    struct form *form = form_of(s);
    struct ptx_text text = p->text;
    struct ptx_token token = p->token;

    form->count++;
    p->log[0] = '\0';
    __real_ptx_decode(p, s);
    if (p->error == 0)
        return;
    snprintf(form->reason, sizeof(form->reason), "%.199s", p->log);
    p->error = 0;
    p->text = text;
    p->token = token;
}

static int by_count(const void *a, const void *b)
{
    const struct form *x = a, *y = b;

    if ((x->reason[0] == '\0') != (y->reason[0] == '\0'))
        return x->reason[0] == '\0' ? 1 : -1;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->name, y->name);
}

static void survey(const char *name)
{
    struct vgpu_program *program;
    FILE *file = fopen(name, "rb");
    char log[512] = "", *text = NULL;
    long size = -1;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size > 0)
        text = malloc((size_t)size);
    if (text == NULL || fseek(file, 0, SEEK_SET) != 0 ||
        fread(text, 1, (size_t)size, file) != (size_t)size) {
        fprintf(stderr, "%s: cannot be read\n", name);
        exit(1);
    }
    fclose(file);
    if (vgpu_program_create(text, (size_t)size, log, sizeof(log), &program) != 0) {
        printf("0\t%s\t%s\n", name, log);
    } else {
        if (vgpu_program_check(program, log, sizeof(log)) != 0)
            printf("0\t%s\t%s\n", name, log);
        vgpu_program_destroy(program);
    }
    free(text);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        survey(argv[i]);
    if (found.count > 0)
        qsort(found.forms, found.count, sizeof(*found.forms), by_count);
    for (size_t i = 0; i < found.count; i++)
        printf("%lu\t%s\t%s\n", found.forms[i].count, found.forms[i].name, found.forms[i].reason);
    free(found.forms);
    return 0;
}
