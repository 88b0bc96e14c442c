/* SPDX-License-Identifier: MIT */
/*
 * Matrix multiplication by warps against sums in 113 bits. Where each lane has its elements is
 * written here as the PTX manual writes it, form by form.
 */
#include "soft/tests/harness.h"

#include <math.h>

#define ROUNDS 8

/* ---- elements ---- */

enum type { F16, BF16, TF32, E4M3, E5M2, F32, F64, S32, S8, U8, S4, U4, B1 };

static const struct {
    const char *name;
    unsigned bits;
    int mantissa, bias; /* of floating point */
} types[] = {{"f16", 16, 10, 15}, {"bf16", 16, 7, 127}, {"tf32", 32, 10, 127}, {"e4m3", 8, 3, 7},
             {"e5m2", 8, 2, 15},  {"f32", 32, 23, 127}, {"f64", 64, 52, 1023}, {"s32", 32, 0, 0},
             {"s8", 8, 0, 0},     {"u8", 8, 0, 0},      {"s4", 4, 0, 0},       {"u4", 4, 0, 0},
             {"b1", 1, 0, 0}};

static __float128 value_of(enum type t, uint64_t code)
{
    unsigned bits = types[t].bits, exponent_bits = bits - 1 - (unsigned)types[t].mantissa;
    int exponent, m = types[t].mantissa;
    __float128 v;

    switch (t) {
    case F32:
        return (__float128)as_f32(code);
    case F64:
        return (__float128)as_f64(code);
    case S32:
        return (int32_t)code;
    case S8:
        return (int8_t)code;
    case S4:
        return (int)((code & 15) ^ 8) - 8;
    case U8:
    case U4:
    case B1:
        return (__float128)code;
    case TF32: /* the exponent of f32, and its first ten bits */
        return (__float128)as_f32(code & 0xffffe000);
    default:
        break;
    }
    exponent = (int)(code >> m & ((1u << exponent_bits) - 1));
    if (t == E4M3 ? (code & 0x7f) == 0x7f : exponent == (1 << exponent_bits) - 1)
        return (code & ((1u << m) - 1)) != 0 ? (__float128)NAN
               : code >> (bits - 1)          ? -(__float128)INFINITY
                                             : (__float128)INFINITY;
    v = (__float128)(code & ((1u << m) - 1)) / (1 << m) + (exponent > 0);
    exponent = (exponent > 0 ? exponent : 1) - types[t].bias;
    for (; exponent > 0; exponent--)
        v *= 2;
    for (; exponent < 0; exponent++)
        v /= 2;
    return code >> (bits - 1) ? -v : v;
}

/* Mostly numbers near 1, some of any kind. */
static uint64_t some_code(enum type t, bool wild)
{
    uint64_t any = random_bits() & (UINT64_MAX >> (64 - types[t].bits)), exponent;

    if (t >= S32 || (wild && random_bits() % 4 == 0))
        return any;
    exponent = (uint64_t)types[t].bias + random_bits() % 4 - 2;
    if (t == TF32)
        return (any & 0x807fffff) | exponent << 23;
    return (any & ~((UINT64_MAX >> (64 - types[t].bits + 1)) &
                    ~((UINT64_C(1) << types[t].mantissa) - 1))) |
           exponent << types[t].mantissa;
}

/* ---- forms ---- */

struct form {
    const char *shape;
    unsigned m, n, k;
    enum type d, a, b, c;
    const char *suffix; /* .satfinite, .xor.popc; or the layouts of m8n8k4 */
};

struct place {
    unsigned row, column;
};

/* Elements that a lane has of A, B and C. */
static unsigned count_of(const struct form *f, char which)
{
    return (which == 'a' ? f->m * f->k : which == 'b' ? f->k * f->n : f->m * f->n) / 32;
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
        return (struct place){of * 32 + (i & 31) + (i < 32 ? 0 : 128), group};
    case 4:
        return (struct place){of * 8 + (i & 7) + (i < 8 ? 0 : 32), group};
    case 8:
        return (struct place){of * 4 + (i & 3) + (i < 4 ? 0 : 16), group};
    case 16:
        return (struct place){of * 2 + (i & 1) + (i < 2 ? 0 : 8), group};
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

static struct place place(const struct form *f, char which, unsigned lane, unsigned i)
{
    return which == 'a'   ? place_a(f, lane, i)
           : which == 'b' ? place_b(f, lane, i)
                          : place_c(f, lane, i);
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

static void instruction_of(const struct form *f, bool sparse, char *text, size_t size)
{
    bool pairs = strncmp(f->suffix, ".row", 4) == 0 || strncmp(f->suffix, ".col", 4) == 0;

    snprintf(text, size, "mma%s.sync.aligned.%s%s%s.%s.%s.%s.%s%s",
             sparse ? ".sp::ordered_metadata" : "", f->shape, pairs ? f->suffix : ".row.col",
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
               "{\n.reg .b64 pa, pb, pc, pd, o;\n.reg .b32 t;\nmov.u32 t, %%tid.x;\n"
               "mul.wide.u32 o, t, 256;\n");

    for (const char *w = "dabc"; *w != '\0'; w++) {
        n += (size_t)snprintf(text + n, size - n,
                              "ld.param.u64 p%c, [q%c];\nadd.u64 p%c, p%c, o;\n", *w, *w, *w, *w);
        n += fragment(text + n, size - n, f, *w, "declare");
        if (*w != 'd')
            n += fragment(text + n, size - n, f, *w, "load");
    }
    instruction_of(f, false, name, sizeof(name));
    n += (size_t)snprintf(text + n, size - n, "%s ", name);
    for (const char *w = "dabc"; *w != '\0'; w++) {
        n += fragment(text + n, size - n, f, *w, "list");
        n += (size_t)snprintf(text + n, size - n, *w == 'c' ? ";\n" : ", ");
    }
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

static __float128 magnitude(__float128 v)
{
    return v < 0 ? -v : v;
}

/* Sums may be added up in any order with the precision of the accumulator's type at least. */
static bool good_sum(const struct form *f, uint64_t got, __float128 want, __float128 size)
{
    __float128 v = value_of(f->d, got), step = f->d == F64 ? 0x1p-52 : 0x1p-22, bound;
    __float128 most = f->d == F16 ? 65504 : f->d == F64 ? (__float128)1e308 : 0x1.fffffep127;

    if (want != want)
        return v != v;
    bound = size * step * (f->k + 1) + (f->d == F16 ? 0x1p-24 : 0x1p-148);
    if (f->d == F16)
        bound += magnitude(want) * 0x1p-11;
    if (magnitude(want) + bound >= most)
        return v != v || magnitude(v) >= most - bound || want - want != 0;
    return magnitude(v - want) <= bound;
}

static uint64_t integer_sum(const struct form *f, int64_t sum)
{
    if (strcmp(f->suffix, ".satfinite") == 0)
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    return (uint32_t)sum;
}

struct product {
    __float128 sum, size;
};

/* One element of the result, from the fragments in memory. */
static struct product product_of(const struct form *f, const uint64_t *a, const uint64_t *b,
                                 uint64_t c, unsigned row, unsigned column)
{
    struct product p = {value_of(f->c, c), magnitude(value_of(f->c, c))};

    for (unsigned k = 0; k < f->k; k++) {
        uint64_t x = a[row * f->k + k], y = b[k * f->n + column];
        __float128 v = value_of(f->a, x) * value_of(f->b, y);

        if (f->a == B1)
            v = strstr(f->suffix, "xor") != NULL ? x ^ y : x & y;
        p.sum += v;
        p.size += magnitude(v);
    }
    return p;
}

static void check_form(const struct form *f)
{
    static const char letters[] = "abc";
    char text[16384], name[120];
    uint64_t *matrix[3];
    void *memory[4]; /* d a b c */
    struct rig rig;

    kernel_of(f, text, sizeof(text));
    instruction_of(f, false, name, sizeof(name));
    rig_load(&rig, text);
    for (unsigned n = 0; n < 4; n++)
        memory[n] = rig_allocate(&rig, 32 * 256);
    for (unsigned n = 0; n < 3; n++)
        matrix[n] = calloc(32 * 256, sizeof(uint64_t));
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned which = 0; which < 3; which++) {
            enum type t = type_of(f, letters[which]);
            unsigned width = letters[which] == 'a' ? f->k : f->n;

            for (unsigned lane = 0; lane < 32; lane++) {
                for (unsigned i = 0; i < count_of(f, letters[which]); i++) {
                    struct place at = place(f, letters[which], lane, i);
                    uint64_t code = some_code(t, round >= ROUNDS / 2);

                    matrix[which][at.row * width + at.column] = code;
                    put(memory[which + 1], lane, types[t].bits, i, code);
                }
            }
        }
        rig_run(&rig, "k", (struct geometry){1, 32, 0}, memory);
        for (unsigned lane = 0; lane < 32; lane++) {
            for (unsigned i = 0; i < count_of(f, 'd'); i++) {
                struct place at = place(f, 'c', lane, i);
                struct product want =
                    product_of(f, matrix[0], matrix[1], matrix[2][at.row * f->n + at.column],
                               at.row, at.column);
                uint64_t got = get(memory[0], lane, types[f->d].bits, i);

                if (f->d == S32 ? got != integer_sum(f, (int64_t)want.sum)
                                : !good_sum(f, got, want.sum, want.size))
                    fail_msg("%s: (%u,%u) is %llx, about %g is right", name, at.row, at.column,
                             (unsigned long long)got, (double)want.sum);
            }
        }
    }
    for (unsigned n = 0; n < 3; n++)
        free(matrix[n]);
    rig_drop(&rig);
}

static const struct form dense[] = {
    {"m8n8k4", 8, 8, 4, F64, F64, F64, F64, ""},
    {"m16n8k4", 16, 8, 4, F64, F64, F64, F64, ""},
    {"m16n8k8", 16, 8, 8, F64, F64, F64, F64, ""},
    {"m16n8k16", 16, 8, 16, F64, F64, F64, F64, ""},
    {"m16n8k8", 16, 8, 8, F32, F16, F16, F32, ""},
    {"m16n8k8", 16, 8, 8, F16, F16, F16, F16, ""},
    {"m16n8k16", 16, 8, 16, F32, F16, F16, F32, ""},
    {"m16n8k16", 16, 8, 16, F16, F16, F16, F16, ""},
    {"m16n8k8", 16, 8, 8, F32, BF16, BF16, F32, ""},
    {"m16n8k16", 16, 8, 16, F32, BF16, BF16, F32, ""},
    {"m16n8k4", 16, 8, 4, F32, TF32, TF32, F32, ""},
    {"m16n8k8", 16, 8, 8, F32, TF32, TF32, F32, ""},
    {"m16n8k16", 16, 8, 16, F32, E4M3, E5M2, F32, ""},
    {"m16n8k32", 16, 8, 32, F32, E4M3, E4M3, F32, ""},
    {"m16n8k32", 16, 8, 32, F32, E5M2, E4M3, F32, ""},
    {"m16n8k32", 16, 8, 32, F16, E4M3, E5M2, F16, ""},
    {"m8n8k16", 8, 8, 16, S32, S8, U8, S32, ""},
    {"m16n8k16", 16, 8, 16, S32, U8, S8, S32, ".satfinite"},
    {"m16n8k32", 16, 8, 32, S32, S8, S8, S32, ".satfinite"},
    {"m16n8k32", 16, 8, 32, S32, U8, U8, S32, ""},
    {"m8n8k32", 8, 8, 32, S32, S4, U4, S32, ""},
    {"m16n8k32", 16, 8, 32, S32, U4, S4, S32, ""},
    {"m16n8k64", 16, 8, 64, S32, S4, S4, S32, ".satfinite"},
    {"m8n8k128", 8, 8, 128, S32, B1, B1, S32, ".xor.popc"},
    {"m16n8k128", 16, 8, 128, S32, B1, B1, S32, ".and.popc"},
    {"m16n8k256", 16, 8, 256, S32, B1, B1, S32, ".xor.popc"},
};

static void dense_products(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(dense); n++)
        check_form(&dense[n]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dense_products)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
