/* SPDX-License-Identifier: MIT */
/*
 * Tries every form of instruction that docs/software-gpu.md lists: what runs must be decoded, what
 * does not must be refused by name. With an argument, prints what differs and goes on.
 */
#include "soft/tests/harness.h"

#include <errno.h>

#define MOST_FORM 1024

static const char head[] =
    ".version 8.8\n.target sm_121\n.address_size 64\n"
    ".shared .align 16 .b8 s[64];\n.global .align 16 .b8 g[64];\n.func f() { ret; }\n"
    ".visible .entry k(.param .u64 x)\n{\n.reg .pred %p<10>;\n.reg .b8 %b<10>;\n.reg .b16 %h<10>;\n"
    ".reg .b32 %r<10>;\n.reg .b64 %d<10>;\n.reg .f32 %f<10>;\n.reg .f64 %g<10>;\n";
static const char wide[] = ".reg .b128 %q<10>;\n";
static const char labels[] =
    "T: .branchtargets L, L;\nP: .callprototype _ ();\nC: .calltargets f;\n";

struct tally {
    unsigned forms, wrong;
};

static void try_form(const char *form, const char *operands, bool runs, struct tally *tally)
{
    char text[4096], log[512] = "";
    struct vgpu_program *program = NULL;
    const struct vgpu_unit *unit;
    const char *message = NULL, *opcode_end = strchr(form, '.');
    int error;

    tally->forms++;
    snprintf(text, sizeof(text), "%s%s%s%s %s;\nL: ret;\n}\n", head,
             strstr(operands, "%q") != NULL ? wide : "",
             strcmp(operands, "%r1, T") == 0 || strstr(operands, ", P") != NULL ||
                     strstr(operands, ", C") != NULL
                 ? labels
                 : "",
             form, operands);
    error = vgpu_program_create(text, strlen(text), log, sizeof(log), &program);
    if (error == 0)
        error = vgpu_program_prepare(program, 0, &unit, &message);
    if (message == NULL)
        message = log;
    /* A refusal names the instruction. */
    if ((error == 0) != runs ||
        (error != 0 &&
         (error != -ENOTSUP ||
          strncmp(strchr(message, '\'') != NULL ? strchr(message, '\'') + 1 : "", form,
                  opcode_end != NULL ? (size_t)(opcode_end - form) : 3) != 0))) {
        tally->wrong++;
        printf("%s %s: %s\n", form, operands, error == 0 ? "it runs" : message);
    }
    vgpu_program_destroy(program);
}

/* Replaces the first {a,b} of the form, or else of the operands, by each of its words. */
static void expand(const char *form, const char *operands, bool runs, struct tally *tally)
{
    const char *open = strchr(form, '{'), *close = open != NULL ? strchr(open, '}') : NULL;
    bool in_operands = false;

    if (open == NULL) {
        /* Only special registers have words in their operands: "%{tid,ntid}.{x,y}". */
        open = strstr(operands, "%{");
        open = open != NULL ? open + 1 : strstr(operands, ".{");
        if (open != NULL && *open == '.')
            open++;
        close = open != NULL ? strchr(open, '}') : NULL;
        in_operands = true;
    }
    if (open == NULL || close == NULL) {
        try_form(form, operands, runs, tally);
        return;
    }
    for (const char *word = open + 1; word <= close;) {
        size_t length = strcspn(word, ",}");
        const char *whole = in_operands ? operands : form;
        char next[MOST_FORM];

        snprintf(next, sizeof(next), "%.*s%.*s%s", (int)(open - whole), whole, (int)length, word,
                 close + 1);
        if (in_operands)
            expand(form, next, runs, tally);
        else
            expand(next, operands, runs, tally);
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

static void forms_of_the_manual(void **state)
{
    char line[4096], form[MOST_FORM], operands[MOST_FORM];
    FILE *file = fopen(getenv("FORMS"), "r");
    struct tally tally = {0};

    (void)state;
    if (file == NULL) {
        fail_msg("%s cannot be read", getenv("FORMS"));
        return;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *at = line;
        bool runs;

        if (strncmp(line, "| `", 3) != 0)
            continue;
        at = quoted(at + 2, form, sizeof(form));
        at += strspn(at, " |");
        at = quoted(at, operands, sizeof(operands));
        at += strspn(at, " |");
        runs = strncmp(at, "yes |", 5) == 0;
        if (!runs && strncmp(at, "no: ", 4) != 0)
            fail_msg("a line that says neither yes nor no: %s", line);
        expand(form, operands, runs, &tally);
    }
    fclose(file);
    printf("%u forms\n", tally.forms);
    assert_true(tally.forms > 1000);
    assert_int_equal(tally.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms_of_the_manual)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
