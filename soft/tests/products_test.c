/* SPDX-License-Identifier: MIT */
/*
 * Matrix multiplication by warps against sums in 113 bits. Where each lane has its elements is
 * written here as the PTX manual writes it, form by form.
 */
#include "soft/tests/elements.h"
#include "soft/tests/results.h"

#define ROUNDS 8

/* ---- forms ---- */

struct form {
    const char *shape;
    unsigned m, n, k;
    enum type d, a, b, c;
    const char *suffix; /* .satfinite, .xor.popc; or the layouts of m8n8k4 */
    bool sparse;
    unsigned selector;
    bool any_order; /* sparse, and not said that the index is in order */
};

/* m8n8k4 of f16 is four products of 8x4 by 4x8: A's rows, B's rows and C's rows go on from one to
   the next. */
static bool is_quadruple(const struct form *f)
{
    return f->m == 8 && f->k == 4 && f->a == F16;
}

/* What is stored of A: half of its columns if it is sparse. */
static struct form stored_of(const struct form *f)
{
    struct form half = *f;

    half.k = f->sparse ? f->k / 2 : f->k;
    return half;
}

struct place {
    unsigned row, column;
};

/* Elements that a lane has of A, B and C. */
static unsigned count_of(const struct form *f, char which)
{
    if (is_quadruple(f))
        return which == 'a' || which == 'b' ? 4 : 8;
    return (which == 'a' ? f->m * stored_of(f).k : which == 'b' ? f->k * f->n : f->m * f->n) / 32;
}

static struct place place_a(const struct form *f, unsigned lane, unsigned i)
{
    unsigned group = lane >> 2, of = lane % 4;

    switch (f->m * 1000 + f->k) {
    case 8004:
        return (struct place){group, of};
    case 8016:
        return (struct place){group, of * 4 + i};
    case 8032:
        return (struct place){group, of * 8 + i};
    case 8128:
        return (struct place){group, of * 32 + i};
    case 16004:
        return (struct place){i == 0 ? group : group + 8, of};
    case 16008:
        if (types[f->a].bits == 16)
            return (struct place){i < 2 ? group : group + 8, of * 2 + (i & 1)};
        return (struct place){i == 0 || i == 2 ? group : group + 8, i < 2 ? of : of + 4};
    case 16016:
        if (types[f->a].bits == 64)
            return (struct place){i % 2 == 0 ? group : group + 8, i / 2 * 4 + of};
        if (types[f->a].bits == 8)
            return (struct place){i < 4 ? group : group + 8, of * 4 + (i & 3)};
        return (struct place){i < 2 || (i >= 4 && i < 6) ? group : group + 8,
                              of * 2 + (i & 1) + (i < 4 ? 0 : 8)};
    case 16032:
        if (types[f->a].bits == 4)
            return (struct place){i < 8 ? group : group + 8, of * 8 + (i & 7)};
        return (struct place){i < 4 || (i >= 8 && i < 12) ? group : group + 8,
                              of * 4 + (i & 3) + (i < 8 ? 0 : 16)};
    case 16064:
        return (struct place){i < 8 || (i >= 16 && i < 24) ? group : group + 8,
                              of * 8 + (i & 7) + (i < 16 ? 0 : 32)};
    case 16128:
        return (struct place){i < 32 ? group : group + 8, of * 32 + (i & 31)};
    default: /* 16256 */
        return (struct place){i < 32 || (i >= 64 && i < 96) ? group : group + 8,
                              of * 32 + (i & 31) + (i < 64 ? 0 : 128)};
    }
}

static struct place place_b(const struct form *f, unsigned lane, unsigned i)
{
    unsigned group = lane >> 2, of = lane % 4, bits = types[f->b].bits;

    switch (bits) {
    case 1:
        return (struct place){of * 32 + i % 32 + i / 32 * 128, group};
    case 4:
        return (struct place){of * 8 + i % 8 + i / 8 * 32, group};
    case 8:
        return (struct place){of * 4 + i % 4 + i / 4 * 16, group};
    case 16:
        return (struct place){of * 2 + i % 2 + i / 2 * 8, group};
    default:
        return (struct place){of + i * 4, group};
    }
}

static struct place place_c(const struct form *f, unsigned lane, unsigned i)
{
    unsigned group = lane >> 2, of = lane % 4;

    (void)f;
    return (struct place){i < 2 ? group : group + 8, of * 2 + (i & 1)};
}

static struct place place_of_quadruple(const struct form *f, char which, unsigned lane, unsigned i)
{
    unsigned of = lane % 4, high = lane < 16 ? 0 : 4, n = lane / 4 % 4;
    bool column =
        which == 'a' ? strncmp(f->suffix, ".col", 4) == 0 : strcmp(f->suffix + 4, ".col") == 0;

    if (which == 'a')
        return column ? (struct place){8 * n + i % 4 + high, of}
                      : (struct place){8 * n + of + high, i};
    if (which == 'b')
        return column ? (struct place){4 * n + i, of + high} : (struct place){4 * n + of, i + high};
    if ((which == 'c' ? f->c : f->d) == F16)
        return (struct place){8 * n + of + high, i};
    return (struct place){8 * n + (lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)};
}

static struct place place(const struct form *f, char which, unsigned lane, unsigned i)
{
    struct form half = stored_of(f);

    if (is_quadruple(f))
        return place_of_quadruple(f, which, lane, i);
    if (which == 'a')
        return place_a(&half, lane, i);
    return which == 'b' ? place_b(f, lane, i) : place_c(f, lane, i);
}

static enum type type_of(const struct form *f, char which)
{
    return which == 'a' ? f->a : which == 'b' ? f->b : which == 'c' ? f->c : f->d;
}

static unsigned registers_of(const struct form *f, char which)
{
    unsigned bits = types[type_of(f, which)].bits;

    return bits >= 32 ? count_of(f, which) : count_of(f, which) * bits / 32;
}

/* ---- running one ---- */

/* Registers r0..: of the fragment `which`, loaded from or stored to [lane * 256 + 8 r]. */
static size_t fragment(char *text, size_t size, const struct form *f, char which, const char *use)
{
    size_t n = 0;

    for (unsigned r = 0; r < registers_of(f, which); r++) {
        bool wide = types[type_of(f, which)].bits == 64;

        int bits = wide ? 64 : 32;

        if (strcmp(use, "list") == 0)
            n += (size_t)snprintf(text + n, size - n, "%s%c%u", r == 0 ? "{" : ", ", which, r);
        else if (strcmp(use, "declare") == 0)
            n += (size_t)snprintf(text + n, size - n, ".reg .b%d %c%u;\n", bits, which, r);
        else if (strcmp(use, "load") == 0)
            n += (size_t)snprintf(text + n, size - n, "ld.global.b%d %c%u, [p%c+%u];\n", bits,
                                  which, r, which, r * 8);
        else
            n += (size_t)snprintf(text + n, size - n, "st.global.b%d [p%c+%u], %c%u;\n", bits,
                                  which, r * 8, which, r);
    }
    return n + (size_t)snprintf(text + n, size - n, strcmp(use, "list") == 0 ? "}" : "");
}

static void instruction_of(const struct form *f, char *text, size_t size)
{
    bool pairs = strncmp(f->suffix, ".row", 4) == 0 || strncmp(f->suffix, ".col", 4) == 0;

    snprintf(text, size, "mma%s.sync.aligned.%s%s%s.%s.%s.%s.%s%s",
             !f->sparse     ? ""
             : f->any_order ? ".sp"
                            : ".sp::ordered_metadata",
             f->shape, pairs ? f->suffix : ".row.col",
             strcmp(f->suffix, ".satfinite") == 0 ? f->suffix : "", types[f->d].name,
             types[f->a].name, types[f->b].name, types[f->c].name,
             strstr(f->suffix, "popc") != NULL ? f->suffix : "");
}

static void kernel_of(const struct form *f, char *text, size_t size)
{
    char name[120];
    size_t n = (size_t)snprintf(
        text, size,
        HEADER ".visible .entry k(.param .u64 qd, .param .u64 qa, .param .u64 qb, .param .u64 qc)\n"
               "{\n.reg .b64 pa, pb, pc, pd, o;\n.reg .b32 t, e;\nmov.u32 t, %%tid.x;\n"
               "mul.wide.u32 o, t, 256;\n");

    for (const char *w = "dabc"; *w != '\0'; w++) {
        n += (size_t)snprintf(text + n, size - n,
                              "ld.param.u64 p%c, [q%c];\nadd.u64 p%c, p%c, o;\n", *w, *w, *w, *w);
        n += fragment(text + n, size - n, f, *w, "declare");
        if (*w != 'd')
            n += fragment(text + n, size - n, f, *w, "load");
    }
    /* The index of what a sparse A has is behind its registers. */
    n += (size_t)snprintf(text + n, size - n, f->sparse ? "ld.global.b32 e, [pa+128];\n" : "");
    instruction_of(f, name, sizeof(name));
    n += (size_t)snprintf(text + n, size - n, "%s ", name);
    for (const char *w = "dabc"; *w != '\0'; w++) {
        n += fragment(text + n, size - n, f, *w, "list");
        n += (size_t)snprintf(text + n, size - n, *w != 'c' ? ", " : "");
    }
    if (f->sparse)
        n += (size_t)snprintf(text + n, size - n, ", e, %u", f->selector);
    n += (size_t)snprintf(text + n, size - n, ";\n");
    n += fragment(text + n, size - n, f, 'd', "store");
    snprintf(text + n, size - n, "ret;\n}\n");
}

/* Bits of element i of a lane in its 256 bytes of memory, one register every eight bytes. */
static uint64_t *slot(void *memory, unsigned lane, unsigned bits, unsigned i, unsigned *shift)
{
    unsigned parts = bits >= 32 ? 1 : 32 / bits;

    *shift = i % parts * bits;
    return (uint64_t *)((char *)memory + lane * 256 + i / parts * 8);
}

static void put(void *memory, unsigned lane, unsigned bits, unsigned i, uint64_t code)
{
    unsigned shift;
    uint64_t *at = slot(memory, lane, bits, i, &shift);

    *at = (*at & ~(UINT64_MAX >> (64 - bits) << shift)) | code << shift;
}

static uint64_t get(void *memory, unsigned lane, unsigned bits, unsigned i)
{
    unsigned shift;
    const uint64_t *at = slot(memory, lane, bits, i, &shift);

    return *at >> shift & (UINT64_MAX >> (64 - bits));
}

/* One element of the result, from the fragments in memory. */
static struct product product_of(const struct form *f, const uint64_t *a, const bool *there,
                                 const uint64_t *b, uint64_t c, unsigned row, unsigned column)
{
    struct product p = {value_of(f->c, c), magnitude(value_of(f->c, c))};

    for (unsigned k = 0; k < f->k; k++) {
        uint64_t x = a[row * f->k + k], y = b[(row / f->m * f->k + k) * f->n + column];
        __float128 v = value_of(f->a, x) * value_of(f->b, y);

        /* What a sparse A does not have meets nothing. */
        if (!there[row * f->k + k])
            continue;
        if (f->a == B1)
            v = strstr(f->suffix, "xor") != NULL ? x ^ y : x & y;
        p.sum += v;
        p.size += magnitude(v);
    }
    return p;
}

/*
 * Which two of four columns (of the one of two for tf32) the stored columns of a row are, and the
 * index that says so: two bits for each stored column of 16 and of 8 bits, or pair of 4 bits; of
 * tf32, four. An index word of 16-bit forms has the row in its low half and the row eight below in
 * the high one; of 8-bit forms, lanes take turns. The selector says which lanes of four have it.
 */
struct chosen {
    unsigned column[16][128]; /* of each stored one */
    uint32_t index[32];
};

static void choose(const struct form *f, struct chosen *chosen)
{
    unsigned bits = types[f->a].bits, unit = bits == 4 ? 2 : 1, group = bits == 32 ? 2 : 4 * unit;
    unsigned words_bits = bits >= 16 ? 16 : 32, lanes;

    memset(chosen, 0, sizeof(*chosen));
    lanes = (bits == 32 ? f->k * 2 : f->k / unit) / 16; /* that have a part of the index */
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned g = 0; g < f->k / group; g++) {
            unsigned first = (unsigned)(random_bits() % 3), second;

            second = first + 1 + (unsigned)(random_bits() % (3 - first));
            if (bits == 32) { /* both halves of one element */
                first = (unsigned)(random_bits() % 2) * 2;
                second = first + 1;
                chosen->column[row][g] = g * 2 + first / 2;
            }
            for (unsigned n = 0; n < 2 && bits != 32; n++) {
                for (unsigned e = 0; e < unit; e++)
                    chosen->column[row][(g * 2 + n) * unit + e] =
                        g * group + (n == 0 ? first : second) * unit + e;
            }
            for (unsigned lane = 0; lane < 4; lane++) {
                unsigned place = g * 4 % words_bits, word = g * 4 / words_bits;
                unsigned mine = words_bits == 16 ? word : word * 2 + row / 8;

                if (lane == f->selector * lanes + mine)
                    chosen->index[row % 8 * 4 + lane] |=
                        (first | second << 2) << (place + (words_bits == 16 ? row / 8 * 16 : 0));
            }
        }
    }
}

static void fill(const struct form *f, char which, bool wild, const struct chosen *chosen,
                 uint64_t *matrix, bool *there, void *memory)
{
    unsigned width = which == 'a' ? f->k : f->n;
    enum type t = type_of(f, which);

    memset(matrix, 0, 32 * 256 * sizeof(*matrix));
    memset(there, 0, 32 * 256 * sizeof(*there));
    for (unsigned lane = 0; lane < 32; lane++) {
        for (unsigned i = 0; i < count_of(f, which); i++) {
            struct place at = place(f, which, lane, i);
            uint64_t code = some_code(t, wild);

            if (which == 'a' && f->sparse)
                at.column = chosen->column[at.row][at.column];
            matrix[at.row * width + at.column] = code;
            there[at.row * width + at.column] = true;
            put(memory, lane, types[t].bits, i, code);
        }
        if (which == 'a' && f->sparse)
            memcpy((char *)memory + lane * 256 + 128, &chosen->index[lane], 4);
    }
}

static void check_form(const struct form *f)
{
    static const char letters[] = "abc";
    char text[16384], name[120];
    uint64_t *matrix[3];
    static bool there[3][32 * 256];
    void *memory[4]; /* d a b c */
    struct result result = {0};
    struct chosen chosen;
    struct rig rig;

    kernel_of(f, text, sizeof(text));
    instruction_of(f, name, sizeof(name));
    restart_random_bits();
    if (!rig_try(&rig, text)) {
        result_absent(name);
        return;
    }
    for (unsigned n = 0; n < 4; n++)
        memory[n] = rig_allocate(&rig, 32 * 256);
    for (unsigned n = 0; n < 3; n++)
        matrix[n] = calloc(32 * 256, sizeof(uint64_t));
    for (unsigned round = 0; round < ROUNDS; round++) {
        choose(f, &chosen);
        for (unsigned which = 0; which < 3; which++)
            fill(f, letters[which], round >= ROUNDS / 2, &chosen, matrix[which], there[which],
                 memory[which + 1]);
        rig_run(&rig, "k", (struct geometry){1, 32, 0}, memory);
        for (unsigned lane = 0; lane < 32; lane++) {
            for (unsigned i = 0; i < count_of(f, 'd'); i++) {
                struct place at = place(f, 'd', lane, i);
                struct product want =
                    product_of(f, matrix[0], there[0], matrix[1],
                               matrix[2][at.row * f->n + at.column], at.row, at.column);
                uint64_t got = get(memory[0], lane, types[f->d].bits, i);

                result_add_output(&result, 'q', got,
                                  f->d == S32 ? integer_sum(f->suffix, (int64_t)want.sum) : got);
                if (f->d == S32 ? got != integer_sum(f->suffix, (int64_t)want.sum)
                                : !good_sum(f->d, f->k, got, want))
                    fail_msg("%s: (%u,%u) is %llx, about %g is right", name, at.row, at.column,
                             (unsigned long long)got, (double)want.sum);
            }
        }
    }
    result_finish(&result, f->d == S32, name);
    for (unsigned n = 0; n < 3; n++)
        free(matrix[n]);
    rig_drop(&rig);
}

/* The other signs of integers, the other formats of 8 bits; itself first, and zero at the end. */
static enum type kin(enum type t, unsigned n)
{
    static const enum type families[][2] = {{S8, U8}, {S4, U4}, {E4M3, E5M2}};

    for (size_t k = 0; k < COUNT(families); k++) {
        if (t == families[k][0] || t == families[k][1])
            return n == 0 ? t : families[k][t == families[k][0]];
    }
    return t;
}

/* A form with all types of its kind for A and B, with and without a limit to sums, and so on. */
static void check_kin(const struct form *f)
{
    static const char *const of_integers[] = {"", ".satfinite"}, *const of_bits[] = {".xor.popc",
                                                                                     ".and.popc"};
    const char *const as_it_is[] = {f->suffix};
    const char *const *suffixes = f->a == B1 ? of_bits : f->d == S32 ? of_integers : as_it_is;

    for (unsigned n = 0; n < 2 * 2 * 2 * 2; n++) {
        struct form other = *f;

        other.a = kin(f->a, n & 1);
        other.b = kin(f->b, n >> 1 & 1);
        other.any_order = n >> 3 & 1;
        if ((other.a == f->a && (n & 1) != 0) || (other.b == f->b && (n & 2) != 0) ||
            (suffixes == as_it_is && (n & 4) != 0) || (!f->sparse && other.any_order))
            continue;
        other.suffix = suffixes[n >> 2 & 1];
        check_form(&other);
    }
}

static const struct form dense[] = {
    {"m8n8k4", 8, 8, 4, F64, F64, F64, F64, "", false, 0, false},
    {"m16n8k4", 16, 8, 4, F64, F64, F64, F64, "", false, 0, false},
    {"m16n8k8", 16, 8, 8, F64, F64, F64, F64, "", false, 0, false},
    {"m16n8k16", 16, 8, 16, F64, F64, F64, F64, "", false, 0, false},
    {"m16n8k8", 16, 8, 8, F32, F16, F16, F32, "", false, 0, false},
    {"m16n8k8", 16, 8, 8, F16, F16, F16, F16, "", false, 0, false},
    {"m16n8k16", 16, 8, 16, F32, F16, F16, F32, "", false, 0, false},
    {"m16n8k16", 16, 8, 16, F16, F16, F16, F16, "", false, 0, false},
    {"m16n8k8", 16, 8, 8, F32, BF16, BF16, F32, "", false, 0, false},
    {"m16n8k16", 16, 8, 16, F32, BF16, BF16, F32, "", false, 0, false},
    {"m16n8k4", 16, 8, 4, F32, TF32, TF32, F32, "", false, 0, false},
    {"m16n8k8", 16, 8, 8, F32, TF32, TF32, F32, "", false, 0, false},
    {"m16n8k16", 16, 8, 16, F32, E4M3, E5M2, F32, "", false, 0, false},
    {"m16n8k32", 16, 8, 32, F32, E4M3, E4M3, F32, "", false, 0, false},
    {"m16n8k32", 16, 8, 32, F16, E4M3, E5M2, F16, "", false, 0, false},
    {"m8n8k16", 8, 8, 16, S32, S8, U8, S32, "", false, 0, false},
    {"m16n8k16", 16, 8, 16, S32, U8, S8, S32, ".satfinite", false, 0, false},
    {"m16n8k32", 16, 8, 32, S32, S8, S8, S32, ".satfinite", false, 0, false},
    {"m8n8k32", 8, 8, 32, S32, S4, U4, S32, "", false, 0, false},
    {"m16n8k32", 16, 8, 32, S32, U4, S4, S32, "", false, 0, false},
    {"m16n8k64", 16, 8, 64, S32, S4, S4, S32, ".satfinite", false, 0, false},
    {"m8n8k128", 8, 8, 128, S32, B1, B1, S32, ".xor.popc", false, 0, false},
    {"m16n8k128", 16, 8, 128, S32, B1, B1, S32, ".and.popc", false, 0, false},
    {"m16n8k256", 16, 8, 256, S32, B1, B1, S32, ".xor.popc", false, 0, false},
};

static void dense_products(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(dense); n++)
        check_kin(&dense[n]);
}

static void products_by_quarters(void **state)
{
    static const char *const layouts[] = {".row.row", ".row.col", ".col.row", ".col.col"};

    (void)state;
    for (size_t n = 0; n < COUNT(layouts) * 3; n++) {
        struct form f = {"m8n8k4", 8, 8, 4, F32, F16, F16, F32, layouts[n % 4], false, 0, false};

        f.d = n / 4 == 1 ? F16 : F32;
        f.c = n / 4 == 0 ? F32 : F16;
        check_form(&f);
    }
}

static const struct form sparse[] = {
    {"m16n8k16", 16, 8, 16, F32, F16, F16, F32, "", true, 0, false},
    {"m16n8k16", 16, 8, 16, F16, F16, F16, F16, "", true, 3, false},
    {"m16n8k16", 16, 8, 16, F32, BF16, BF16, F32, "", true, 2, false},
    {"m16n8k32", 16, 8, 32, F32, F16, F16, F32, "", true, 0, false},
    {"m16n8k32", 16, 8, 32, F32, BF16, BF16, F32, "", true, 1, false},
    {"m16n8k8", 16, 8, 8, F32, TF32, TF32, F32, "", true, 1, false},
    {"m16n8k16", 16, 8, 16, F32, TF32, TF32, F32, "", true, 1, false},
    {"m16n8k32", 16, 8, 32, S32, S8, U8, S32, "", true, 1, false},
    {"m16n8k64", 16, 8, 64, S32, U8, S8, S32, ".satfinite", true, 0, false},
    {"m16n8k64", 16, 8, 64, F32, E4M3, E5M2, F32, "", true, 0, false},
    {"m16n8k64", 16, 8, 64, S32, S4, S4, S32, "", true, 1, false},
    {"m16n8k128", 16, 8, 128, S32, U4, S4, S32, "", true, 0, false},
};

static void sparse_products(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(sparse); n++)
        check_kin(&sparse[n]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dense_products),
                                       cmocka_unit_test(products_by_quarters),
                                       cmocka_unit_test(sparse_products)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
