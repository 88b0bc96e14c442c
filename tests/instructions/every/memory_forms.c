/* SPDX-License-Identifier: MIT */
/*
 * Every form of ld, st, atom and red in docs/ptx-forms.md: each thread has 64 bytes of its own
 * in the space that the form names (in all of them, if it names none), and what the form leaves
 * there and in registers is judged. Operations on integers are also done by all threads at one
 * place.
 */
#include "soft/tests/harness.h"
#include "soft/tests/results.h"
#include "tests/instructions/every/memory.h"

#define ELEMENTS 1024
#define BLOCK    64
#define STRIDE   128 /* bytes of an element: what is in its memory, and eight registers */
#define SENTINEL UINT64_C(0x5a5a5a5a5a5a5a5a)

struct trial {
    struct access access;
    const struct form *form;
    const char *space; /* where the memory is */
    bool generic;      /* and the instruction does not say so */
};

struct tally {
    unsigned number; /* of the form */
    unsigned tried, absent, wrong;
};

/* ---- the kernel ---- */

__attribute__((format(printf, 2, 3))) static void put(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list list;

    va_start(list, format);
    vsnprintf(text + used, MOST_KERNEL - used, format, list);
    va_end(list);
}

/* The instruction with the kernel's own names: d0, s0, the address a, the policy `hint`. */
static void put_instruction(char *text, const struct trial *t)
{
    const struct form *f = t->form;
    unsigned read = 0, written = 0;
    size_t at = 0;

    put(text, "%s ", f->name);
    for (unsigned n = 0; n < f->register_count; n++) {
        const struct register_use *use = &f->registers[n];

        put(text, "%.*s", (int)(use->at - at), f->operands + at);
        at = use->at + use->length;
        switch (t->access.roles[n]) {
        case ROLE_ADDRESS:
            put(text, "a");
            break;
        case ROLE_HINT:
            put(text, "hint");
            break;
        case ROLE_WRITTEN:
            put(text, "d%u", written++);
            break;
        default:
            put(text, "s%u", read++);
            break;
        }
    }
    put(text, "%s;\n", f->operands + at);
}

static void put_copy(char *text, const char *to_space, const char *to, const char *of_space,
                     const char *of)
{
    for (unsigned n = 0; n < MEMORY_BYTES; n += 8)
        put(text, "ld.%s.b64 m, [%s+%u];\nst.%s.b64 [%s+%u], m;\n", of_space, of, n, to_space, to,
            n);
}

/* Makes `a` the address of the thread's memory, and fills that. */
static void put_address(char *text, const struct trial *t, bool contended)
{
    const char *own = contended ? "0" : "lane";

    if (strcmp(t->space, "global") == 0) {
        put(text, "mov.u64 a, %s;\n", t->access.kind == LOAD ? "i" : contended ? "first" : "o");
    } else if (strcmp(t->space, "const") == 0) {
        put(text, "mul.wide.u32 a, lane, 64;\nmov.u64 m, table;\nadd.u64 a, a, m;\n");
    } else {
        bool shared = strcmp(t->space, "shared") == 0;

        if (shared)
            put(text, "mul.wide.u32 a, %s, 64;\nmov.u64 m, box;\nadd.u64 a, a, m;\n", own);
        else
            put(text, "mov.u64 a, mine;\n");
        put(text, "mov.u64 place, a;\n");
        put_copy(text, t->space, "a", "global", contended ? "first" : "i");
        put(text, shared ? "bar.sync 0;\n" : "");
    }
    if (t->generic)
        put(text, "cvta.%s.u64 a, a;\n", t->space);
}

static void put_registers(char *text, const struct trial *t)
{
    const struct access *access = &t->access;

    for (unsigned n = 0; n < access->read_count; n++) {
        unsigned bits = access->read_bits[n];

        if (bits == 128)
            put(text,
                ".reg .b128 s%u;\nld.global.b64 m, [i+64];\nld.global.b64 n, [i+%u];\n"
                "mov.b128 s%u, {m, n};\n",
                n, 72 + n * 8, n);
        else
            put(text, ".reg .b%u s%u;\nld.global.b%u s%u, [i+%u];\n", bits, n, bits, n, 64 + n * 8);
    }
    for (unsigned n = 0; n < access->written_count; n++) {
        unsigned bits = access->written_bits[n];

        if (bits == 128)
            put(text, ".reg .b128 d%u;\nmov.u64 m, 0x%llx;\nmov.b128 d%u, {m, m};\n", n,
                (unsigned long long)SENTINEL, n);
        else
            put(text, ".reg .b%u d%u;\nmov.b%u d%u, 0x%llx;\n", bits, n, bits, n,
                (unsigned long long)(SENTINEL & ones(bits)));
    }
    if (access->hinted)
        put(text, ".reg .b64 hint;\ncreatepolicy.fractional.L2::evict_first.b64 hint, 1.0;\n");
}

static void put_kernel(char *text, const struct trial *t, const char *name, bool masked,
                       bool contended)
{
    bool elsewhere = strcmp(t->space, "global") != 0 && strcmp(t->space, "const") != 0;

    put(text,
        ".visible .entry %s(.param .u64 po, .param .u64 pi)\n{\n.reg .pred even;\n.reg .b32 t, "
        "lane;\n.reg .b64 a, o, i, m, n, place, first;\n.local .align 32 .b8 mine[64];\n"
        "mov.u32 lane, %%tid.x;\nmov.u32 t, %%ctaid.x;\nmad.lo.u32 t, t, %u, lane;\n"
        "mul.wide.u32 m, t, %u;\nld.param.u64 first, [po];\nadd.u64 o, first, m;\n"
        "ld.param.u64 i, [pi];\nadd.u64 i, i, m;\nand.b32 t, t, 1;\nsetp.eq.u32 even, t, 0;\n",
        name, BLOCK, STRIDE);
    put_registers(text, t);
    put_address(text, t, contended);
    put(text, masked ? "@even bra skip;\n" : "");
    put_instruction(text, t);
    put(text, masked ? "skip:\n" : "");
    if (elsewhere && strcmp(t->space, "shared") == 0)
        put(text, "bar.sync 0;\n");
    if (elsewhere)
        put_copy(text, "global", contended ? "first" : "o", t->space, "place");
    for (unsigned n = 0; n < t->access.written_count && !contended; n++) {
        if (t->access.written_bits[n] == 128)
            put(text, "mov.b128 {m, n}, d%u;\nst.global.b64 [o+64], m;\nst.global.b64 [o+72], n;\n",
                n);
        else
            put(text, "st.global.b%u [o+%u], d%u;\n", t->access.written_bits[n], 64 + n * 8, n);
    }
    put(text, "ret;\n}\n");
}

static void put_table(char *text, const uint8_t *table)
{
    put(text, ".const .align 32 .b8 table[%u] = {", BLOCK * MEMORY_BYTES);
    for (unsigned n = 0; n < BLOCK * MEMORY_BYTES; n++)
        put(text, "%s%u", n == 0 ? "" : ",", table[n]);
    put(text, "};\n");
}

/* Sums, logic and extremes of integers do not depend on the order in which threads come. */
static bool can_be_contended(const struct trial *t)
{
    return (t->access.kind == ATOMIC || t->access.kind == REDUCTION) &&
           t->access.type.kind != 'f' && t->access.lanes == 1 && t->access.type.bits >= 32 &&
           t->access.type.bits <= 64 && !has(t->form, "exch") && !has(t->form, "cas") &&
           strcmp(t->space, "local") != 0;
}

static bool load(struct rig *rig, const struct trial *t, const uint8_t *table)
{
    static const char *const headers[] = {".version 8.8\n.target sm_90\n.address_size 64\n",
                                          ".version 8.8\n.target sm_100\n.address_size 64\n"};
    static char text[MOST_KERNEL];

    for (unsigned n = 0; n < 2; n++) {
        text[0] = '\0';
        put(text, "%s.shared .align 32 .b8 box[%u];\n", headers[n], BLOCK * MEMORY_BYTES);
        if (strcmp(t->space, "const") == 0)
            put_table(text, table);
        put_kernel(text, t, "k", false, false);
        put_kernel(text, t, "m", true, false);
        if (can_be_contended(t))
            put_kernel(text, t, "c", false, true);
        if (rig_try(rig, text))
            return true;
    }
    return false;
}

/* ---- what comes out ---- */

static void say(const struct trial *t, const char *how, size_t element, const uint8_t *got,
                const uint8_t *want)
{
    printf("%s %s in %s%s: element %zu:", t->form->name, t->form->operands, t->space, how, element);
    for (unsigned n = 0; n < STRIDE; n += 8) {
        uint64_t g, w;

        memcpy(&g, got + n, sizeof(g));
        memcpy(&w, want + n, sizeof(w));
        if (g != w)
            printf(" %u: %llx, not %llx", n, (unsigned long long)g, (unsigned long long)w);
    }
    printf("\n");
}

/* One element's memory and registers as they are to be. */
static bool expected(const struct trial *t, const uint8_t *in, bool idle, uint8_t *want)
{
    uint64_t read[8], written[8] = {0};
    bool any = false;

    memset(want, 0, STRIDE);
    memcpy(want, in, MEMORY_BYTES);
    memcpy(read, in + MEMORY_BYTES, sizeof(read));
    if (!idle)
        any = !access_done(&t->access, t->form, want, read, written);
    for (unsigned n = 0; n < t->access.written_count; n++) {
        unsigned bits = t->access.written_bits[n];
        uint64_t v = (idle ? SENTINEL : written[n]) & ones(bits > 64 ? 64 : bits);

        memcpy(want + MEMORY_BYTES + n * 8, &v, sizeof(v));
        v = idle ? SENTINEL : written[1];
        if (bits == 128)
            memcpy(want + MEMORY_BYTES + 8, &v, sizeof(v));
    }
    return !any;
}

static void fill(uint8_t *in, const struct trial *t)
{
    restart_random_bits();
    for (size_t n = 0; n < ELEMENTS; n++) {
        for (unsigned k = 0; k < STRIDE / 8; k++) {
            /* Memory of small numbers of the type, and registers of the same. */
            char letter = t->access.letter;
            uint64_t v = operand_value(letter, n * 4, k % 8 + 1);

            if (t->access.type.bits * t->access.type.lanes <= 32)
                v = (v & UINT32_MAX) | operand_value(letter, n * 4 + 3, k + 2) << 32;
            if (t->access.type.bits * t->access.type.lanes <= 16)
                v = (v & UINT64_C(0xffff0000ffff)) |
                    (operand_value(letter, n * 4 + 1, 3) & 0xffff) << 16 |
                    (operand_value(letter, n * 4 + 2, 5) & 0xffff) << 48;
            memcpy(in + n * STRIDE + k * 8, &v, sizeof(v));
        }
        /* What is compared and swapped is often what is there. */
        if (has(t->form, "cas") && n % 2 == 0)
            memcpy(in + n * STRIDE + MEMORY_BYTES, in + n * STRIDE, 16);
    }
}

static bool run_one(struct rig *rig, const struct trial *t, bool masked, uint8_t *memory[2],
                    const uint8_t *table, struct result *result, bool *runs)
{
    unsigned said = 0;

    for (size_t n = 0; n < ELEMENTS; n++) {
        memcpy(memory[0] + n * STRIDE, memory[1] + n * STRIDE, MEMORY_BYTES);
        memset(memory[0] + n * STRIDE + MEMORY_BYTES, 0, STRIDE - MEMORY_BYTES);
    }
    *runs =
        rig_runs(rig, masked ? "m" : "k", (struct geometry){ELEMENTS / BLOCK, BLOCK, 0}, memory);
    if (!*runs)
        return false;
    for (size_t n = 0; n < ELEMENTS; n++) {
        uint8_t want[STRIDE], in[STRIDE];
        const uint8_t *got = memory[0] + n * STRIDE;

        memcpy(in, memory[1] + n * STRIDE, STRIDE);
        if (strcmp(t->space, "const") == 0)
            memcpy(in, table + n % BLOCK * MEMORY_BYTES, MEMORY_BYTES);
        if (!expected(t, in, masked && n % 2 == 0, want))
            continue;
        /* Constants are not copied. */
        if (strcmp(t->space, "const") == 0)
            memcpy(want, memory[1] + n * STRIDE, MEMORY_BYTES);
        for (unsigned k = 0; k < STRIDE; k += 8) {
            uint64_t g, w, source;

            memcpy(&g, got + k, sizeof(g));
            memcpy(&w, want + k, sizeof(w));
            memcpy(&source, in + k, sizeof(source));
            result_add_input(result, source);
            result_add_output(result, 'q', g, w);
        }
        if (memcmp(got, want, STRIDE) != 0 && said++ < 2)
            say(t, masked ? " (masked)" : "", n, got, want);
    }
    return said == 0;
}

/* A block's threads at one place: in any order, the same comes out. */
static bool run_contended(struct rig *rig, const struct trial *t, uint8_t *memory[2], bool *runs)
{
    uint8_t want[STRIDE];
    bool same_operand = has(t->form, "inc") || has(t->form, "dec");

    for (size_t n = 1; n < BLOCK && same_operand; n++)
        memcpy(memory[1] + n * STRIDE + MEMORY_BYTES, memory[1] + MEMORY_BYTES, MEMORY_BYTES);
    memcpy(memory[0], memory[1], STRIDE);
    memcpy(want, memory[1], STRIDE);
    for (size_t n = 0; n < BLOCK; n++) {
        uint64_t read[8], written[8];

        memcpy(read, memory[1] + n * STRIDE + MEMORY_BYTES, sizeof(read));
        access_done(&t->access, t->form, want, read, written);
    }
    *runs = rig_runs(rig, "c", (struct geometry){1, BLOCK, 0}, memory);
    if (!*runs)
        return false;
    if (memcmp(memory[0], want, MEMORY_BYTES) == 0)
        return true;
    say(t, " (all at one place)", 0, memory[0], want);
    return false;
}

static void run(const struct trial *t, struct tally *tally)
{
    uint8_t table[BLOCK * MEMORY_BYTES], *memory[2];
    struct result result = {0}, of_masked = {0};
    char name[1024];
    struct rig rig;
    bool good, runs;

    snprintf(name, sizeof(name), "%s %s in %s", t->form->name, t->form->operands, t->space);
    restart_random_bits();
    for (size_t n = 0; n < sizeof(table); n++)
        table[n] = (uint8_t)random_bits();
    tally->tried++;
    if (!load(&rig, t, table)) {
        result_absent(name);
        tally->absent++;
        return;
    }
    for (unsigned n = 0; n < 2; n++)
        memory[n] = rig_allocate(&rig, (size_t)ELEMENTS * STRIDE);
    fill(memory[1], t);
    good = run_one(&rig, t, false, memory, table, &result, &runs);
    good = runs && run_one(&rig, t, true, memory, table, &of_masked, &runs) && good;
    if (runs && can_be_contended(t))
        good = run_contended(&rig, t, memory, &runs) && good;
    tally->wrong += !good;
    if (!runs) {
        printf("%s: cannot be run\n", name);
        rig_restart_behind(tally->number - 1);
        return;
    }
    result_finish(&result, true, name);
    rig_drop(&rig);
}

static void try_form(const struct form *f, void *context)
{
    static const char *const spaces[] = {"global", "shared", "local"};
    struct trial t = {.form = f};
    const char *named = NULL;
    struct tally *tally = context;

    if (tally->number++ < rig_first_form())
        return;
    if (!f->runs || !access_of(f, &t.access))
        return;
    for (unsigned n = 0; n < f->word_count && named == NULL; n++) {
        if (is_one_of(f->words[n], "global shared local const shared::cta shared::cluster"))
            named = strncmp(f->words[n], "shared", 6) == 0 ? "shared" : f->words[n];
    }
    if (named != NULL) {
        t.space = named;
        run(&t, context);
        return;
    }
    t.generic = true;
    for (unsigned n = 0; n < (t.access.kind == LOAD || t.access.kind == STORE ? 3 : 2); n++) {
        t.space = spaces[n];
        run(&t, context);
    }
}

static void every_form(void **state)
{
    const char *manual = getenv("FORMS");
    struct tally tally = {0};

    (void)state;
    each_form(manual != NULL ? manual : "docs/ptx-forms.md", try_form, &tally);
    printf("%u forms and spaces: %u not on this device, %u wrong\n", tally.tried, tally.absent,
           tally.wrong);
    assert_true(tally.tried > 900 || rig_first_form() > 0);
    if (!results_are_written())
        assert_int_equal(tally.wrong + rig_first_form(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_form)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
