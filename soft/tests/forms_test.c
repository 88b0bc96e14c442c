/* SPDX-License-Identifier: MIT */
/*
 * Tries every form of instruction that docs/ptx-forms.md lists: what runs must be decoded, what
 * does not must be refused by name. With an argument, prints what differs and goes on.
 */
#include "soft/tests/form.h"
#include "soft/tests/harness.h"

#include <errno.h>

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

static void one_form(const struct form *form, void *context)
{
    try_form(form->name, form->operands, form->runs, context);
}

static void forms_of_the_manual(void **state)
{
    struct tally tally = {0};

    (void)state;
    each_form(getenv("FORMS"), one_form, &tally);
    printf("%u forms\n", tally.forms);
    assert_true(tally.forms > 1000);
    assert_int_equal(tally.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms_of_the_manual)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
