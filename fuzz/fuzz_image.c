/* SPDX-License-Identifier: MIT */
/* Fatbins, cubins and PTX as the guest, the worker and the software GPU look at them. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "image/select.h"

#define MOST_EXPANDED ((size_t)1 << 20)

static void walk(const struct vgpu_code_part *part)
{
    struct vgpu_fatbin_walk walk = {.data = part->data, .size = part->size};
    struct vgpu_fatbin_entry entry;

    while (vgpu_fatbin_next(&walk, &entry) == 1) {
        void *bytes;
        size_t size;

        if (vgpu_fatbin_expand(&entry, MOST_EXPANDED, &bytes, &size) != 0)
            continue;
        if (size > MOST_EXPANDED || ((char *)bytes)[size] != '\0')
            abort();
        free(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vgpu_code_selection selection;
    struct vgpu_image_hash hash;
    struct vgpu_code code;
    size_t sum = 0;

    if (vgpu_code_find(data, size, &code) != 0)
        return 0;
    for (uint32_t n = 0; n < code.part_count && code.kind == VGPU_CODE_FATBIN; n++)
        walk(&code.parts[n]);
    if (vgpu_code_select(&code, 90, &selection) == 0) {
        for (uint32_t n = 0; n < selection.count; n++)
            sum += selection.pieces[n].size;
        if (sum != selection.size)
            abort();
        for (uint32_t n = 0; n < selection.count; n++)
            vgpu_image_hash(selection.pieces[n].data, selection.pieces[n].size, &hash);
    }
    return 0;
}
