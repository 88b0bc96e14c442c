/* SPDX-License-Identifier: MIT */
/* A picture of a graph, in the language of Graphviz: for people, so that its form is ours. */
#include <stdio.h>
#include <stdlib.h>

#include "guest/graph/graph.h"
#include "guest/process/process.h"

static const char *type_name(CUgraphNodeType type)
{
    static const char *const names[] = {
        [CU_GRAPH_NODE_TYPE_KERNEL] = "KERNEL",
        [CU_GRAPH_NODE_TYPE_MEMCPY] = "MEMCPY",
        [CU_GRAPH_NODE_TYPE_MEMSET] = "MEMSET",
        [CU_GRAPH_NODE_TYPE_HOST] = "HOST",
        [CU_GRAPH_NODE_TYPE_GRAPH] = "GRAPH",
        [CU_GRAPH_NODE_TYPE_EMPTY] = "EMPTY",
        [CU_GRAPH_NODE_TYPE_WAIT_EVENT] = "EVENT_WAIT",
        [CU_GRAPH_NODE_TYPE_EVENT_RECORD] = "EVENT_RECORD",
        [CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL] = "EXT_SEMAS_SIGNAL",
        [CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT] = "EXT_SEMAS_WAIT",
        [CU_GRAPH_NODE_TYPE_MEM_ALLOC] = "MEM_ALLOC",
        [CU_GRAPH_NODE_TYPE_MEM_FREE] = "MEM_FREE",
        [CU_GRAPH_NODE_TYPE_BATCH_MEM_OP] = "BATCH_MEM_OP",
        [CU_GRAPH_NODE_TYPE_CONDITIONAL] = "CONDITIONAL",
    };
    size_t count = sizeof(names) / sizeof(names[0]);
    return (size_t)type < count && names[type] ? names[type] : "UNKNOWN";
}

/* What a label says of a kernel. */
static void print_kernel(FILE *file, CUgraphNode node)
{
    CUDA_KERNEL_NODE_PARAMS_v2 kernel;
    const char *name = NULL;
    if (cuGraphKernelNodeGetParams_v2(node, &kernel) != CUDA_SUCCESS)
        return;
    if (kernel.func)
        cuFuncGetName(&name, kernel.func);
    else
        cuKernelGetName(&name, kernel.kern);
    fprintf(file, "\\n%s\\n<<<(%u,%u,%u),(%u,%u,%u),%u>>>", name ? name : "?", kernel.gridDimX,
            kernel.gridDimY, kernel.gridDimZ, kernel.blockDimX, kernel.blockDimY, kernel.blockDimZ,
            kernel.sharedMemBytes);
}

static void print_copy(FILE *file, CUgraphNode node)
{
    CUDA_MEMCPY3D copy;
    if (cuGraphMemcpyNodeGetParams(node, &copy) == CUDA_SUCCESS)
        fprintf(file, "\\n%zu x %zu x %zu bytes", copy.WidthInBytes, copy.Height, copy.Depth);
}

static void print_fill(FILE *file, CUgraphNode node)
{
    CUDA_MEMSET_NODE_PARAMS fill;
    if (cuGraphMemsetNodeGetParams(node, &fill) == CUDA_SUCCESS)
        fprintf(file, "\\n%zu x %zu of %u bytes, value 0x%x", fill.width, fill.height,
                fill.elementSize, fill.value);
}

static void print_details(FILE *file, CUgraphNode node, CUgraphNodeType type, unsigned int flags)
{
    bool all = flags & CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE;
    if (type == CU_GRAPH_NODE_TYPE_KERNEL &&
        (all || flags & CU_GRAPH_DEBUG_DOT_FLAGS_KERNEL_NODE_PARAMS))
        print_kernel(file, node);
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY &&
        (all || flags & CU_GRAPH_DEBUG_DOT_FLAGS_MEMCPY_NODE_PARAMS))
        print_copy(file, node);
    if (type == CU_GRAPH_NODE_TYPE_MEMSET &&
        (all || flags & CU_GRAPH_DEBUG_DOT_FLAGS_MEMSET_NODE_PARAMS))
        print_fill(file, node);
    if (all || flags & CU_GRAPH_DEBUG_DOT_FLAGS_HANDLES)
        fprintf(file, "\\n%p", (void *)node);
}

static CUresult print_nodes(FILE *file, CUgraph graph, unsigned int number, unsigned int flags)
{
    size_t count = 0;
    CUresult error = cuGraphGetNodes(graph, NULL, &count);
    CUgraphNode *nodes = calloc(count + 1, sizeof(CUgraphNode));
    if (nodes == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS && count)
        error = cuGraphGetNodes(graph, nodes, &count);
    for (size_t i = 0; i < count && error == CUDA_SUCCESS; i++) {
        CUgraphNodeType type;
        error = cuGraphNodeGetType(nodes[i], &type);
        if (error)
            break;
        fprintf(file, "    \"graph_%u_node_%u\" [label=\"%zu %s", number,
                vgpu_node_find(nodes[i])->object.id, i, type_name(type));
        print_details(file, nodes[i], type, flags);
        fprintf(file, "\"];\n");
    }
    free(nodes);
    return error;
}

static CUresult print_edges(FILE *file, CUgraph graph, unsigned int number)
{
    size_t count = 0;
    CUresult error = cuGraphGetEdges_v2(graph, NULL, NULL, NULL, &count);
    CUgraphNode *from = calloc(count + 1, sizeof(CUgraphNode));
    CUgraphNode *to = calloc(count + 1, sizeof(CUgraphNode));
    CUgraphEdgeData *data = calloc(count + 1, sizeof(*data));
    if (from == NULL || to == NULL || data == NULL)
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS && count)
        error = cuGraphGetEdges_v2(graph, from, to, data, &count);
    for (size_t i = 0; i < count && error == CUDA_SUCCESS; i++)
        fprintf(file, "    \"graph_%u_node_%u\" -> \"graph_%u_node_%u\"%s;\n", number,
                vgpu_node_find(from[i])->object.id, number, vgpu_node_find(to[i])->object.id,
                data[i].type ? " [style=dashed]" : "");
    free(from);
    free(to);
    free(data);
    return error;
}

CUresult cuGraphDebugDotPrint(CUgraph handle, const char *path, unsigned int flags)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    const struct vgpu_graph *graph = vgpu_graph_find(handle);
    if (graph == NULL || path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return CUDA_ERROR_OPERATING_SYSTEM;
    fprintf(file, "digraph dot {\n  subgraph cluster_1 {\n    label=\"graph_%u\";\n",
            graph->object.id);
    error = print_nodes(file, handle, graph->object.id, flags);
    if (error == CUDA_SUCCESS)
        error = print_edges(file, handle, graph->object.id);
    fprintf(file, "  }\n}\n");
    if (fclose(file) != 0 && error == CUDA_SUCCESS)
        error = CUDA_ERROR_OPERATING_SYSTEM;
    return error;
}
