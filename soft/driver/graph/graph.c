/* SPDX-License-Identifier: MIT */
#include "soft/driver/graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "soft/driver/graph/condition.h"
#include "soft/driver/stream/user_object.h"

void vgpu_graphs_lock(void)
{
    pthread_mutex_lock(&vgpu_driver()->graphs);
}

void vgpu_graphs_unlock(void)
{
    pthread_mutex_unlock(&vgpu_driver()->graphs);
}

/* ---- lives ---- */

static void destroy_node(struct vgpu_object *object)
{
    struct vgpu_node *node = (struct vgpu_node *)object;

    for (size_t i = 0; i < node->body_count; i++)
        vgpu_graph_close(node->bodies[i]);
    free(node->bodies);
    vgpu_condition_put(node->condition);
    vgpu_task_put(node->task);
    vgpu_links_clear(&node->dependencies);
    vgpu_links_clear(&node->dependents);
    free(node);
}

/* A node has one reference: the handle table's, or its graph's if it has no handle. */
static void close_node(struct vgpu_node *node)
{
    if (node->graph->published)
        vgpu_object_withdraw(node, VGPU_OBJECT_NODE);
    vgpu_object_put(node);
}

static void destroy_graph(struct vgpu_object *object)
{
    struct vgpu_graph *graph = (struct vgpu_graph *)object;

    for (size_t i = 0; i < graph->count; i++)
        close_node(graph->nodes[i]);
    free(graph->nodes);
    vgpu_held_objects_release(&graph->held);
    vgpu_conditions_put(&graph->conditions);
    free(graph);
}

struct vgpu_graph *vgpu_graph_create(bool published)
{
    struct vgpu_graph *graph =
        vgpu_object_create(VGPU_OBJECT_GRAPH, sizeof(*graph), NULL, destroy_graph);

    if (!graph)
        return NULL;
    graph->id = vgpu_driver_new_id();
    graph->published = published;
    if (published)
        vgpu_object_publish(graph);
    return graph;
}

void vgpu_graph_close(struct vgpu_graph *graph)
{
    if (graph->published)
        vgpu_object_withdraw(graph, VGPU_OBJECT_GRAPH);
    vgpu_object_put(graph);
}

/* Graphs and nodes end under the graphs' lock only, so no reference is needed. */
static void *find(const void *handle, enum vgpu_object_kind kind)
{
    void *found = vgpu_object_take(handle, kind);

    vgpu_object_put(found);
    return found;
}

struct vgpu_graph *vgpu_graph_find(CUgraph handle)
{
    return find(handle, VGPU_OBJECT_GRAPH);
}

struct vgpu_node *vgpu_node_find(CUgraphNode handle)
{
    return find(handle, VGPU_OBJECT_NODE);
}

/* ---- questions ---- */

struct vgpu_graph *vgpu_graph_root(struct vgpu_graph *graph)
{
    while (graph->parent)
        graph = graph->parent->graph;
    return graph;
}

bool vgpu_graph_contains(const struct vgpu_graph *graph, CUgraphNodeType type)
{
    for (size_t i = 0; i < graph->count; i++) {
        const struct vgpu_node *node = graph->nodes[i];
        if (node->type == type)
            return true;
        for (size_t j = 0; j < node->body_count; j++) {
            if (vgpu_graph_contains(node->bodies[j], type))
                return true;
        }
    }
    return false;
}

bool vgpu_graph_has_memory_nodes(const struct vgpu_graph *graph)
{
    return vgpu_graph_contains(graph, CU_GRAPH_NODE_TYPE_MEM_ALLOC) ||
           vgpu_graph_contains(graph, CU_GRAPH_NODE_TYPE_MEM_FREE);
}

struct vgpu_node *vgpu_graph_find_copy(const struct vgpu_graph *graph, uint64_t source)
{
    for (size_t i = 0; i < graph->count; i++) {
        struct vgpu_node *node = graph->nodes[i];
        if (node->source == source)
            return node;
        for (size_t j = 0; j < node->body_count; j++) {
            struct vgpu_node *found = vgpu_graph_find_copy(node->bodies[j], source);
            if (found)
                return found;
        }
    }
    return NULL;
}

static bool in_conditional_body(const struct vgpu_graph *graph)
{
    while (graph->parent) {
        if (graph->parent->type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
            return true;
        graph = graph->parent->graph;
    }
    return false;
}

static bool allowed_in_conditional_body(CUgraphNodeType type)
{
    return type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
           type == CU_GRAPH_NODE_TYPE_MEMSET || type == CU_GRAPH_NODE_TYPE_GRAPH ||
           type == CU_GRAPH_NODE_TYPE_EMPTY || type == CU_GRAPH_NODE_TYPE_CONDITIONAL;
}

/* ---- nodes ---- */

/* Makes room for one more node. */
static bool reserve(struct vgpu_graph *graph)
{
    size_t room = graph->room ? 2 * graph->room : 8;
    struct vgpu_node **nodes;

    if (graph->count < graph->room)
        return true;
    nodes = reallocarray(graph->nodes, room, sizeof(struct vgpu_node *));
    if (!nodes)
        return false;
    graph->nodes = nodes;
    graph->room = room;
    return true;
}

static bool connect(struct vgpu_node *node, const struct vgpu_links *dependencies)
{
    for (size_t i = 0; i < dependencies->count; i++) {
        const struct vgpu_link *link = &dependencies->list[i];
        if (!vgpu_links_add(&node->dependencies, link->node, &link->data) ||
            !vgpu_links_add(&link->node->dependents, node, &link->data))
            return false;
    }
    return true;
}

static void disconnect(struct vgpu_node *node)
{
    for (size_t i = 0; i < node->dependencies.count; i++)
        vgpu_links_remove(&node->dependencies.list[i].node->dependents, node);
    for (size_t i = 0; i < node->dependents.count; i++)
        vgpu_links_remove(&node->dependents.list[i].node->dependencies, node);
}

CUresult vgpu_graph_add(struct vgpu_graph *graph, CUgraphNodeType type, struct vgpu_task *task,
                        const struct vgpu_links *dependencies, struct vgpu_node **out)
{
    CUresult result = CUDA_SUCCESS;
    struct vgpu_node *node;

    if (in_conditional_body(graph) && !allowed_in_conditional_body(type))
        result = CUDA_ERROR_NOT_SUPPORTED;
    for (size_t i = 0; i < dependencies->count; i++) {
        const struct vgpu_link *link = &dependencies->list[i];
        if (!vgpu_edge_is_valid(link->node, type, &link->data))
            result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
        return result;
    }
    node = vgpu_object_create(VGPU_OBJECT_NODE, sizeof(*node), NULL, destroy_node);
    if (!node) {
        vgpu_task_put(task);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    node->graph = graph;
    node->type = type;
    node->task = task;
    node->id = vgpu_driver_new_id();
    if (!reserve(graph) || !connect(node, dependencies)) {
        disconnect(node);
        vgpu_object_put(node);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    node->index = graph->count;
    graph->nodes[graph->count++] = node;
    if (graph->published)
        vgpu_object_publish(node);
    *out = node;
    return CUDA_SUCCESS;
}

CUresult vgpu_node_add_bodies(struct vgpu_node *node, size_t count)
{
    node->bodies = calloc(count, sizeof(struct vgpu_graph *));
    if (!node->bodies)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (node->body_count = 0; node->body_count < count; node->body_count++) {
        struct vgpu_graph *body = vgpu_graph_create(node->graph->published);
        if (!body)
            return CUDA_ERROR_OUT_OF_MEMORY;
        body->parent = node;
        node->bodies[node->body_count] = body;
    }
    return CUDA_SUCCESS;
}

void vgpu_graph_remove(struct vgpu_node *node)
{
    struct vgpu_graph *graph = node->graph;

    disconnect(node);
    graph->count--;
    for (size_t i = node->index; i < graph->count; i++) {
        graph->nodes[i] = graph->nodes[i + 1];
        graph->nodes[i]->index = i;
    }
    close_node(node);
}

void vgpu_node_set_task(struct vgpu_node *node, struct vgpu_task *task)
{
    vgpu_task_put(node->task);
    node->task = task;
}

/* ---- copies ---- */

static bool copy_into(struct vgpu_graph *copy, const struct vgpu_graph *graph, bool of_source);

static bool copy_bodies(struct vgpu_node *copy, const struct vgpu_node *node, bool of_source)
{
    if (node->body_count == 0)
        return true;
    if (vgpu_node_add_bodies(copy, node->body_count) != CUDA_SUCCESS)
        return false;
    for (size_t i = 0; i < node->body_count; i++) {
        if (!copy_into(copy->bodies[i], node->bodies[i], of_source))
            return false;
    }
    return true;
}

static bool copy_node(struct vgpu_graph *graph, const struct vgpu_node *node, bool of_source)
{
    struct vgpu_task *task = node->task ? vgpu_task_share(node->task) : NULL;
    struct vgpu_node *copy;

    if (vgpu_graph_add(graph, node->type, task, &(struct vgpu_links){0}, &copy) != CUDA_SUCCESS)
        return false;
    copy->source = of_source ? node->source : node->id;
    copy->disabled = node->disabled;
    copy->moved = node->moved;
    copy->condition = node->condition ? vgpu_condition_share(node->condition) : NULL;
    copy->condition_type = node->condition_type;
    copy->attributes_set = node->attributes_set;
    memcpy(copy->attributes, node->attributes, sizeof(copy->attributes));
    return copy_bodies(copy, node, of_source);
}

static bool copy_into(struct vgpu_graph *copy, const struct vgpu_graph *graph, bool of_source)
{
    copy->source = of_source ? graph->source : graph->id;
    for (size_t i = 0; i < graph->count; i++) {
        if (!copy_node(copy, graph->nodes[i], of_source))
            return false;
    }
    /* In the same order on both ends of the edges: updates pair nodes by it. */
    for (size_t i = 0; i < graph->count; i++) {
        const struct vgpu_node *node = graph->nodes[i];
        for (size_t j = 0; j < node->dependencies.count; j++) {
            const struct vgpu_link *link = &node->dependencies.list[j];
            if (!vgpu_links_add(&copy->nodes[i]->dependencies, copy->nodes[link->node->index],
                                &link->data))
                return false;
        }
        for (size_t j = 0; j < node->dependents.count; j++) {
            const struct vgpu_link *link = &node->dependents.list[j];
            if (!vgpu_links_add(&copy->nodes[i]->dependents, copy->nodes[link->node->index],
                                &link->data))
                return false;
        }
    }
    return vgpu_held_objects_copy(&copy->held, graph->held);
}

struct vgpu_graph *vgpu_graph_copy(const struct vgpu_graph *graph, bool published, bool of_source)
{
    struct vgpu_graph *copy = vgpu_graph_create(published);

    if (copy && !copy_into(copy, graph, of_source)) {
        vgpu_graph_close(copy);
        return NULL;
    }
    return copy;
}

CUresult vgpu_node_copy_body(struct vgpu_node *node, const struct vgpu_graph *child)
{
    CUresult result = vgpu_node_add_bodies(node, 1);

    if (result != CUDA_SUCCESS)
        return result;
    return copy_into(node->bodies[0], child, false) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* ---- order ---- */

/* Fills in `order`; returns how many nodes could be placed. `missing` counts dependencies. */
static size_t place_nodes(const struct vgpu_graph *graph, size_t *missing, struct vgpu_node **order)
{
    size_t placed = 0;

    for (size_t i = 0; i < graph->count; i++) {
        missing[i] = graph->nodes[i]->dependencies.count;
        if (missing[i] == 0)
            order[placed++] = graph->nodes[i];
    }
    for (size_t done = 0; done < placed; done++) {
        const struct vgpu_links *dependents = &order[done]->dependents;
        for (size_t i = 0; i < dependents->count; i++) {
            struct vgpu_node *node = dependents->list[i].node;
            if (--missing[node->index] == 0)
                order[placed++] = node;
        }
    }
    return placed;
}

/* What is not placed depends on a cycle or is in one: going backwards leads into it. */
static struct vgpu_node *find_cyclic(const struct vgpu_graph *graph, const size_t *missing)
{
    struct vgpu_node *node = NULL;

    for (size_t i = 0; i < graph->count && !node; i++)
        node = missing[i] ? graph->nodes[i] : NULL;
    for (size_t steps = 0; node && steps < graph->count; steps++) {
        for (size_t i = 0; i < node->dependencies.count; i++) {
            struct vgpu_node *before = node->dependencies.list[i].node;
            if (missing[before->index]) {
                node = before;
                break;
            }
        }
    }
    return node;
}

static CUresult sort_bodies(const struct vgpu_graph *graph, struct vgpu_node **cyclic)
{
    CUresult result = CUDA_SUCCESS;

    for (size_t i = 0; i < graph->count && result == CUDA_SUCCESS; i++) {
        const struct vgpu_node *node = graph->nodes[i];
        for (size_t j = 0; j < node->body_count && result == CUDA_SUCCESS; j++)
            result = vgpu_graph_sort(node->bodies[j], cyclic);
    }
    return result;
}

CUresult vgpu_graph_sort(struct vgpu_graph *graph, struct vgpu_node **cyclic)
{
    size_t *missing = calloc(graph->count + 1, sizeof(*missing));
    struct vgpu_node **order = calloc(graph->count + 1, sizeof(struct vgpu_node *));
    CUresult result = CUDA_SUCCESS;

    if (!missing || !order) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    } else if (place_nodes(graph, missing, order) < graph->count) {
        *cyclic = find_cyclic(graph, missing);
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        for (size_t i = 0; i < graph->count; i++) {
            graph->nodes[i] = order[i];
            graph->nodes[i]->index = i;
        }
    }
    free(missing);
    free(order);
    return result == CUDA_SUCCESS ? sort_bodies(graph, cyclic) : result;
}
