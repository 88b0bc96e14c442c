/* SPDX-License-Identifier: MIT */
/* cuGraphAdd*Node, cuGraph*NodeGet/SetParams: nodes and what they do. */
#include <stdlib.h>
#include <string.h>

#include "soft/driver/code/kernel_task.h"
#include "soft/driver/graph/condition.h"
#include "soft/driver/graph/node_task.h"

/* Where a new node goes. */
struct position {
    CUgraphNode *out;
    CUgraph graph;
    const CUgraphNode *nodes;
    const CUgraphEdgeData *data;
    size_t count;
};

/* ---- adding ---- */

/* Called with the graphs' lock held: makes the node, which is removed again on errors. */
typedef CUresult fill_in(struct vgpu_node *node, CUgraphNodeParams *params);

/* Takes over the reference of `task`. */
static CUresult add(const struct position *position, CUgraphNodeType type, struct vgpu_task *task,
                    fill_in *fill, CUgraphNodeParams *params)
{
    struct vgpu_links dependencies = {0};
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    struct vgpu_graph *graph;
    struct vgpu_node *node;

    vgpu_graphs_lock();
    graph = position->out ? vgpu_graph_find(position->graph) : NULL;
    if (graph)
        result =
            vgpu_links_read(&dependencies, graph, position->nodes, position->data, position->count);
    if (result == CUDA_SUCCESS)
        result = vgpu_graph_add(graph, type, task, &dependencies, &node);
    else
        vgpu_task_put(task);
    if (result == CUDA_SUCCESS && fill) {
        result = fill(node, params);
        if (result != CUDA_SUCCESS)
            vgpu_graph_remove(node);
    }
    if (result == CUDA_SUCCESS)
        *position->out = (CUgraphNode)node;
    vgpu_links_clear(&dependencies);
    vgpu_graphs_unlock();
    return result;
}

static CUresult fill_child(struct vgpu_node *node, CUgraphNodeParams *params)
{
    struct vgpu_graph *child = vgpu_graph_find(params->graph.graph);
    bool move = params->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;

    if (!child || child->capturing || (unsigned int)params->graph.ownership > 1)
        return CUDA_ERROR_INVALID_VALUE;
    if (child->parent || vgpu_graph_contains(child, CU_GRAPH_NODE_TYPE_CONDITIONAL) ||
        (!move && vgpu_graph_has_memory_nodes(child)))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!move)
        return vgpu_node_copy_body(node, child);
    if (child->executables || child == vgpu_graph_root(node->graph))
        return CUDA_ERROR_INVALID_VALUE;
    node->bodies = calloc(1, sizeof(struct vgpu_graph *));
    if (!node->bodies)
        return CUDA_ERROR_OUT_OF_MEMORY;
    node->bodies[0] = child;
    node->body_count = 1;
    node->moved = true;
    child->parent = node;
    return CUDA_SUCCESS;
}

static bool size_fits(CUgraphConditionalNodeType type, unsigned int size)
{
    return (type == CU_GRAPH_COND_TYPE_IF && (size == 1 || size == 2)) ||
           (type == CU_GRAPH_COND_TYPE_WHILE && size == 1) ||
           (type == CU_GRAPH_COND_TYPE_SWITCH && size > 0);
}

/* A condition that was made for the graph or one that it is in. */
static struct vgpu_condition *find_condition(const struct vgpu_graph *graph,
                                             CUgraphConditionalHandle handle)
{
    for (;;) {
        struct vgpu_condition *condition = graph->conditions;
        while (condition && condition->word.address != handle)
            condition = condition->next;
        if (condition || !graph->parent)
            return condition;
        graph = graph->parent->graph;
    }
}

static CUresult fill_conditional(struct vgpu_node *node, CUgraphNodeParams *params)
{
    CUDA_CONDITIONAL_NODE_PARAMS *conditional = &params->conditional;
    struct vgpu_condition *condition = find_condition(node->graph, conditional->handle);
    CUresult result;

    if (!condition || condition->used || !size_fits(conditional->type, conditional->size) ||
        (conditional->ctx && conditional->ctx != (CUcontext)condition->context))
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_node_add_bodies(node, conditional->size);
    if (result != CUDA_SUCCESS)
        return result;
    node->condition = vgpu_condition_share(condition);
    node->condition_type = conditional->type;
    condition->used = true;
    conditional->phGraph_out = (CUgraph *)node->bodies;
    return CUDA_SUCCESS;
}

/* The versions of the parameters are alike. */
static CUresult add_alloc(const struct position *position, CUDA_MEM_ALLOC_NODE_PARAMS_v2 *alloc)
{
    CUDA_MEM_ALLOC_NODE_PARAMS params = {alloc->poolProps, alloc->accessDescs,
                                         alloc->accessDescCount, alloc->bytesize, 0};
    CUresult result = vgpu_graph_memory_add_alloc(position->out, position->graph, position->nodes,
                                                  position->data, position->count, &params);

    if (result == CUDA_SUCCESS)
        alloc->dptr = params.dptr;
    return result;
}

static CUresult add_from_params(const struct position *position, CUgraphNodeParams *params)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_task *task;

    if (result != CUDA_SUCCESS)
        return result;
    if (params->type == CU_GRAPH_NODE_TYPE_EMPTY)
        return add(position, params->type, NULL, NULL, NULL);
    if (params->type == CU_GRAPH_NODE_TYPE_GRAPH)
        return add(position, params->type, NULL, fill_child, params);
    if (params->type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
        return add(position, params->type, NULL, fill_conditional, params);
    if (params->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
        return add_alloc(position, &params->alloc);
    if (params->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        return vgpu_graph_memory_add_free(position->out, position->graph, position->nodes,
                                          position->data, position->count, params->free.dptr);
    result = vgpu_node_task_create(params, &task);
    return result == CUDA_SUCCESS ? add(position, params->type, task, NULL, NULL) : result;
}

CUresult cuGraphAddNode_v2(CUgraphNode *phGraphNode, CUgraph hGraph,
                           const CUgraphNode *dependencies, const CUgraphEdgeData *dependencyData,
                           size_t numDependencies, CUgraphNodeParams *nodeParams)
{
    CUresult result = vgpu_node_params_check(nodeParams);

    if (result != CUDA_SUCCESS)
        return result;
    return add_from_params(
        &(struct position){phGraphNode, hGraph, dependencies, dependencyData, numDependencies},
        nodeParams);
}

CUresult cuGraphAddNode(CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies,
                        size_t numDependencies, CUgraphNodeParams *nodeParams)
{
    return cuGraphAddNode_v2(phGraphNode, hGraph, dependencies, NULL, numDependencies, nodeParams);
}

/* The older calls: `what` is where their parameters are, which may not be missing. */
#define ADD_FUNCTION(name, parameters, what, expression)                                           \
    CUresult name parameters                                                                       \
    {                                                                                              \
        CUgraphNodeParams params;                                                                  \
        if (!(what))                                                                               \
            return CUDA_ERROR_INVALID_VALUE;                                                       \
        params = expression;                                                                       \
        return add_from_params(&(struct position){out, graph, nodes, NULL, count}, &params);       \
    }

#define POSITION CUgraphNode *out, CUgraph graph, const CUgraphNode *nodes, size_t count

ADD_FUNCTION(cuGraphAddKernelNode, (POSITION, const CUDA_KERNEL_NODE_PARAMS_v1 *kernel), kernel,
             vgpu_kernel_node_params_v1(kernel))
ADD_FUNCTION(cuGraphAddKernelNode_v2, (POSITION, const CUDA_KERNEL_NODE_PARAMS *kernel), kernel,
             vgpu_kernel_node_params(kernel))
ADD_FUNCTION(cuGraphAddMemcpyNode, (POSITION, const CUDA_MEMCPY3D *copy, CUcontext context), copy,
             vgpu_copy_node_params(copy, context))
ADD_FUNCTION(cuGraphAddMemsetNode,
             (POSITION, const CUDA_MEMSET_NODE_PARAMS *fill, CUcontext context), fill,
             vgpu_fill_node_params(fill, context))
ADD_FUNCTION(cuGraphAddHostNode, (POSITION, const CUDA_HOST_NODE_PARAMS *host), host,
             vgpu_host_node_params(host))
ADD_FUNCTION(cuGraphAddBatchMemOpNode, (POSITION, const CUDA_BATCH_MEM_OP_NODE_PARAMS *batch),
             batch, vgpu_batch_node_params(batch))
ADD_FUNCTION(cuGraphAddEventRecordNode, (POSITION, CUevent event), event,
             vgpu_record_node_params(event))
ADD_FUNCTION(cuGraphAddEventWaitNode, (POSITION, CUevent event), event,
             vgpu_wait_node_params(event))
ADD_FUNCTION(cuGraphAddChildGraphNode, (POSITION, CUgraph child), child,
             vgpu_child_node_params(child))
ADD_FUNCTION(cuGraphAddEmptyNode, (POSITION), true,
             ((CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_EMPTY}))

CUresult cuGraphAddMemAllocNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                const CUgraphNode *dependencies, size_t numDependencies,
                                CUDA_MEM_ALLOC_NODE_PARAMS *nodeParams)
{
    if (!nodeParams)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_graph_memory_add_alloc(phGraphNode, hGraph, dependencies, NULL, numDependencies,
                                       nodeParams);
}

CUresult cuGraphAddMemFreeNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                               const CUgraphNode *dependencies, size_t numDependencies,
                               CUdeviceptr dptr)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    return vgpu_graph_memory_add_free(phGraphNode, hGraph, dependencies, NULL, numDependencies,
                                      dptr);
}

/* ---- reading and changing ---- */

static CUresult get(CUgraphNode handle, CUgraphNodeType type, CUgraphNodeParams *params)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(handle);
    if (node && node->type == type)
        vgpu_node_task_params(type, node->task, params);
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

static CUresult set(CUgraphNode handle, const CUgraphNodeParams *params)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;
    struct vgpu_task *task;

    if (result == CUDA_SUCCESS)
        result = vgpu_node_task_create(params, &task);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(handle);
    if (node && node->type == params->type) {
        vgpu_node_set_task(node, task);
    } else {
        vgpu_task_put(task);
        result = CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphNodeSetParams(CUgraphNode hNode, CUgraphNodeParams *nodeParams)
{
    CUresult result = vgpu_node_params_check(nodeParams);

    return result == CUDA_SUCCESS ? set(hNode, nodeParams) : result;
}

#define GET_FUNCTION(name, type, out_type, expression)                                             \
    CUresult name(CUgraphNode node, out_type *out)                                                 \
    {                                                                                              \
        CUgraphNodeParams params;                                                                  \
        CUresult result = out ? get(node, type, &params) : CUDA_ERROR_INVALID_VALUE;               \
        if (result == CUDA_SUCCESS)                                                                \
            *out = expression;                                                                     \
        return result;                                                                             \
    }

#define SET_FUNCTION(name, in_type, convert)                                                       \
    CUresult name(CUgraphNode node, in_type in)                                                    \
    {                                                                                              \
        CUgraphNodeParams params;                                                                  \
        if (!in)                                                                                   \
            return CUDA_ERROR_INVALID_VALUE;                                                       \
        params = convert;                                                                          \
        return set(node, &params);                                                                 \
    }

/* The versions of these structures begin alike. */
#define BEGINNING_OF(member, type) (*(const type *)(const void *)&params.member)

GET_FUNCTION(cuGraphKernelNodeGetParams, CU_GRAPH_NODE_TYPE_KERNEL, CUDA_KERNEL_NODE_PARAMS_v1,
             BEGINNING_OF(kernel, CUDA_KERNEL_NODE_PARAMS_v1))
GET_FUNCTION(cuGraphKernelNodeGetParams_v2, CU_GRAPH_NODE_TYPE_KERNEL, CUDA_KERNEL_NODE_PARAMS,
             BEGINNING_OF(kernel, CUDA_KERNEL_NODE_PARAMS))
GET_FUNCTION(cuGraphMemcpyNodeGetParams, CU_GRAPH_NODE_TYPE_MEMCPY, CUDA_MEMCPY3D,
             params.memcpy.copyParams)
GET_FUNCTION(cuGraphMemsetNodeGetParams, CU_GRAPH_NODE_TYPE_MEMSET, CUDA_MEMSET_NODE_PARAMS,
             BEGINNING_OF(memset, CUDA_MEMSET_NODE_PARAMS))
GET_FUNCTION(cuGraphHostNodeGetParams, CU_GRAPH_NODE_TYPE_HOST, CUDA_HOST_NODE_PARAMS,
             BEGINNING_OF(host, CUDA_HOST_NODE_PARAMS))
GET_FUNCTION(cuGraphBatchMemOpNodeGetParams, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
             CUDA_BATCH_MEM_OP_NODE_PARAMS, BEGINNING_OF(memOp, CUDA_BATCH_MEM_OP_NODE_PARAMS))
GET_FUNCTION(cuGraphEventRecordNodeGetEvent, CU_GRAPH_NODE_TYPE_EVENT_RECORD, CUevent,
             params.eventRecord.event)
GET_FUNCTION(cuGraphEventWaitNodeGetEvent, CU_GRAPH_NODE_TYPE_WAIT_EVENT, CUevent,
             params.eventWait.event)

GET_FUNCTION(cuGraphMemAllocNodeGetParams, CU_GRAPH_NODE_TYPE_MEM_ALLOC, CUDA_MEM_ALLOC_NODE_PARAMS,
             BEGINNING_OF(alloc, CUDA_MEM_ALLOC_NODE_PARAMS))
GET_FUNCTION(cuGraphMemFreeNodeGetParams, CU_GRAPH_NODE_TYPE_MEM_FREE, CUdeviceptr,
             params.free.dptr)

SET_FUNCTION(cuGraphKernelNodeSetParams, const CUDA_KERNEL_NODE_PARAMS_v1 *,
             vgpu_kernel_node_params_v1(in))
SET_FUNCTION(cuGraphKernelNodeSetParams_v2, const CUDA_KERNEL_NODE_PARAMS *,
             vgpu_kernel_node_params(in))
SET_FUNCTION(cuGraphMemcpyNodeSetParams, const CUDA_MEMCPY3D *, vgpu_copy_node_params(in, NULL))
SET_FUNCTION(cuGraphMemsetNodeSetParams, const CUDA_MEMSET_NODE_PARAMS *,
             vgpu_fill_node_params(in, NULL))
SET_FUNCTION(cuGraphHostNodeSetParams, const CUDA_HOST_NODE_PARAMS *, vgpu_host_node_params(in))
SET_FUNCTION(cuGraphBatchMemOpNodeSetParams, const CUDA_BATCH_MEM_OP_NODE_PARAMS *,
             vgpu_batch_node_params(in))
SET_FUNCTION(cuGraphEventRecordNodeSetEvent, CUevent, vgpu_record_node_params(in))
SET_FUNCTION(cuGraphEventWaitNodeSetEvent, CUevent, vgpu_wait_node_params(in))

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode hNode, CUgraph *phGraph)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(hNode);
    if (phGraph && node && node->type == CU_GRAPH_NODE_TYPE_GRAPH)
        *phGraph = (CUgraph)node->bodies[0];
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

/* ---- attributes of kernel nodes ---- */

static bool is_attribute(CUkernelNodeAttrID attribute)
{
    switch (attribute) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return true;
    default:
        return false;
    }
}

/* Lock held. */
static struct vgpu_node *find_kernel(CUgraphNode handle)
{
    struct vgpu_node *node = vgpu_node_find(handle);

    return node && node->type == CU_GRAPH_NODE_TYPE_KERNEL ? node : NULL;
}

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
                                       CUkernelNodeAttrValue *value_out)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = find_kernel(hNode);
    if (node && value_out && is_attribute(attr))
        *value_out = node->attributes[attr];
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
                                       const CUkernelNodeAttrValue *value)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    if (!value || !is_attribute(attr))
        return CUDA_ERROR_INVALID_VALUE;
    /* As with launches: not what would change the meaning. */
    result = vgpu_launch_attribute_check(attr, value);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = find_kernel(hNode);
    if (node) {
        node->attributes[attr] = *value;
        node->attributes_set |= 1u << attr;
    } else {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_node *from;
    struct vgpu_node *to;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    to = find_kernel(dst);
    from = find_kernel(src);
    if (to && from) {
        memcpy(to->attributes, from->attributes, sizeof(to->attributes));
        to->attributes_set = from->attributes_set;
    } else {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}
