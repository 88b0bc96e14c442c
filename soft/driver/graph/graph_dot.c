/* SPDX-License-Identifier: MIT */
/* cuGraphDebugDotPrint: a graph as text for Graphviz. */
#include <inttypes.h>
#include <stdio.h>

#include "soft/driver/code/kernel_task.h"
#include "soft/driver/graph/condition.h"
#include "soft/driver/graph/node_task.h"

static const char *name_of(CUgraphNodeType type)
{
    static const char *const names[] = {
        [CU_GRAPH_NODE_TYPE_KERNEL] = "KERNEL",
        [CU_GRAPH_NODE_TYPE_MEMCPY] = "MEMCPY",
        [CU_GRAPH_NODE_TYPE_MEMSET] = "MEMSET",
        [CU_GRAPH_NODE_TYPE_HOST] = "HOST",
        [CU_GRAPH_NODE_TYPE_GRAPH] = "GRAPH",
        [CU_GRAPH_NODE_TYPE_EMPTY] = "EMPTY",
        [CU_GRAPH_NODE_TYPE_WAIT_EVENT] = "WAIT_EVENT",
        [CU_GRAPH_NODE_TYPE_EVENT_RECORD] = "EVENT_RECORD",
        [CU_GRAPH_NODE_TYPE_MEM_ALLOC] = "MEM_ALLOC",
        [CU_GRAPH_NODE_TYPE_MEM_FREE] = "MEM_FREE",
        [CU_GRAPH_NODE_TYPE_BATCH_MEM_OP] = "BATCH_MEM_OP",
        [CU_GRAPH_NODE_TYPE_CONDITIONAL] = "CONDITIONAL",
    };

    return names[type];
}

static bool wants(unsigned int flags, CUgraphDebugDot_flags what)
{
    return flags & ((unsigned int)what | CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE);
}

static const char *memory_name(CUmemorytype type)
{
    switch (type) {
    case CU_MEMORYTYPE_HOST:
        return "host";
    case CU_MEMORYTYPE_DEVICE:
        return "device";
    case CU_MEMORYTYPE_ARRAY:
        return "array";
    default:
        return "unified";
    }
}

/* Lines in a label end with \n as two characters. */
static void print_kernel(FILE *file, const struct vgpu_node *node, unsigned int flags)
{
    CUgraphNodeParams params;

    vgpu_node_task_params(node->type, node->task, &params);
    fprintf(file, "\\n%s", vgpu_kernel_task_function(node->task)->info.name);
    if (wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_KERNEL_NODE_PARAMS))
        fprintf(file, "\\ngrid %u %u %u, block %u %u %u, shared %u", params.kernel.gridDimX,
                params.kernel.gridDimY, params.kernel.gridDimZ, params.kernel.blockDimX,
                params.kernel.blockDimY, params.kernel.blockDimZ, params.kernel.sharedMemBytes);
    if (wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_KERNEL_NODE_ATTRIBUTES))
        fprintf(file, "\\npriority %d", node->attributes[CU_LAUNCH_ATTRIBUTE_PRIORITY].priority);
}

static void print_copy(FILE *file, const struct vgpu_node *node, unsigned int flags)
{
    const CUDA_MEMCPY3D *copy;
    CUgraphNodeParams params;

    vgpu_node_task_params(node->type, node->task, &params);
    copy = &params.memcpy.copyParams;
    fprintf(file, "\\n%s to %s", memory_name(copy->srcMemoryType),
            memory_name(copy->dstMemoryType));
    if (wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_MEMCPY_NODE_PARAMS))
        fprintf(file, "\\n%zu x %zu x %zu", copy->WidthInBytes, copy->Height, copy->Depth);
}

static void print_others(FILE *file, const struct vgpu_node *node, unsigned int flags)
{
    CUgraphNodeParams params;

    if (!node->task)
        return;
    vgpu_node_task_params(node->type, node->task, &params);
    if (node->type == CU_GRAPH_NODE_TYPE_MEMSET &&
        wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_MEMSET_NODE_PARAMS))
        fprintf(file, "\\n%#llx = %u, %u bytes, %zu x %zu", params.memset.dst, params.memset.value,
                params.memset.elementSize, params.memset.width, params.memset.height);
    if (node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC &&
        wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_MEM_ALLOC_NODE_PARAMS))
        fprintf(file, "\\n%#llx, %zu bytes", params.alloc.dptr, params.alloc.bytesize);
    if (node->type == CU_GRAPH_NODE_TYPE_MEM_FREE &&
        wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_MEM_FREE_NODE_PARAMS))
        fprintf(file, "\\n%#llx", params.free.dptr);
    if (node->type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP &&
        wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_BATCH_MEM_OP_NODE_PARAMS))
        fprintf(file, "\\n%u operations", params.memOp.count);
    if (node->type == CU_GRAPH_NODE_TYPE_HOST &&
        wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_HOST_NODE_PARAMS))
        fprintf(file, "\\n%p(%p)", (void *)(uintptr_t)params.host.fn, params.host.userData);
}

static void print_node(FILE *file, const struct vgpu_node *node, unsigned int flags)
{
    fprintf(file, "\"%" PRIu64 "\" [shape=\"box\" label=\"%zu\\n%s", node->id, node->index,
            name_of(node->type));
    if (wants(flags, CU_GRAPH_DEBUG_DOT_FLAGS_HANDLES))
        fprintf(file, "\\n%p", (const void *)node);
    if (node->type == CU_GRAPH_NODE_TYPE_KERNEL)
        print_kernel(file, node, flags);
    else if (node->type == CU_GRAPH_NODE_TYPE_MEMCPY)
        print_copy(file, node, flags);
    else
        print_others(file, node, flags);
    fprintf(file, "\"];\n");
}

static void print_graph(FILE *file, const struct vgpu_graph *graph, unsigned int flags)
{
    fprintf(file, "subgraph cluster_%" PRIu64 " {\nlabel=\"graph_%" PRIu64 "\";\n", graph->id,
            graph->id);
    for (size_t i = 0; i < graph->count; i++) {
        const struct vgpu_node *node = graph->nodes[i];
        print_node(file, node, flags);
        for (size_t j = 0; j < node->body_count; j++)
            print_graph(file, node->bodies[j], flags);
    }
    for (size_t i = 0; i < graph->count; i++) {
        const struct vgpu_links *links = &graph->nodes[i]->dependents;
        for (size_t j = 0; j < links->count; j++)
            fprintf(file, "\"%" PRIu64 "\" -> \"%" PRIu64 "\";\n", graph->nodes[i]->id,
                    links->list[j].node->id);
    }
    fprintf(file, "}\n");
}

CUresult cuGraphDebugDotPrint(CUgraph hGraph, const char *path, unsigned int flags)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_graph *graph;
    FILE *file = NULL;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    graph = path ? vgpu_graph_find(hGraph) : NULL;
    if (graph)
        file = fopen(path, "we");
    if (file) {
        fprintf(file, "digraph dot {\n");
        print_graph(file, graph, flags);
        fprintf(file, "}\n");
    }
    vgpu_graphs_unlock();
    if (!graph)
        return CUDA_ERROR_INVALID_VALUE;
    return file && fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}
