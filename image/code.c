/* SPDX-License-Identifier: MIT */
/* Recognising what a program handed over, and its extent. */
#include <ctype.h>
#include <errno.h>

#include "image/bytes.h"
#include "image/cubin.h"
#include "image/fatbin.h"
#include "image/image.h"

enum {
    WRAPPER_MAGIC = 0x466243b1,
    WRAPPER_BYTES = 24,
    WRAPPER_PLAIN = 1,
    WRAPPER_LINKED = 2, /* its last word points to an array of fatbins that ends with NULL */
    ELF_MAGIC = 0x464c457f,
};

struct wrapper {
    uint32_t magic;
    uint32_t version;
    const void *fatbin;
    const void *const *linked;
};

_Static_assert(sizeof(struct wrapper) == WRAPPER_BYTES, "as nvcc writes it");

static bool looks_like_text(const uint8_t *bytes, size_t limit)
{
    size_t checked = 0;

    for (; checked < 4 && checked < limit && bytes[checked]; checked++) {
        if (!isascii(bytes[checked]) || (!isprint(bytes[checked]) && !isspace(bytes[checked])))
            return false;
    }
    return checked > 0;
}

/* Finds the size of one image that is not a wrapper. */
static int find_part(const void *data, size_t limit, enum vgpu_code_kind *kind, size_t *size)
{
    size_t most = limit < VGPU_CODE_MOST_BYTES ? limit : VGPU_CODE_MOST_BYTES;
    bool binary = most >= sizeof(uint32_t) && !looks_like_text(data, most);

    if (binary && vgpu_bytes_begin(data, VGPU_FATBIN_MAGIC)) {
        *kind = VGPU_CODE_FATBIN;
        return vgpu_fatbin_size(data, most, size);
    }
    if (binary && vgpu_bytes_begin(data, ELF_MAGIC)) {
        *kind = VGPU_CODE_CUBIN;
        return vgpu_cubin_size(data, most, size);
    }
    if (!looks_like_text(data, most))
        return -EINVAL;
    *kind = VGPU_CODE_PTX;
    *size = strnlen(data, most) + 1;
    if (*size > most)
        return most == limit ? -EINVAL : -E2BIG;
    return 0;
}

static int follow_wrapper(const struct wrapper *wrapper, struct vgpu_code *code)
{
    int error;

    if ((wrapper->version != WRAPPER_PLAIN && wrapper->version != WRAPPER_LINKED) ||
        !wrapper->fatbin)
        return -EINVAL;
    code->parts[0].data = wrapper->fatbin;
    code->part_count = 1;
    error = find_part(wrapper->fatbin, VGPU_CODE_UNBOUNDED, &code->kind, &code->parts[0].size);
    if (error < 0 || wrapper->version != WRAPPER_LINKED || !wrapper->linked)
        return error;
    for (const void *const *linked = wrapper->linked; *linked; linked++) {
        struct vgpu_code_part *part = &code->parts[code->part_count];
        enum vgpu_code_kind kind;

        if (code->part_count == VGPU_CODE_PARTS)
            return -E2BIG;
        part->data = *linked;
        error = find_part(*linked, VGPU_CODE_UNBOUNDED, &kind, &part->size);
        if (error < 0)
            return error;
        if (kind != VGPU_CODE_FATBIN || code->kind != VGPU_CODE_FATBIN)
            return -EINVAL;
        code->part_count++;
    }
    return 0;
}

int vgpu_code_find(const void *given, size_t limit, struct vgpu_code *code)
{
    struct wrapper wrapper;

    memset(code, 0, sizeof(*code));
    if (!given)
        return -EINVAL;
    if (limit == VGPU_CODE_UNBOUNDED && !looks_like_text(given, limit) &&
        vgpu_bytes_begin(given, WRAPPER_MAGIC)) {
        memcpy(&wrapper, given, sizeof(wrapper));
        return follow_wrapper(&wrapper, code);
    }
    code->part_count = 1;
    code->parts[0].data = given;
    return find_part(given, limit, &code->kind, &code->parts[0].size);
}
