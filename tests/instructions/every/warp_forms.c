/* SPDX-License-Identifier: MIT */
/* Forms that are about more than one thread's registers, each in a program of recipes.h. */
#include <fnmatch.h>

#include "soft/tests/harness.h"
#include "soft/tests/results.h"
#include "tests/instructions/every/recipes.h"
#include "tests/instructions/every/reference.h"

#define MOST_TEXT 16384

static const char start[] =
    ".shared .align 128 .b8 box[4096];\n.shared .align 8 .b64 bars[8];\n"
    ".global .align 16 .b8 table[16] = {1, 2, 3, 4};\n"
    ".const .align 16 .b8 fixed[16] = {5, 6, 7, 8};\n"
    ".func nothing() { ret.uni; }\n"
    ".visible .entry k(.param .u64 po, .param .u64 pi, .param .u64 ps) .reqnctapercluster 1, 1, 1\n"
    "{\n"
    ".reg .b64 o, i, m, bard, scratch, state, d<9>;\n.reg .b32 t, v, a, b, bar, r<9>;\n"
    ".reg .pred p<5>, first, done;\n.reg .b16 h<5>;\n.local .align 16 .b8 mine[16];\n"
    "mov.u32 t, %tid.x;\nmul.wide.u32 m, t, 8;\nld.param.u64 o, [po];\nadd.u64 o, o, m;\n"
    "ld.param.u64 i, [pi];\nadd.u64 i, i, m;\nmul.wide.u32 m, t, 128;\n"
    "ld.param.u64 scratch, [ps];\nadd.u64 scratch, scratch, m;\nld.global.u32 v, [i];\n"
    "mov.u32 a, box;\nsub.u32 b, 63, t;\nmad.lo.u32 b, b, 4, a;\nmad.lo.u32 a, t, 4, a;\n"
    "mov.u32 bar, bars;\ncvt.u64.u32 bard, bar;\nsetp.eq.u32 first, t, 0;\n";

uint64_t expect_other(const struct form *form, unsigned t, const uint64_t *in)
{
    (void)form;
    return (uint32_t)in[THREADS - 1 - t];
}

uint64_t expect_own(const struct form *form, unsigned t, const uint64_t *in)
{
    (void)form;
    return (uint32_t)in[t];
}

uint64_t expect_one(const struct form *form, unsigned t, const uint64_t *in)
{
    (void)form;
    (void)t;
    (void)in;
    return 1;
}

/* Copies the recipe's kernel with $I replaced. */
static void put_kernel(char *text, const struct form *f, const struct recipe *r)
{
    size_t used = strlen(text);
    bool generic = strstr(f->name, "shared") == NULL;

    used += (size_t)snprintf(text + used, MOST_TEXT - used, "%s%s", start,
                             generic ? "cvta.shared.u64 bard, bard;\n" : "");
    for (const char *c = r->kernel; *c != '\0'; c++) {
        if (c[0] == '$' && c[1] == 'I')
            used += (size_t)snprintf(text + used, MOST_TEXT - used, "%s %s;\n", f->name, r->with);
        else
            used += (size_t)snprintf(text + used, MOST_TEXT - used, "%c", *c);
        c += c[0] == '$';
    }
    snprintf(text + used, MOST_TEXT - used, "\nst.global.u64 [o], m;\nret;\n}\n");
}

static bool load(struct rig *rig, const struct form *f, const struct recipe *r)
{
    static const char *const headers[] = {".version 8.8\n.target sm_90\n.address_size 64\n",
                                          ".version 8.8\n.target sm_100\n.address_size 64\n"};
    static char text[MOST_TEXT];

    for (unsigned n = 0; n < 2; n++) {
        snprintf(text, sizeof(text), "%s", headers[n]);
        put_kernel(text, f, r);
        if (rig_try(rig, text))
            return true;
    }
    return false;
}

struct tally {
    unsigned number; /* of the form */
    unsigned tried, absent, wrong;
};

static void run(const struct form *f, const struct recipe *r, struct tally *tally)
{
    struct result result = {0};
    uint64_t *memory[3];
    unsigned wrong = 0;
    char name[1024];
    struct rig rig;

    snprintf(name, sizeof(name), "%s %s (in a block)", f->name, f->operands);
    tally->tried++;
    if (!load(&rig, f, r)) {
        result_absent(name);
        tally->absent++;
        return;
    }
    for (unsigned n = 0; n < 3; n++)
        memory[n] = rig_allocate(&rig, THREADS * 128);
    restart_random_bits();
    for (unsigned t = 0; t < THREADS; t++)
        memory[1][t] = operand_value('w', t * 64, 1);
    if (!rig_runs(&rig, "k", (struct geometry){1, THREADS, 0}, memory)) {
        printf("%s: cannot be run\n", name);
        rig_restart_behind(tally->number - 1);
        tally->wrong++;
        return;
    }
    for (unsigned t = 0; t < THREADS; t++) {
        uint64_t want = r->expect(f, t, memory[1]);

        result_add_input(&result, memory[1][t]);
        result_add_output(&result, 'q', memory[0][t], want);
        if (memory[0][t] != want && wrong++ < 2)
            printf("%s: thread %u: %llx, not %llx\n", name, t, (unsigned long long)memory[0][t],
                   (unsigned long long)want);
    }
    result_finish(&result, true, name);
    tally->wrong += wrong != 0;
    rig_drop(&rig);
}

static void try_form(const struct form *f, void *context)
{
    static const struct recipe *const books[] = {recipes_of_blocks, recipes_of_barriers,
                                                 recipes_of_copies, recipes_of_addresses};

    if (((struct tally *)context)->number++ < rig_first_form())
        return;
    for (size_t n = 0; n < COUNT(books) && f->runs; n++) {
        for (const struct recipe *r = books[n]; r->names != NULL; r++) {
            if (fnmatch(r->names, f->name, 0) != 0 ||
                (r->operands != NULL && strcmp(r->operands, f->operands) != 0))
                continue;
            run(f, r, context);
            return;
        }
    }
}

static void forms_of_the_manual(void **state)
{
    const char *manual = getenv("FORMS");
    struct tally tally = {0};

    (void)state;
    each_form(manual != NULL ? manual : "docs/ptx-forms.md", try_form, &tally);
    printf("%u forms: %u not on this device, %u wrong\n", tally.tried, tally.absent, tally.wrong);
    assert_true(tally.tried > 200 || rig_first_form() > 0);
    if (!results_are_written())
        assert_int_equal(tally.wrong + rig_first_form(), 0);
}

/* ---- special registers ---- */

#define SIDES 3 /* of the grid and of the block, which is 32 x 3 x 2 */
#define ROWS  (2 * SIDES * 2 * 32 * SIDES * 2)

struct place {
    uint32_t tid[3], ctaid[3], ntid[3], nctaid[3];
    unsigned linear; /* of the thread in its block */
};

/* The value there must be; -1: not one, see what is asked of it below. */
static int64_t of_special(const char *name, const struct place *p)
{
    unsigned axis = (unsigned)(name[strlen(name) - 1] - 'x'), lane = p->linear % 32;

    if (strcmp(name + strlen(name) - 2, ".w") == 0)
        return 0;
    if (strncmp(name, "%tid.", 5) == 0)
        return p->tid[axis];
    if (strncmp(name, "%ntid.", 6) == 0)
        return p->ntid[axis];
    if (strncmp(name, "%ctaid.", 7) == 0 || strncmp(name, "%clusterid.", 11) == 0)
        return p->ctaid[axis];
    if (strncmp(name, "%nctaid.", 8) == 0 || strncmp(name, "%nclusterid.", 12) == 0)
        return p->nctaid[axis];
    if (strncmp(name, "%cluster_ctaid.", 15) == 0 ||
        is_one_of(name, "%cluster_ctarank %current_graph_exec %is_explicit_cluster"))
        return 0;
    if (strncmp(name, "%cluster_nctaid.", 16) == 0 || strcmp(name, "%cluster_nctarank") == 0)
        return 1;
    if (strcmp(name, "%laneid") == 0)
        return lane;
    if (strcmp(name, "%lanemask_eq") == 0)
        return INT64_C(1) << lane;
    if (strcmp(name, "%lanemask_lt") == 0)
        return (INT64_C(1) << lane) - 1;
    if (strcmp(name, "%lanemask_le") == 0)
        return (INT64_C(2) << lane) - 1;
    if (strcmp(name, "%lanemask_gt") == 0)
        return UINT32_MAX & ~((INT64_C(2) << lane) - 1);
    if (strcmp(name, "%lanemask_ge") == 0)
        return UINT32_MAX & ~((INT64_C(1) << lane) - 1);
    return -1;
}

/* Of registers whose value is the device's own: read twice, and again after a while. */
static bool plausible(const char *name, const uint64_t *row)
{
    if (is_one_of(name, "%clock64 %globaltimer"))
        return row[1] >= row[0] && row[2] > row[0];
    if (strcmp(name, "%clock") == 0)
        return row[2] != row[0];
    if (is_one_of(name, "%smid %warpid"))
        return row[0] < 4096;
    if (is_one_of(name, "%nsmid %nwarpid"))
        return row[0] > 0 && row[0] <= 4096 && row[0] == row[2];
    if (is_one_of(name, "%total_smem_size %aggr_smem_size"))
        return row[0] >= 256 + 512 && row[0] == row[2];
    if (strcmp(name, "%dynamic_smem_size") == 0)
        return row[0] == 512 && row[2] == 512;
    return true; /* halves of clocks, numbers of grids, what is reserved for the system */
}

static void special_kernel(char *text, size_t size, const struct form *f, const char *name)
{
    bool wide = strcmp(f->types[0].name, "u64") == 0, predicate = f->types[0].kind == 'p';
    char read[1024];

    if (predicate)
        snprintf(read, sizeof(read), "%s p, %s;\nselp.u64 m, 1, 0, p;\n", f->name, name);
    else if (wide)
        snprintf(read, sizeof(read), "%s m, %s;\n", f->name, name);
    else
        snprintf(read, sizeof(read), "%s r, %s;\ncvt.u64.u32 m, r;\n", f->name, name);
    snprintf(
        text, size,
        ".version 8.8\n.target sm_90\n.address_size 64\n.shared .align 4 .b8 own[256];\n"
        ".visible .entry k(.param .u64 po)\n{\n.reg .b64 o, m;\n.reg .b32 r, x, y, z, n;\n"
        ".reg .pred p;\nst.shared.u32 [own], 0;\nmov.u32 x, %%ctaid.z;\nmov.u32 y, %%nctaid.y;\n"
        "mov.u32 z, %%ctaid.y;\nmad.lo.u32 x, x, y, z;\nmov.u32 y, %%nctaid.x;\n"
        "mov.u32 z, %%ctaid.x;\nmad.lo.u32 n, x, y, z;\nmov.u32 x, %%tid.z;\n"
        "mad.lo.u32 n, n, 2, x;\nmov.u32 x, %%tid.y;\nmad.lo.u32 n, n, 3, x;\n"
        "mov.u32 x, %%tid.x;\nmad.lo.u32 n, n, 32, x;\nld.param.u64 o, [po];\n"
        "mad.wide.u32 o, n, 24, o;\n%sst.global.u64 [o], m;\n%sst.global.u64 [o+8], m;\n"
        "nanosleep.u32 2000;\nmembar.gl;\n%sst.global.u64 [o+16], m;\nret;\n}\n",
        read, read, read);
}

static void try_special(const struct form *f, void *context)
{
    const char *name = strrchr(f->operands, '%');
    struct tally *tally = context;
    char text[8192];
    uint64_t *rows;
    unsigned wrong = 0;
    struct rig rig;

    if (!f->runs || strcmp(f->opcode, "mov") != 0 || name == NULL || f->register_count != 1 ||
        strchr(f->operands, '{') != NULL)
        return;
    special_kernel(text, sizeof(text), f, name);
    tally->tried++;
    if (!rig_try(&rig, text)) {
        result_absent(f->operands);
        tally->absent++;
        return;
    }
    rows = rig_allocate(&rig, (size_t)ROWS * 24);
    rig.grid_y = SIDES;
    rig.grid_z = 2;
    rig.block_y = SIDES;
    rig.block_z = 2;
    rig_run(&rig, "k", (struct geometry){2, 32, 512}, &rows);
    for (unsigned n = 0; n < ROWS; n++) {
        unsigned block = n / (32 * SIDES * 2);
        struct place p = {.tid = {n % 32, n / 32 % SIDES, n / (32 * SIDES) % 2},
                          .ctaid = {block % 2, block / 2 % SIDES, block / (2 * SIDES)},
                          .ntid = {32, SIDES, 2},
                          .nctaid = {2, SIDES, 2},
                          .linear = n % (32 * SIDES * 2)};
        int64_t want = of_special(name, &p);
        bool good = want < 0
                        ? plausible(name, rows + n * 3ul)
                        : rows[n * 3ul] == (uint64_t)want && rows[n * 3ul + 2] == (uint64_t)want;

        if (!good && wrong++ < 2)
            printf("%s in thread %u: %llx, %llx, %llx\n", name, n,
                   (unsigned long long)rows[n * 3ul], (unsigned long long)rows[n * 3ul + 1],
                   (unsigned long long)rows[n * 3ul + 2]);
    }
    tally->wrong += wrong != 0;
    rig_drop(&rig);
}

static void special_registers(void **state)
{
    const char *manual = getenv("FORMS");
    struct tally tally = {0};

    (void)state;
    each_form(manual != NULL ? manual : "docs/ptx-forms.md", try_special, &tally);
    printf("%u special registers: %u not on this device, %u wrong\n", tally.tried, tally.absent,
           tally.wrong);
    assert_true(tally.tried > 40);
    assert_int_equal(tally.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms_of_the_manual),
                                       cmocka_unit_test(special_registers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
