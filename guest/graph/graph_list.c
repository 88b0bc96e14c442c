/* SPDX-License-Identifier: MIT */
/* Which nodes a graph has, and what leads from one to the other. */
#include <stdlib.h>
#include <string.h>

#include "guest/graph/graph.h"
#include "guest/process/process.h"
#include "protocol/channel.h"
#include "protocol/send.h"

#define PAGE_EDGES (VGPU_REPLY_PAYLOAD_MAX / sizeof(struct vgpu_wire_edge))

CUresult vgpu_edges_pack(const CUgraphNode *from, const CUgraphNode *to,
                         const CUgraphEdgeData *data, size_t count, struct vgpu_wire_edge **edges)
{
    *edges = NULL;
    if (count == 0)
        return CUDA_SUCCESS;
    if (from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *edges = calloc(count, sizeof(**edges));
    if (*edges == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct vgpu_node *first = vgpu_node_find(from[i]);
        const struct vgpu_node *second = to ? vgpu_node_find(to[i]) : NULL;
        if (first == NULL || (to && second == NULL))
            return CUDA_ERROR_INVALID_VALUE;
        (*edges)[i].from = first->object.id;
        (*edges)[i].to = second ? second->object.id : 0;
        if (data)
            (*edges)[i].data = data[i];
    }
    return CUDA_SUCCESS;
}

CUresult vgpu_edges_fetch(const struct vgpu_caller *caller, vgpu_edges_page *fetch, void *argument,
                          struct vgpu_wire_edge **edges, size_t *count)
{
    struct vgpu_wire_edge page[PAGE_EDGES], *all = NULL;
    uint32_t total = 0, got = 0;
    CUresult error;
    do {
        size_t bytes = 0;
        error = fetch(caller, argument, got, page, sizeof(page), &bytes, &total);
        if (error)
            break;
        uint32_t some = (uint32_t)(bytes / sizeof(*page));
        struct vgpu_wire_edge *grown = reallocarray(all, (size_t)got + some + 1, sizeof(*all));
        if (grown == NULL) {
            error = CUDA_ERROR_OUT_OF_MEMORY;
            break;
        }
        all = grown;
        memcpy(all + got, page, some * sizeof(*all));
        got += some;
        if (some == 0)
            break;
    } while (got < total);
    if (error) {
        free(all);
        return error;
    }
    *edges = all;
    *count = got;
    return CUDA_SUCCESS;
}

/* ---- handles for nodes that the driver made ---- */

/* Tells the host as many ids as there are nodes without one. */
static CUresult give_ids(const struct vgpu_caller *caller, struct vgpu_graph *graph, uint32_t count,
                         uint32_t *missing)
{
    uint32_t used = 0, taken = 0, most = VGPU_PAYLOAD_MAX / sizeof(uint32_t);
    if (count > most)
        count = most;
    uint32_t *ids = calloc((size_t)count + 1, sizeof(*ids));
    struct vgpu_node **nodes = calloc((size_t)count + 1, sizeof(struct vgpu_node *));
    CUresult error = ids && nodes ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    for (; taken < count && error == CUDA_SUCCESS; taken++) {
        nodes[taken] = vgpu_node_take(graph);
        if (nodes[taken] == NULL) {
            error = CUDA_ERROR_OUT_OF_MEMORY;
            break;
        }
        ids[taken] = nodes[taken]->object.id;
    }
    if (error == CUDA_SUCCESS)
        error = vgpu_send_vgpuGraphNameNodes(caller->channel, 0, &used, missing, graph->object.id,
                                             ids, count * sizeof(*ids));
    for (uint32_t i = 0; i < taken; i++) {
        if (i < used)
            vgpu_object_publish(&nodes[i]->object, VGPU_KIND_NODE);
        else
            vgpu_node_end(nodes[i]);
    }
    free(ids);
    free(nodes);
    return error;
}

CUresult vgpu_graph_name_nodes(const struct vgpu_caller *caller, struct vgpu_graph *graph)
{
    uint32_t missing = 0;
    CUresult error = CUDA_SUCCESS;
    if (!graph->unnamed)
        return CUDA_SUCCESS;
    do {
        error = give_ids(caller, graph, missing, &missing);
    } while (error == CUDA_SUCCESS && missing);
    if (error == CUDA_SUCCESS)
        graph->unnamed = false;
    return error;
}

/* ---- questions ---- */

/* Where the answer to a question goes: arrays with room for *count entries. */
struct answer {
    CUgraphNode *from, *to;
    CUgraphEdgeData *data;
    size_t *count;
    bool lossy; /* the caller has no place for what is said of edges */
};

static bool is_plain(const CUgraphEdgeData *data)
{
    static const CUgraphEdgeData plain;
    return memcmp(data, &plain, sizeof(plain)) == 0;
}

/* Entries that there are not are NULL; the count becomes that of those there are. */
static CUresult fill(const struct answer *answer, const struct vgpu_wire_edge *edges, size_t count)
{
    if (answer->from == NULL) {
        *answer->count = count;
        return CUDA_SUCCESS;
    }
    for (size_t i = 0; i < count && answer->lossy; i++) {
        if (!is_plain(&edges[i].data))
            return CUDA_ERROR_LOSSY_QUERY;
    }
    for (size_t i = 0; i < *answer->count; i++) {
        answer->from[i] = i < count ? vgpu_node_handle(edges[i].from) : NULL;
        if (answer->to)
            answer->to[i] = i < count ? vgpu_node_handle(edges[i].to) : NULL;
        if (answer->data && i < count)
            answer->data[i] = edges[i].data;
    }
    if (count < *answer->count)
        *answer->count = count;
    return CUDA_SUCCESS;
}

struct question {
    struct vgpu_graph *graph; /* whose nodes are asked for */
    const struct vgpu_node *node;
    uint32_t which; /* roots, or dependents */
};

static CUresult ask_nodes(const struct vgpu_caller *caller, void *argument, uint32_t first,
                          struct vgpu_wire_edge *page, size_t room, size_t *bytes, uint32_t *total)
{
    const struct question *question = argument;
    return vgpu_send_vgpuGraphNodes(caller->channel, 0, total, question->graph->object.id,
                                    question->which, first, page, room, bytes);
}

static CUresult ask_edges(const struct vgpu_caller *caller, void *argument, uint32_t first,
                          struct vgpu_wire_edge *page, size_t room, size_t *bytes, uint32_t *total)
{
    const struct question *question = argument;
    return vgpu_send_vgpuGraphEdges(caller->channel, 0, total, question->graph->object.id, first,
                                    page, room, bytes);
}

static CUresult ask_neighbours(const struct vgpu_caller *caller, void *argument, uint32_t first,
                               struct vgpu_wire_edge *page, size_t room, size_t *bytes,
                               uint32_t *total)
{
    const struct question *question = argument;
    return vgpu_send_vgpuNodeNeighbours(caller->channel, 0, total, question->node->object.id,
                                        question->which, first, page, room, bytes);
}

static CUresult ask(vgpu_edges_page *fetch, struct question *question, const struct answer *answer)
{
    struct vgpu_caller caller;
    struct vgpu_wire_edge *edges = NULL;
    size_t count;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    if (question->graph == NULL || answer->count == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (answer->from) /* who asks only for the number needs no handles */
        error = vgpu_graph_name_nodes(&caller, question->graph);
    if (error == CUDA_SUCCESS)
        error = vgpu_edges_fetch(&caller, fetch, question, &edges, &count);
    if (error == CUDA_SUCCESS)
        error = fill(answer, edges, count);
    free(edges);
    return vgpu_process_note(vgpu_process(), error);
}

CUgraphNode vgpu_graph_node_at(const struct vgpu_caller *caller, struct vgpu_graph *graph,
                               uint32_t place)
{
    struct question question = {.graph = graph};
    struct vgpu_wire_edge *edges = NULL;
    CUgraphNode node = NULL;
    size_t count = 0;
    if (place != VGPU_NO_NODE && vgpu_graph_name_nodes(caller, graph) == CUDA_SUCCESS &&
        vgpu_edges_fetch(caller, ask_nodes, &question, &edges, &count) == CUDA_SUCCESS &&
        place < count)
        node = vgpu_node_handle(edges[place].from);
    free(edges);
    return node;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    return ask(ask_nodes, &(struct question){.graph = vgpu_graph_find(graph)},
               &(struct answer){.from = nodes, .count = count});
}

CUresult cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    return ask(ask_nodes, &(struct question){.graph = vgpu_graph_find(graph), .which = 1},
               &(struct answer){.from = nodes, .count = count});
}

static CUresult get_edges(CUgraph graph, const struct answer *answer)
{
    if ((answer->from == NULL) != (answer->to == NULL) || (answer->data && answer->from == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    return ask(ask_edges, &(struct question){.graph = vgpu_graph_find(graph)}, answer);
}

CUresult cuGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to,
                            CUgraphEdgeData *data, size_t *count)
{
    return get_edges(graph, &(struct answer){from, to, data, count, data == NULL});
}

CUresult cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count)
{
    return get_edges(graph, &(struct answer){from, to, NULL, count, true});
}

static CUresult get_neighbours(CUgraphNode handle, bool dependents, const struct answer *answer)
{
    const struct vgpu_node *node = vgpu_node_find(handle);
    if (answer->data && answer->from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return ask(
        ask_neighbours,
        &(struct question){.graph = node ? node->graph : NULL, .node = node, .which = dependents},
        answer);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode *dependencies,
                                       CUgraphEdgeData *data, size_t *count)
{
    return get_neighbours(node, false,
                          &(struct answer){dependencies, NULL, data, count, data == NULL});
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *dependencies, size_t *count)
{
    return cuGraphNodeGetDependencies_v2(node, dependencies, NULL, count);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode node, CUgraphNode *dependents,
                                         CUgraphEdgeData *data, size_t *count)
{
    return get_neighbours(node, true,
                          &(struct answer){dependents, NULL, data, count, data == NULL});
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *dependents, size_t *count)
{
    return cuGraphNodeGetDependentNodes_v2(node, dependents, NULL, count);
}

/* ---- changes ---- */

static CUresult connect(CUgraph handle, const CUgraphNode *from, const CUgraphNode *to,
                        const CUgraphEdgeData *data, size_t count, bool remove)
{
    struct vgpu_caller caller;
    struct vgpu_wire_edge *edges;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    struct vgpu_graph *graph = vgpu_graph_find(handle);
    if (graph == NULL || (count && to == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graph_changed(graph);
    error = vgpu_edges_pack(from, to, data, count, &edges);
    for (size_t i = 0; i < count && error == CUDA_SUCCESS; i += VGPU_EDGES_MOST) {
        size_t some = count - i < VGPU_EDGES_MOST ? count - i : VGPU_EDGES_MOST;
        error = vgpu_send_vgpuGraphConnect(caller.channel, 0, graph->object.id, remove, edges + i,
                                           some * sizeof(*edges));
    }
    free(edges);
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                   const CUgraphEdgeData *data, size_t count)
{
    return connect(graph, from, to, data, count, false);
}

CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                size_t count)
{
    return connect(graph, from, to, NULL, count, false);
}

CUresult cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                      const CUgraphEdgeData *data, size_t count)
{
    return connect(graph, from, to, data, count, true);
}

CUresult cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                   size_t count)
{
    return connect(graph, from, to, NULL, count, true);
}
