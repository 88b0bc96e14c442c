/* SPDX-License-Identifier: MIT */
#include "interop/symbols.h"

#include <stdint.h>
#include <string.h>

struct symbol {
    const char *name;
    int version;
    bool per_thread;
    void *address;
};

static const struct symbol table[] = {
#define SYMBOL(symbol, name, version, per_thread) {name, version, per_thread, (void *)symbol},
#include "symbols.inc"
#undef SYMBOL
};

enum { COUNT = sizeof(table) / sizeof(table[0]) };

/* The first row of `name`, or COUNT. */
static size_t first_of(const char *name)
{
    size_t low = 0, high = COUNT;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(table[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT && strcmp(table[low].name, name) == 0 ? low : COUNT;
}

void *vgpu_symbol_find(const char *name, int version, bool per_thread,
                       CUdriverProcAddressQueryResult *status)
{
    const struct symbol *plain = NULL, *twin = NULL;
    size_t row = first_of(name);

    *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    if (row == COUNT)
        return NULL;
    for (; row < COUNT && strcmp(table[row].name, name) == 0; row++) {
        if (table[row].version > version)
            continue;
        if (table[row].per_thread)
            twin = &table[row];
        else
            plain = &table[row];
    }
    *status = CU_GET_PROC_ADDRESS_SUCCESS;
    if (per_thread && twin)
        return twin->address;
    if (plain)
        return plain->address;
    *status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    return NULL;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *symbolStatus)
{
    const cuuint64_t known =
        CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    CUdriverProcAddressQueryResult status;
    int newest;
    CUresult result;

    if (!symbol || !pfn || (flags & ~known) || flags == known)
        return CUDA_ERROR_INVALID_VALUE;
    *pfn = NULL;
    result = cuDriverGetVersion(&newest);
    if (result != CUDA_SUCCESS)
        return result;
    if (cudaVersion > newest)
        return CUDA_ERROR_INVALID_VALUE;
    *pfn = vgpu_symbol_find(symbol, cudaVersion,
                            flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &status);
    if (symbolStatus)
        *symbolStatus = status;
    return CUDA_SUCCESS;
}

/* The first version has no status: that there is no such function is its result. */
CUresult cuGetProcAddress(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags)
{
    CUresult result = cuGetProcAddress_v2(symbol, pfn, cudaVersion, flags, NULL);

    return result == CUDA_SUCCESS && !*pfn ? CUDA_ERROR_NOT_FOUND : result;
}
