/* SPDX-License-Identifier: MIT */
/* Fragments of matrices to and from memory: wmma.load, wmma.store, ldmatrix, stmatrix; movmatrix.
 */
#include "soft/simt/access.h"
#include "soft/simt/matrix.h"

/* Rows or columns of a matrix in memory. */
#define MOST_LINES 256

/*
 * One matrix in memory: `lines` of `length` elements, a stride apart. The address is in A (of all
 * lanes the same), the stride in elements in B; imm is the offset. x: space; y: element; z: flags
 * of the address. C: a constant that says the rest, see vgpu_fragment.
 */
struct fragment {
    unsigned rows, columns; /* of the matrix */
    unsigned registers;     /* in the list, copies included */
    unsigned distinct;      /* without copies */
    unsigned high;          /* log2 of the tiles in a column of tiles */
    bool by_column;
    char which; /* 'a', 'b' or 'c' */
};

static inline struct fragment fragment_of(const struct vgpu_warp *w, const struct vgpu_inst *i)
{
    uint64_t v = *(const uint64_t *)row_of(w, i->row[VGPU_C]);

    return (struct fragment){.rows = v & 0xff,
                             .columns = v >> 8 & 0xffff,
                             .registers = v >> 24 & 0xff,
                             .distinct = v >> 48 & 0xff,
                             .high = v >> 56 & 0xff,
                             .by_column = v >> 32 & 1,
                             .which = (char)(v >> 40)};
}

/* The host addresses of the lines; the first lane's pointer is that of the warp. */
static int find_lines(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                      const struct fragment *f, uint8_t **lines)
{
    unsigned first = (unsigned)__builtin_ctz(m), bits = vgpu_element_bits((enum vgpu_element)i->y);
    unsigned count = f->by_column ? f->columns : f->rows;
    uint32_t bytes = (f->by_column ? f->rows : f->columns) * bits / 8;
    uint64_t stride = (uint64_t)ROW(uint32_t, VGPU_B)[first] * bits / 8;
    struct vgpu_inst line = *i;

    for (unsigned n = 0; n < count; n++) {
        uint8_t *at[VGPU_LANES] = {NULL};

        line.imm = (int64_t)((uint64_t)i->imm + n * stride);
        if (access_lanes(w, &line, UINT32_C(1) << first, bytes, bits < 32 ? 4 : bits / 8, at) != 0)
            return -1;
        lines[n] = at[first];
    }
    return 0;
}

/* Where the first element of register r of lane l is, and how far the next one is. */
static inline void place_of(const struct fragment *f, unsigned parts, unsigned r, unsigned l,
                            unsigned *row, unsigned *column)
{
    unsigned group = VGPU_LANE_GROUP(l), of = VGPU_LANE_OF(l);
    unsigned n = f->which == 'c' ? r * parts / 2 : r & (f->distinct - 1);
    unsigned down = n & ((1u << f->high) - 1), right = n >> f->high;

    if (f->which == 'a') {
        *row = down * 8 + group;
        *column = (right * 4 + of) * parts;
    } else if (f->which == 'b') {
        *row = (down * 4 + of) * parts;
        *column = right * 8 + group;
    } else {
        /* Registers of f16 hold two neighbours; otherwise two registers do. */
        *row = down * 8 + group;
        *column = right * 8 + of * 2 + (parts == 2 ? 0 : r % 2);
    }
}

static inline uint32_t read_bits(const uint8_t *line, unsigned n, unsigned bits)
{
    uint32_t word;

    if (bits < 8)
        return (uint32_t)(line[n * bits / 8] >> n * bits % 8) & ((1u << bits) - 1);
    word = 0;
    memcpy(&word, line + n * bits / 8, bits / 8);
    return word;
}

HANDLER(wmma_load)
{
    struct fragment f = fragment_of(w, i);
    unsigned bits = vgpu_element_bits((enum vgpu_element)i->y), parts = bits < 32 ? 32 / bits : 1;
    const uint32_t *rows = list_of(w, i);
    uint8_t *lines[MOST_LINES] = {NULL};

    if (find_lines(w, i, m, &f, lines) != 0)
        return -1;
    for (unsigned r = 0; r < f.registers; r++) {
        for (unsigned l = 0; l < VGPU_LANES; l++) {
            unsigned row, column;
            uint32_t value = 0;

            if (!LANE_ON(m, l))
                continue;
            place_of(&f, parts, r, l, &row, &column);
            if (bits == 64) {
                memcpy((uint64_t *)row_of(w, rows[r]) + l,
                       f.by_column ? lines[column] + row * 8 : lines[row] + column * 8, 8);
                continue;
            }
            for (unsigned e = 0; e < parts; e++) {
                unsigned down = row + (f.which == 'b' ? e : 0);
                unsigned right = column + (f.which == 'b' ? 0 : e);
                uint32_t v = f.by_column ? read_bits(lines[right], down, bits)
                                         : read_bits(lines[down], right, bits);

                value |= v << e * bits;
            }
            ((uint32_t *)row_of(w, rows[r]))[l] = value;
        }
    }
    return 0;
}

HANDLER(wmma_store)
{
    struct fragment f = fragment_of(w, i);
    unsigned bytes = vgpu_element_bits((enum vgpu_element)i->y) / 8, parts = bytes == 2 ? 2 : 1;
    const uint32_t *rows = list_of(w, i);
    uint8_t *lines[MOST_LINES] = {NULL};

    if (find_lines(w, i, m, &f, lines) != 0)
        return -1;
    for (unsigned r = 0; r < f.registers; r++) {
        const uint8_t *from = row_of(w, rows[r]);

        for (unsigned l = 0; l < VGPU_LANES; l++) {
            unsigned row, column;

            place_of(&f, parts, r, l, &row, &column);
            for (unsigned e = 0; e < parts && LANE_ON(m, l); e++) {
                uint8_t *to = f.by_column ? lines[column + e] + row * bytes
                                          : lines[row] + (column + e) * bytes;

                /* The lines are there. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
                memcpy(to, from + (l * parts + e) * bytes, bytes);
            }
        }
    }
    return 0;
}

/* ---- ldmatrix, stmatrix, movmatrix: 8x8 matrices of 16 bits; y: how many, C: transposed ---- */

/* Row n of matrix k is at the address of lane 8k + n. */
static int find_rows(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m, uint8_t **at)
{
    uint32_t lanes = i->y == 4 ? VGPU_ALL_LANES : (UINT32_C(1) << 8 * i->y) - 1;

    if ((lanes & ~m) != 0)
        return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, (unsigned)__builtin_ctz(m), 0, 0);
    return access_lanes(w, i, lanes, 16, 16, at);
}

static inline void spread_matrix(const uint8_t *const rows[8], bool transposed, uint16_t *pairs)
{
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        for (unsigned e = 0; e < 2; e++) {
            unsigned row = transposed ? VGPU_LANE_OF(l) * 2 + e : VGPU_LANE_GROUP(l);
            unsigned column = transposed ? VGPU_LANE_GROUP(l) : VGPU_LANE_OF(l) * 2 + e;

            /* The rows are there. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
            memcpy(&pairs[l * 2 + e], rows[row] + column * 2, 2);
        }
    }
}

HANDLER(ldmatrix)
{
    bool transposed = MASK(VGPU_C) != 0;
    const uint32_t *rows = list_of(w, i);
    uint8_t *at[VGPU_LANES] = {NULL};

    if (find_rows(w, i, m, at) != 0)
        return -1;
    for (unsigned k = 0; k < i->y; k++) {
        uint32_t pairs[VGPU_LANES], *d = row_of(w, rows[k]);

        spread_matrix((const uint8_t *const *)at + k * 8, transposed, (uint16_t *)pairs);
        STORE_LANES(d, m, pairs[l]);
    }
    return 0;
}

HANDLER(stmatrix)
{
    bool transposed = MASK(VGPU_C) != 0;
    const uint32_t *rows = list_of(w, i);
    uint8_t *at[VGPU_LANES] = {NULL};

    if (find_rows(w, i, m, at) != 0)
        return -1;
    for (unsigned n = 0; n < i->y * 64u; n++) {
        const uint16_t *pairs = row_of(w, rows[n / 64]);
        unsigned l = n / 2 % VGPU_LANES, e = n % 2;
        unsigned row = transposed ? VGPU_LANE_OF(l) * 2 + e : VGPU_LANE_GROUP(l);
        unsigned column = transposed ? VGPU_LANE_GROUP(l) : VGPU_LANE_OF(l) * 2 + e;

        if (!LANE_ON(m, l))
            continue;
        /* The rows are there. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
        memcpy(at[n / 64 * 8 + row] + column * 2, &pairs[l * 2 + e], 2);
    }
    return 0;
}

HANDLER(movmatrix)
{
    uint32_t a[VGPU_LANES], pairs[VGPU_LANES], *d = ROW(uint32_t, VGPU_D);
    const uint8_t *rows[8];

    memcpy(a, ROW(uint32_t, VGPU_A), sizeof(a));
    for (unsigned n = 0; n < 8; n++)
        rows[n] = (const uint8_t *)(a + n * 4);
    spread_matrix(rows, true, (uint16_t *)pairs);
    STORE_LANES(d, m, pairs[l]);
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_fragment)[] = {
    OP_ENTRY(wmma_load) OP_ENTRY(wmma_store) OP_ENTRY(ldmatrix) OP_ENTRY(stmatrix)
        OP_ENTRY(movmatrix) OP_END};
