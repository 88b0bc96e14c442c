/* SPDX-License-Identifier: MIT */
#include "guest/memory/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE_BYTES 192u /* all but the end of a long path */

int vgpu_maps_open(struct vgpu_maps *maps)
{
    maps->at = maps->filled = 0;
    maps->file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    return maps->file < 0 ? -errno : 0;
}

void vgpu_maps_close(struct vgpu_maps *maps)
{
    close(maps->file);
}

static bool fill(struct vgpu_maps *maps)
{
    ssize_t got;
    do {
        got = read(maps->file, maps->text, sizeof(maps->text));
    } while (got < 0 && errno == EINTR);
    maps->at = 0;
    maps->filled = got > 0 ? (size_t)got : 0;
    return got > 0;
}

static bool read_line(struct vgpu_maps *maps, char line[LINE_BYTES])
{
    size_t length = 0;
    for (;;) {
        if (maps->at == maps->filled && !fill(maps))
            return false;
        const char *part = maps->text + maps->at;
        const char *end = memchr(part, '\n', maps->filled - maps->at);
        size_t bytes = end ? (size_t)(end - part) : maps->filled - maps->at;
        size_t kept = bytes < LINE_BYTES - 1 - length ? bytes : LINE_BYTES - 1 - length;
        memcpy(line + length, part, kept);
        length += kept;
        maps->at += bytes + (end != NULL);
        if (end)
            break;
    }
    line[length] = 0;
    return true;
}

/* The number at *text, which goes on behind the character that follows the number. */
static uint64_t number(const char **text, int base)
{
    char *end;
    uint64_t value = strtoull(*text, &end, base);
    *text = end + (*end != 0);
    return value;
}

bool vgpu_maps_next(struct vgpu_maps *maps, struct vgpu_mapping *mapping)
{
    char line[LINE_BYTES];
    if (!read_line(maps, line))
        return false;
    const char *text = line;
    mapping->start = number(&text, 16);
    mapping->end = number(&text, 16);
    if (strnlen(text, 5) < 5) /* "rw-p " */
        return false;
    mapping->protection = (text[0] == 'r' ? PROT_READ : 0) | (text[1] == 'w' ? PROT_WRITE : 0) |
                          (text[2] == 'x' ? PROT_EXEC : 0);
    mapping->shared = text[3] == 's';
    text += 5;
    mapping->offset = number(&text, 16);
    unsigned int major = (unsigned int)number(&text, 16);
    mapping->device = makedev(major, (unsigned int)number(&text, 16));
    mapping->inode = number(&text, 10);
    mapping->stack = strstr(text, "[stack") != NULL;
    return true;
}
