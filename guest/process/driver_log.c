/* SPDX-License-Identifier: MIT */
/* The driver's log: this library writes its own to stderr, so the one that programs can ask for is
 * always empty. */
#include "interop/driver_api.h"

#include <stdio.h>

static char callback_place; /* what the handles of callbacks point to */

CUresult cuLogsRegisterCallback(CUlogsCallback callback, void *data, CUlogsCallbackHandle *handle)
{
    (void)data;
    if (callback == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (handle)
        *handle = (CUlogsCallbackHandle)&callback_place;
    return CUDA_SUCCESS;
}

CUresult cuLogsUnregisterCallback(CUlogsCallbackHandle handle)
{
    return handle == (CUlogsCallbackHandle)&callback_place ? CUDA_SUCCESS
                                                           : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLogsCurrent(CUlogIterator *iterator, unsigned int flags)
{
    if (iterator == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *iterator = 0;
    return CUDA_SUCCESS;
}

CUresult cuLogsDumpToFile(CUlogIterator *iterator, const char *path, unsigned int flags)
{
    (void)iterator;
    FILE *file = path && flags == 0 ? fopen(path, "we") : NULL;
    return file && fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLogsDumpToMemory(CUlogIterator *iterator, char *buffer, size_t *bytes,
                            unsigned int flags)
{
    (void)iterator;
    if (buffer == NULL || bytes == NULL || *bytes == 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *buffer = 0;
    *bytes = 0;
    return CUDA_SUCCESS;
}
