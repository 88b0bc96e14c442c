/* SPDX-License-Identifier: MIT */
/* Reading textures: which elements, and what is made of them. */
#include "soft/simt/texture.h"

#include <math.h>
#include <string.h>

#include "soft/simt/half.h"
#include "soft/simt/warp.h"

/* The channels of an element: floats if the texture's are, else integers. */
union channel {
    float f;
    uint32_t u;
};

struct reader {
    const struct vgpu_texture *texture;
    const uint8_t *pages;
    uint64_t *fault;
};

static bool is_float(const struct vgpu_texture *t)
{
    return t->kind >= VGPU_TEXEL_FLOAT;
}

static float limit(float value, float low, float high)
{
    return value >= low ? value <= high ? value : high : low;
}

/* ---- elements ---- */

static float decode_srgb(float value)
{
    return value <= 0.04045f ? value / 12.92f : powf((value + 0.055f) / 1.055f, 2.4f);
}

static uint32_t load_bits(const uint8_t *at, uint32_t bits)
{
    uint16_t half;
    uint32_t word;

    if (bits == 8)
        return *at;
    if (bits == 16) {
        memcpy(&half, at, sizeof(half));
        return half;
    }
    memcpy(&word, at, sizeof(word));
    return word;
}

static int32_t sign_extend(uint32_t value, uint32_t bits)
{
    return (int32_t)(value << (32 - bits)) >> (32 - bits);
}

static union channel decode_channel(const struct vgpu_texture *t, uint32_t bits)
{
    float most = (float)((1u << (t->bits - 1) << 1) - 1u);
    union channel c = {.u = bits};

    switch (t->kind) {
    case VGPU_TEXEL_SINT:
        c.u = (uint32_t)sign_extend(bits, t->bits);
        break;
    case VGPU_TEXEL_FLOAT:
        if (t->bits == 16)
            c.f = vgpu_f16_value((uint16_t)bits);
        break;
    case VGPU_TEXEL_UNORM:
        c.f = (float)bits / most;
        break;
    case VGPU_TEXEL_SNORM:
        c.f = (float)sign_extend(bits, t->bits) / (float)((1u << (t->bits - 1)) - 1u);
        c.f = c.f < -1.0f ? -1.0f : c.f;
        break;
    default:
        break;
    }
    return c;
}

/* Channels that an element does not have are 0, and the last one is 1. */
static void decode(const struct vgpu_texture *t, const uint8_t *at, union channel out[4])
{
    memset(out, 0, 4 * sizeof(*out));
    if (is_float(t))
        out[3].f = 1.0f;
    else
        out[3].u = 1;
    if (t->kind == VGPU_TEXEL_UNORM_10_2) {
        uint32_t word = load_bits(at, 32);

        for (uint32_t c = 0; c < 3; c++)
            out[c].f = (float)(word >> (10 * c) & 1023u) / 1023.0f;
        out[3].f = (float)(word >> 30) / 3.0f;
        return;
    }
    for (uint32_t c = 0; c < t->channels; c++) {
        out[c] = decode_channel(t, load_bits(at + c * (t->bits / 8u), t->bits));
        if (t->srgb && c < 3)
            out[c].f = decode_srgb(out[c].f);
    }
}

static void take_border(const struct vgpu_texture *t, union channel out[4])
{
    for (uint32_t c = 0; c < 4; c++) {
        if (is_float(t))
            out[c].f = t->border[c];
        else
            out[c].u = (uint32_t)(int64_t)limit(t->border[c], -0x1p31f, 0x1p31f);
    }
}

/* Brings an index into [0, size); false if it is beyond a border. */
static bool resolve(enum vgpu_address_mode mode, int64_t *index, uint32_t size)
{
    int64_t n = size, i = *index;

    if (i >= 0 && i < n)
        return true;
    switch (mode) {
    case VGPU_ADDRESS_WRAP:
        i %= n;
        *index = i < 0 ? i + n : i;
        return true;
    case VGPU_ADDRESS_MIRROR:
        i %= 2 * n;
        i = i < 0 ? i + 2 * n : i;
        *index = i < n ? i : 2 * n - 1 - i;
        return true;
    case VGPU_ADDRESS_CLAMP:
        *index = i < 0 ? 0 : n - 1;
        return true;
    default:
        return false;
    }
}

/* One element. `plane` is a layer or face and in range; `index[2]` is a depth if there are three
 * dimensions. */
static bool read_element(const struct reader *r, const struct vgpu_texture_level *level,
                         uint32_t dimensions, const int64_t at[3], uint32_t plane,
                         union channel out[4])
{
    const struct vgpu_texture *t = r->texture;
    const uint32_t sizes[3] = {level->width, level->height, level->planes};
    int64_t index[3] = {0, 0, plane};
    uint64_t address;

    for (uint32_t d = 0; d < dimensions; d++) {
        index[d] = at[d];
        if (resolve(t->buffer ? VGPU_ADDRESS_BORDER : t->address[d], &index[d], sizes[d]))
            continue;
        take_border(t, out);
        return true;
    }
    address = level->address + (uint64_t)index[2] * level->slice +
              (uint64_t)index[1] * level->pitch + (uint64_t)index[0] * t->element;
    if (!vgpu_pages_valid(r->pages, address, t->element)) {
        *r->fault = address;
        return false;
    }
    decode(t, (const uint8_t *)(uintptr_t)address, out);
    return true;
}

/* ---- coordinates ---- */

/* A coordinate in elements that an integer can hold. */
static float in_elements(const struct vgpu_texture *t, float coordinate, uint32_t size,
                         enum vgpu_address_mode mode)
{
    if (t->normalized) {
        /* Whole turns cost bits of the fraction. */
        if (mode == VGPU_ADDRESS_WRAP)
            coordinate -= floorf(coordinate);
        coordinate *= (float)size;
    }
    if (!(fabsf(coordinate) < 1e9f))
        return coordinate > 0 ? 1e9f : coordinate < 0 ? -1e9f : 0;
    return coordinate;
}

/* Weights have 8 bits behind the point. */
static float quantise(float fraction)
{
    return floorf(fraction * 256.0f + 0.5f) / 256.0f;
}

/* Faces of a cube in the order +x -x +y -y +z -z; coordinates in it become 0 to 1. */
static uint32_t choose_face(const float direction[3], float at[2])
{
    float x = direction[0], y = direction[1], z = direction[2];
    float ax = fabsf(x), ay = fabsf(y), az = fabsf(z), s, t, m;
    uint32_t face;

    if (ax >= ay && ax >= az) {
        face = x >= 0 ? 0 : 1;
        m = ax;
        s = x >= 0 ? -z : z;
        t = -y;
    } else if (ay >= az) {
        face = y >= 0 ? 2 : 3;
        m = ay;
        s = x;
        t = y >= 0 ? z : -z;
    } else {
        face = z >= 0 ? 4 : 5;
        m = az;
        s = z >= 0 ? x : -x;
        t = -y;
    }
    at[0] = m > 0 ? (s / m + 1.0f) / 2.0f : 0.5f;
    at[1] = m > 0 ? (t / m + 1.0f) / 2.0f : 0.5f;
    return face;
}

/* ---- one level ---- */

static uint32_t dimensions_of(enum vgpu_geometry geometry)
{
    switch (geometry) {
    case VGPU_GEOMETRY_1D:
    case VGPU_GEOMETRY_1D_LAYERS:
        return 1;
    case VGPU_GEOMETRY_3D:
        return 3;
    default:
        return 2;
    }
}

/* Where a sample is taken, the same for all levels. */
struct position {
    uint32_t dimensions;
    uint32_t plane;
    float at[3];
};

static struct position position_of(const struct vgpu_texture *t, const struct vgpu_sample *s)
{
    struct position p = {.dimensions = dimensions_of(s->geometry)};
    uint32_t planes = t->levels[0].planes, plane = 0;
    float direction[3];

    memcpy(p.at, s->at, sizeof(p.at));
    switch (s->geometry) {
    case VGPU_GEOMETRY_1D_LAYERS:
    case VGPU_GEOMETRY_2D_LAYERS:
        plane = s->layer;
        break;
    case VGPU_GEOMETRY_CUBE:
    case VGPU_GEOMETRY_CUBE_LAYERS:
        memcpy(direction, s->at, sizeof(direction));
        plane = choose_face(direction, p.at);
        if (s->geometry == VGPU_GEOMETRY_CUBE_LAYERS && planes >= 6) {
            uint32_t cubes = planes / 6;
            plane += 6 * (s->layer < cubes ? s->layer : cubes - 1);
        }
        break;
    default:
        break;
    }
    p.plane = plane < planes ? plane : planes - 1;
    return p;
}

static uint32_t size_of(const struct vgpu_texture_level *level, uint32_t dimension)
{
    return dimension == 0 ? level->width : dimension == 1 ? level->height : level->planes;
}

static bool read_nearest(const struct reader *r, const struct vgpu_texture_level *level,
                         const struct vgpu_sample *s, const struct position *p,
                         union channel out[4])
{
    int64_t at[3] = {0};

    for (uint32_t d = 0; d < p->dimensions; d++)
        at[d] = (int64_t)floorf(
                    in_elements(r->texture, p->at[d], size_of(level, d), r->texture->address[d])) +
                s->offset[d];
    return read_element(r, level, p->dimensions, at, p->plane, out);
}

/* The corner of the elements around a place, and the weights of those behind it. */
static void footprint(const struct vgpu_texture *t, const struct vgpu_texture_level *level,
                      const struct vgpu_sample *s, const struct position *p, int64_t corner[3],
                      float weight[3])
{
    for (uint32_t d = 0; d < p->dimensions; d++) {
        float x = in_elements(t, p->at[d], size_of(level, d), t->address[d]) - 0.5f;
        float low = floorf(x);

        weight[d] = quantise(x - low);
        corner[d] = (int64_t)low + s->offset[d];
    }
}

static bool read_filtered(const struct reader *r, const struct vgpu_texture_level *level,
                          const struct vgpu_sample *s, const struct position *p,
                          union channel out[4])
{
    float sum[4] = {0}, weight[3] = {0};
    int64_t corner[3] = {0};

    footprint(r->texture, level, s, p, corner, weight);
    for (uint32_t k = 0; k < 1u << p->dimensions; k++) {
        union channel element[4];
        float share = 1.0f;
        int64_t at[3] = {0};

        for (uint32_t d = 0; d < p->dimensions; d++) {
            uint32_t behind = k >> d & 1;
            at[d] = corner[d] + behind;
            share *= behind ? weight[d] : 1.0f - weight[d];
        }
        if (share == 0.0f) /* so that an infinity beside the place is not seen */
            continue;
        if (!read_element(r, level, p->dimensions, at, p->plane, element))
            return false;
        for (uint32_t c = 0; c < 4; c++)
            sum[c] += share * element[c].f;
    }
    for (uint32_t c = 0; c < 4; c++)
        out[c].f = sum[c];
    return true;
}

/* Counter-clockwise from the lower left, where y grows downwards. */
static bool gather(const struct reader *r, const struct vgpu_sample *s, const struct position *p,
                   union channel out[4])
{
    static const uint8_t order[4][2] = {{0, 1}, {1, 1}, {1, 0}, {0, 0}};
    const struct vgpu_texture_level *level = &r->texture->levels[0];
    int64_t corner[3] = {0};
    float weight[3];

    footprint(r->texture, level, s, p, corner, weight);
    for (uint32_t k = 0; k < 4; k++) {
        const int64_t at[3] = {corner[0] + order[k][0], corner[1] + order[k][1]};
        union channel element[4];

        if (!read_element(r, level, p->dimensions, at, p->plane, element))
            return false;
        out[k] = element[s->channel & 3];
    }
    return true;
}

/* ---- levels ---- */

static float gradient_level(const struct vgpu_texture *t, const struct vgpu_sample *s)
{
    float x = 0, y = 0, longest;

    for (uint32_t d = 0; d < dimensions_of(s->geometry); d++) {
        float scale = t->normalized ? (float)size_of(&t->levels[0], d) : 1.0f;
        float dx = s->dx[d] * scale, dy = s->dy[d] * scale;

        x += dx * dx;
        y += dy * dy;
    }
    longest = x > y ? x : y;
    return longest > 0 ? 0.5f * log2f(longest) + t->bias : t->least;
}

static float choose_level(const struct vgpu_texture *t, const struct vgpu_sample *s)
{
    float last = (float)(t->level_count - 1), level = 0;

    if (s->form == VGPU_SAMPLE_LEVEL)
        level = s->level;
    else if (s->form == VGPU_SAMPLE_GRADIENT)
        level = gradient_level(t, s);
    level = level > t->most ? t->most : level;
    level = level >= t->least ? level : t->least; /* a NaN, too */
    return level > last ? last : level > 0 ? level : 0;
}

static bool read_level(const struct reader *r, uint32_t level, const struct vgpu_sample *s,
                       const struct position *p, union channel out[4])
{
    if (r->texture->linear && is_float(r->texture))
        return read_filtered(r, &r->texture->levels[level], s, p, out);
    return read_nearest(r, &r->texture->levels[level], s, p, out);
}

static bool read_levels(const struct reader *r, const struct vgpu_sample *s,
                        const struct position *p, union channel out[4])
{
    const struct vgpu_texture *t = r->texture;
    float level = choose_level(t, s), weight = quantise(level - floorf(level));
    union channel next[4];
    uint32_t first = (uint32_t)level;

    if (!t->level_linear || !is_float(t))
        return read_level(r, (uint32_t)floorf(level + 0.5f), s, p, out);
    if (!read_level(r, first, s, p, out))
        return false;
    if (weight == 0.0f || first + 1 >= t->level_count)
        return true;
    if (!read_level(r, first + 1, s, p, next))
        return false;
    for (uint32_t c = 0; c < 4; c++)
        out[c].f = (1.0f - weight) * out[c].f + weight * next[c].f;
    return true;
}

bool vgpu_texture_sample(const struct vgpu_texture *t, const struct vgpu_sample *s,
                         const uint8_t *pages, uint32_t out[4], uint64_t *fault)
{
    const struct reader reader = {.texture = t, .pages = pages, .fault = fault};
    struct position p = position_of(t, s);
    union channel channels[4];
    bool done;

    if (s->integers || t->buffer) {
        int64_t at[3] = {0};

        for (uint32_t d = 0; d < p.dimensions; d++)
            at[d] = (s->integers ? s->index[d]
                                 : (int64_t)floorf(in_elements(t, p.at[d], t->levels[0].width,
                                                               VGPU_ADDRESS_CLAMP))) +
                    s->offset[d];
        uint32_t level = (uint32_t)choose_level(t, s);
        done = read_element(&reader, &t->levels[level], p.dimensions, at, p.plane, channels);
    } else if (s->form == VGPU_SAMPLE_GATHER) {
        done = gather(&reader, s, &p, channels);
    } else {
        done = read_levels(&reader, s, &p, channels);
    }
    for (uint32_t c = 0; done && c < 4; c++)
        out[c] = channels[c].u;
    return done;
}

/* ---- writing ---- */

static uint32_t encode_channel(const struct vgpu_texture *t, uint32_t bits)
{
    uint32_t most = (1u << (t->bits - 1) << 1) - 1u;
    int32_t high = (int32_t)(most >> 1), low = -high - 1;
    float value = vgpu_float_of(bits);

    switch (t->kind) {
    case VGPU_TEXEL_UINT:
        return bits < most ? bits : most;
    case VGPU_TEXEL_SINT:
        return (uint32_t)((int32_t)bits < low ? low : (int32_t)bits > high ? high : (int32_t)bits);
    case VGPU_TEXEL_UNORM:
        return (uint32_t)(limit(value, 0, 1) * (float)most + 0.5f);
    case VGPU_TEXEL_SNORM:
        return (uint32_t)(int32_t)rintf(limit(value, -1, 1) * (float)high);
    default:
        return t->bits == 16 ? vgpu_to_f16_one((double)value, VGPU_RN) : bits;
    }
}

uint32_t vgpu_texture_encode(const struct vgpu_texture *t, const uint32_t channels[4],
                             uint8_t element[16])
{
    if (t->kind == VGPU_TEXEL_UNORM_10_2) {
        uint32_t word = (uint32_t)(limit(vgpu_float_of(channels[3]), 0, 1) * 3.0f + 0.5f) << 30;

        for (uint32_t c = 0; c < 3; c++)
            word |= (uint32_t)(limit(vgpu_float_of(channels[c]), 0, 1) * 1023.0f + 0.5f)
                    << (10 * c);
        memcpy(element, &word, sizeof(word));
        return sizeof(word);
    }
    for (uint32_t c = 0; c < t->channels; c++) {
        uint32_t bits = encode_channel(t, channels[c]);

        memcpy(element + c * (t->bits / 8u), &bits, t->bits / 8u);
    }
    return t->element;
}
