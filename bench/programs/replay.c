/* SPDX-License-Identifier: MIT */
/*
 * bench-replay PARAMETER-BYTES COUNT: a worker's loop with launches, as many as it gets done, on a
 * driver that does nothing but keep the ring full: what the worker itself adds to each. Prints
 * nanoseconds; bench/counts has it run under callgrind, which leaves run_driver() out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol/ring.h"
#include "worker/primitive.h"
#include "worker/tests/fixture.h"

#define WATCHDOG           30000000000u /* nanoseconds, as it is by default */
#define LAUNCH_NANOSECONDS 2800u        /* of the GPU's clock: short to the watchdog */
#define RECORDS_READY      1000u

/* The guest and the GPU; calls of a driver have no argument for it. */
static struct {
    struct vgpu_ring_producer ring;
    struct vgpu_call_header header;
    uint8_t parameters[FAKE_PARAMETER_BYTES];
    uint32_t left; /* launches to be put into the ring */
    uint32_t under_way;
    int socket; /* the mediator's end */
} guest;

CUresult run_driver(const CUlaunchConfig *config, CUfunction function, void **parameters,
                    void **extra);
CUresult run_graph(CUgraphExec exec, CUstream stream);

static void push(void)
{
    bool wake;
    guest.header.sequence++;
    assert_true(vgpu_ring_push(&guest.ring, &guest.header, guest.parameters,
                               guest.header.payload_bytes, NULL, 0, &wake));
    guest.left--;
    guest.under_way++;
}

static void pass_launch(void)
{
    fake_pass(LAUNCH_NANOSECONDS);
    if (guest.left)
        push();
    if (--guest.under_way == 0)
        close(guest.socket);
}

CUresult run_driver(const CUlaunchConfig *config, CUfunction function, void **parameters,
                    void **extra)
{
    (void)function, (void)parameters, (void)extra;
    assert_int_equal(config->gridDimX + config->gridDimY + config->gridDimZ + config->blockDimX +
                         config->blockDimY + config->blockDimZ + config->sharedMemBytes,
                     6 + 7);
    pass_launch();
    return CUDA_SUCCESS;
}

/* Launches that come together do so in a graph, of which all that is known is how many nodes it has
 * got: they are made one after the other. */
static uint32_t nodes[VGPU_CHAIN_SIZES];
static uint32_t graphs;

static CUresult make_graph(CUgraph *graph, unsigned int flags)
{
    *graph = (CUgraph)&nodes[graphs++];
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult add_node(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                         const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *parameters)
{
    (void)dependencies, (void)data, (void)count, (void)parameters;
    ++*(uint32_t *)(void *)graph;
    *node = (CUgraphNode)graph;
    return CUDA_SUCCESS;
}

static CUresult instantiate(CUgraphExec *exec, CUgraph graph,
                            CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    (void)parameters;
    *exec = (CUgraphExec)graph;
    return CUDA_SUCCESS;
}

static CUresult set_node(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *parameters)
{
    (void)exec, (void)node, (void)parameters;
    return CUDA_SUCCESS;
}

static CUresult destroy_exec(CUgraphExec exec)
{
    (void)exec;
    return CUDA_SUCCESS;
}

static CUresult destroy_graph(CUgraph graph)
{
    (void)graph;
    return CUDA_SUCCESS;
}

CUresult run_graph(CUgraphExec exec, CUstream stream)
{
    (void)stream;
    for (uint32_t i = *(uint32_t *)(void *)exec; i; i--)
        pass_launch();
    return CUDA_SUCCESS;
}

static void take_graphs(struct vgpu_driver *table)
{
    table->cuGraphCreate = make_graph;
    table->cuGraphAddNode = add_node;
    table->cuGraphInstantiateWithParams = instantiate;
    table->cuGraphExecNodeSetParams = set_node;
    table->cuGraphLaunch = run_graph;
    table->cuGraphExecDestroy = destroy_exec;
    table->cuGraphDestroy = destroy_graph;
}

/* As the guest's library packs it: protocol/calls/code.calls. */
static struct vgpu_call_header launch(uint32_t parameter_bytes)
{
    const uint32_t arguments[] = {FUNCTION, 1, 1, 1, 1, 1, 1, 7, 0, parameter_bytes};
    struct vgpu_call_header header = {
        .call = VGPU_CALL_vgpuLaunch, .context = CONTEXT, .payload_bytes = parameter_bytes};
    memcpy(header.arguments, arguments, sizeof(arguments));
    return header;
}

int main(int argc, char **argv)
{
    struct vgpu_primitive primitive;
    struct timespec begin, end;
    int sockets[2];
    uint32_t parameter_bytes = argc == 3 ? (uint32_t)strtoul(argv[1], NULL, 10) : UINT32_MAX;
    uint32_t count = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (count < 1 || parameter_bytes > sizeof(guest.parameters)) {
        fprintf(stderr, "usage: bench-replay PARAMETER-BYTES(0 to %zu) COUNT\n",
                sizeof(guest.parameters));
        return 2;
    }
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_worker *worker = &channel->worker;
    fixture_load(channel, "image");
    worker->handles.table[FUNCTION].parameter_bytes = parameter_bytes;
    worker->handles.table[FUNCTION].goes_alone = false; /* the fake's have all attributes */
    fake_driver_table()->cuLaunchKernelEx = run_driver;
    take_graphs(fake_driver_table());
    channel->page.watch.limit = WATCHDOG;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    worker->socket = sockets[1];
    worker->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vgpu_primitive_init(&primitive, worker->driver, CUDA_SUCCESS);

    guest.socket = sockets[0];
    guest.left = count;
    guest.header = launch(parameter_bytes);
    guest.header.sequence = channel->sequence;
    vgpu_ring_producer_init(&guest.ring, worker->extent);
    for (uint32_t i = 0; i < RECORDS_READY && guest.left; i++)
        push();
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int status = vgpu_loop_run(worker, &primitive);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double nanoseconds =
        (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    printf("%.1f ns for each launch\n", nanoseconds / count);
    close(worker->doorbell);
    close(worker->socket);
    fixture_close(channel);
    return status == VGPU_WORKER_EXIT_OK && guest.left + guest.under_way == 0 ? 0 : 1;
}
