/* SPDX-License-Identifier: MIT */
/* wmma: matrices in memory, of all shapes, types and layouts, multiplied in fragments whose insides
   are nobody's business. */
#include "soft/tests/elements.h"
#include "soft/tests/results.h"

struct fragments {
    const char *shape;
    unsigned m, n, k;
    enum type d, a, b, c;
    unsigned a_count, b_count, c_count, d_count; /* registers */
    const char *before, *after;                  /* the types */
};

#define SHARED_BYTES 8192 /* for each matrix */

/* Copies between a matrix in global memory and one in shared memory. */
static size_t copy(char *text, size_t size, char which, bool to_shared)
{
    return (size_t)snprintf(
        text, size,
        "mov.u32 at, %%tid.x;\nagain%c: mul.wide.u32 m, at, 8;\nadd.u64 g, p%c, m;\n"
        "mov.u64 h, s%c;\nadd.u64 h, h, m;\nld.%s.b64 m, [%s];\nst.%s.b64 [%s], m;\n"
        "add.u32 at, at, 32;\nsetp.lt.u32 more, at, %d;\n@more bra again%c;\n",
        which, which, which, to_shared ? "global" : "shared", to_shared ? "g" : "h",
        to_shared ? "shared" : "global", to_shared ? "h" : "g", SHARED_BYTES / 8, which);
}

static size_t registers(char *text, size_t size, const char *format, unsigned count)
{
    size_t n = 0;

    for (unsigned r = 0; r < count; r++) {
        n += (size_t)snprintf(text + n, size - n, r == 0 ? "{" : ", ");
        n += (size_t)snprintf(text + n, size - n, format, r);
    }
    return n + (size_t)snprintf(text + n, size - n, "}");
}

static void wmma_kernel(const struct fragments *f, const char *a_layout, const char *b_layout,
                        const char *c_layout, const unsigned stride[3], const char *space,
                        char *text, size_t size)
{
    bool shared = strcmp(space, ".shared") == 0;
    char from = shared ? 's' : 'p';
    const char *width = f->a == F64 ? "64" : "32";
    char list[4][256];
    size_t n = (size_t)snprintf(
        text, size,
        HEADER ".shared .align 32 .b8 sa[8192], sb[8192], sc[8192], sd[8192];\n.visible .entry "
               "k(.param .u64 qd, .param .u64 qa, .param .u64 qb, .param .u64 qc)\n"
               "{\n.reg .b64 pa, pb, pc, pd;\n.reg .b%s a<9>, b<9>;\n.reg .b%s c<9>, d<9>;\n"
               "ld.param.u64 pd, [qd];\nld.param.u64 pa, [qa];\nld.param.u64 pb, [qb];\n"
               "ld.param.u64 pc, [qc];\n.reg .b32 at;\n.reg .b64 m, g, h;\n.reg .pred more;\n",
        width, width);

    for (const char *which = "abc"; shared && *which != '\0'; which++)
        n += copy(text + n, size - n, *which, true);
    n += (size_t)snprintf(text + n, size - n, "bar.sync 0;\n");
    registers(list[0], sizeof(list[0]), "a%u", f->a_count);
    registers(list[1], sizeof(list[1]), "b%u", f->b_count);
    registers(list[2], sizeof(list[2]), "c%u", f->c_count);
    registers(list[3], sizeof(list[3]), "d%u", f->d_count);
    n += (size_t)snprintf(text + n, size - n,
                          "wmma.load.a.sync.aligned.%s.%s%s.%s %s, [%ca], %u;\n"
                          "wmma.load.b.sync.aligned.%s.%s%s.%s %s, [%cb], %u;\n"
                          "wmma.load.c.sync.aligned.%s.%s%s.%s %s, [%cc], %u;\n"
                          "wmma.mma%s.sync.aligned.%s.%s.%s%s %s, %s, %s, %s;\n"
                          "wmma.store.d.sync.aligned.%s.%s%s.%s [%cd], %s, %u;\nbar.sync 0;\n",
                          a_layout, f->shape, space, types[f->a].name, list[0], from, stride[0],
                          b_layout, f->shape, space, types[f->b].name, list[1], from, stride[1],
                          c_layout, f->shape, space, types[f->c].name, list[2], from, stride[2],
                          f->before, a_layout, b_layout, f->shape, f->after, list[3], list[0],
                          list[1], list[2], c_layout, f->shape, space, types[f->d].name, from,
                          list[3], stride[2]);
    if (shared)
        n += copy(text + n, size - n, 'd', false);
    snprintf(text + n, size - n, "ret;\n}\n");
}

/* Element (row, column) of a matrix in memory. */
static uint64_t element_bits(const void *memory, unsigned bits, size_t n)
{
    uint64_t v = 0;

    if (bits < 8)
        return (((const uint8_t *)memory)[n * bits / 8] >> n * bits % 8) & ((1u << bits) - 1);
    memcpy(&v, (const char *)memory + n * bits / 8, bits / 8);
    return v;
}

static void set_element(void *memory, unsigned bits, size_t n, uint64_t v)
{
    uint8_t *byte = (uint8_t *)memory + n * bits / 8;

    if (bits < 8)
        *byte = (uint8_t)((*byte & ~(((1u << bits) - 1) << n * bits % 8)) | v << n * bits % 8);
    else
        memcpy(byte, &v, bits / 8);
}

/* Row and column of the product, from matrices by rows. */
static struct product product_of(const struct fragments *f, uint64_t *const matrix[3], unsigned row,
                                 unsigned column)
{
    __float128 c = value_of(f->c, matrix[2][row * f->n + column]);
    struct product p = {c, magnitude(c)};

    for (unsigned k = 0; k < f->k; k++) {
        uint64_t x = matrix[0][row * f->k + k], y = matrix[1][k * f->n + column];
        __float128 v = f->a == B1 ? (__float128)(strstr(f->before, "and") != NULL ? x & y : x ^ y)
                                  : value_of(f->a, x) * value_of(f->b, y);

        p.sum += v;
        p.size += magnitude(v);
    }
    return p;
}

static void check_fragments(const struct fragments *w, bool a_column, bool b_column, bool c_column,
                            const char *space)
{
    /* Strides are 16 bytes or a multiple of them, and those of short elements a whole row. */
    unsigned more[2] = {types[w->a].bits < 8 ? 128 : 16, 8};
    unsigned stride[3] = {(a_column ? w->m : w->k) + more[0], (b_column ? w->k : w->n) + more[0],
                          (c_column ? w->m : w->n) + more[1]};
    const enum type kinds[3] = {w->a, w->b, w->c};
    const unsigned rows[3] = {w->m, w->k, w->m}, columns[3] = {w->k, w->n, w->n};
    const bool by_column[3] = {a_column, b_column, c_column};
    uint64_t *matrix[3];
    struct result result = {0};
    char text[8192], name[160];
    void *memory[4];
    struct rig rig;

    wmma_kernel(w, a_column ? "col" : "row", b_column ? "col" : "row", c_column ? "col" : "row",
                stride, space, text, sizeof(text));
    snprintf(name, sizeof(name), "wmma.mma%s.%s.%s.%s%s, %s%s%s", w->before,
             a_column ? "col" : "row", b_column ? "col" : "row", w->shape, w->after,
             c_column ? "col" : "row", *space != '\0' ? " in " : "", space);
    restart_random_bits();
    if (!rig_try(&rig, text)) {
        result_absent(name);
        return;
    }
    for (unsigned n = 0; n < 4; n++)
        memory[n] = rig_allocate(&rig, 65536);
    for (unsigned n = 0; n < 3; n++) {
        matrix[n] = calloc(32 * 256, sizeof(uint64_t));
        for (unsigned at = 0; at < rows[n] * columns[n]; at++) {
            unsigned row = at / columns[n], column = at % columns[n];

            matrix[n][at] = some_code(kinds[n], false);
            set_element(memory[n + 1], types[kinds[n]].bits,
                        by_column[n] ? column * stride[n] + row : row * stride[n] + column,
                        matrix[n][at]);
        }
    }
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, memory);
    for (unsigned at = 0; at < w->m * w->n; at++) {
        unsigned row = at / w->n, column = at % w->n;
        struct product want = product_of(w, matrix, row, column);
        uint64_t got = element_bits(memory[0], types[w->d].bits,
                                    c_column ? column * stride[2] + row : row * stride[2] + column);

        result_add_output(&result, 'q', got,
                          w->d == S32 ? integer_sum(w->after, (int64_t)want.sum) : got);
        if (w->d == S32 ? got != integer_sum(w->after, (int64_t)want.sum)
                        : !good_sum(w->d, w->k, got, want))
            fail_msg("wmma %s%s: (%u,%u) is %llx, about %g is right", w->shape, w->after, row,
                     column, (unsigned long long)got, (double)want.sum);
    }
    result_finish(&result, w->d == S32, name);
    for (unsigned n = 0; n < 3; n++)
        free(matrix[n]);
    rig_drop(&rig);
}

static const struct fragments fragments[] = {
    {"m16n16k16", 16, 16, 16, F32, F16, F16, F32, 8, 8, 8, 8, "", ".f32.f32"},
    {"m32n8k16", 32, 8, 16, F32, F16, F16, F32, 8, 8, 8, 8, "", ".f32.f32"},
    {"m8n32k16", 8, 32, 16, F32, F16, F16, F32, 8, 8, 8, 8, "", ".f32.f32"},
    {"m32n8k16", 32, 8, 16, F16, F16, F16, F32, 8, 8, 8, 4, "", ".f16.f32"},
    {"m8n32k16", 8, 32, 16, F32, F16, F16, F16, 8, 8, 4, 8, "", ".f32.f16"},
    {"m16n16k16", 16, 16, 16, F16, F16, F16, F16, 8, 8, 4, 4, "", ".f16.f16"},
    {"m32n8k16", 32, 8, 16, F16, F16, F16, F16, 8, 8, 4, 4, "", ".f16.f16"},
    {"m16n16k16", 16, 16, 16, F32, BF16, BF16, F32, 4, 4, 8, 8, "", ".f32.bf16.bf16.f32"},
    {"m32n8k16", 32, 8, 16, F32, BF16, BF16, F32, 8, 2, 8, 8, "", ".f32.bf16.bf16.f32"},
    {"m8n32k16", 8, 32, 16, F32, BF16, BF16, F32, 2, 8, 8, 8, "", ".f32.bf16.bf16.f32"},
    {"m16n16k8", 16, 16, 8, F32, TF32, TF32, F32, 4, 4, 8, 8, "", ".f32.tf32.tf32.f32"},
    {"m8n8k4", 8, 8, 4, F64, F64, F64, F64, 1, 1, 2, 2, "", ".f64.f64.f64.f64"},
    {"m8n8k4", 8, 8, 4, F64, F64, F64, F64, 1, 1, 2, 2, "", ".rn.f64.f64.f64.f64"},
    {"m16n16k16", 16, 16, 16, S32, S8, S8, S32, 2, 2, 8, 8, "", ".s32.s8.s8.s32"},
    {"m16n16k16", 16, 16, 16, S32, S8, S8, S32, 2, 2, 8, 8, "", ".s32.s8.s8.s32.satfinite"},
    {"m16n16k16", 16, 16, 16, S32, U8, U8, S32, 2, 2, 8, 8, "", ".s32.u8.u8.s32"},
    {"m16n16k16", 16, 16, 16, S32, U8, U8, S32, 2, 2, 8, 8, "", ".s32.u8.u8.s32.satfinite"},
    {"m32n8k16", 32, 8, 16, S32, U8, U8, S32, 4, 1, 8, 8, "", ".s32.u8.u8.s32"},
    {"m8n32k16", 8, 32, 16, S32, S8, S8, S32, 1, 4, 8, 8, "", ".s32.s8.s8.s32"},
};

/* These have one layout. */
static const struct fragments short_fragments[] = {
    {"m8n8k32", 8, 8, 32, S32, S4, S4, S32, 1, 1, 2, 2, "", ".s32.s4.s4.s32"},
    {"m8n8k32", 8, 8, 32, S32, S4, S4, S32, 1, 1, 2, 2, "", ".s32.s4.s4.s32.satfinite"},
    {"m8n8k32", 8, 8, 32, S32, U4, U4, S32, 1, 1, 2, 2, "", ".s32.u4.u4.s32"},
    {"m8n8k32", 8, 8, 32, S32, U4, U4, S32, 1, 1, 2, 2, "", ".s32.u4.u4.s32.satfinite"},
    {"m8n8k128", 8, 8, 128, S32, B1, B1, S32, 1, 1, 2, 2, ".xor.popc", ".s32.b1.b1.s32"},
    {"m8n8k128", 8, 8, 128, S32, B1, B1, S32, 1, 1, 2, 2, ".and.popc", ".s32.b1.b1.s32"},
};

static void fragments_of_the_warp(void **state)
{
    static const char *const spaces[] = {".global", "", ".shared"};

    (void)state;
    for (size_t k = 0; k < COUNT(spaces); k++) {
        for (size_t n = 0; n < COUNT(fragments); n++) {
            for (unsigned layouts = 0; layouts < 8; layouts++)
                check_fragments(&fragments[n], layouts & 1, layouts & 2, layouts & 4, spaces[k]);
        }
        for (size_t n = 0; n < COUNT(short_fragments); n++) {
            check_fragments(&short_fragments[n], false, true, false, spaces[k]);
            check_fragments(&short_fragments[n], false, true, true, spaces[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fragments_of_the_warp)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
