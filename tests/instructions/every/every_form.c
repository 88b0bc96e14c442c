/* SPDX-License-Identifier: MIT */
/*
 * Every form of docs/ptx-forms.md that works on registers alone: a kernel is made around it,
 * which runs on special and random values, for all lanes and for every other lane, and what comes
 * out is judged by a reference that is written after the manual of PTX.
 */
#include <math.h>

#include "soft/tests/harness.h"
#include "soft/tests/results.h"
#include "tests/instructions/every/reference.h"

#define ELEMENTS 4096
#define SLOTS    8 /* 64-bit words of an element, of sources and of results */
#define SENTINEL UINT64_C(0x5a5a5a5a5a5a5a5a)

static reference_function *const references[] = {reference_integer, reference_bits,
                                                 reference_compare, reference_float,
                                                 reference_convert, reference_video};

/* A form with its kernel's registers. */
struct trial {
    const struct form *form;
    reference_function *reference;
    char sources[SLOTS + 1], results[SLOTS + 1]; /* letters of each slot, as in harness.h */
    bool carry;
};

static unsigned bits_of_letter(char letter)
{
    return letter == 'p'                   ? 1
           : letter == 'y'                 ? 8
           : strchr("heb", letter) != NULL ? 16
           : strchr("qdv", letter) != NULL ? 64
                                           : 32;
}

/* What a register holds, as far as the words of the form say it. */
static char letter_of(const struct form *f, const struct register_use *use, unsigned read)
{
    bool cvt = strcmp(f->opcode, "cvt") == 0 && f->type_count == 2;
    struct type t = f->types[cvt && !use->written ? 1 : 0];

    if (is_one_of(f->opcode, "set") && !use->written)
        t = f->types[1];
    if (f->type_count == 2 && !cvt && use->letter == 'h' && f->types[1].kind == 'f')
        t = f->types[1];
    switch (use->letter) {
    case 'p':
        return 'p';
    case 'b':
        return 'y';
    case 'f':
        return 'f';
    case 'g':
        return 'd';
    case 'h':
        return t.kind != 'f' || t.bits != 16 ? 'h' : t.mantissa == 10 ? 'e' : 'b';
    case 'd':
        return t.kind == 'f' && t.lanes == 2 ? 'v' : t.kind == 'f' ? 'd' : 'q';
    default:
        if (!use->written && read > 0 &&
            is_one_of(f->opcode, "shl shr shf bfe bfi szext bmsk fns vshl vshr"))
            return 's';
        return t.kind == 'f' && t.lanes == 2 && t.bits == 16 ? (t.mantissa == 10 ? 'E' : 'B')
               : t.kind == 'f' && t.bits == 32               ? 'f'
                                                             : 'w';
    }
}

/* Letters of the slots: a register of 128 bits has two. */
static void find_slots(struct trial *t)
{
    unsigned read = 0, written = 0;

    for (unsigned n = 0; n < t->form->register_count; n++) {
        const struct register_use *use = &t->form->registers[n];
        char letter = letter_of(t->form, use, read);

        for (unsigned k = 0; k < (use->letter == 'q' ? 2 : 1); k++) {
            if (use->written)
                t->results[written++] = use->letter == 'q' ? 'q' : letter;
            else
                t->sources[read++] = use->letter == 'q' ? 'q' : letter;
        }
    }
    t->carry = has(t->form, "cc") || is_one_of(t->form->opcode, "addc subc madc");
    if (t->carry) {
        t->sources[read] = 'w';
        t->results[written] = 'w';
    }
}

/* ---- the kernel ---- */

__attribute__((format(printf, 3, 4))) static void put(char *text, size_t size, const char *format,
                                                      ...)
{
    size_t used = strlen(text);
    va_list list;

    va_start(list, format);
    vsnprintf(text + used, size - used, format, list);
    va_end(list);
}

/* The instruction with the kernel's own names: s0, s1, ... and d0, d1, ... */
static void put_instruction(char *text, size_t size, const struct form *f)
{
    unsigned read = 0, written = 0;
    size_t at = 0;

    put(text, size, "%s ", f->name);
    for (unsigned n = 0; n < f->register_count; n++) {
        const struct register_use *use = &f->registers[n];

        put(text, size, "%.*s%c%u", (int)(use->at - at), f->operands + at, use->written ? 'd' : 's',
            use->written ? written : read);
        *(use->written ? &written : &read) += use->letter == 'q' ? 2 : 1;
        at = use->at + use->length;
    }
    put(text, size, "%s;\n", f->operands + at);
}

static void put_sources(char *text, size_t size, const struct trial *t)
{
    for (unsigned n = 0; t->sources[n] != '\0'; n++) {
        unsigned bits = bits_of_letter(t->sources[n]);

        if (bits == 1)
            put(text, size,
                ".reg .pred s%u;\nld.global.u32 t, [i+%u];\nand.b32 t, t, 1;\n"
                "setp.ne.u32 s%u, t, 0;\n",
                n, n * 8, n);
        else
            put(text, size, ".reg .b%u s%u;\nld.global.b%u s%u, [i+%u];\n", bits, n, bits, n,
                n * 8);
    }
}

static void put_results(char *text, size_t size, const struct trial *t, bool start)
{
    for (unsigned n = 0; t->results[n] != '\0'; n++) {
        unsigned bits = bits_of_letter(t->results[n]);

        if (start && bits == 1)
            put(text, size, ".reg .pred d%u;\nsetp.eq.u32 d%u, 0, 0;\n", n, n);
        else if (start && bits == 8)
            put(text, size, ".reg .b8 d%u;\nld.global.b8 d%u, [o+%u];\n", n, n, n * 8);
        else if (start)
            put(text, size, ".reg .b%u d%u;\nmov.b%u d%u, 0x%llx;\n", bits, n, bits, n,
                (unsigned long long)(SENTINEL & ones(bits)));
        else if (bits == 1)
            put(text, size, "selp.u32 t, 1, 0, d%u;\nst.global.u32 [o+%u], t;\n", n, n * 8);
        else
            put(text, size, "st.global.b%u [o+%u], d%u;\n", bits, n * 8, n);
    }
}

/* What brings a carry in, and what brings one out. */
static void put_with_carry(char *text, size_t size, const struct trial *t)
{
    const struct form *f = t->form;
    unsigned last = (unsigned)strlen(t->sources) - 1, out = (unsigned)strlen(t->results) - 1;
    bool minus = f->opcode[0] == 's';

    put(text, size, ".reg .b32 c;\nand.b32 t, s%u, 1;\n", last);
    put(text, size, minus ? "sub.cc.u32 c, 0, t;\n" : "add.cc.u32 c, t, 0xffffffff;\n");
    put_instruction(text, size, f);
    if (has(f, "cc"))
        put(text, size, "%s.u32 d%u, 0, 0;\n", minus ? "subc" : "addc", out);
}

static void put_special(char *text, size_t size, const struct trial *t)
{
    bool wide_source = strchr(t->form->operands, 'q') != NULL;

    if (t->carry) {
        put_with_carry(text, size, t);
    } else if (wide_source && strstr(t->form->operands, "%q1, ") != NULL) {
        put(text, size, ".reg .b128 w;\nmov.b128 w, {s0, s1};\nmov.b128 {d0, d1}, w;\n");
    } else if (wide_source) {
        put(text, size, ".reg .b128 w;\nmov.b128 w, {s0, s1};\nmov.b128 {d0, d1}, w;\n");
    } else {
        put_instruction(text, size, t->form);
    }
}

static void put_kernel(char *text, size_t size, const struct trial *t, const char *name,
                       bool masked)
{
    put(text, size,
        ".visible .entry %s(.param .u64 po, .param .u64 pi)\n{\n.reg .pred even;\n"
        ".reg .b32 t, n;\n.reg .b64 o, i, m;\nmov.u32 n, %%ctaid.x;\nmov.u32 t, %%ntid.x;\n"
        ".reg .b32 lane;\nmov.u32 lane, %%tid.x;\nmad.lo.u32 n, n, t, lane;\n"
        "mul.wide.u32 m, n, %zu;\nld.param.u64 o, [po];\nadd.u64 o, o, m;\n"
        "ld.param.u64 i, [pi];\nadd.u64 i, i, m;\nand.b32 t, n, 1;\nsetp.eq.u32 even, t, 0;\n",
        name, SLOTS * sizeof(uint64_t));
    put_sources(text, size, t);
    put_results(text, size, t, true);
    put(text, size, masked ? "@even bra skip;\n" : "");
    put_special(text, size, t);
    put(text, size, masked ? "skip:\n" : "");
    put_results(text, size, t, false);
    put(text, size, "ret;\n}\n");
}

static bool load(struct rig *rig, const struct trial *t)
{
    static const char *const headers[] = {".version 8.8\n.target sm_90\n.address_size 64\n",
                                          ".version 8.8\n.target sm_100\n.address_size 64\n"};
    static char text[32768];

    for (unsigned n = 0; n < 2; n++) {
        text[0] = '\0';
        put(text, sizeof(text), "%s", headers[n]);
        put_kernel(text, sizeof(text), t, "k", false);
        put_kernel(text, sizeof(text), t, "m", true);
        if (rig_try(rig, text))
            return true;
    }
    return false;
}

/* ---- what comes out ---- */

static struct type type_of_letter(char letter)
{
    return type_named(letter == 'f'   ? "f32"
                      : letter == 'd' ? "f64"
                      : letter == 'e' ? "f16"
                      : letter == 'b' ? "bf16"
                                      : "b64");
}

static bool close_lane(struct type t, uint64_t got, uint64_t want, const struct answer *a)
{
    uint64_t apart = got > want ? got - want : want - got;

    if (got == want || (is_nan_code(t, got) && is_nan_code(t, want) && t.bits == 64))
        return true;
    if (is_nan_code(t, got) || is_nan_code(t, want))
        return false;
    return apart <= a->ulps ||
           (a->distance != 0 && fabs(value_of(t, got) - value_of(t, want)) <= a->distance);
}

static bool close_enough(char letter, uint64_t got, uint64_t want, const struct answer *a)
{
    struct type half = type_named(letter == 'E' ? "f16" : "bf16");

    if (got == want)
        return true;
    if (letter == 'E' || letter == 'B')
        return close_lane(half, got & 0xffff, want & 0xffff, a) &&
               close_lane(half, got >> 16, want >> 16, a);
    return strchr("fdeb", letter) != NULL && close_lane(type_of_letter(letter), got, want, a);
}

struct tally {
    unsigned number; /* of the form */
    unsigned tried, absent, wrong, unknown;
};

static void say(const struct trial *t, bool masked, const uint64_t *sources, unsigned result,
                uint64_t got, uint64_t want)
{
    printf("%s %s%s:", t->form->name, t->form->operands, masked ? " (masked)" : "");
    for (unsigned n = 0; t->sources[n] != '\0'; n++)
        printf(" %llx", (unsigned long long)sources[n]);
    printf(": result %u is %llx, not %llx\n", result, (unsigned long long)got,
           (unsigned long long)want);
}

/* Judges the results of one kernel; true if they are good. */
static bool judge(const struct trial *t, const uint64_t *in, const uint64_t *out, bool masked,
                  struct result *result, bool *exact)
{
    unsigned said = 0;

    for (size_t n = 0; n < ELEMENTS; n++, in += SLOTS, out += SLOTS) {
        struct answer answer = {0};
        bool idle = masked && n % 2 == 0;

        t->reference(t->form, in, &answer);
        *exact &= answer.ulps == 0;
        for (unsigned k = 0; t->sources[k] != '\0'; k++)
            result_add_input(result, in[k]);
        for (unsigned k = 0; t->results[k] != '\0' && (!answer.any || idle); k++) {
            uint64_t mask = ones(bits_of_letter(t->results[k])), want = answer.values[k] & mask;

            if (t->carry && k > 0 && !has(t->form, "cc"))
                want = SENTINEL & mask;
            else if (t->carry && k > 0 && t->form->opcode[0] == 's')
                want = (0 - answer.values[k]) & mask;
            if (idle)
                want = mask == 1 ? 1 : SENTINEL & mask;
            result_add_output(result, t->results[k], out[k], want);
            if (!close_enough(t->results[k], out[k], want, &answer) && said++ < 2)
                say(t, masked, in, k, out[k], want);
        }
    }
    return said == 0;
}

static void run(struct rig *rig, const struct trial *t, struct tally *tally)
{
    uint64_t *memory[2];
    struct result result = {0};
    char name[1024];
    bool exact = true, good = true;

    for (unsigned n = 0; n < 2; n++)
        memory[n] = rig_allocate(rig, (size_t)ELEMENTS * SLOTS * sizeof(uint64_t));
    restart_random_bits();
    for (size_t n = 0; n < ELEMENTS; n++) {
        for (unsigned k = 0; t->sources[k] != '\0'; k++) {
            char letter = t->sources[k] == 'y' ? 'h' : t->sources[k];

            memory[1][n * SLOTS + k] = operand_value(letter, n,
                                                     k == 0   ? 1
                                                     : k == 1 ? 16
                                                              : 7) &
                                       ones(bits_of_letter(t->sources[k]));
        }
    }
    for (unsigned masked = 0; masked < 2; masked++) {
        struct result of_masked = {0};

        for (size_t n = 0; n < (size_t)ELEMENTS * SLOTS; n++)
            memory[0][n] = strchr(t->results, 'y') != NULL ? SENTINEL & 0xff : 0;
        if (!rig_runs(rig, masked ? "m" : "k", (struct geometry){ELEMENTS / 128, 128, 0}, memory)) {
            printf("%s %s: cannot be run\n", t->form->name, t->form->operands);
            rig_restart_behind(tally->number - 1);
            tally->wrong++;
            return;
        }
        good &= judge(t, memory[1], memory[0], masked, masked ? &of_masked : &result, &exact);
    }
    snprintf(name, sizeof(name), "%s %s", t->form->name, t->form->operands);
    result_finish(&result, exact, name);
    tally->wrong += !good;
    rig_drop(rig);
}

static void try_form(const struct form *f, void *context)
{
    struct tally *tally = context;
    struct trial t = {.form = f};
    const uint64_t nothing[SLOTS] = {0};
    struct rig rig;

    if (tally->number++ < rig_first_form())
        return;
    if (!f->runs || strchr(f->operands, '[') != NULL || f->register_count == 0)
        return;
    for (size_t n = 0; n < COUNT(references) && t.reference == NULL; n++) {
        struct answer answer = {0};

        if (references[n](f, nothing, &answer))
            t.reference = references[n];
    }
    if (t.reference == NULL) {
        tally->unknown++;
        return;
    }
    find_slots(&t);
    tally->tried++;
    if (!load(&rig, &t)) {
        char name[1024];

        snprintf(name, sizeof(name), "%s %s", f->name, f->operands);
        result_absent(name);
        tally->absent++;
        return;
    }
    run(&rig, &t, tally);
}

static void every_form(void **state)
{
    const char *manual = getenv("FORMS");
    struct tally tally = {0};

    (void)state;
    each_form(manual != NULL ? manual : "docs/ptx-forms.md", try_form, &tally);
    printf("%u forms: %u not on this device, %u wrong; %u are for other tests\n", tally.tried,
           tally.absent, tally.wrong, tally.unknown);
    assert_true(tally.tried > 1500 || rig_first_form() > 0);
    if (!results_are_written())
        assert_int_equal(tally.wrong + rig_first_form(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_form)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
