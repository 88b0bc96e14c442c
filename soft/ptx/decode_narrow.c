/* SPDX-License-Identifier: MIT */
/* The forms of cvt with formats that registers do not have: pairs of 8-bit floats, tf32, and
   whole numbers packed side by side. */
#include "soft/ptx/parser.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* cvt.rn.satfinite.e4m3x2.f32 d, a, b, the same from .f16x2 d, a, and back */
static bool decode_pair(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const pairs[] = {"e4m3x2", "e5m2x2"};
    const struct ptx_type *types[3] = {NAMED("b16"), NAMED("b16"), NULL}, *other;
    struct ptx_build b;
    bool narrows, relu;
    char key[32];
    size_t n = 0;

    while (n < COUNT(pairs) && !ptx_part(s, pairs[n]))
        n++;
    if (n == COUNT(pairs))
        return false;
    ptx_part(s, "rn");
    narrows = ptx_part(s, "satfinite");
    relu = ptx_part(s, "relu");
    other = ptx_part_type(s);
    if (other != NAMED("f16x2") && (!narrows || other != NAMED("f32"))) {
        ptx_unsupported(p, s, "the types");
        return true;
    }
    if (narrows)
        types[1] = types[2] = other;
    else
        types[0] = other;
    snprintf(key, sizeof(key), "cvt_%s_%s", narrows ? pairs[n] : other->name,
             narrows ? other->name : pairs[n]);
    b = ptx_form(p, s, key, types, narrows && other == NAMED("f32") ? 2 : 1);
    b.inst.y = relu ? VGPU_RELU : 0;
    ptx_push(p, &b);
    return true;
}

/* cvt.rna.tf32.f32 */
static bool decode_tf32(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *types[2] = {NAMED("b32"), NAMED("f32")};
    enum vgpu_rounding rounding;
    struct ptx_build b;
    bool away, relu, finite;

    if (!ptx_part(s, "tf32"))
        return false;
    finite = ptx_part(s, "satfinite");
    away = ptx_part(s, "rna");
    relu = ptx_part(s, "relu");
    rounding = away ? VGPU_RN : ptx_part_rounding(s);
    ptx_part(s, "f32");
    b = ptx_form(p, s, away ? "cvt_rna_tf32" : "cvt_tf32", types, 1);
    b.inst.x = (uint8_t)rounding;
    b.inst.y = (uint8_t)((relu ? VGPU_RELU : 0) | (finite ? VGPU_FINITE : 0));
    ptx_push(p, &b);
    return true;
}

/* cvt.pack.sat.s8.s32.b32 d, a, b, c: c moves up and makes room for a and b */
static bool decode_pack(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const formats[] = {"s8", "u8", "s16", "u16"};
    const struct ptx_type *types[4] = {NAMED("b32"), NAMED("s32"), NAMED("s32"), NAMED("b32")};
    struct ptx_build b;
    char key[32];
    size_t n = 0;

    if (!ptx_part(s, "pack"))
        return false;
    ptx_part(s, "sat");
    while (n < COUNT(formats) && !ptx_part(s, formats[n]))
        n++;
    ptx_part(s, "s32");
    ptx_part(s, "b32");
    if (n == COUNT(formats)) {
        ptx_unsupported(p, s, "the types");
        return true;
    }
    snprintf(key, sizeof(key), "cvt_pack_%s", formats[n]);
    b = ptx_form(p, s, key, types, n < 2 ? 3 : 2);
    ptx_push(p, &b);
    return true;
}

bool ptx_decode_narrow(struct ptx_parser *p, struct ptx_statement *s)
{
    return decode_pair(p, s) || decode_tf32(p, s) || decode_pack(p, s);
}
