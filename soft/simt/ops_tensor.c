/* SPDX-License-Identifier: MIT */
/* Copies of boxes of tensors. They are done when they are issued, as all copies on the side. */
#include "soft/simt/tensor_map.h"

#include <stdio.h>

#include "soft/simt/access.h"
#include "soft/simt/barrier_word.h"
#include "soft/simt/reduce.h"

/* Shared memory is exchanged in pieces of so many bytes. */
#define PIECE 16

/* One copy of one lane. */
struct box_copy {
    struct vgpu_warp *w;
    const struct vgpu_inst *i;
    uint32_t lane;
    struct vgpu_tensor_map map;
    int64_t at[VGPU_TENSOR_RANK];     /* coordinates of the box */
    uint32_t count[VGPU_TENSOR_RANK]; /* elements that are copied along each dimension */
    uint32_t bytes;                   /* of the box, which a barrier counts */
    uint32_t row, rows;               /* bytes of a row of it, and how many there are */
    uint32_t pitch;                   /* bytes from row to row in shared memory */
    uint64_t shared;                  /* generic address there */
};

static bool is_good(const struct vgpu_tensor_map *map, uint32_t rank)
{
    bool good = map->magic == VGPU_TENSOR_MAP_MAGIC && map->rank == rank &&
                map->swizzle <= VGPU_SWIZZLE_128 && map->element >= 1 && map->element <= 8 &&
                (map->element & (map->element - 1)) == 0 &&
                (map->type == VGPU_TENSOR_PLAIN ||
                 (map->type <= VGPU_REDUCE_F64 && reduced_bytes(map->type) == map->element));

    for (uint32_t d = 0; good && d < rank; d++)
        good = map->box[d] >= 1 && map->box[d] <= 256 && map->step[d] >= 1 && map->step[d] <= 8;
    return good && (map->swizzle == VGPU_SWIZZLE_NONE ||
                    (uint32_t)map->box[0] * map->element <= vgpu_tensor_span(map->swizzle));
}

/* Whether there is such a reduction of elements of a type. */
static bool is_reduction(unsigned operation, unsigned type)
{
    switch (operation) {
    case VGPU_REDUCE_ADD:
        return type != VGPU_TENSOR_PLAIN;
    case VGPU_REDUCE_MIN:
    case VGPU_REDUCE_MAX:
        return type <= VGPU_REDUCE_BF16;
    case VGPU_REDUCE_INC:
    case VGPU_REDUCE_DEC:
        return type == VGPU_REDUCE_U32;
    default:
        return type <= VGPU_REDUCE_S64;
    }
}

/* Pieces of 16 bytes are moved: hardware takes no box that begins within one, wherever it is, and
 * none for a store that begins before the tensor. */
static int check_place(const struct box_copy *c)
{
    char *text = c->w->fault_text;

    if (c->at[0] * c->map.element % PIECE != 0) {
        snprintf(
            text, sizeof(c->w->fault_text),
            "illegal instruction: first coordinate %d is no multiple of 16 bytes (%d elements)",
            (int)c->at[0], PIECE / c->map.element);
        return vgpu_warp_fault(c->w, VGPU_FAULT_ILLEGAL_INSTRUCTION, c->lane, 0, 0);
    }
    for (uint32_t d = 0; d < c->map.rank && c->i->x != VGPU_TENSOR_LOAD; d++) {
        if (c->at[d] >= 0)
            continue;
        snprintf(text, sizeof(c->w->fault_text),
                 "illegal instruction: a store has a negative coordinate, %d (dimension %u)",
                 (int)c->at[d], d);
        return vgpu_warp_fault(c->w, VGPU_FAULT_ILLEGAL_INSTRUCTION, c->lane, 0, 0);
    }
    return 0;
}

/* Reads the map and says how much there is to copy; non-zero after noting a fault. */
static int prepare(struct box_copy *c, uint64_t address, uint32_t rank)
{
    const void *from = vgpu_warp_generic(c->w, c->lane, address, VGPU_TENSOR_MAP_BYTES);
    uint64_t bytes;

    if (from == NULL || address % 64 != 0)
        return vgpu_warp_fault(
            c->w, from == NULL ? VGPU_FAULT_ILLEGAL_ADDRESS : VGPU_FAULT_MISALIGNED_ADDRESS,
            c->lane, address, VGPU_TENSOR_MAP_BYTES);
    memcpy(&c->map, from, sizeof(c->map));
    if (!is_good(&c->map, rank) ||
        (c->i->x >= VGPU_TENSOR_REDUCE && !is_reduction(c->i->x - VGPU_TENSOR_REDUCE, c->map.type)))
        return vgpu_warp_fault(c->w, VGPU_FAULT_ILLEGAL_INSTRUCTION, c->lane, address, 0);
    bytes = c->map.element;
    for (uint32_t d = 0; d < rank; d++) {
        c->count[d] = (c->map.box[d] + c->map.step[d] - 1u) / c->map.step[d];
        c->at[d] = (int32_t)c->w->arguments[d][c->lane];
        bytes *= c->count[d]; /* 256 to the fifth and 8 at most */
    }
    if (bytes > c->w->block->shared_bytes)
        return vgpu_warp_fault(c->w, VGPU_FAULT_ILLEGAL_ADDRESS, c->lane, c->shared, 0);
    c->bytes = (uint32_t)bytes;
    c->row = c->count[0] * c->map.element;
    c->rows = 1;
    for (uint32_t d = 1; d < rank; d++)
        c->rows *= c->count[d];
    c->pitch = c->map.swizzle != VGPU_SWIZZLE_NONE ? vgpu_tensor_span(c->map.swizzle) : c->row;
    return check_place(c);
}

static uint64_t swizzled(uint8_t how, uint64_t address)
{
    uint32_t pieces = how != VGPU_SWIZZLE_NONE ? vgpu_tensor_span(how) / PIECE : 1;

    return address ^ (address >> 7 & (pieces - 1)) << 4;
}

/* One element in memory, or nothing beyond the tensor. */
static int copy_element(const struct box_copy *c, uint64_t address, bool inside, uint8_t *shared)
{
    unsigned size = c->map.element;
    const struct vgpu_block *block = c->w->block;

    if (!inside) {
        if (c->i->x == VGPU_TENSOR_LOAD)
            memcpy(shared, &c->map.fill, size);
        return 0;
    }
    if (address % size != 0 || (!vgpu_pages_valid(block->pages, address, size) &&
                                !vgpu_memory_reaches(block->memory, address, size)))
        return vgpu_warp_fault(c->w, VGPU_FAULT_ILLEGAL_ADDRESS, c->lane, address, size);
    if (c->i->x == VGPU_TENSOR_LOAD)
        memcpy(shared, (const void *)(uintptr_t)address, size);
    else if (c->i->x == VGPU_TENSOR_STORE)
        memcpy((void *)(uintptr_t)address, shared, size);
    else
        reduce_into((uint8_t *)(uintptr_t)address, shared, size, c->i->x - VGPU_TENSOR_REDUCE,
                    c->map.type);
    return 0;
}

/* The elements along the first dimension; those in shared memory are from `to` on, if 16 bytes were
   not exchanged. */
static int copy_row(const struct box_copy *c, uint64_t address, bool inside, uint64_t to)
{
    const struct vgpu_tensor_map *map = &c->map;
    uint8_t *shared = NULL;

    for (uint32_t k = 0, done = 0; k < c->count[0]; k++, done += map->element) {
        int64_t x = c->at[0] + (int64_t)k * map->step[0];
        bool there = inside && x >= 0 && x <= map->last[0];

        if (shared == NULL || (to + done) % PIECE == 0) {
            uint64_t at = swizzled(map->swizzle, to + done);
            uint32_t size = c->row - done < PIECE ? c->row - done : PIECE;

            shared = vgpu_warp_generic(c->w, c->lane, at, size);
            if (shared == NULL)
                return vgpu_warp_fault(c->w, VGPU_FAULT_ILLEGAL_ADDRESS, c->lane, at, size);
        }
        if (copy_element(c, address + (uint64_t)x * map->element, there, shared) != 0)
            return -1;
        shared += map->element;
    }
    return 0;
}

static int copy_box(const struct box_copy *c)
{
    const struct vgpu_tensor_map *map = &c->map;
    uint32_t index[VGPU_TENSOR_RANK] = {0}, d;

    for (uint32_t row = 0; row < c->rows; row++) {
        uint64_t address = map->address;
        bool inside = true;

        for (d = 1; d < map->rank; d++) {
            int64_t x = c->at[d] + (int64_t)index[d] * map->step[d];

            inside &= x >= 0 && x <= map->last[d];
            address += (uint64_t)x * map->stride[d - 1];
        }
        if (copy_row(c, address, inside, c->shared + (uint64_t)row * c->pitch) != 0)
            return -1;
        for (d = 1; d < map->rank && ++index[d] == c->count[d]; d++)
            index[d] = 0;
    }
    return 0;
}

/* A load's bytes are counted at a barrier, in the same block as they go to. */
static int complete(const struct box_copy *c, uint64_t address)
{
    uint8_t *at = vgpu_warp_generic(c->w, c->lane, address, sizeof(uint64_t));

    if (at == NULL || address % sizeof(uint64_t) != 0)
        return vgpu_warp_fault(
            c->w, at == NULL ? VGPU_FAULT_ILLEGAL_ADDRESS : VGPU_FAULT_MISALIGNED_ADDRESS, c->lane,
            address, sizeof(uint64_t));
    store_barrier(at, settled(with_bytes(load_barrier(at), 0 - (uint64_t)c->bytes)));
    return 0;
}

/* A: the map, B: shared memory, E: the barrier of a load, all generic; F, unless its row is 0: to
   these blocks; x: enum vgpu_tensor_copy, y: rank. Coordinates are arguments. */
HANDLER(tensor_copy)
{
    const uint64_t *a = ROW(uint64_t, VGPU_A), *b = ROW(uint64_t, VGPU_B);
    const uint64_t *e = i->row[VGPU_E] != 0 ? ROW(uint64_t, VGPU_E) : NULL;
    const uint16_t *blocks = i->row[VGPU_F] != 0 ? ROW(uint16_t, VGPU_F) : NULL;

    EACH_LANE(m, l)
    {
        struct box_copy c = {.w = w, .i = i, .lane = l, .shared = b[l]};
        uint32_t left = blocks != NULL ? blocks[l] : 1;

        if (prepare(&c, a[l], i->y) != 0)
            return -1;
        if (b[l] % 128 != 0)
            return vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, l, b[l], c.bytes);
        for (; left != 0; left &= left - 1) {
            uint32_t rank = (uint32_t)__builtin_ctz(left);

            if (blocks != NULL)
                c.shared = in_block(w->block, b[l], rank);
            if (copy_box(&c) != 0)
                return -1;
            if (e != NULL &&
                complete(&c, blocks != NULL ? in_block(w->block, e[l], rank) : e[l]) != 0)
                return -1;
        }
    }
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_tensor)[] = {OP_ENTRY(tensor_copy) OP_END};
