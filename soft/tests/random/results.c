/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "soft/tests/random/kernel.h"

int results_create(const struct kernel *kernel, struct results *results)
{
    size_t threads = (size_t)kernel->grid * kernel->block[0] * kernel->block[1];

    *results = (struct results){.row_bytes = threads * ROW_WORDS * sizeof(uint32_t),
                                .own_bytes = threads * OWN_BYTES,
                                .cell_bytes = CELL_COUNT * sizeof(uint64_t)};
    results->rows = calloc(1, results->row_bytes);
    results->own = calloc(1, results->own_bytes);
    results->cells = calloc(1, results->cell_bytes);
    if (results->rows == NULL || results->own == NULL || results->cells == NULL) {
        results_destroy(results);
        return -ENOMEM;
    }
    cells_start(results->cells);
    return 0;
}

void results_destroy(struct results *results)
{
    free(results->rows);
    free(results->own);
    free(results->cells);
    *results = (struct results){0};
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;

    /* FNV-1a */
    for (size_t n = 0; n < count; n++)
        hash = (hash ^ at[n]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t results_hash(const struct results *results)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    hash = hash_bytes(hash, results->rows, results->row_bytes);
    hash = hash_bytes(hash, results->own, results->own_bytes);
    return hash_bytes(hash, results->cells, results->cell_bytes);
}
