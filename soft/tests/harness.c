/* SPDX-License-Identifier: MIT */
#include "soft/tests/harness.h"

#include <errno.h>
#include <math.h>

#include "soft/simt/ops.h"

#define ELEMENTS 4096
#define SENTINEL UINT64_C(0x5a5a5a5a5a5a5a5a)

void rig_load(struct rig *rig, const char *text)
{
    char log[256];

    memset(rig, 0, sizeof(*rig));
    if (getenv("LEVEL") != NULL)
        vgpu_ops_limit(getenv("LEVEL"));
    if (vgpu_program_create(text, strlen(text), log, sizeof(log), &rig->program) != 0)
        fail_msg("%s", log);
    assert_int_equal(vgpu_memory_create((size_t)1 << 30, &rig->memory), 0);
    assert_int_equal(vgpu_image_create(rig->program, rig->memory, &rig->image), 0);
}

void rig_load_file(struct rig *rig, const char *name)
{
    char path[512], *text;
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", getenv("KERNELS"), name);
    file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    text = calloc(1, 4 << 20);
    size = fread(text, 1, (4 << 20) - 1, file);
    fclose(file);
    assert_true(size > 0);
    rig_load(rig, text);
    free(text);
}

void rig_drop(struct rig *rig)
{
    vgpu_image_destroy(rig->image);
    vgpu_memory_destroy(rig->memory);
    vgpu_program_destroy(rig->program);
}

void *rig_allocate(struct rig *rig, size_t size)
{
    uint64_t address = 0;

    assert_int_equal(vgpu_memory_allocate(rig->memory, size, &address), 0);
    return (void *)(uintptr_t)address;
}

static void print(void *context, const char *text, size_t length)
{
    struct rig *rig = context;

    if (length <= sizeof(rig->output) - rig->output_used) {
        memcpy(rig->output + rig->output_used, text, length);
        rig->output_used += length;
    }
}

int rig_launch(struct rig *rig, const char *kernel, struct geometry geometry,
               const void *parameters, struct vgpu_fault *fault)
{
    int index = vgpu_program_find_kernel(rig->program, kernel);
    struct vgpu_launch launch = {.image = rig->image,
                                 .kernel = (uint32_t)index,
                                 .grid = {geometry.grid, 1, 1},
                                 .block = {geometry.block, 1, 1},
                                 .dynamic_shared_bytes = geometry.shared,
                                 .cooperative = rig->cooperative,
                                 .parameters = parameters,
                                 .print = print,
                                 .print_context = rig,
                                 .cancel = &rig->cancel};

    assert_true(index >= 0);
    return vgpu_simt_run(&launch, fault);
}

void rig_run(struct rig *rig, const char *kernel, struct geometry geometry, const void *parameters)
{
    struct vgpu_fault fault;

    if (rig_launch(rig, kernel, geometry, parameters, &fault) != 0)
        fail_msg("%s: %s", kernel, fault.text);
}

uint64_t random_bits(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- tables of instructions ---- */

static const uint64_t integers[] = {
    0,          1,          2,           0x7f,      0x80,
    0xff,       0x7fff,     0x8000,      0xffff,    0x7fffffff,
    0x80000000, 0xffffffff, 0x100000000, INT64_MAX, UINT64_C(1) << 63,
    UINT64_MAX};
static const uint64_t singles[] = {0,          0x80000000, 1,          0x80000001, 0x007fffff,
                                   0x00800000, 0x3f800000, 0xbf800000, 0x3f000000, 0x40200000,
                                   0xc0200000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
                                   0x4f000000, 0xcf000000, 0x5f000000, 0x4b000001};
static const uint64_t doubles[] = {0,
                                   UINT64_C(1) << 63,
                                   1,
                                   UINT64_C(0x0010000000000000),
                                   UINT64_C(0x3ff0000000000000),
                                   UINT64_C(0xbff8000000000000),
                                   UINT64_C(0x4004000000000000),
                                   UINT64_C(0x7fefffffffffffff),
                                   UINT64_C(0x7ff0000000000000),
                                   UINT64_C(0xfff0000000000000),
                                   UINT64_C(0x7ff8000000000000),
                                   UINT64_C(0x41e0000000000000),
                                   UINT64_C(0x43e0000000000000),
                                   UINT64_C(0x36a0000000000000),
                                   UINT64_C(0x3810000000000000)};
static const uint64_t halves[] = {0,      0x8000, 1,      0x8001, 0x3ff,  0x400,  0x3c00, 0xbc00,
                                  0x3800, 0x4100, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7fff, 0x3555};
static const uint64_t brains[] = {0,      0x8000, 1,      0x8001, 0x7f,   0x80,   0x3f80, 0xbf80,
                                  0x3f00, 0x4020, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fff, 0x3eab};

static uint64_t special(const uint64_t *values, size_t count, size_t n)
{
    return values[n % count];
}

/* Value `n` of an operand; `step` makes operands walk through the special values differently. */
static uint64_t input(char letter, size_t n, size_t step)
{
    bool wild = n >= ELEMENTS / 4;
    size_t k = n / step;

    switch (letter) {
    case 's':
        return wild ? random_bits() & (n % 8 == 0 ? 0xffffffff : 0x7f) : k % 70;
    case 'f':
        if (wild && n % 2 == 0) /* magnitudes near each other */
            return of_f32((float)((double)(int64_t)random_bits() * 0x1p-50));
        return wild ? random_bits() & 0xffffffff : special(singles, COUNT(singles), k);
    case 'd':
        if (wild && n % 2 == 0)
            return of_f64((double)(int64_t)random_bits() * 0x1p-50);
        return wild ? random_bits() : special(doubles, COUNT(doubles), k);
    case 'e':
        return wild ? random_bits() & 0xffff : special(halves, COUNT(halves), k);
    case 'b':
        return wild ? random_bits() & 0xffff : special(brains, COUNT(brains), k);
    case 'E':
        return input('e', n, step) | input('e', n + 7, step) << 16;
    case 'B':
        return input('b', n, step) | input('b', n + 7, step) << 16;
    case 'p':
        return random_bits() & 1;
    default:
        return wild ? random_bits() >> random_bits() % 64 : special(integers, COUNT(integers), k);
    }
}

static unsigned bits_of(char letter)
{
    return letter == 'p'                                     ? 1
           : strchr("heb", letter) != NULL                   ? 16
           : letter == 'q' || letter == 'd' || letter == '-' ? 64
                                                             : 32;
}

/* A kernel around the instruction: sources from arrays of 64-bit slots, the result to another. */
static void wrap(char *text, size_t size, const struct instruction *i, bool masked)
{
    static const char names[] = "dabc";
    size_t n = (size_t)snprintf(
        text, size,
        HEADER ".visible .entry k(.param .u64 pd, .param .u64 pa, .param .u64 pb, .param .u64 pc)\n"
               "{\n.reg .pred odd, test;\n.reg .b16 r16<9>;\n.reg .b32 r<9>, t<4>;\n.reg .b64 q<9>,"
               " at<9>;\nmov.u32 r1, %%tid.x;\nmov.u32 r2, %%ctaid.x;\nmov.u32 r3, %%ntid.x;\n"
               "mad.lo.u32 r1, r2, r3, r1;\nand.b32 r2, r1, 1;\nsetp.eq.u32 odd, r2, 1;\n"
               "mul.wide.u32 q1, r1, 8;\n");

    for (size_t k = 0; k < strlen(i->letters); k++) {
        char letter = i->letters[k], name = names[k];
        unsigned bits = bits_of(letter);

        n += (size_t)snprintf(text + n, size - n,
                              ".reg .%s%s %%%c;\nld.param.u64 at%zu, [p%c];\nadd.u64 at%zu, at%zu, "
                              "q1;\n",
                              bits == 1 ? "pred" : "b",
                              bits == 1    ? ""
                              : bits == 16 ? "16"
                              : bits == 32 ? "32"
                                           : "64",
                              name, k, name, k, k);
        if (bits == 1)
            n +=
                (size_t)snprintf(text + n, size - n,
                                 "ld.global.u32 t1, [at%zu];\nsetp.ne.u32 %%%c, t1, 0;\n", k, name);
        else
            n += (size_t)snprintf(text + n, size - n, "ld.global.b%u %%%c, [at%zu];\n", bits, name,
                                  k);
    }
    n += (size_t)snprintf(text + n, size - n, "%s{ %s }\n", masked ? "@!odd bra skip;\n" : "",
                          i->text);
    n += (size_t)snprintf(text + n, size - n, masked ? "skip:\n" : "");
    switch (bits_of(i->letters[0])) {
    case 1:
        n += (size_t)snprintf(text + n, size - n, "selp.u64 q2, 1, 0, %%d;\n");
        break;
    case 16:
        n += (size_t)snprintf(text + n, size - n, "cvt.u64.u16 q2, %%d;\n");
        break;
    case 32:
        n += (size_t)snprintf(text + n, size - n, "cvt.u64.u32 q2, %%d;\n");
        break;
    default:
        n += (size_t)snprintf(text + n, size - n, "mov.b64 q2, %%d;\n");
        break;
    }
    snprintf(text + n, size - n, "st.global.u64 [at0], q2;\nret;\n}\n");
}

static bool is_nan(char letter, uint64_t v)
{
    return letter == 'f'   ? (v & 0x7fffffff) > 0x7f800000
           : letter == 'd' ? (v & INT64_MAX) > UINT64_C(0x7ff0000000000000)
                           : false;
}

static bool close_enough(char letter, uint64_t got, uint64_t want, unsigned ulps)
{
    int64_t a = (int64_t)got, b = (int64_t)want;
    unsigned bits = bits_of(letter);

    if (got == want)
        return true;
    /* Payloads of f64 NaNs are those of the sources in some order. */
    if (letter == 'd' && is_nan(letter, got) && is_nan(letter, want))
        return true;
    if (ulps == 0 || is_nan(letter, got) || is_nan(letter, want))
        return false;
    if (got >> (bits - 1) != want >> (bits - 1))
        return false;
    return a - b <= (int64_t)ulps && b - a <= (int64_t)ulps;
}

static void check_one(const struct instruction *i, bool masked)
{
    size_t operands = strlen(i->letters);
    uint64_t *v[4], mask = UINT64_MAX >> (64 - bits_of(i->letters[0]));
    char text[4096];
    struct rig rig;

    wrap(text, sizeof(text), i, masked);
    rig_load(&rig, text);
    for (size_t k = 0; k < 4; k++) {
        v[k] = rig_allocate(&rig, ELEMENTS * sizeof(uint64_t));
        for (size_t n = 0; n < ELEMENTS; n++)
            v[k][n] = k == 0         ? SENTINEL
                      : k < operands ? input(i->letters[k], n,
                                             k == 1   ? 1
                                             : k == 2 ? 16
                                                      : 7)
                                     : 0;
    }
    rig_run(&rig, "k", (struct geometry){ELEMENTS / 128, 128, 0}, v);
    for (size_t n = 0; n < ELEMENTS; n++) {
        uint64_t source[3], want;

        for (size_t k = 1; k < 4; k++)
            source[k - 1] =
                k < operands ? v[k][n] & (UINT64_MAX >> (64 - bits_of(i->letters[k]))) : 0;
        want = i->expect(source[0], source[1], source[2]) & mask;
        if (masked && n % 2 == 0)
            want = bits_of(i->letters[0]) == 1 ? 1 : SENTINEL & mask;
        if (!close_enough(i->letters[0], v[0][n], want, i->ulps))
            fail_msg("%s%s a=%llx b=%llx c=%llx: %llx, not %llx", i->text,
                     masked ? " (masked)" : "", (unsigned long long)source[0],
                     (unsigned long long)source[1], (unsigned long long)source[2],
                     (unsigned long long)v[0][n], (unsigned long long)want);
    }
    rig_drop(&rig);
}

void check_instructions(const struct instruction *table, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        check_one(&table[n], false);
        check_one(&table[n], true);
    }
}
