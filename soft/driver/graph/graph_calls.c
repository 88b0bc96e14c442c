/* SPDX-License-Identifier: MIT */
/* cuGraph*: graphs as a whole, their nodes and edges. */
#include <string.h>

#include "soft/driver/graph/graph.h"

CUresult cuGraphCreate(CUgraph *phGraph, unsigned int flags)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    if (!phGraph || flags)
        return CUDA_ERROR_INVALID_VALUE;
    graph = vgpu_graph_create(true);
    if (!graph)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *phGraph = (CUgraph)graph;
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph hGraph)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(hGraph);
    if (graph && !graph->parent && !graph->capturing)
        vgpu_graph_close(graph);
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphClone(CUgraph *phGraphClone, CUgraph originalGraph)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_graph *graph, *copy;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(originalGraph);
    if (!graph || !phGraphClone) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else if (vgpu_graph_has_memory_nodes(graph) ||
               vgpu_graph_contains(graph, CU_GRAPH_NODE_TYPE_CONDITIONAL)) {
        result = CUDA_ERROR_NOT_SUPPORTED;
    } else {
        copy = vgpu_graph_copy(graph, true, false);
        result = copy ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
        if (copy)
            *phGraphClone = (CUgraph)copy;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphNodeFindInClone(CUgraphNode *phNode, CUgraphNode hOriginalNode,
                                CUgraph hClonedGraph)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_node *node, *copy = NULL;
    const struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(hOriginalNode);
    graph = vgpu_graph_find(hClonedGraph);
    if (phNode && node && graph)
        copy = vgpu_graph_find_copy(graph, node->id);
    if (copy)
        *phNode = (CUgraphNode)copy;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

/* ---- lists ---- */

/* Fills in `nodes[i]` for all there is room for, the rest with NULL, and tells how many there were.
 */
struct list {
    CUgraphNode *nodes;
    size_t *count; /* room, then how many */
    size_t found;
};

static void list_node(struct list *list, const struct vgpu_node *node)
{
    if (list->nodes && list->found < *list->count)
        list->nodes[list->found] = (CUgraphNode)node;
    list->found++;
}

static void end_list(struct list *list)
{
    if (list->nodes) {
        for (size_t i = list->found; i < *list->count; i++)
            list->nodes[i] = NULL;
        if (list->found > *list->count)
            return; /* no more were returned than there was room for */
    }
    *list->count = list->found;
}

static CUresult list_graph(CUgraph handle, CUgraphNode *nodes, size_t *count, bool roots)
{
    struct list list = {.nodes = nodes, .count = count};
    CUresult result = vgpu_driver_ready();
    const struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(handle);
    if (graph && count) {
        for (size_t i = 0; i < graph->count; i++) {
            if (!roots || graph->nodes[i]->dependencies.count == 0)
                list_node(&list, graph->nodes[i]);
        }
        end_list(&list);
    } else {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphGetNodes(CUgraph hGraph, CUgraphNode *nodes, size_t *numNodes)
{
    return list_graph(hGraph, nodes, numNodes, false);
}

CUresult cuGraphGetRootNodes(CUgraph hGraph, CUgraphNode *rootNodes, size_t *numRootNodes)
{
    return list_graph(hGraph, rootNodes, numRootNodes, true);
}

/* Lock held. The edges of one end; asking without room for data that there is, is refused. */
static CUresult list_links(const struct vgpu_links *links, CUgraphNode *nodes,
                           CUgraphEdgeData *data, size_t *count)
{
    struct list list = {.nodes = nodes, .count = count};

    for (size_t i = 0; i < links->count; i++) {
        const struct vgpu_link *link = &links->list[i];
        if (nodes && !data && !vgpu_edge_is_default(&link->data))
            return CUDA_ERROR_LOSSY_QUERY;
        if (data && i < *count)
            data[i] = link->data;
        list_node(&list, link->node);
    }
    end_list(&list);
    return CUDA_SUCCESS;
}

static CUresult list_edges_of(CUgraphNode handle, CUgraphNode *nodes, CUgraphEdgeData *data,
                              size_t *count, bool dependents)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(handle);
    if (!node || !count || (data && !nodes))
        result = CUDA_ERROR_INVALID_VALUE;
    else
        result =
            list_links(dependents ? &node->dependents : &node->dependencies, nodes, data, count);
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode hNode, CUgraphNode *dependencies,
                                       CUgraphEdgeData *edgeData, size_t *numDependencies)
{
    return list_edges_of(hNode, dependencies, edgeData, numDependencies, false);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode hNode, CUgraphNode *dependencies,
                                    size_t *numDependencies)
{
    return list_edges_of(hNode, dependencies, NULL, numDependencies, false);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode hNode, CUgraphNode *dependentNodes,
                                         CUgraphEdgeData *edgeData, size_t *numDependentNodes)
{
    return list_edges_of(hNode, dependentNodes, edgeData, numDependentNodes, true);
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode hNode, CUgraphNode *dependentNodes,
                                      size_t *numDependentNodes)
{
    return list_edges_of(hNode, dependentNodes, NULL, numDependentNodes, true);
}

/* Lock held. */
static CUresult list_edges(const struct vgpu_graph *graph, CUgraphNode *from, CUgraphNode *to,
                           CUgraphEdgeData *data, size_t *count)
{
    size_t room = *count;
    struct list sources = {.nodes = from, .count = &room}, targets = {.nodes = to, .count = count};

    for (size_t i = 0; i < graph->count; i++) {
        const struct vgpu_links *links = &graph->nodes[i]->dependencies;
        for (size_t j = 0; j < links->count; j++) {
            if (from && !data && !vgpu_edge_is_default(&links->list[j].data))
                return CUDA_ERROR_LOSSY_QUERY;
            if (data && sources.found < room)
                data[sources.found] = links->list[j].data;
            list_node(&sources, links->list[j].node);
            list_node(&targets, graph->nodes[i]);
        }
    }
    end_list(&sources);
    end_list(&targets);
    return CUDA_SUCCESS;
}

CUresult cuGraphGetEdges_v2(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to,
                            CUgraphEdgeData *edgeData, size_t *numEdges)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(hGraph);
    if (!graph || !numEdges || !from != !to || (edgeData && !from))
        result = CUDA_ERROR_INVALID_VALUE;
    else
        result = list_edges(graph, from, to, edgeData, numEdges);
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphGetEdges(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to, size_t *numEdges)
{
    return cuGraphGetEdges_v2(hGraph, from, to, NULL, numEdges);
}

/* ---- changing ---- */

/* Lock held. A graph's two nodes, or false. */
static bool find_ends(const struct vgpu_graph *graph, CUgraphNode from, CUgraphNode to,
                      struct vgpu_node **source, struct vgpu_node **target)
{
    *source = vgpu_node_find(from);
    *target = vgpu_node_find(to);
    return *source && *target && *source != *target && (*source)->graph == graph &&
           (*target)->graph == graph;
}

typedef CUresult edge_function(struct vgpu_node *source, struct vgpu_node *target,
                               const CUgraphEdgeData *data);

static CUresult add_edge(struct vgpu_node *source, struct vgpu_node *target,
                         const CUgraphEdgeData *data)
{
    if (vgpu_links_find(&target->dependencies, source) ||
        !vgpu_edge_is_valid(source, target->type, data))
        return CUDA_ERROR_INVALID_VALUE;
    if (!vgpu_links_add(&target->dependencies, source, data))
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!vgpu_links_add(&source->dependents, target, data)) {
        vgpu_links_remove(&target->dependencies, source);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

static CUresult remove_edge(struct vgpu_node *source, struct vgpu_node *target,
                            const CUgraphEdgeData *data)
{
    const struct vgpu_link *link = vgpu_links_find(&target->dependencies, source);

    if (!link || memcmp(&link->data, data, sizeof(*data)) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_links_remove(&target->dependencies, source);
    vgpu_links_remove(&source->dependents, target);
    return CUDA_SUCCESS;
}

static CUresult change_edges(CUgraph handle, const CUgraphNode *from, const CUgraphNode *to,
                             const CUgraphEdgeData *data, size_t count, edge_function *change)
{
    static const CUgraphEdgeData plain;
    CUresult result = vgpu_driver_ready();
    const struct vgpu_graph *graph;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    graph = vgpu_graph_find(handle);
    if (!graph || (count && (!from || !to)) ||
        (count && change == remove_edge && vgpu_graph_has_memory_nodes(graph)))
        result = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count && result == CUDA_SUCCESS; i++) {
        struct vgpu_node *source, *target;
        result = find_ends(graph, from[i], to[i], &source, &target)
                     ? change(source, target, data ? &data[i] : &plain)
                     : CUDA_ERROR_INVALID_VALUE;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphAddDependencies_v2(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                                   const CUgraphEdgeData *edgeData, size_t numDependencies)
{
    return change_edges(hGraph, from, to, edgeData, numDependencies, add_edge);
}

CUresult cuGraphAddDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                                size_t numDependencies)
{
    return change_edges(hGraph, from, to, NULL, numDependencies, add_edge);
}

CUresult cuGraphRemoveDependencies_v2(CUgraph hGraph, const CUgraphNode *from,
                                      const CUgraphNode *to, const CUgraphEdgeData *edgeData,
                                      size_t numDependencies)
{
    return change_edges(hGraph, from, to, edgeData, numDependencies, remove_edge);
}

CUresult cuGraphRemoveDependencies(CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to,
                                   size_t numDependencies)
{
    return change_edges(hGraph, from, to, NULL, numDependencies, remove_edge);
}

CUresult cuGraphDestroyNode(CUgraphNode hNode)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(hNode);
    /* A capture keeps nodes that come before the next one. */
    if (node && !node->graph->capturing && !vgpu_graph_has_memory_nodes(node->graph))
        vgpu_graph_remove(node);
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

CUresult cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType *type)
{
    CUresult result = vgpu_driver_ready();
    const struct vgpu_node *node;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    node = vgpu_node_find(hNode);
    if (node && type)
        *type = node->type;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}
