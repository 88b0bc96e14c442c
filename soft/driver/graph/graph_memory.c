/* SPDX-License-Identifier: MIT */
#include "soft/driver/graph/graph_memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "soft/driver/graph/capture.h"
#include "soft/driver/memory/allocation.h"

struct vgpu_graph_memory {
    _Atomic unsigned int references; /* of tasks, and one while it is allocated */
    struct vgpu_graph_memory *next;  /* of all */
    struct vgpu_graph_block block;
    struct vgpu_device *device;
    CUDA_MEM_ALLOC_NODE_PARAMS params; /* as given, but with the list below */
    CUmemAccessDesc *access;
    /* Guarded by the graphs' lock. */
    uint64_t owner; /* id of the graph that allocates it */
    uint64_t freer; /* of the graph that frees it, or 0 */
    bool allocated; /* by a launch, and not freed yet */
};

static struct {
    pthread_mutex_t lock;
    struct vgpu_graph_memory *list;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What allocation and free nodes do: nothing, for the memory is there. */
struct memory_task {
    struct vgpu_task task;
    struct vgpu_graph_memory *memory; /* with a reference */
};

/* ---- blocks ---- */

CUresult vgpu_graph_block_create(struct vgpu_context *context, size_t size,
                                 struct vgpu_graph_block *block)
{
    struct vgpu_allocation found;
    CUresult result =
        vgpu_allocation_create(context, VGPU_ALLOCATION_GRAPH, size, 0, &block->address);

    if (result == CUDA_SUCCESS && vgpu_allocation_find(block->address, &found))
        block->id = found.id;
    return result;
}

bool vgpu_graph_block_is_there(const struct vgpu_graph_block *block)
{
    struct vgpu_allocation found;

    return vgpu_allocation_find(block->address, &found) && found.id == block->id;
}

void vgpu_graph_block_free(const struct vgpu_graph_block *block)
{
    if (vgpu_graph_block_is_there(block))
        vgpu_allocation_free(block->address, 1u << VGPU_ALLOCATION_GRAPH);
}

/* ---- lives ---- */

/* Takes it out of the list when it is the last: tasks end in streams' threads, too. */
static void put(struct vgpu_graph_memory *memory)
{
    struct vgpu_graph_memory **link = &all.list;

    /* Acquire and release: the last holder sees what the others did. */
    if (atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_lock(&all.lock);
    while (*link != memory)
        link = &(*link)->next;
    *link = memory->next;
    pthread_mutex_unlock(&all.lock);
    vgpu_graph_block_free(&memory->block);
    free(memory->access);
    free(memory);
}

static void memory_release(struct vgpu_task *task)
{
    put(((struct memory_task *)task)->memory);
}

static CUresult memory_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)task, (void)context;
    return CUDA_SUCCESS;
}

/* Takes over the reference. */
static struct vgpu_task *create_task(struct vgpu_graph_memory *memory, CUgraphNodeType type)
{
    struct memory_task *task = calloc(1, sizeof(*task));

    if (!task) {
        put(memory);
        return NULL;
    }
    task->task = (struct vgpu_task){
        .is_node = true, .type = type, .run = memory_run, .release = memory_release};
    task->memory = memory;
    return &task->task;
}

static struct vgpu_graph_memory *memory_of(const struct vgpu_task *task)
{
    return ((const struct memory_task *)task)->memory;
}

/* With a reference, or NULL. */
static struct vgpu_graph_memory *find(uint64_t address)
{
    struct vgpu_graph_memory *memory;

    pthread_mutex_lock(&all.lock);
    memory = all.list;
    while (memory && memory->block.address != address)
        memory = memory->next;
    /* One that nobody holds is about to leave the list. */
    if (memory && atomic_fetch_add(&memory->references, 1) == 0) {
        atomic_fetch_sub(&memory->references, 1);
        memory = NULL;
    }
    pthread_mutex_unlock(&all.lock);
    return memory;
}

/* Graphs' lock held. Bytes of a device's: all, or those that are allocated. */
static uint64_t total(const struct vgpu_device *device, bool allocated)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&all.lock);
    for (const struct vgpu_graph_memory *memory = all.list; memory; memory = memory->next) {
        if (memory->device == device && (memory->allocated || !allocated))
            bytes += memory->params.bytesize;
    }
    pthread_mutex_unlock(&all.lock);
    return bytes;
}

/* Graphs' lock held. */
static void note_high(struct vgpu_device *device)
{
    uint64_t used = total(device, true), reserved = total(device, false);

    if (used > device->graph_used_high)
        device->graph_used_high = used;
    if (reserved > device->graph_reserved_high)
        device->graph_reserved_high = reserved;
}

/* ---- allocation nodes ---- */

static CUresult check_params(const CUDA_MEM_ALLOC_NODE_PARAMS *params, struct vgpu_device **device)
{
    if (params->bytesize == 0 || (params->accessDescCount && !params->accessDescs) ||
        params->poolProps.allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if (params->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        params->poolProps.handleTypes != CU_MEM_HANDLE_TYPE_NONE)
        return CUDA_ERROR_NOT_SUPPORTED;
    *device = vgpu_device_get(params->poolProps.location.id);
    if (!*device)
        return CUDA_ERROR_INVALID_DEVICE;
    for (size_t i = 0; i < params->accessDescCount; i++) {
        if (params->accessDescs[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
            params->accessDescs[i].location.id != (*device)->ordinal)
            return CUDA_ERROR_INVALID_VALUE; /* devices do not reach each other's memory */
    }
    return CUDA_SUCCESS;
}

static CUresult create(const CUDA_MEM_ALLOC_NODE_PARAMS *params, struct vgpu_graph_memory **out)
{
    size_t bytes = params->accessDescCount * sizeof(*params->accessDescs);
    struct vgpu_graph_memory *memory;
    struct vgpu_context *context;
    struct vgpu_device *device = NULL;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = check_params(params, &device);
    if (result == CUDA_SUCCESS && context->device != device)
        result = CUDA_ERROR_INVALID_CONTEXT;
    if (result != CUDA_SUCCESS)
        return result;
    memory = calloc(1, sizeof(*memory));
    if (memory && bytes)
        memory->access = calloc(1, bytes);
    result = memory && (memory->access || !bytes)
                 ? vgpu_graph_block_create(context, params->bytesize, &memory->block)
                 : CUDA_ERROR_OUT_OF_MEMORY;
    if (result != CUDA_SUCCESS) {
        free(memory ? memory->access : NULL);
        free(memory);
        return result;
    }
    if (bytes)
        memcpy(memory->access, params->accessDescs, bytes);
    memory->references = 1;
    memory->device = device;
    memory->params = *params;
    memory->params.accessDescs = memory->access;
    memory->params.dptr = memory->block.address;
    pthread_mutex_lock(&all.lock);
    memory->next = all.list;
    all.list = memory;
    pthread_mutex_unlock(&all.lock);
    vgpu_graphs_lock();
    note_high(device);
    vgpu_graphs_unlock();
    *out = memory;
    return CUDA_SUCCESS;
}

/* Only a graph that is nobody's copy has such nodes, and gets no more when it is given away. */
static bool may_have_memory(const struct vgpu_graph *graph)
{
    return !graph->parent;
}

/* Lock held. `data` is the task, which the node shares. */
static CUresult add_alloc(struct vgpu_graph *graph, const struct vgpu_links *dependencies,
                          void *data, struct vgpu_node **node)
{
    struct vgpu_task *task = data;

    if (!may_have_memory(graph))
        return CUDA_ERROR_NOT_SUPPORTED;
    memory_of(task)->owner = vgpu_graph_root(graph)->id;
    return vgpu_graph_add(graph, task->type, vgpu_task_share(task), dependencies, node);
}

/* Lock held. The same for a free node. */
static CUresult add_free(struct vgpu_graph *graph, const struct vgpu_links *dependencies,
                         void *data, struct vgpu_node **node)
{
    struct vgpu_task *task = data;
    struct vgpu_graph_memory *memory = memory_of(task);
    uint64_t id = vgpu_graph_root(graph)->id;
    CUresult result;

    if (!may_have_memory(graph))
        return CUDA_ERROR_NOT_SUPPORTED;
    /* Once in its own graph, or else in other graphs only, once in each. */
    if (memory->freer == id || memory->freer == memory->owner ||
        (memory->freer && memory->owner == id))
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_graph_add(graph, task->type, vgpu_task_share(task), dependencies, node);
    if (result == CUDA_SUCCESS)
        memory->freer = id;
    return result;
}

typedef CUresult add_function(struct vgpu_graph *graph, const struct vgpu_links *dependencies,
                              void *data, struct vgpu_node **node);

static CUresult add(CUgraphNode *out, CUgraph handle, const CUgraphNode *nodes,
                    const CUgraphEdgeData *data, size_t count, add_function *add_node,
                    struct vgpu_task *task)
{
    struct vgpu_links dependencies = {0};
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    struct vgpu_graph *graph;
    struct vgpu_node *node;

    vgpu_graphs_lock();
    graph = out ? vgpu_graph_find(handle) : NULL;
    if (graph)
        result = vgpu_links_read(&dependencies, graph, nodes, data, count);
    if (result == CUDA_SUCCESS) {
        result = add_node(graph, &dependencies, task, &node);
        if (result == CUDA_SUCCESS)
            *out = (CUgraphNode)node;
    }
    vgpu_links_clear(&dependencies);
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_graph_memory_add_alloc(CUgraphNode *out, CUgraph graph, const CUgraphNode *nodes,
                                     const CUgraphEdgeData *data, size_t count,
                                     CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
    struct vgpu_graph_memory *memory;
    struct vgpu_task *task;
    CUdeviceptr address;
    CUresult result = create(params, &memory);

    if (result != CUDA_SUCCESS)
        return result;
    address = memory->block.address;
    task = create_task(memory, CU_GRAPH_NODE_TYPE_MEM_ALLOC);
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = add(out, graph, nodes, data, count, add_alloc, task);
    vgpu_task_put(task);
    if (result == CUDA_SUCCESS)
        params->dptr = address;
    return result;
}

CUresult vgpu_graph_memory_add_free(CUgraphNode *out, CUgraph graph, const CUgraphNode *nodes,
                                    const CUgraphEdgeData *data, size_t count, CUdeviceptr address)
{
    struct vgpu_graph_memory *memory = find(address);
    struct vgpu_task *task;
    CUresult result;

    if (!memory)
        return CUDA_ERROR_INVALID_VALUE;
    task = create_task(memory, CU_GRAPH_NODE_TYPE_MEM_FREE);
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = add(out, graph, nodes, data, count, add_free, task);
    vgpu_task_put(task);
    return result;
}

void vgpu_graph_memory_params(const struct vgpu_task *task, CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
    *params = memory_of(task)->params;
}

CUresult vgpu_graph_memory_capture_alloc(struct vgpu_stream *stream, struct vgpu_device *device,
                                         size_t size, uint64_t *address)
{
    CUDA_MEM_ALLOC_NODE_PARAMS params = {
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device->ordinal}},
        .bytesize = size};
    struct vgpu_graph_memory *memory;
    struct vgpu_task *task;
    CUresult result = create(&params, &memory);

    if (result != CUDA_SUCCESS)
        return result;
    *address = memory->block.address;
    task = create_task(memory, CU_GRAPH_NODE_TYPE_MEM_ALLOC);
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = vgpu_capture_add(stream, add_alloc, task);
    vgpu_task_put(task);
    return result;
}

CUresult vgpu_graph_memory_capture_free(struct vgpu_stream *stream, uint64_t address)
{
    struct vgpu_graph_memory *memory = find(address);
    struct vgpu_task *task;
    CUresult result;

    if (!memory)
        return CUDA_ERROR_INVALID_VALUE;
    task = create_task(memory, CU_GRAPH_NODE_TYPE_MEM_FREE);
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = vgpu_capture_add(stream, add_free, task);
    vgpu_task_put(task);
    return result;
}

/* ---- allocating and freeing ---- */

/* Lock held. */
static void set_allocated(struct vgpu_graph_memory *memory, bool allocated)
{
    bool was = memory->allocated;

    memory->allocated = allocated;
    if (allocated && !was)
        atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
    if (allocated)
        note_high(memory->device);
    if (was && !allocated)
        put(memory);
}

/* It does not count as allocated any more. */
static CUresult end_allocation(struct vgpu_graph_memory *memory)
{
    CUresult result = CUDA_SUCCESS;

    vgpu_graphs_lock();
    if (memory->allocated)
        set_allocated(memory, false);
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}

CUresult vgpu_graph_memory_free(uint64_t address)
{
    struct vgpu_graph_memory *memory = find(address);
    CUresult result;

    if (!memory)
        return CUDA_ERROR_INVALID_VALUE;
    result = end_allocation(memory);
    put(memory);
    return result;
}

CUresult vgpu_graph_memory_free_in(struct vgpu_stream *stream, uint64_t address)
{
    struct vgpu_graph_memory *memory = find(address);
    struct vgpu_task *task;
    CUresult result;

    if (!memory)
        return CUDA_ERROR_INVALID_VALUE;
    /* It may be used until the stream gets here. */
    task = create_task(memory, CU_GRAPH_NODE_TYPE_MEM_FREE);
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = end_allocation(memory);
    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
        return result;
    }
    return vgpu_stream_submit(stream, task, VGPU_SUBMIT_INSTANT, NULL);
}

/* Whether a plan has a node of the type for the memory. */
static bool has_node(const struct vgpu_graph *plan, CUgraphNodeType type,
                     const struct vgpu_graph_memory *memory)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct vgpu_node *node = plan->nodes[i];
        if (node->type == type && memory_of(node->task) == memory)
            return true;
        for (size_t j = 0; j < node->body_count; j++) {
            if (has_node(node->bodies[j], type, memory))
                return true;
        }
    }
    return false;
}

/* What one node means for what is allocated after a launch; checks only, or notes it. */
static CUresult launch_node(const struct vgpu_graph *plan, const struct vgpu_node *node,
                            bool auto_free, bool note)
{
    struct vgpu_graph_memory *memory = memory_of(node->task);
    bool alloc = node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC;

    /* What the graph allocates and frees, is not left of it. */
    if (has_node(plan, alloc ? CU_GRAPH_NODE_TYPE_MEM_FREE : CU_GRAPH_NODE_TYPE_MEM_ALLOC, memory))
        return CUDA_SUCCESS;
    if (alloc ? memory->allocated && !auto_free : !memory->allocated)
        return CUDA_ERROR_INVALID_VALUE;
    if (note)
        set_allocated(memory, alloc);
    return CUDA_SUCCESS;
}

static CUresult launch(const struct vgpu_graph *root, const struct vgpu_graph *plan, bool auto_free,
                       bool note)
{
    CUresult result = CUDA_SUCCESS;

    for (size_t i = 0; i < plan->count && result == CUDA_SUCCESS; i++) {
        const struct vgpu_node *node = plan->nodes[i];
        if (node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || node->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
            result = launch_node(root, node, auto_free, note);
        for (size_t j = 0; j < node->body_count && result == CUDA_SUCCESS; j++)
            result = launch(root, node->bodies[j], auto_free, note);
    }
    return result;
}

CUresult vgpu_graph_memory_launch(const struct vgpu_graph *plan, bool auto_free)
{
    CUresult result = launch(plan, plan, auto_free, false);

    return result == CUDA_SUCCESS ? launch(plan, plan, auto_free, true) : result;
}

/* ---- calls ---- */

CUresult cuDeviceGraphMemTrim(CUdevice device)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    /* Nothing is kept that no graph can use. */
    return vgpu_device_get(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attr, void *value)
{
    struct vgpu_device *found = vgpu_device_get(device);
    CUresult result = vgpu_driver_ready();
    cuuint64_t *number = value;

    if (result != CUDA_SUCCESS)
        return result;
    if (!found)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_lock();
    switch (attr) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT:
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT:
        *number = total(found, attr == CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT);
        break;
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH:
        *number = found->graph_used_high;
        break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH:
        *number = found->graph_reserved_high;
        break;
    default:
        result = CUDA_ERROR_INVALID_VALUE;
        break;
    }
    vgpu_graphs_unlock();
    return result;
}

CUresult cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attr, void *value)
{
    struct vgpu_device *found = vgpu_device_get(device);
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!found)
        return CUDA_ERROR_INVALID_DEVICE;
    /* Highest values can be begun anew, and that is all. */
    if (!value || *(const cuuint64_t *)value)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_lock();
    if (attr == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH)
        found->graph_used_high = total(found, true);
    else if (attr == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)
        found->graph_reserved_high = total(found, false);
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_graphs_unlock();
    return result;
}
