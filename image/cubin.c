/* SPDX-License-Identifier: MIT */
#include "image/cubin.h"

#include <elf.h>
#include <errno.h>

#include "image/bytes.h"

enum { MACHINE_CUDA = 190 };

/* Sections of these CUDA types have a size in their header and no bytes in the file. */
enum { FIRST_TYPE_WITHOUT_BYTES = 0x70000007, LAST_TYPE_WITHOUT_BYTES = 0x7000000a };

static int extend(size_t *end, uint64_t offset, uint64_t size, size_t limit)
{
    if (!vgpu_bytes_within(offset, size, limit))
        return -EINVAL;
    if (offset + size > *end)
        *end = (size_t)(offset + size);
    return 0;
}

static int extend_by_section(size_t *end, const Elf64_Shdr *section, size_t limit)
{
    if (section->sh_type == SHT_NULL || section->sh_type == SHT_NOBITS ||
        (section->sh_type >= FIRST_TYPE_WITHOUT_BYTES &&
         section->sh_type <= LAST_TYPE_WITHOUT_BYTES))
        return 0;
    return extend(end, section->sh_offset, section->sh_size, limit);
}

int vgpu_cubin_size(const void *data, size_t limit, size_t *size)
{
    size_t end = sizeof(Elf64_Ehdr);
    uint64_t sections;
    Elf64_Ehdr header;
    Elf64_Shdr section;

    if (limit < sizeof(header))
        return -EINVAL;
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != MACHINE_CUDA)
        return -EINVAL;
    if (header.e_phnum &&
        extend(&end, header.e_phoff, (uint64_t)header.e_phnum * header.e_phentsize, limit) < 0)
        return -EINVAL;
    if (header.e_shoff == 0) {
        *size = end;
        return 0;
    }
    if (header.e_shentsize != sizeof(section) ||
        !vgpu_bytes_within(header.e_shoff, sizeof(section), limit))
        return -EINVAL;
    sections = header.e_shnum;
    if (sections == 0) {
        /* More sections than the field can hold: section 0 has their number. */
        memcpy(&section, (const char *)data + header.e_shoff, sizeof(section));
        sections = section.sh_size;
    }
    /* The table must fit, so the loop is bounded by the bytes there are. */
    if (sections > limit / sizeof(section) ||
        extend(&end, header.e_shoff, sections * sizeof(section), limit) < 0)
        return -EINVAL;
    for (uint64_t i = 0; i < sections; i++) {
        memcpy(&section, (const char *)data + header.e_shoff + i * sizeof(section),
               sizeof(section));
        if (extend_by_section(&end, &section, limit) < 0)
            return -EINVAL;
    }
    *size = end;
    return 0;
}
