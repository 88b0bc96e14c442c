/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/texts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More PTX than this in one entry is not read. */
#define MOST_PTX_BYTES ((size_t)512 << 20)

/* Takes over `text`. */
static int append(struct vgpu_texts *texts, char *text, size_t length)
{
    struct vgpu_text *list = reallocarray(texts->list, texts->count + 1u, sizeof(*list));

    if (!list) {
        free(text);
        return -ENOMEM;
    }
    list[texts->count++] = (struct vgpu_text){text, strnlen(text, length)};
    texts->list = list;
    return 0;
}

int vgpu_texts_add_copy(struct vgpu_texts *texts, const char *text, size_t length)
{
    char *copy = malloc(length + 1);

    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return append(texts, copy, length);
}

/* How well an entry suits: the newer the better, and what is for this very architecture before what
   is for all later ones; 0 if it does not. */
static uint32_t rank(const struct vgpu_fatbin_entry *entry, uint32_t capability)
{
    if (entry->kind != VGPU_FATBIN_PTX || !vgpu_fatbin_ptx_fits(entry, capability))
        return 0;
    return 4 * entry->architecture + (entry->flags & VGPU_FATBIN_ARCHITECTURE_SPECIFIC ? 2 : 0) +
           (entry->flags & VGPU_FATBIN_FAMILY_SPECIFIC ? 1 : 0);
}

static int add_fatbin(struct vgpu_texts *texts, const struct vgpu_code_part *part,
                      uint32_t capability)
{
    struct vgpu_fatbin_walk walk = {.data = part->data, .size = part->size};
    struct vgpu_fatbin_entry entry;
    uint32_t best = 0;
    int more;

    while ((more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        if (rank(&entry, capability) > best)
            best = rank(&entry, capability);
    }
    walk.offset = 0;
    while (more == 0 && best > 0 && (more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        size_t length;
        void *text;

        more = 0;
        if (rank(&entry, capability) != best)
            continue;
        more = vgpu_fatbin_expand(&entry, MOST_PTX_BYTES, &text, &length);
        if (more == 0)
            more = append(texts, text, length);
    }
    return more;
}

int vgpu_texts_add(struct vgpu_texts *texts, const struct vgpu_code *code, uint32_t capability)
{
    uint32_t before = texts->count;
    int error = 0;

    if (code->kind == VGPU_CODE_PTX)
        return vgpu_texts_add_copy(texts, code->parts[0].data, code->parts[0].size);
    for (uint32_t i = 0; i < code->part_count && error == 0 && code->kind == VGPU_CODE_FATBIN; i++)
        error = add_fatbin(texts, &code->parts[i], capability);
    return error < 0 ? error : texts->count == before ? -ENOENT : 0;
}

void vgpu_texts_drop(struct vgpu_texts *texts)
{
    for (uint32_t i = 0; i < texts->count; i++)
        free((char *)texts->list[i].text);
    free(texts->list);
    *texts = (struct vgpu_texts){.list = NULL};
}
