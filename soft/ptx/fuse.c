/* SPDX-License-Identifier: MIT */
/*
 * Instructions in a row for which there is one handler (soft/simt/ops_fused.c). The instructions
 * stay where they are: the first one's handler says how many of the next it has done.
 */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "soft/simt/ops.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Offsets of addresses are no further apart than this. */
#define MOST_APART (1 << 20)

struct handlers {
    vgpu_handler load, fma, products;
};

static bool is_shared_load(const struct vgpu_inst *inst, const struct ptx_info *info,
                           const struct handlers *h)
{
    return inst->run == h->load && inst->x == VGPU_SPACE_SHARED && inst->y == 1 &&
           (inst->z & VGPU_ORDERED) == 0 && (inst->z & VGPU_ADDRESS_32) != 0 && info->once;
}

/* Two loads, whose results nobody else wants, and what adds their product. */
static bool is_product(const struct vgpu_inst *inst, const struct ptx_info *info,
                       const struct handlers *h)
{
    const struct vgpu_inst *fma = inst + 2;
    uint32_t x = inst->row[VGPU_D], y = inst[1].row[VGPU_D];
    uint32_t a = fma->row[VGPU_A], b = fma->row[VGPU_B], c = fma->row[VGPU_C];

    return is_shared_load(inst, info, h) && is_shared_load(inst + 1, info + 1, h) &&
           fma->run == h->fma && fma->x == VGPU_RN && fma->y == 0 && !info[1].target &&
           !info[2].target && c != x && c != y && ((a == x && b == y) || (a == y && b == x));
}

static bool widen(int64_t range[2], int64_t offset)
{
    range[0] = offset < range[0] ? offset : range[0];
    range[1] = offset > range[1] ? offset : range[1];
    return offset >= INT32_MIN && offset <= INT32_MAX && range[1] - range[0] <= MOST_APART;
}

/* How long the chain is that starts here, `room` instructions at most. */
static void measure_products(const struct vgpu_inst *first, const struct ptx_info *info,
                             uint32_t room, const struct handlers *h, struct vgpu_products *p)
{
    *p = (struct vgpu_products){
        .range = {{first[0].imm, first[0].imm}, {first[1].imm, first[1].imm}}};
    while (room >= 3 * (p->count + 1)) {
        const struct vgpu_inst *inst = first + (size_t)3 * p->count;
        const struct ptx_info *at = info + (size_t)3 * p->count;
        struct vgpu_products longer = *p;

        if (!is_product(inst, at, h) || inst[0].row[VGPU_A] != first[0].row[VGPU_A] ||
            inst[1].row[VGPU_A] != first[1].row[VGPU_A] || !widen(longer.range[0], inst[0].imm) ||
            !widen(longer.range[1], inst[1].imm) ||
            (p->count > 0 &&
             (at[0].target || !at[-1].once || inst[2].row[VGPU_C] != inst[-1].row[VGPU_D])))
            return;
        longer.count++;
        *p = longer;
    }
}

static void fuse_products(struct vgpu_unit *unit, const struct ptx_info *info,
                          const struct handlers *h)
{
    struct vgpu_products products;

    for (uint32_t i = 0; i < unit->code_count; i++) {
        struct vgpu_inst *inst = &unit->code[i];

        if (inst->run_length < 6)
            continue;
        measure_products(inst, &info[i], inst->run_length, h, &products);
        if (products.count < 2)
            continue;
        unit->products[unit->product_count] = products;
        inst[2].imm = unit->product_count++;
        inst->run = h->products;
        i += 3 * products.count - 1;
    }
}

/* An address that is computed for the instruction behind it. */
static void fuse_addresses(struct vgpu_unit *unit, const struct ptx_info *info)
{
    static const char *const makers[][2] = {{"add_b64", "sum"}, {"mad_wide_s32", "product"}};
    static const char *const users[] = {"ld_u32_32", "ld_u64_64", "st_b32_32", "st_b64_64"};

    for (size_t a = 0; a < COUNT(makers); a++) {
        vgpu_handler maker = vgpu_ops_find_for("line", makers[a][0]);

        for (size_t b = 0; b < COUNT(users); b++) {
            vgpu_handler user = vgpu_ops_find_for("shaped", users[b]);
            char name[32];

            snprintf(name, sizeof(name), "%s_%s", makers[a][1], users[b]);
            for (uint32_t i = 0; i + 1 < unit->code_count; i++) {
                struct vgpu_inst *inst = &unit->code[i], *next = inst + 1;

                if (inst->run == maker && next->run == user && inst->run_length >= 2 &&
                    !info[i + 1].target && next->row[VGPU_A] == inst->row[VGPU_D] &&
                    next->x <= VGPU_SPACE_GENERIC && (next->z & VGPU_ORDERED) == 0)
                    inst->run = vgpu_ops_find_for("fused", name);
            }
        }
    }
}

void ptx_fuse(struct ptx_parser *p)
{
    struct vgpu_unit *unit = p->unit;
    const struct handlers h = {.load = vgpu_ops_find("shaped_ld_u32_32"),
                               .fma = vgpu_ops_find("fma_f32"),
                               .products = vgpu_ops_find("fused_products_shared")};

    if (p->error == 0)
        fuse_addresses(unit, p->info);
    if (p->error != 0 || h.products == NULL)
        return;
    unit->products = calloc(unit->code_count / 6 + 1, sizeof(*unit->products));
    if (unit->products == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return;
    }
    fuse_products(unit, p->info, &h);
}
