/* SPDX-License-Identifier: MIT */
/* cuGraphExecUpdate, cuGraphExec*SetParams, cuGraphNodeSetEnabled: what an executable graph will do
 * from its next launch on. */
#include <stdlib.h>
#include <string.h>

#include "soft/driver/code/kernel_task.h"
#include "soft/driver/graph/condition.h"
#include "soft/driver/graph/executable.h"
#include "soft/driver/graph/node_task.h"
#include "soft/driver/stream/user_object.h"

/* ---- what may change ---- */

static bool same_kernel_context(const struct vgpu_task *old, const struct vgpu_task *new)
{
    return vgpu_kernel_task_function(old)->module->context ==
           vgpu_kernel_task_function(new)->module->context;
}

static bool same_memory_types(const CUDA_MEMCPY3D *old, const CUDA_MEMCPY3D *new)
{
    return old->srcMemoryType == new->srcMemoryType && old->dstMemoryType == new->dstMemoryType;
}

static bool same_fill_shape(const CUDA_MEMSET_NODE_PARAMS_v2 *old,
                            const CUDA_MEMSET_NODE_PARAMS_v2 *new)
{
    if (old->height != new->height)
        return false;
    /* The width of a row may change, the shape of a box may not. */
    return old->height <= 1 || (old->pitch == new->pitch && old->width == new->width &&
                                old->elementSize == new->elementSize);
}

static bool same_operations(const CUDA_BATCH_MEM_OP_NODE_PARAMS_v2 *old,
                            const CUDA_BATCH_MEM_OP_NODE_PARAMS_v2 *new)
{
    if (old->count != new->count)
        return false;
    for (unsigned int i = 0; i < old->count; i++) {
        if (old->paramArray[i].operation != new->paramArray[i].operation)
            return false;
    }
    return true;
}

/* Whether a node that does `old` may do `new` instead. */
static CUgraphExecUpdateResult check_change(CUgraphNodeType type, const struct vgpu_task *old,
                                            const struct vgpu_task *new)
{
    CUgraphNodeParams before, after;
    bool may = true;

    if (type == CU_GRAPH_NODE_TYPE_KERNEL)
        return same_kernel_context(old, new)
                   ? CU_GRAPH_EXEC_UPDATE_SUCCESS
                   : CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE;
    vgpu_node_task_params(type, old, &before);
    vgpu_node_task_params(type, new, &after);
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY)
        may = same_memory_types(&before.memcpy.copyParams, &after.memcpy.copyParams);
    else if (type == CU_GRAPH_NODE_TYPE_MEMSET)
        may = same_fill_shape(&before.memset, &after.memset);
    else if (type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP)
        may = same_operations(&before.memOp, &after.memOp);
    else if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        may = old == new;
    return may ? CU_GRAPH_EXEC_UPDATE_SUCCESS : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
}

/* ---- a whole graph ---- */

static int by_source(const void *left, const void *right)
{
    uint64_t a = (*(struct vgpu_node *const *)left)->source;
    uint64_t b = (*(struct vgpu_node *const *)right)->source;

    return (a > b) - (a < b);
}

/* The plan's nodes in the order in which their originals were added, for free(). */
static struct vgpu_node **in_order_of_adding(const struct vgpu_graph *plan)
{
    struct vgpu_node **nodes = calloc(plan->count + 1, sizeof(struct vgpu_node *));

    if (nodes && plan->count) {
        memcpy(nodes, plan->nodes, plan->count * sizeof(struct vgpu_node *));
        qsort(nodes, plan->count, sizeof(struct vgpu_node *), by_source);
    }
    return nodes;
}

static CUgraphExecUpdateResult fail(CUgraphExecUpdateResultInfo *info,
                                    CUgraphExecUpdateResult result, const struct vgpu_node *node,
                                    const struct vgpu_node *from)
{
    info->result = result;
    info->errorNode = (CUgraphNode)node;
    info->errorFromNode = (CUgraphNode)from;
    return result;
}

/* Whether the pair depend on the same pairs. */
static CUgraphExecUpdateResult check_edges(struct vgpu_node *const *mine,
                                           const struct vgpu_node *old, const struct vgpu_node *new,
                                           CUgraphExecUpdateResultInfo *info)
{
    if (old->dependencies.count != new->dependencies.count)
        return fail(info, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, new, NULL);
    for (size_t i = 0; i < new->dependencies.count; i++) {
        const struct vgpu_node *from = new->dependencies.list[i].node;
        if (!vgpu_links_find(&old->dependencies, mine[from->index]))
            return fail(info, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, new, from);
    }
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

static CUgraphExecUpdateResult check_attributes(const struct vgpu_node *old,
                                                const struct vgpu_node *new, cuuint64_t flags,
                                                CUgraphExecUpdateResultInfo *info)
{
    bool cooperative = old->attributes[CU_LAUNCH_ATTRIBUTE_COOPERATIVE].cooperative;
    bool same = cooperative == new->attributes[CU_LAUNCH_ATTRIBUTE_COOPERATIVE].cooperative;

    if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY) &&
        old->attributes[CU_LAUNCH_ATTRIBUTE_PRIORITY].priority !=
            new->attributes[CU_LAUNCH_ATTRIBUTE_PRIORITY].priority)
        same = false;
    return same ? CU_GRAPH_EXEC_UPDATE_SUCCESS
                : fail(info, CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED, new, NULL);
}

static CUgraphExecUpdateResult update_graph(struct vgpu_graph *plan, const struct vgpu_graph *graph,
                                            cuuint64_t flags, CUgraphExecUpdateResultInfo *info);

static CUgraphExecUpdateResult update_node(struct vgpu_node *old, const struct vgpu_node *new,
                                           cuuint64_t flags, CUgraphExecUpdateResultInfo *info)
{
    CUgraphExecUpdateResult result = CU_GRAPH_EXEC_UPDATE_SUCCESS;

    if (old->task) {
        result = check_change(old->type, old->task, new->task);
        if (result != CU_GRAPH_EXEC_UPDATE_SUCCESS)
            return fail(info, result, new, NULL);
        vgpu_node_set_task(old, vgpu_task_share(new->task));
    }
    if (old->type == CU_GRAPH_NODE_TYPE_KERNEL) {
        result = check_attributes(old, new, flags, info);
        memcpy(old->attributes, new->attributes, sizeof(old->attributes));
        old->attributes_set = new->attributes_set;
    }
    if (old->type == CU_GRAPH_NODE_TYPE_CONDITIONAL) {
        if (old->condition_type != new->condition_type || old->body_count != new->body_count)
            return fail(info, CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED, new, NULL);
        vgpu_condition_put(old->condition);
        old->condition = vgpu_condition_share(new->condition);
    }
    for (size_t i = 0; i < old->body_count && result == CU_GRAPH_EXEC_UPDATE_SUCCESS; i++)
        result = update_graph(old->bodies[i], new->bodies[i], flags, info);
    return result;
}

/* What the plan did is no longer done; a launch under way holds the plan before. False: no memory.
 */
static bool hold_the_same(struct vgpu_graph *plan, const struct vgpu_graph *graph)
{
    vgpu_held_objects_release(&plan->held);
    return vgpu_held_objects_copy(&plan->held, graph->held);
}

/* Nodes are paired by the order in which they were added. */
static CUgraphExecUpdateResult update_graph(struct vgpu_graph *plan, const struct vgpu_graph *graph,
                                            cuuint64_t flags, CUgraphExecUpdateResultInfo *info)
{
    CUgraphExecUpdateResult result = CU_GRAPH_EXEC_UPDATE_SUCCESS;
    struct vgpu_node **mine;

    if (plan->count != graph->count)
        return fail(info, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, NULL, NULL);
    mine = in_order_of_adding(plan);
    if (!mine)
        return fail(info, CU_GRAPH_EXEC_UPDATE_ERROR, NULL, NULL);
    for (size_t i = 0; i < graph->count && result == CU_GRAPH_EXEC_UPDATE_SUCCESS; i++)
        result = check_edges(mine, mine[i], graph->nodes[i], info);
    for (size_t i = 0; i < graph->count && result == CU_GRAPH_EXEC_UPDATE_SUCCESS; i++) {
        const struct vgpu_node *new = graph->nodes[i];
        result = mine[i]->type == new->type
                     ? update_node(mine[i], new, flags, info)
                     : fail(info, CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED, new, NULL);
    }
    free(mine);
    if (result == CU_GRAPH_EXEC_UPDATE_SUCCESS && !hold_the_same(plan, graph))
        return fail(info, CU_GRAPH_EXEC_UPDATE_ERROR, NULL, NULL);
    return result;
}

/* Lock held. All or nothing: the changes are made to a copy. */
static CUresult update_executable(struct vgpu_executable *executable,
                                  const struct vgpu_graph *graph, uint64_t node,
                                  CUgraphExecUpdateResultInfo *info)
{
    struct vgpu_graph *copy = vgpu_graph_copy(executable->plan, false, true);
    struct vgpu_graph *target = copy;
    CUgraphExecUpdateResult result;

    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (node) {
        struct vgpu_node *parent = vgpu_graph_find_copy(copy, node);
        target = parent && parent->type == CU_GRAPH_NODE_TYPE_GRAPH ? parent->bodies[0] : NULL;
    }
    result = target ? update_graph(target, graph, executable->flags, info)
                    : fail(info, CU_GRAPH_EXEC_UPDATE_ERROR, NULL, NULL);
    if (result != CU_GRAPH_EXEC_UPDATE_SUCCESS) {
        vgpu_object_put(copy);
        return target ? CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE : CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_object_put(executable->plan);
    executable->plan = copy;
    return CUDA_SUCCESS;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
                              CUgraphExecUpdateResultInfo *resultInfo)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_executable *executable;
    const struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    if (!resultInfo)
        return CUDA_ERROR_INVALID_VALUE;
    *resultInfo = (CUgraphExecUpdateResultInfo){.result = CU_GRAPH_EXEC_UPDATE_SUCCESS};
    vgpu_graphs_lock();
    executable = vgpu_executable_find(hGraphExec);
    graph = vgpu_graph_find(hGraph);
    if (executable && graph && !(graph->parent && graph->parent->moved)) {
        result = update_executable(executable, graph, 0, resultInfo);
    } else {
        resultInfo->result = CU_GRAPH_EXEC_UPDATE_ERROR;
        result = CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphExecUpdate(CUgraphExec hGraphExec, CUgraph hGraph, CUgraphNode *hErrorNode_out,
                           CUgraphExecUpdateResult *updateResult_out)
{
    CUgraphExecUpdateResultInfo info = {.result = CU_GRAPH_EXEC_UPDATE_ERROR};
    CUresult result = cuGraphExecUpdate_v2(hGraphExec, hGraph, &info);

    if (hErrorNode_out)
        *hErrorNode_out = info.errorNode;
    if (updateResult_out)
        *updateResult_out = info.result;
    return result;
}

CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                            CUgraph childGraph)
{
    CUgraphExecUpdateResultInfo info;
    CUresult result = vgpu_driver_ready();
    struct vgpu_executable *executable;
    const struct vgpu_graph *graph;
    const struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    executable = vgpu_executable_find(hGraphExec);
    graph = vgpu_graph_find(childGraph);
    node = vgpu_node_find(hNode);
    result = executable && graph && node ? update_executable(executable, graph, node->id, &info)
                                         : CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

/* ---- single nodes ---- */

/* Lock held. The node in a plan that may be changed, for a node of the graph it was made of. */
static CUresult find(CUgraphExec handle, CUgraphNode original, struct vgpu_node **node)
{
    struct vgpu_executable *executable = vgpu_executable_find(handle);
    const struct vgpu_node *source = vgpu_node_find(original);
    struct vgpu_graph *plan;

    if (!executable || !source || !vgpu_graph_find_copy(executable->plan, source->id))
        return CUDA_ERROR_INVALID_VALUE;
    plan = vgpu_executable_change(executable);
    if (!plan)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *node = vgpu_graph_find_copy(plan, source->id);
    return CUDA_SUCCESS;
}

static bool is_flat(const CUDA_MEMCPY3D *copy)
{
    return copy->Height == 1 && copy->Depth == 1 && copy->WidthInBytes > 0;
}

/* What is allowed with a whole graph, and not with a single node. */
static bool is_too_much(const struct vgpu_node *node, const CUgraphNodeParams *params)
{
    CUgraphNodeParams old;

    if (params->type == CU_GRAPH_NODE_TYPE_MEMSET)
        return params->memset.width == 0 || params->memset.height == 0;
    if (params->type != CU_GRAPH_NODE_TYPE_MEMCPY)
        return false;
    vgpu_node_task_params(node->type, node->task, &old);
    return !is_flat(&old.memcpy.copyParams) || !is_flat(&params->memcpy.copyParams);
}

static CUresult set(CUgraphExec handle, CUgraphNode original, const CUgraphNodeParams *params)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;
    struct vgpu_task *task;

    if (result == CUDA_SUCCESS)
        result = vgpu_node_task_create(params, &task);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    result = find(handle, original, &node);
    if (result == CUDA_SUCCESS &&
        (node->type != params->type || is_too_much(node, params) ||
         check_change(node->type, node->task, task) != CU_GRAPH_EXEC_UPDATE_SUCCESS))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        vgpu_node_set_task(node, task);
    else
        vgpu_task_put(task);
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphExecNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                  CUgraphNodeParams *nodeParams)
{
    CUresult result = vgpu_node_params_check(nodeParams);

    if (result != CUDA_SUCCESS)
        return result;
    if (nodeParams->type == CU_GRAPH_NODE_TYPE_GRAPH)
        return cuGraphExecChildGraphNodeSetParams(hGraphExec, hNode, nodeParams->graph.graph);
    return set(hGraphExec, hNode, nodeParams);
}

#define SET_FUNCTION(name, parameters, what, convert)                                              \
    CUresult name parameters                                                                       \
    {                                                                                              \
        CUgraphNodeParams params;                                                                  \
        if (!(what))                                                                               \
            return CUDA_ERROR_INVALID_VALUE;                                                       \
        params = convert;                                                                          \
        return set(executable, node, &params);                                                     \
    }

#define TARGET CUgraphExec executable, CUgraphNode node

SET_FUNCTION(cuGraphExecKernelNodeSetParams, (TARGET, const CUDA_KERNEL_NODE_PARAMS_v1 *in), in,
             vgpu_kernel_node_params_v1(in))
SET_FUNCTION(cuGraphExecKernelNodeSetParams_v2, (TARGET, const CUDA_KERNEL_NODE_PARAMS *in), in,
             vgpu_kernel_node_params(in))
SET_FUNCTION(cuGraphExecMemcpyNodeSetParams, (TARGET, const CUDA_MEMCPY3D *in, CUcontext context),
             in, vgpu_copy_node_params(in, context))
SET_FUNCTION(cuGraphExecMemsetNodeSetParams,
             (TARGET, const CUDA_MEMSET_NODE_PARAMS *in, CUcontext context), in,
             vgpu_fill_node_params(in, context))
SET_FUNCTION(cuGraphExecHostNodeSetParams, (TARGET, const CUDA_HOST_NODE_PARAMS *in), in,
             vgpu_host_node_params(in))
SET_FUNCTION(cuGraphExecBatchMemOpNodeSetParams, (TARGET, const CUDA_BATCH_MEM_OP_NODE_PARAMS *in),
             in, vgpu_batch_node_params(in))
SET_FUNCTION(cuGraphExecEventRecordNodeSetEvent, (TARGET, CUevent event), event,
             vgpu_record_node_params(event))
SET_FUNCTION(cuGraphExecEventWaitNodeSetEvent, (TARGET, CUevent event), event,
             vgpu_wait_node_params(event))

static bool may_be_disabled(CUgraphNodeType type)
{
    return type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
           type == CU_GRAPH_NODE_TYPE_MEMSET;
}

CUresult cuGraphNodeSetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int isEnabled)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    result = find(hGraphExec, hNode, &node);
    if (result == CUDA_SUCCESS && !may_be_disabled(node->type))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        node->disabled = !isEnabled;
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphNodeGetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int *isEnabled)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    result = find(hGraphExec, hNode, &node);
    if (result == CUDA_SUCCESS && (!isEnabled || !may_be_disabled(node->type)))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *isEnabled = !node->disabled;
    vgpu_graphs_unlock();
    return result;
}
