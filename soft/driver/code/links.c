/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/links.h"

#include <stdlib.h>
#include <string.h>

#include "soft/driver/graph/graph.h"

bool vgpu_links_add(struct vgpu_links *links, struct vgpu_node *node, const CUgraphEdgeData *data)
{
    if (links->count == links->room) {
        size_t room = links->room ? 2 * links->room : 4;
        struct vgpu_link *list = reallocarray(links->list, room, sizeof(*list));
        if (!list)
            return false;
        links->list = list;
        links->room = room;
    }
    links->list[links->count++] =
        (struct vgpu_link){.node = node, .data = data ? *data : (CUgraphEdgeData){0}};
    return true;
}

struct vgpu_link *vgpu_links_find(const struct vgpu_links *links, const struct vgpu_node *node)
{
    for (size_t i = 0; i < links->count; i++) {
        if (links->list[i].node == node)
            return &links->list[i];
    }
    return NULL;
}

bool vgpu_links_merge(struct vgpu_links *links, const struct vgpu_links *more)
{
    for (size_t i = 0; i < more->count; i++) {
        const struct vgpu_link *link = &more->list[i];
        if (!vgpu_links_find(links, link->node) && !vgpu_links_add(links, link->node, &link->data))
            return false;
    }
    return true;
}

void vgpu_links_remove(struct vgpu_links *links, const struct vgpu_node *node)
{
    struct vgpu_link *link = vgpu_links_find(links, node);

    if (!link)
        return;
    links->count--;
    memmove(link, link + 1, (size_t)(links->list + links->count - link) * sizeof(*link));
}

void vgpu_links_clear(struct vgpu_links *links)
{
    free(links->list);
    *links = (struct vgpu_links){0};
}

bool vgpu_edge_is_default(const CUgraphEdgeData *data)
{
    static const CUgraphEdgeData none;

    return memcmp(data, &none, sizeof(none)) == 0;
}

bool vgpu_edge_is_valid(const struct vgpu_node *from, CUgraphNodeType to,
                        const CUgraphEdgeData *data)
{
    static const unsigned char zero[sizeof(data->reserved)];

    if (vgpu_edge_is_default(data))
        return true;
    if (data->to_port || memcmp(data->reserved, zero, sizeof(zero)) != 0 ||
        from->type != CU_GRAPH_NODE_TYPE_KERNEL)
        return false;
    /* What the ports of kernels are for is to start another kernel early. */
    return to == CU_GRAPH_NODE_TYPE_KERNEL && data->type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC &&
           (data->from_port == CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC ||
            data->from_port == CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER);
}

CUresult vgpu_links_read(struct vgpu_links *links, const struct vgpu_graph *graph,
                         const CUgraphNode *nodes, const CUgraphEdgeData *data, size_t count)
{
    if (count && !nodes)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        struct vgpu_node *node = vgpu_node_find(nodes[i]);
        if (!node || node->graph != graph || vgpu_links_find(links, node))
            return CUDA_ERROR_INVALID_VALUE;
        if (!vgpu_links_add(links, node, data ? &data[i] : NULL))
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}
