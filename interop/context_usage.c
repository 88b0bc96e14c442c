/* SPDX-License-Identifier: MIT */
/* How contexts were shared and ended at first: a count of their users on top of their life. */
#include "interop/driver_api.h"

#include <pthread.h>
#include <stdlib.h>

/* How often a context was attached to. Contexts are known by their ids, which are never used again;
 * an entry goes when its count is 0. */
struct usage {
    struct usage *next;
    unsigned long long id;
    unsigned int count;
};

static struct {
    pthread_mutex_t lock;
    struct usage *first;
} usages = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Called with the lock. */
static struct usage **find(unsigned long long id)
{
    struct usage **link = &usages.first;
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

static CUresult current_context(CUcontext *context, unsigned long long *id)
{
    CUresult error = cuCtxGetCurrent(context);
    if (error == CUDA_SUCCESS && *context == NULL)
        error = CUDA_ERROR_INVALID_CONTEXT;
    return error ? error : cuCtxGetId(*context, id);
}

CUresult cuCtxAttach(CUcontext *context, unsigned int flags)
{
    CUcontext current;
    unsigned long long id;
    CUresult error = current_context(&current, &id);
    if (error)
        return error;
    if (context == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&usages.lock);
    struct usage **link = find(id);
    if (*link == NULL) {
        *link = calloc(1, sizeof(**link));
        if (*link)
            (*link)->id = id;
    }
    if (*link)
        (*link)->count++;
    else
        error = CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&usages.lock);
    if (error == CUDA_SUCCESS)
        *context = current;
    return error;
}

CUresult cuCtxDetach(CUcontext context)
{
    CUcontext current;
    unsigned long long id;
    CUresult error = current_context(&current, &id);
    if (error)
        return error;
    if (context != current)
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&usages.lock);
    struct usage **link = find(id), *usage = *link;
    if (usage && --usage->count == 0) {
        *link = usage->next;
        free(usage);
    }
    pthread_mutex_unlock(&usages.lock);
    return usage ? CUDA_SUCCESS : cuCtxDestroy_v2(context);
}
