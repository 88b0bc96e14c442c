/* SPDX-License-Identifier: MIT */
#include "soft/tests/form.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TEXT 1024

static const struct type types[] = {
    {'u', 8, 1, 0, 0, "u8"},        {'s', 8, 1, 0, 0, "s8"},        {'b', 8, 1, 0, 0, "b8"},
    {'u', 16, 1, 0, 0, "u16"},      {'s', 16, 1, 0, 0, "s16"},      {'b', 16, 1, 0, 0, "b16"},
    {'u', 32, 1, 0, 0, "u32"},      {'s', 32, 1, 0, 0, "s32"},      {'b', 32, 1, 0, 0, "b32"},
    {'u', 64, 1, 0, 0, "u64"},      {'s', 64, 1, 0, 0, "s64"},      {'b', 64, 1, 0, 0, "b64"},
    {'u', 16, 2, 0, 0, "u16x2"},    {'s', 16, 2, 0, 0, "s16x2"},    {'b', 128, 1, 0, 0, "b128"},
    {'p', 1, 1, 0, 0, "pred"},      {'f', 16, 1, 10, 15, "f16"},    {'f', 16, 1, 7, 127, "bf16"},
    {'f', 16, 2, 10, 15, "f16x2"},  {'f', 16, 2, 7, 127, "bf16x2"}, {'f', 32, 1, 23, 127, "f32"},
    {'f', 32, 2, 23, 127, "f32x2"}, {'f', 64, 1, 52, 1023, "f64"},  {'f', 32, 1, 10, 127, "tf32"},
    {'f', 8, 2, 3, 7, "e4m3x2"},    {'f', 8, 2, 2, 15, "e5m2x2"},
};

struct type type_named(const char *word)
{
    for (size_t n = 0; n < sizeof(types) / sizeof(types[0]); n++) {
        if (strcmp(types[n].name, word) == 0)
            return types[n];
    }
    return (struct type){0};
}

bool has(const struct form *form, const char *word)
{
    for (unsigned n = 0; n < form->word_count; n++) {
        if (strcmp(form->words[n], word) == 0)
            return true;
    }
    return false;
}

bool is_one_of(const char *word, const char *list)
{
    size_t length = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length) {
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* Registers of the operands; those before the first comma outside of braces are written. */
static void find_registers(struct form *f)
{
    bool written = true;
    int depth = 0;

    for (size_t n = 0; f->operands[n] != '\0'; n++) {
        char c = f->operands[n];
        size_t length = 2;

        depth += (c == '{') - (c == '}');
        if (c == ',' && depth == 0)
            written = false;
        if (c != '%' || strchr("phbrdqfg", f->operands[n + 1]) == NULL ||
            !isdigit((unsigned char)f->operands[n + 2]) || f->register_count == MOST_REGISTERS)
            continue;
        while (isdigit((unsigned char)f->operands[n + length]))
            length++;
        f->registers[f->register_count++] = (struct register_use){
            .letter = f->operands[n + 1], .written = written, .at = n, .length = length};
    }
}

static void take_apart(struct form *f, const char *name, const char *operands)
{
    char *rest = NULL;

    memset(f, 0, sizeof(*f));
    snprintf(f->name, sizeof(f->name), "%s", name);
    snprintf(f->operands, sizeof(f->operands), "%s", operands);
    snprintf(f->text, sizeof(f->text), "%s", name);
    f->opcode = strtok_r(f->text, ".", &rest);
    for (char *word; (word = strtok_r(NULL, ".", &rest)) != NULL && f->word_count < MOST_WORDS;) {
        struct type type = type_named(word);

        f->words[f->word_count++] = word;
        if (type.kind != 0 && f->type_count < 4)
            f->types[f->type_count++] = type;
    }
    find_registers(f);
}

struct reader {
    bool runs;
    void (*each)(const struct form *form, void *context);
    void *context;
};

/* Replaces the first {a,b} of the name, or else of a special register's, by each of its words. */
static void expand(const char *name, const char *operands, const struct reader *reader)
{
    const char *open = strchr(name, '{'), *whole = name, *close;
    static struct form form;

    if (open == NULL) {
        whole = operands;
        open = strstr(operands, "%{");
        open = open != NULL ? open + 1 : strstr(operands, ".{");
        if (open != NULL && *open == '.')
            open++;
    }
    close = open != NULL ? strchr(open, '}') : NULL;
    if (close == NULL) {
        take_apart(&form, name, operands);
        form.runs = reader->runs;
        reader->each(&form, reader->context);
        return;
    }
    for (const char *word = open + 1; word <= close;) {
        size_t length = strcspn(word, ",}");
        char next[MOST_TEXT];

        snprintf(next, sizeof(next), "%.*s%.*s%s", (int)(open - whole), whole, (int)length, word,
                 close + 1);
        expand(whole == name ? next : name, whole == name ? operands : next, reader);
        word += length + 1;
    }
}

/* "| `form` | `operands` | yes |": the text between back quotes, without the escapes of tables. */
static const char *quoted(const char *at, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    if (*at != '`')
        return at;
    for (at++; *at != '\0' && *at != '`' && n + 1 < size; at++) {
        if (*at != '\\')
            out[n++] = *at;
    }
    out[n] = '\0';
    return *at == '`' ? at + 1 : at;
}

void each_form(const char *manual, void (*each)(const struct form *form, void *context),
               void *context)
{
    struct reader reader = {false, each, context};
    char line[4096], name[MOST_TEXT], operands[MOST_TEXT];
    FILE *file = fopen(manual, "r");

    if (file == NULL) {
        fprintf(stderr, "%s cannot be read\n", manual);
        exit(1);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *at;

        if (strncmp(line, "| `", 3) != 0)
            continue;
        at = quoted(line + 2, name, sizeof(name));
        at += strspn(at, " |");
        at = quoted(at, operands, sizeof(operands));
        at += strspn(at, " |");
        reader.runs = strncmp(at, "yes |", 5) == 0;
        if (reader.runs || strncmp(at, "no: ", 4) == 0)
            expand(name, operands, &reader);
        else
            fprintf(stderr, "a line that says neither yes nor no: %s", line);
    }
    fclose(file);
}
