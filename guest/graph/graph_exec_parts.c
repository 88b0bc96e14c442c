/* SPDX-License-Identifier: MIT */
/* What single nodes of executable graphs are given: memory and functions of the program. */
#include <stdlib.h>

#include "guest/graph/graph.h"

/* ---- memory ---- */

struct vgpu_exec_part {
    struct vgpu_exec_part *next;
    uint32_t node;
    struct vgpu_shadow_set shadows;
};

static struct vgpu_exec_part *find_part(const struct vgpu_graph_exec *exec, uint32_t node)
{
    struct vgpu_exec_part *part = exec->parts;
    while (part && part->node != node)
        part = part->next;
    return part;
}

/* What a node had from the graph, which tells of a copy as long as that was not changed. What is
 * not known stays, and only what the graph changes there is copied out. */
static void leave_first(struct vgpu_graph_exec *exec, const struct vgpu_node *node,
                        CUgraphNodeType type, bool more)
{
    struct vgpu_shadow_set first = {0};
    struct vgpu_node_message message;
    struct vgpu_node *same;
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY && !exec->updated &&
        vgpu_node_fetch(vgpu_object_handle(node), &same, &message) == CUDA_SUCCESS)
        vgpu_node_shadows(node, &message, &first);
    bool known = type == CU_GRAPH_NODE_TYPE_MEMCPY && !exec->updated && (first.count || !more);
    known &= vgpu_shadow_set_leave(&exec->needs.shadows, &first);
    exec->needs.partial |= !known && exec->needs.shadows.count;
    vgpu_shadow_set_clear(&first);
}

bool vgpu_exec_place(struct vgpu_graph_exec *exec, const struct vgpu_node *node,
                     CUgraphNodeType type, const struct vgpu_shadow_set *now)
{
    struct vgpu_exec_part *part = find_part(exec, node->object.id);
    if (part == NULL && now->count == 0 && exec->needs.shadows.count == 0)
        return true; /* as most programs have it */
    if (part) {
        vgpu_shadow_set_leave(&exec->needs.shadows, &part->shadows);
        vgpu_shadow_set_clear(&part->shadows);
    } else {
        leave_first(exec, node, type, now->count);
        part = calloc(1, sizeof(*part));
        if (part == NULL)
            return false;
        *part = (struct vgpu_exec_part){.next = exec->parts, .node = node->object.id};
        exec->parts = part;
    }
    return vgpu_shadow_set_join(&part->shadows, now) &&
           vgpu_shadow_set_join(&exec->needs.shadows, now);
}

/* ---- functions ---- */

struct vgpu_exec_host {
    struct vgpu_exec_host *next;
    uint32_t node;
    uint32_t upcall;
    uint64_t since; /* how many launches there had been */
};

/* A function that is not called again is known until no launch that calls it is under way: the
 * next launch comes after all before. */
static void retire(struct vgpu_graph_exec *exec, const struct vgpu_exec_host *host)
{
    if (host->since == exec->launches)
        vgpu_upcall_forget(host->upcall);
    else
        vgpu_upcall_list_add(&exec->retired, host->upcall); /* without memory it stays taken */
}

CUresult vgpu_exec_call(struct vgpu_graph_exec *exec, const struct vgpu_node *node, uint32_t upcall)
{
    struct vgpu_exec_host *host = exec->hosts;
    while (host && host->node != node->object.id)
        host = host->next;
    if (host) {
        retire(exec, host);
    } else {
        host = calloc(1, sizeof(*host));
        if (host == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        host->next = exec->hosts;
        host->node = node->object.id;
        exec->hosts = host;
    }
    host->upcall = upcall;
    host->since = exec->launches;
    exec->needs.hosts = true;
    return CUDA_SUCCESS;
}

/* ---- the end ---- */

void vgpu_exec_forget_parts(struct vgpu_graph_exec *exec)
{
    while (exec->parts) {
        struct vgpu_exec_part *part = exec->parts;
        exec->parts = part->next;
        vgpu_shadow_set_clear(&part->shadows);
        free(part);
    }
    while (exec->hosts) {
        struct vgpu_exec_host *host = exec->hosts;
        exec->hosts = host->next;
        retire(exec, host);
        free(host);
    }
}
