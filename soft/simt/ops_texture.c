/* SPDX-License-Identifier: MIT */
/* Textures and surfaces: A is the row of handles; x, y and z are told where they are used. */
#include "soft/simt/half.h"
#include "soft/simt/lanes.h"
#include "soft/simt/texture.h"

static const uint8_t element_rows[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};

/* x: which argument. */
HANDLER(texture_argument)
{
    (void)m; /* lanes that are off are not looked at later either */
    memcpy(w->arguments[i->x], ROW(uint32_t, VGPU_A), sizeof(w->arguments[0]));
    return 0;
}

/* The texture of a lane; NULL after noting a fault. */
static const struct vgpu_texture *texture_of(struct vgpu_warp *w, unsigned l, uint64_t handle)
{
    const struct vgpu_texture *t = vgpu_texture_find(w->block->memory, handle);

    if (t == NULL)
        vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, handle, 0);
    return t;
}

static float float_argument(const struct vgpu_warp *w, unsigned which, unsigned l)
{
    float value;

    memcpy(&value, &w->arguments[which][l], sizeof(value));
    return value;
}

static void fill_sample(const struct vgpu_warp *w, const struct vgpu_inst *i, unsigned l,
                        struct vgpu_sample *s)
{
    for (unsigned d = 0; d < 3; d++) {
        s->at[d] = float_argument(w, VGPU_ARGUMENT_X + d, l);
        s->index[d] = (int32_t)w->arguments[VGPU_ARGUMENT_X + d][l];
        s->dx[d] = float_argument(w, VGPU_ARGUMENT_DX + d, l);
        s->dy[d] = float_argument(w, VGPU_ARGUMENT_DY + d, l);
        if (i->y & VGPU_TEXTURE_OFFSETS)
            s->offset[d] = (int32_t)w->arguments[VGPU_ARGUMENT_OFFSET + d][l];
    }
    s->layer = w->arguments[VGPU_ARGUMENT_LAYER][l];
    s->level = float_argument(w, VGPU_ARGUMENT_LEVEL, l);
}

/* Two channels as f16 in each of the first two words. */
static void to_halves(uint32_t channels[4])
{
    uint32_t bits[4];

    for (unsigned c = 0; c < 4; c++) {
        float value;

        memcpy(&value, &channels[c], sizeof(value));
        bits[c] = vgpu_to_f16_one((double)value, VGPU_RN);
    }
    channels[0] = bits[0] | bits[1] << 16;
    channels[1] = bits[2] | bits[3] << 16;
}

/* D, B, C, E: the channels; x: geometry and, 4 bits up, form; z: channel to gather. */
HANDLER(tex)
{
    const uint64_t *handle = ROW(uint64_t, VGPU_A);
    struct vgpu_sample s = {.geometry = i->x & 15,
                            .form = i->x >> 4,
                            .integers = i->y & VGPU_TEXTURE_INTEGERS,
                            .channel = i->z};
    uint32_t result[VGPU_LANES][4], count = i->y & VGPU_TEXTURE_HALVES ? 2 : 4;

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        const struct vgpu_texture *t;
        uint64_t fault;

        if (!LANE_ON(m, l))
            continue;
        t = texture_of(w, l, handle[l]);
        if (t == NULL)
            return -1;
        fill_sample(w, i, l, &s);
        if (!vgpu_texture_sample(t, &s, vgpu_memory_pages(w->block->memory), result[l], &fault))
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, fault, t->element);
        if (count == 2)
            to_halves(result[l]);
    }
    /* Last: a result may go where the handles are. */
    for (unsigned c = 0; c < count; c++) {
        uint32_t *d = ROW(uint32_t, element_rows[c]);

        for (unsigned l = 0; l < VGPU_LANES; l++) {
            if (LANE_ON(m, l))
                d[l] = result[l][c];
        }
    }
    return 0;
}

static uint32_t query(const struct vgpu_texture *t, unsigned what, uint32_t level)
{
    const struct vgpu_texture_level *at =
        &t->levels[level < t->level_count ? level : t->level_count - 1];

    switch (what) {
    case VGPU_QUERY_WIDTH:
        return at->width;
    case VGPU_QUERY_HEIGHT:
        return at->height;
    case VGPU_QUERY_DEPTH:
    case VGPU_QUERY_LAYERS:
        return at->planes;
    case VGPU_QUERY_LEVELS:
        return t->level_count;
    case VGPU_QUERY_NORMALIZED:
        return t->normalized;
    default:
        return 1;
    }
}

/* D: the answer; x: enum vgpu_texture_query; the level is an argument, as an integer. */
HANDLER(texture_query)
{
    const uint64_t *handle = ROW(uint64_t, VGPU_A);
    uint32_t *d = ROW(uint32_t, VGPU_D);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        const struct vgpu_texture *t = LANE_ON(m, l) ? texture_of(w, l, handle[l]) : NULL;

        if (!LANE_ON(m, l))
            continue;
        if (t == NULL)
            return -1;
        d[l] = query(t, i->x, w->arguments[VGPU_ARGUMENT_LEVEL][l]);
    }
    return 0;
}

/* ---- surfaces ---- */

/* Brings an index into [0, count); false if nothing is to be done there. */
static bool bound(int64_t *index, int64_t count, unsigned mode)
{
    if (*index >= 0 && *index < count)
        return true;
    if (mode != VGPU_BOUNDS_CLAMP)
        return false;
    *index = *index < 0 ? 0 : count - 1;
    return true;
}

/* Where a lane accesses a surface: *at is NULL where it does not, because it is beyond it. x is in
 * units of `scale` bytes. */
static int surface_place(struct vgpu_warp *w, const struct vgpu_inst *i, unsigned l,
                         uint64_t handle, uint32_t bytes, uint32_t scale, uint8_t **at)
{
    const struct vgpu_texture *t = texture_of(w, l, handle);
    const struct vgpu_texture_level *level;
    int64_t x, y = 0, z = 0;
    uint64_t address;

    *at = NULL;
    if (t == NULL)
        return -1;
    level = &t->levels[0];
    x = (int64_t)(int32_t)w->arguments[VGPU_ARGUMENT_X][l] * scale;
    if (i->x != VGPU_GEOMETRY_1D && i->x != VGPU_GEOMETRY_1D_LAYERS)
        y = (int32_t)w->arguments[VGPU_ARGUMENT_X + 1][l];
    if (i->x == VGPU_GEOMETRY_3D)
        z = (int32_t)w->arguments[VGPU_ARGUMENT_X + 2][l];
    else if (i->x == VGPU_GEOMETRY_1D_LAYERS || i->x == VGPU_GEOMETRY_2D_LAYERS)
        z = w->arguments[VGPU_ARGUMENT_LAYER][l];
    if (x % bytes != 0 && scale == 1)
        return vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, l, (uint64_t)x, bytes);
    x /= bytes;
    if (!bound(&x, (int64_t)level->width * t->element / bytes, i->z) ||
        !bound(&y, level->height, i->z) || !bound(&z, level->planes, i->z))
        return i->z == VGPU_BOUNDS_TRAP ? vgpu_warp_fault(w, VGPU_FAULT_TRAP, l, (uint64_t)x, bytes)
                                        : 0;
    address = level->address + (uint64_t)z * level->slice + (uint64_t)y * level->pitch +
              (uint64_t)x * bytes;
    if (!vgpu_pages_valid(vgpu_memory_pages(w->block->memory), address, bytes))
        return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, address, bytes);
    *at = (uint8_t *)(uintptr_t)address;
    return 0;
}

/* x: geometry, y: elements, z: bounds. Nothing is read beyond the surface: zeros. */
#define DEFINE_SURFACE_LOAD(name, R, T)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const uint64_t *handle = ROW(uint64_t, VGPU_A);                                            \
        uint8_t *at[VGPU_LANES] = {NULL};                                                          \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            if (LANE_ON(m, l) &&                                                                   \
                surface_place(w, i, l, handle[l], i->y * (uint32_t)sizeof(T), 1, &at[l]) != 0)     \
                return -1;                                                                         \
        }                                                                                          \
        for (unsigned c = 0; c < i->y; c++) {                                                      \
            R *d = ROW(R, element_rows[c]);                                                        \
            for (unsigned l = 0; l < VGPU_LANES; l++) {                                            \
                if (LANE_ON(m, l))                                                                 \
                    d[l] = at[l] != NULL ? (R)((const T *)(const void *)at[l])[c] : 0;             \
            }                                                                                      \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define DEFINE_SURFACE_STORE(name, R, T)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const uint64_t *handle = ROW(uint64_t, VGPU_A);                                            \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            uint8_t *at;                                                                           \
            if (!LANE_ON(m, l))                                                                    \
                continue;                                                                          \
            if (surface_place(w, i, l, handle[l], i->y * (uint32_t)sizeof(T), 1, &at) != 0)        \
                return -1;                                                                         \
            for (unsigned c = 0; at != NULL && c < i->y; c++)                                      \
                ((T *)(void *)at)[c] = (T)ROW(R, element_rows[c])[l];                              \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* clang-format off */
#define SURFACE_TYPES(X, P)                                                                        \
    X(P##_b8_16, uint16_t, uint8_t) X(P##_b8_32, uint32_t, uint8_t)                                \
    X(P##_b16_16, uint16_t, uint16_t) X(P##_b16_32, uint32_t, uint16_t)                            \
    X(P##_b32_32, uint32_t, uint32_t) X(P##_b64_64, uint64_t, uint64_t)
/* clang-format on */

SURFACE_TYPES(DEFINE_SURFACE_LOAD, suld)
SURFACE_TYPES(DEFINE_SURFACE_STORE, sust)

/* Channels that the instruction does not give are 0. */
HANDLER(sust_p)
{
    const uint64_t *handle = ROW(uint64_t, VGPU_A);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        const struct vgpu_texture *t;
        uint32_t channels[4] = {0};
        uint8_t element[16] = {0}, *at;
        uint32_t bytes;

        if (!LANE_ON(m, l))
            continue;
        t = texture_of(w, l, handle[l]);
        if (t == NULL || surface_place(w, i, l, handle[l], t->element, t->element, &at) != 0)
            return -1;
        for (unsigned c = 0; c < i->y; c++)
            channels[c] = ROW(uint32_t, element_rows[c])[l];
        bytes = vgpu_texture_encode(t, channels, element);
        if (at != NULL)
            memcpy(at, element, bytes);
    }
    return 0;
}

/* B: the operand; y: flags. Relaxed, as red is. */
#define DEFINE_SURFACE_REDUCTION(name, T, EXPR)                                                    \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const uint64_t *handle = ROW(uint64_t, VGPU_A);                                            \
        const T *rb = ROW(T, VGPU_B);                                                              \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            const struct vgpu_texture *t = LANE_ON(m, l) ? texture_of(w, l, handle[l]) : NULL;     \
            bool formatted = (i->y & VGPU_SURFACE_FORMATTED) != 0;                                 \
            bool is_signed = (i->y & VGPU_SURFACE_SIGNED) != 0;                                    \
            T old, b = rb[l];                                                                      \
            uint8_t *at;                                                                           \
            if (!LANE_ON(m, l))                                                                    \
                continue;                                                                          \
            if (t == NULL)                                                                         \
                return -1;                                                                         \
            if (formatted && (t->element != sizeof(T) || t->bits != 8 * sizeof(T) ||               \
                              t->kind > VGPU_TEXEL_SINT))                                          \
                return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, l, handle[l], 0);        \
            if (surface_place(w, i, l, handle[l], sizeof(T), formatted ? sizeof(T) : 1, &at) != 0) \
                return -1;                                                                         \
            if (at == NULL)                                                                        \
                continue;                                                                          \
            is_signed |= formatted && t->kind == VGPU_TEXEL_SINT;                                  \
            (void)is_signed;                                                                       \
            old = __atomic_load_n((T *)(void *)at, __ATOMIC_RELAXED);                              \
            while (!__atomic_compare_exchange_n((T *)(void *)at, &old, (T)(EXPR), true,            \
                                                __ATOMIC_RELAXED, __ATOMIC_RELAXED))               \
                ;                                                                                  \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* clang-format off */
#define SURFACE_REDUCTIONS(X, N)                                                                   \
    X(sured_add_##N, uint##N##_t, old + b)                                                         \
    X(sured_min_##N, uint##N##_t,                                                                  \
      (is_signed ? (int##N##_t)old < (int##N##_t)b : old < b) ? old : b)                           \
    X(sured_max_##N, uint##N##_t,                                                                  \
      (is_signed ? (int##N##_t)old > (int##N##_t)b : old > b) ? old : b)                           \
    X(sured_and_##N, uint##N##_t, old & b)                                                         \
    X(sured_or_##N, uint##N##_t, old | b)
/* clang-format on */

SURFACE_REDUCTIONS(DEFINE_SURFACE_REDUCTION, 32)
SURFACE_REDUCTIONS(DEFINE_SURFACE_REDUCTION, 64)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_texture)[] = {
    OP_ENTRY(texture_argument) OP_ENTRY(tex) OP_ENTRY(texture_query) SURFACE_TYPES(OP_ENTRY, suld)
        SURFACE_TYPES(OP_ENTRY, sust) OP_ENTRY(sust_p) SURFACE_REDUCTIONS(OP_ENTRY, 32)
            SURFACE_REDUCTIONS(OP_ENTRY, 64) OP_END};
