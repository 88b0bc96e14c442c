/* SPDX-License-Identifier: MIT */
#include "image/select.h"

#include <errno.h>
#include <string.h>

#include "image/bytes.h"
#include "image/fatbin.h"

static int add(struct vgpu_code_selection *selection, const void *data, size_t size)
{
    if (selection->count == VGPU_CODE_PIECES ||
        __builtin_add_overflow(selection->size, size, &selection->size) ||
        selection->size > VGPU_CODE_MOST_BYTES)
        return -E2BIG;
    struct vgpu_code_part *last =
        selection->count ? &selection->pieces[selection->count - 1] : NULL;
    if (last && (const uint8_t *)last->data + last->size == data) {
        last->size += size; /* neighbours in the program's memory */
        return 0;
    }
    selection->pieces[selection->count++] = (struct vgpu_code_part){data, size};
    return 0;
}

/* The newest PTX that fits; 0 if there is none. Negative errno. */
static int best_ptx(const struct vgpu_code_part *part, uint32_t device)
{
    struct vgpu_fatbin_walk walk = {.data = part->data, .size = part->size};
    struct vgpu_fatbin_entry entry;
    int best = 0, more;

    while ((more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        if (vgpu_fatbin_ptx_fits(&entry, device) && (int)entry.architecture > best)
            best = (int)entry.architecture;
    }
    return more < 0 ? more : best;
}

static bool is_useful(const struct vgpu_fatbin_entry *entry, uint32_t device, uint32_t ptx)
{
    switch (entry->kind) {
    case VGPU_FATBIN_PTX:
        return entry->architecture == ptx && vgpu_fatbin_ptx_fits(entry, device);
    case VGPU_FATBIN_CUBIN:
        return vgpu_fatbin_cubin_fits(entry, device);
    default:
        return true;
    }
}

static int select_fatbin(const struct vgpu_code_part *part, uint32_t device, uint8_t *header,
                         struct vgpu_code_selection *selection)
{
    struct vgpu_fatbin_walk walk = {.data = part->data, .size = part->size};
    struct vgpu_fatbin_entry entry;
    int ptx = best_ptx(part, device), more;
    size_t before;

    if (ptx < 0)
        return ptx;
    int error = add(selection, header, VGPU_FATBIN_HEADER_BYTES);
    if (error < 0)
        return error;
    before = selection->size;
    while ((more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        if (!is_useful(&entry, device, (uint32_t)ptx))
            continue;
        error = add(selection, entry.record, entry.record_bytes);
        if (error < 0)
            return error;
    }
    vgpu_fatbin_make_header(header, selection->size - before);
    return more;
}

int vgpu_code_select(const struct vgpu_code *code, uint32_t device,
                     struct vgpu_code_selection *selection)
{
    int error = 0;

    selection->size = selection->count = 0;
    if (code->kind != VGPU_CODE_FATBIN)
        return add(selection, code->parts[0].data, code->parts[0].size);
    for (uint32_t i = 0; error == 0 && i < code->part_count; i++)
        error = select_fatbin(&code->parts[i], device, selection->headers[i], selection);
    return error;
}

void vgpu_code_selection_hash(const struct vgpu_code_selection *selection,
                              struct vgpu_image_hash *hash)
{
    struct vgpu_image_hasher hasher;

    vgpu_image_hasher_start(&hasher);
    for (uint32_t i = 0; i < selection->count; i++)
        vgpu_image_hasher_add(&hasher, selection->pieces[i].data, selection->pieces[i].size);
    vgpu_image_hasher_finish(&hasher, hash);
}
