/* SPDX-License-Identifier: MIT */
/** Images that nvcc made, from tests/data; its path is the first argument of a test. */
#ifndef VGPU_IMAGE_TESTS_FIXTURE_H
#define VGPU_IMAGE_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/image.h"

struct fixture {
    void *data;
    size_t size;
};

void fixtures_are_in(const char *folder);
struct fixture fixture_read(const char *name);

/** Expands the newest PTX of a fatbin that fits a device, into new memory: 0, -ENOENT if there is
 *  none, or as vgpu_fatbin_expand(). */
int fixture_ptx(const void *data, size_t size, uint32_t device, size_t limit, char **text);

/** Copies `size` bytes to where the byte after them cannot be read. */
void *guard_copy(const void *data, size_t size);
void guard_free(void *data, size_t size);

#endif
