/* SPDX-License-Identifier: MIT */
#include "worker/graph/graph_list.h"

#include <stdlib.h>
#include <string.h>

#include "worker/worker.h"

CUresult vgpu_node_list_make(struct vgpu_node_list *list, size_t count)
{
    size_t room = count ? count : 1;
    *list = (struct vgpu_node_list){.from = calloc(room, sizeof(*list->from)),
                                    .to = calloc(room, sizeof(*list->to)),
                                    .data = calloc(room, sizeof(*list->data)),
                                    .count = count};
    return list->from && list->to && list->data ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

void vgpu_node_list_free(struct vgpu_node_list *list)
{
    free(list->from);
    free(list->to);
    free(list->data);
    *list = (struct vgpu_node_list){0};
}

static CUresult find_node(struct vgpu_worker *worker, uint32_t id, CUgraphNode *node)
{
    return id ? vgpu_handles_find(worker, VGPU_KIND_NODE, id, (void **)node) : CUDA_SUCCESS;
}

CUresult vgpu_node_list_read(struct vgpu_worker *worker, const uint8_t *bytes, uint32_t length,
                             struct vgpu_node_list *list)
{
    struct vgpu_wire_edge edge;
    *list = (struct vgpu_node_list){0};
    if (length % sizeof(edge) != 0)
        return vgpu_worker_blame(worker, "a piece of an edge");
    CUresult error = vgpu_node_list_make(list, length / sizeof(edge));
    for (size_t i = 0; i < list->count && error == CUDA_SUCCESS; i++) {
        memcpy(&edge, bytes + i * sizeof(edge), sizeof(edge));
        list->data[i] = edge.data;
        error = find_node(worker, edge.from, &list->from[i]);
        if (error == CUDA_SUCCESS)
            error = find_node(worker, edge.to, &list->to[i]);
        if (error == CUDA_SUCCESS && list->from[i] == NULL)
            error = CUDA_ERROR_INVALID_VALUE;
    }
    return error;
}

uint32_t vgpu_node_list_write(const struct vgpu_worker *worker, const struct vgpu_node_list *list,
                              size_t first, uint8_t *reply, uint32_t room)
{
    uint32_t bytes = 0;
    for (size_t i = first; i < list->count; i++) {
        struct vgpu_wire_edge edge = {
            .from = vgpu_graph_names_find(&worker->graph_names, list->from[i]),
            .to = vgpu_graph_names_find(&worker->graph_names, list->to[i]),
            .data = list->data[i]};
        if (room - bytes < sizeof(edge))
            break;
        memcpy(reply + bytes, &edge, sizeof(edge));
        bytes += (uint32_t)sizeof(edge);
    }
    return bytes;
}
