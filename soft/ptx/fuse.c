/* SPDX-License-Identifier: MIT */
/*
 * Instructions in a row for which there is one handler (soft/simt/ops_fused.c). The instructions
 * stay where they are: the first one's handler says how many of the next it has done.
 */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>

#include "soft/simt/ops.h"

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

void ptx_fuse(struct ptx_parser *p)
{
    struct vgpu_unit *unit = p->unit;
    const struct handlers h = {.load = vgpu_ops_find("shaped_ld_u32_32"),
                               .fma = vgpu_ops_find("fma_f32"),
                               .products = vgpu_ops_find("fused_products_shared")};

    if (p->error != 0 || h.products == NULL)
        return;
    unit->products = calloc(unit->code_count / 6 + 1, sizeof(*unit->products));
    if (unit->products == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return;
    }
    fuse_products(unit, p->info, &h);
}
