/* SPDX-License-Identifier: MIT */
#include "worker/code/launch_chain.h"

#include <stdlib.h>
#include <string.h>

#include "worker/context.h"
#include "worker/worker.h"

#define ALIGNMENT 16u /* of the strictest parameter */
#define ALONE     16u /* launches after an interruption */

/* Whether a launch is in a graph what it is in its stream, and nobody waits for its result. Behind
 * a wait for the program a driver takes fewer that are in graphs before it makes us wait. */
static bool is_plain(const struct vgpu_worker *worker, const struct vgpu_call_vgpuLaunch *call)
{
    const struct vgpu_handle *table = worker->handles.table;
    return call->attributes_bytes == 0 && worker->record->flags == 0 && worker->captures == 0 &&
           worker->fences.waits == 0 && !table[worker->handles.stream].has_attributes &&
           !table[call->function_id].goes_alone;
}

/* The parameters as a launch takes them, for as long as `bytes` and the call are there. A payload
 * begins with them, so they are aligned as strictly as anything is. */
#define PACKED(call, bytes)                                                                        \
    {                                                                                              \
        CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(call)->parameters, CU_LAUNCH_PARAM_BUFFER_SIZE,   \
            &(bytes), CU_LAUNCH_PARAM_END                                                          \
    }

/* By way of the structure also where there are no attributes: a driver is done with that a little
 * sooner than with eleven arguments (docs/performance.md). */
CUresult vgpu_launch_alone(struct vgpu_worker *worker, const struct vgpu_call_vgpuLaunch *call,
                           CUlaunchAttribute *attributes, unsigned int count)
{
    const CUlaunchConfig config = {
        .gridDimX = call->grid_x,
        .gridDimY = call->grid_y,
        .gridDimZ = call->grid_z,
        .blockDimX = call->block_x,
        .blockDimY = call->block_y,
        .blockDimZ = call->block_z,
        .sharedMemBytes = call->shared_bytes,
        .hStream = call->stream,
        .attrs = attributes,
        .numAttrs = count,
    };
    size_t bytes = call->parameters_bytes;
    void *extra[] = PACKED(call, bytes);
    return worker->driver->cuLaunchKernelEx(&config, call->function, NULL, bytes ? extra : NULL);
}

/* What a node is to launch, but for the parameters. The rest of the node is zero. */
static void describe(const struct vgpu_worker *worker, const struct vgpu_call_vgpuLaunch *call,
                     CUgraphNodeParams *node)
{
    bool is_kernel = worker->handles.table[call->function_id].kind == VGPU_KIND_KERNEL;
    node->type = CU_GRAPH_NODE_TYPE_KERNEL;
    node->kernel.func = is_kernel ? NULL : call->function;
    node->kernel.kern = is_kernel ? (CUkernel)call->function : NULL;
    node->kernel.gridDimX = call->grid_x;
    node->kernel.gridDimY = call->grid_y;
    node->kernel.gridDimZ = call->grid_z;
    node->kernel.blockDimX = call->block_x;
    node->kernel.blockDimY = call->block_y;
    node->kernel.blockDimZ = call->block_z;
    node->kernel.sharedMemBytes = call->shared_bytes;
}

static void drop(struct vgpu_worker *worker, struct vgpu_chain_graph *graph)
{
    if (graph->exec)
        worker->driver->cuGraphExecDestroy(graph->exec);
    if (graph->graph)
        worker->driver->cuGraphDestroy(graph->graph);
    *graph = (struct vgpu_chain_graph){0};
}

/* Makes a node of the graph to be, or changes one of the graph that is. What does not become one
 * goes alone from now on: not every kernel can be, or follow any other. */
static CUresult place(struct vgpu_worker *worker, struct vgpu_chain_graph *graph, uint32_t number,
                      const struct vgpu_collected_launch *launch, CUgraphNodeParams *node)
{
    CUgraphNode *place = &graph->nodes[number];
    size_t bytes = launch->call.parameters_bytes;
    void *extra[] = PACKED(&launch->call, bytes);
    describe(worker, &launch->call, node);
    node->kernel.extra = bytes ? extra : NULL;
    CUresult error =
        graph->exec ? worker->driver->cuGraphExecNodeSetParams(graph->exec, *place, node)
                    : worker->driver->cuGraphAddNode(place, graph->graph, number ? place - 1 : NULL,
                                                     NULL, number > 0, node);
    if (error)
        worker->handles.table[launch->call.function_id].goes_alone = true;
    return error;
}

static CUresult place_all(struct vgpu_worker *worker, struct vgpu_chain_graph *graph,
                          const struct vgpu_collected_launch *launches, uint32_t count)
{
    CUgraphNodeParams node = {0};
    CUresult error = CUDA_SUCCESS;
    for (uint32_t i = 0; i < count && error == CUDA_SUCCESS; i++)
        error = place(worker, graph, i, &launches[i], &node);
    return error;
}

static CUresult make(struct vgpu_worker *worker, struct vgpu_chain_graph *graph,
                     const struct vgpu_collected_launch *launches, uint32_t count)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {0};
    CUresult error = worker->driver->cuGraphCreate(&graph->graph, 0), refused = error;
    if (error == CUDA_SUCCESS)
        error = place_all(worker, graph, launches, count);
    if (error == CUDA_SUCCESS)
        error = refused =
            worker->driver->cuGraphInstantiateWithParams(&graph->exec, graph->graph, &parameters);
    if (error)
        drop(worker, graph);
    graph->refused = refused != CUDA_SUCCESS;
    worker->chains.has_graphs |= graph->exec != NULL;
    return error;
}

static bool go_together(struct vgpu_worker *worker, struct vgpu_chain_graph *graph,
                        const struct vgpu_collected_launch *launches, uint32_t count)
{
    CUresult error = CUDA_SUCCESS;
    if (graph->refused)
        return false;
    if (graph->exec == NULL)
        error = make(worker, graph, launches, count);
    else
        error = place_all(worker, graph, launches, count);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuGraphLaunch(graph->exec, launches[0].call.stream);
    return error == CUDA_SUCCESS;
}

static void go_alone(struct vgpu_worker *worker, const struct vgpu_collected_launch *launch)
{
    CUresult error = vgpu_launch_alone(worker, &launch->call, NULL, 0);
    if (error == CUDA_SUCCESS)
        return;
    uint32_t sequence = worker->sequence;
    worker->sequence = launch->sequence; /* whose failure it is */
    vgpu_worker_count(&worker->page->failed[vgpu_call_class(VGPU_CALL_vgpuLaunch)]);
    vgpu_worker_defer(worker, error);
    worker->sequence = sequence;
}

static void go(struct vgpu_worker *worker, struct vgpu_launch_chain *chain)
{
    uint32_t count = chain->count, gone = 0, size = VGPU_CHAIN_MOST;
    chain->count = chain->bytes = 0;
    worker->chains.count -= count;
    for (uint32_t i = 0; i < VGPU_CHAIN_SIZES; i++, size /= 2) {
        if (count - gone >= size &&
            go_together(worker, &chain->sizes[i], &chain->launches[gone], size)) {
            gone += size;
            worker->chains.together++;
        }
    }
    for (; gone < count; gone++)
        go_alone(worker, &chain->launches[gone]);
}

void vgpu_launch_chain_go(struct vgpu_worker *worker)
{
    struct vgpu_launch_chains *chains = &worker->chains;
    for (uint32_t i = 0; i < chains->listed; i++) {
        chains->list[i]->listed = false;
        go(worker, chains->list[i]);
    }
    chains->listed = chains->passed = 0;
}

void vgpu_launch_chain_interrupt(struct vgpu_worker *worker)
{
    vgpu_launch_chain_go(worker);
    if (worker->chains.together == 0)
        worker->chains.alone = ALONE;
    worker->chains.together = 0;
}

/* NULL: it has none, and gets none. */
static struct vgpu_launch_chain *find_or_make(struct vgpu_context *context, CUstream stream,
                                              uint32_t *place)
{
    struct vgpu_launch_chain **chains = context->chains;
    uint32_t unused = VGPU_CHAIN_STREAMS;
    for (uint32_t i = VGPU_CHAIN_STREAMS; i-- > 0;) {
        if (chains[i] == NULL)
            unused = i;
        else if (chains[i]->stream == stream)
            return chains[*place = i];
    }
    if (unused == VGPU_CHAIN_STREAMS)
        return NULL;
    struct vgpu_launch_chain *chain = calloc(1, sizeof(*chain));
    if (chain)
        chain->stream = stream;
    *place = unused;
    return chains[unused] = chain;
}

/* By what the handle remembers; the legacy stream's is the same in all contexts. */
static struct vgpu_launch_chain *chain_of(struct vgpu_worker *worker, CUstream stream)
{
    uint32_t *place = &worker->handles.table[worker->handles.stream].chain;
    struct vgpu_launch_chain *chain = worker->current->chains[*place];
    if (chain && chain->stream == stream)
        return chain;
    return find_or_make(worker->current, stream, place);
}

static void add(struct vgpu_launch_chain *chain, const struct vgpu_call_vgpuLaunch *call,
                uint32_t bytes, uint32_t sequence)
{
    struct vgpu_collected_launch *launch = &chain->launches[chain->count++];
    launch->call = *call;
    launch->call.parameters =
        memcpy(chain->parameters + chain->bytes, call->parameters, call->parameters_bytes);
    launch->sequence = sequence;
    chain->bytes += bytes;
}

static void enlist(struct vgpu_worker *worker, struct vgpu_launch_chain *chain)
{
    struct vgpu_launch_chains *chains = &worker->chains;
    if (chains->count == 0)
        vgpu_launch_chain_go(worker); /* empty ones, each of which went when it was full */
    if (!chain->listed)
        chains->list[chains->listed++] = chain;
    chain->listed = true;
}

/* The legacy stream and others wait for each other, so either it or they collect. */
static bool waits_for_collected(const struct vgpu_launch_chains *chains, CUstream stream)
{
    return chains->count && (chains->list[0]->stream == NULL) != (stream == NULL);
}

bool vgpu_launch_chain_collect(struct vgpu_worker *worker, const struct vgpu_call_vgpuLaunch *call)
{
    struct vgpu_launch_chains *chains = &worker->chains;
    CUstream stream = vgpu_mark_stream(call->stream);
    uint32_t bytes = (call->parameters_bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    bool plain = chains->enabled && is_plain(worker, call) && bytes <= VGPU_CHAIN_PARAMETER_BYTES;
    if (chains->count && (!plain || waits_for_collected(chains, stream)))
        vgpu_launch_chain_interrupt(worker);
    if (!plain)
        return false;
    if (chains->alone) {
        chains->alone--;
        return false;
    }
    struct vgpu_launch_chain *chain = chain_of(worker, stream);
    if (chain == NULL)
        return false;
    if (bytes > VGPU_CHAIN_PARAMETER_BYTES - chain->bytes)
        go(worker, chain);
    if (chain->count == 0)
        enlist(worker, chain);
    add(chain, call, bytes, worker->sequence);
    chains->count++;
    if (chain->count == VGPU_CHAIN_MOST)
        go(worker, chain);
    if (++chains->passed == VGPU_COLLECTED_MOST)
        vgpu_launch_chain_go(worker);
    return true;
}

void vgpu_launch_chain_leave_out(struct vgpu_worker *worker, CUstream stream)
{
    struct vgpu_handle *table = worker->handles.table;
    if (vgpu_mark_stream(stream) == NULL)
        table[0].has_attributes = table[1].has_attributes = true; /* the legacy stream's ids */
    else
        table[vgpu_handles_id(worker, VGPU_KIND_STREAM, stream)].has_attributes = true;
}

static void drop_all(struct vgpu_worker *worker, struct vgpu_launch_chain *chain)
{
    for (uint32_t i = 0; i < VGPU_CHAIN_SIZES; i++)
        drop(worker, &chain->sizes[i]);
}

static void forget(struct vgpu_worker *worker, struct vgpu_launch_chain **chain)
{
    vgpu_launch_chain_go(worker); /* so that it is not listed */
    drop_all(worker, *chain);
    free(*chain);
    *chain = NULL;
}

void vgpu_launch_chain_forget_stream(struct vgpu_worker *worker, struct vgpu_context *context,
                                     CUstream stream)
{
    for (uint32_t i = 0; i < VGPU_CHAIN_STREAMS; i++) {
        if (context->chains[i] && context->chains[i]->stream == stream)
            forget(worker, &context->chains[i]);
    }
}

void vgpu_launch_chain_forget_context(struct vgpu_worker *worker, struct vgpu_context *context)
{
    for (uint32_t i = 0; i < VGPU_CHAIN_STREAMS; i++) {
        if (context->chains[i])
            forget(worker, &context->chains[i]);
    }
}

void vgpu_launch_chain_forget_all(struct vgpu_worker *worker)
{
    for (struct vgpu_context *context = worker->contexts; context; context = context->next) {
        for (uint32_t i = 0; i < VGPU_CHAIN_STREAMS; i++) {
            if (context->chains[i])
                drop_all(worker, context->chains[i]);
        }
    }
    worker->chains.has_graphs = false;
}
