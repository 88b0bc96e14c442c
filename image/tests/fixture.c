/* SPDX-License-Identifier: MIT */
#include "image/tests/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

static const char *data_folder;

enum { PAGE = 4096 };

void fixtures_are_in(const char *folder)
{
    data_folder = folder;
}

struct fixture fixture_read(const char *name)
{
    struct fixture fixture = {.data = malloc(1 << 20)};
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", data_folder, name);
    file = fopen(path, "rb");
    assert_non_null(file);
    fixture.size = fread(fixture.data, 1, 1 << 20, file);
    fclose(file);
    assert_true(fixture.size > 0);
    return fixture;
}

static size_t pages_for(size_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

void *guard_copy(const void *data, size_t size)
{
    size_t pages = pages_for(size);
    char *map =
        mmap(NULL, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *start;

    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + pages, PAGE, PROT_NONE), 0);
    start = map + pages - size;
    memcpy(start, data, size);
    return start;
}

void guard_free(void *data, size_t size)
{
    size_t pages = pages_for(size);

    munmap((char *)data - (pages - size), pages + PAGE);
}

int fixture_ptx(const void *data, size_t size, uint32_t device, size_t limit, char **text)
{
    struct vgpu_fatbin_walk walk = {.data = data, .size = size};
    struct vgpu_fatbin_entry entry, best = {0};

    while (vgpu_fatbin_next(&walk, &entry) > 0) {
        if (vgpu_fatbin_ptx_fits(&entry, device) && entry.architecture > best.architecture)
            best = entry;
    }
    return best.payload ? vgpu_fatbin_expand(&best, limit, (void **)text, &size) : -ENOENT;
}
