/* SPDX-License-Identifier: MIT */
#include "worker/graph/graph_memory.h"

#include "worker/context.h"
#include "worker/graph/graph_list.h"
#include "worker/worker.h"

#define UNIT_BYTES 65536u
#define DEPTH_MOST 32u /* of graphs in graphs */

/** Of a graph and all in it. */
struct sum {
    uint64_t units; /* that it allocates */
    bool moves;     /* there are nodes that allocate or free */
};

static CUresult add_graph(const struct vgpu_worker *worker, CUgraph graph, uint32_t depth,
                          struct sum *sum);

static CUresult add_node(const struct vgpu_worker *worker, CUgraphNode node, uint32_t depth,
                         struct sum *sum)
{
    const struct vgpu_driver *driver = worker->driver;
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = {0};
    CUgraphNodeType type;
    CUgraph child;
    CUresult error = driver->cuGraphNodeGetType(node, &type);
    if (error == CUDA_SUCCESS && type == CU_GRAPH_NODE_TYPE_GRAPH) {
        error = driver->cuGraphChildGraphNodeGetGraph(node, &child);
        return error ? error : add_graph(worker, child, depth + 1, sum);
    }
    if (error == CUDA_SUCCESS)
        sum->moves |= type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || type == CU_GRAPH_NODE_TYPE_MEM_FREE;
    if (error || type != CU_GRAPH_NODE_TYPE_MEM_ALLOC)
        return error;
    error = driver->cuGraphMemAllocNodeGetParams(node, &alloc);
    uint64_t more = alloc.bytesize / UNIT_BYTES + (alloc.bytesize % UNIT_BYTES != 0);
    if (error == CUDA_SUCCESS && __builtin_add_overflow(sum->units, more, &sum->units))
        error = CUDA_ERROR_OUT_OF_MEMORY;
    return error;
}

static CUresult add_graph(const struct vgpu_worker *worker, CUgraph graph, uint32_t depth,
                          struct sum *sum)
{
    struct vgpu_node_list list = {0};
    size_t count = 0;
    if (depth == DEPTH_MOST)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult error = worker->driver->cuGraphGetNodes(graph, NULL, &count);
    if (error == CUDA_SUCCESS)
        error = vgpu_node_list_make(&list, count);
    if (error == CUDA_SUCCESS && count)
        error = worker->driver->cuGraphGetNodes(graph, list.from, &count);
    for (size_t i = 0; i < list.count && error == CUDA_SUCCESS; i++)
        error = add_node(worker, list.from[i], depth, sum);
    vgpu_node_list_free(&list);
    return error;
}

CUresult vgpu_graph_memory_charge(struct vgpu_worker *worker, CUgraph graph, uint32_t *units,
                                  bool *moves)
{
    struct sum sum = {0};
    CUresult error = add_graph(worker, graph, 0, &sum);
    if (error)
        return error;
    if (sum.units > UINT32_MAX || !vgpu_pools_charge(worker, sum.units * UNIT_BYTES))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *units = (uint32_t)sum.units;
    *moves = sum.moves;
    return CUDA_SUCCESS;
}

void vgpu_graph_memory_return(struct vgpu_worker *worker, uint32_t units)
{
    if (units == 0)
        return;
    worker->pools.graphs += (uint64_t)units * UNIT_BYTES;
    worker->pools.untidy = true;
    /* Else in a quiet moment: a graph that runs ends when it is done, and nobody waits for it. */
    if (vgpu_contexts_are_done(worker))
        vgpu_pools_tidy(worker);
}
