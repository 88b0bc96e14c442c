/* SPDX-License-Identifier: MIT */
/*
 * Launches as they were before cuLaunchKernel: the block's shape and the parameters are set on the
 * function, one call at a time. They are kept here, and a launch is one of today's.
 */
#include "interop/driver_api.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMETERS_MAX = 4096 }; /* bytes, as it was then */

struct setting {
    struct setting *next;
    CUfunction function;
    unsigned int x, y, z; /* 0: not set */
    unsigned int shared;
    unsigned int bytes;
    _Alignas(16) char parameters[PARAMETERS_MAX];
};

/* What was set on a function stays until the process ends: such programs have few of them. */
static struct {
    pthread_mutex_t lock;
    struct setting *first;
} settings = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct setting *find_or_add(CUfunction function)
{
    struct setting *setting = settings.first;
    while (setting && setting->function != function)
        setting = setting->next;
    if (setting)
        return setting;
    setting = aligned_alloc(_Alignof(struct setting), sizeof(*setting));
    if (setting == NULL)
        return NULL;
    memset(setting, 0, sizeof(*setting));
    setting->function = function;
    setting->next = settings.first;
    settings.first = setting;
    return setting;
}

/* The function's settings, with the lock, if it is a function. */
static CUresult take(CUfunction function, struct setting **setting)
{
    int registers;
    CUresult error = cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function);
    if (error)
        return error;
    pthread_mutex_lock(&settings.lock);
    *setting = find_or_add(function);
    if (*setting)
        return CUDA_SUCCESS;
    pthread_mutex_unlock(&settings.lock);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static void put(void)
{
    pthread_mutex_unlock(&settings.lock);
}

CUresult cuFuncSetBlockShape(CUfunction function, int x, int y, int z)
{
    struct setting *setting;
    CUresult error = take(function, &setting);
    if (error)
        return error;
    if (x > 0 && y > 0 && z > 0) {
        setting->x = (unsigned int)x;
        setting->y = (unsigned int)y;
        setting->z = (unsigned int)z;
    } else {
        error = CUDA_ERROR_INVALID_VALUE;
    }
    put();
    return error;
}

CUresult cuFuncSetSharedSize(CUfunction function, unsigned int bytes)
{
    struct setting *setting;
    CUresult error = take(function, &setting);
    if (error)
        return error;
    setting->shared = bytes;
    put();
    return CUDA_SUCCESS;
}

CUresult cuParamSetSize(CUfunction function, unsigned int bytes)
{
    struct setting *setting;
    CUresult error = take(function, &setting);
    if (error)
        return error;
    if (bytes <= PARAMETERS_MAX)
        setting->bytes = bytes;
    else
        error = CUDA_ERROR_INVALID_VALUE;
    put();
    return error;
}

CUresult cuParamSetv(CUfunction function, int offset, void *value, unsigned int bytes)
{
    struct setting *setting;
    CUresult error = take(function, &setting);
    if (error)
        return error;
    if (offset < 0 || offset > PARAMETERS_MAX || bytes > PARAMETERS_MAX - (unsigned int)offset ||
        (bytes && value == NULL))
        error = CUDA_ERROR_INVALID_VALUE;
    else if (bytes)
        memcpy(setting->parameters + offset, value, bytes);
    put();
    return error;
}

CUresult cuParamSeti(CUfunction function, int offset, unsigned int value)
{
    return cuParamSetv(function, offset, &value, sizeof(value));
}

CUresult cuParamSetf(CUfunction function, int offset, float value)
{
    return cuParamSetv(function, offset, &value, sizeof(value));
}

/* A texture reference is bound where the module declares it; there is nothing to set, whichever
 * unit it is for. */
CUresult cuParamSetTexRef(CUfunction function, int unit, CUtexref reference)
{
    struct setting *setting;
    unsigned int flags;
    CUresult error = take(function, &setting);
    (void)unit;
    if (error)
        return error;
    put();
    return cuTexRefGetFlags(&flags, reference);
}

CUresult cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream)
{
    struct setting *setting, now;
    CUresult error = take(function, &setting);
    if (error)
        return error;
    now = *setting;
    put();
    if (now.x == 0 || width <= 0 || height <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    size_t bytes = now.bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, now.parameters, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     &bytes, CU_LAUNCH_PARAM_END};
    return cuLaunchKernel(function, (unsigned int)width, (unsigned int)height, 1, now.x, now.y,
                          now.z, now.shared, stream, NULL, bytes ? extra : NULL);
}

CUresult cuLaunchGrid(CUfunction function, int width, int height)
{
    return cuLaunchGridAsync(function, width, height, NULL);
}

CUresult cuLaunch(CUfunction function)
{
    return cuLaunchGridAsync(function, 1, 1, NULL);
}

/* Each launch must be on another device, and there is one. */
CUresult cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS *list, unsigned int count,
                                              unsigned int flags)
{
    const unsigned int known = CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC |
                               CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_POST_LAUNCH_SYNC;
    if (list == NULL || count != 1 || flags & ~known)
        return CUDA_ERROR_INVALID_VALUE;
    if (list->hStream == NULL || list->hStream == CU_STREAM_LEGACY ||
        list->hStream == CU_STREAM_PER_THREAD)
        return CUDA_ERROR_INVALID_VALUE;
    return cuLaunchCooperativeKernel(list->function, list->gridDimX, list->gridDimY, list->gridDimZ,
                                     list->blockDimX, list->blockDimY, list->blockDimZ,
                                     list->sharedMemBytes, list->hStream, list->kernelParams);
}
