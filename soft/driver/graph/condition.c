/* SPDX-License-Identifier: MIT */
#include "soft/driver/graph/condition.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "soft/driver/graph/graph.h"

struct vgpu_condition *vgpu_condition_share(struct vgpu_condition *condition)
{
    /* Relaxed: whoever shares has a reference already. */
    atomic_fetch_add_explicit(&condition->references, 1, memory_order_relaxed);
    return condition;
}

void vgpu_condition_put(struct vgpu_condition *condition)
{
    /* Acquire and release: the last holder sees what the others did. */
    if (!condition ||
        atomic_fetch_sub_explicit(&condition->references, 1, memory_order_acq_rel) != 1)
        return;
    vgpu_graph_block_free(&condition->word);
    free(condition);
}

void vgpu_conditions_put(struct vgpu_condition **list)
{
    while (*list) {
        struct vgpu_condition *condition = *list;
        *list = condition->next;
        vgpu_condition_put(condition);
    }
}

/* The word, or NULL if its context has taken it along. */
static unsigned int *word(const struct vgpu_condition *condition)
{
    if (!vgpu_graph_block_is_there(&condition->word))
        return NULL;
    return (unsigned int *)(uintptr_t)condition->word.address;
}

void vgpu_condition_begin(const struct vgpu_condition *condition)
{
    unsigned int *value = word(condition);

    /* Relaxed, as below: the order of a graph's nodes is what makes it seen. */
    if (value && (condition->flags & CU_GRAPH_COND_ASSIGN_DEFAULT))
        __atomic_store_n(value, condition->initial, __ATOMIC_RELAXED);
}

unsigned int vgpu_condition_value(const struct vgpu_condition *condition)
{
    const unsigned int *value = word(condition);

    return value ? __atomic_load_n(value, __ATOMIC_RELAXED) : 0;
}

static CUresult create(CUgraphConditionalHandle *handle, struct vgpu_graph *graph,
                       struct vgpu_context *context, unsigned int initial, unsigned int flags)
{
    struct vgpu_condition *condition = calloc(1, sizeof(*condition));
    CUresult result;

    if (!condition)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = vgpu_graph_block_create(context, sizeof(unsigned int), &condition->word);
    if (result != CUDA_SUCCESS) {
        free(condition);
        return result;
    }
    *(unsigned int *)(uintptr_t)condition->word.address = 0;
    condition->references = 1;
    condition->context = context;
    condition->initial = initial;
    condition->flags = flags;
    condition->next = graph->conditions;
    graph->conditions = condition;
    *handle = condition->word.address;
    return CUDA_SUCCESS;
}

CUresult cuGraphConditionalHandleCreate(CUgraphConditionalHandle *pHandle_out, CUgraph hGraph,
                                        CUcontext ctx, unsigned int defaultLaunchValue,
                                        unsigned int flags)
{
    struct vgpu_context *context;
    struct vgpu_graph *graph;
    CUresult result = vgpu_context_named(ctx, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pHandle_out || (flags & ~(unsigned int)CU_GRAPH_COND_ASSIGN_DEFAULT))
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(hGraph);
    result = graph ? create(pHandle_out, graph, context, defaultLaunchValue, flags)
                   : CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}
