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

/** Copies `size` bytes to where the byte after them cannot be read. */
void *guard_copy(const void *data, size_t size);
void guard_free(void *data, size_t size);

#endif
