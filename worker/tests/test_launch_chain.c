/* SPDX-License-Identifier: MIT */
/* Launches that wait in the ring go to the driver as graphs, and what has to go alone does. */
#include <string.h>

#include "worker/graph/capture.h"
#include "worker/tests/fixture.h"

#define NODES_MOST 256u
#define EXECS_MOST 64u

/* The fake's graphs: chains of kernel nodes. Handles of nodes are addresses of these. */
static struct {
    uint32_t node[NODES_MOST]; /* the first parameter of its kernel */
    uint32_t nodes, execs, graphs, destroyed;
    uint32_t set;      /* how often a node was changed */
    uint32_t launched; /* graphs */
    uint32_t ran[256]; /* the kernels' numbers, of launches and graphs, in their order */
    uint32_t ran_count;
    uint32_t execs_first[EXECS_MOST], execs_nodes[EXECS_MOST]; /* of each executable graph */
    CUresult refuses, refuses_kernel;
} driver;

static CUresult f_create(CUgraph *graph, unsigned int flags)
{
    *graph = (CUgraph)&driver.graphs;
    driver.graphs++;
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult f_destroy(CUgraph graph)
{
    driver.destroyed++;
    return graph ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static void note(uint32_t node, const CUgraphNodeParams *parameters)
{
    assert_int_equal(parameters->type, CU_GRAPH_NODE_TYPE_KERNEL);
    assert_non_null(parameters->kernel.func);
    memcpy(&driver.node[node], parameters->kernel.extra[1], sizeof(uint32_t));
}

static CUresult f_add(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                      const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *parameters)
{
    assert_ptr_equal(graph, &driver.graphs);
    assert_null(data);
    if (count) /* in a chain */
        assert_ptr_equal(dependencies[0], &driver.node[driver.nodes - 1]);
    if (driver.refuses_kernel)
        return driver.refuses_kernel;
    note(driver.nodes, parameters);
    *node = (CUgraphNode)&driver.node[driver.nodes++];
    return CUDA_SUCCESS;
}

static CUresult f_instantiate(CUgraphExec *exec, CUgraph graph,
                              CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    uint32_t before =
        driver.execs ? driver.execs_first[driver.execs - 1] + driver.execs_nodes[driver.execs - 1]
                     : 0;
    assert_ptr_equal(graph, &driver.graphs);
    assert_int_equal(parameters->flags, 0);
    if (driver.refuses)
        return driver.refuses;
    driver.execs_first[driver.execs] = before;
    driver.execs_nodes[driver.execs] = driver.nodes - before;
    *exec = (CUgraphExec)&driver.execs_first[driver.execs++];
    return CUDA_SUCCESS;
}

static CUresult f_exec_destroy(CUgraphExec exec)
{
    driver.destroyed++;
    return exec ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult f_set(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *parameters)
{
    assert_non_null(exec);
    if (driver.refuses_kernel)
        return driver.refuses_kernel;
    note((uint32_t)((uint32_t *)(void *)node - driver.node), parameters);
    driver.set++;
    return CUDA_SUCCESS;
}

static CUresult f_launch(CUgraphExec exec, CUstream stream)
{
    uint32_t number = (uint32_t)((uint32_t *)(void *)exec - driver.execs_first);
    (void)stream;
    for (uint32_t i = 0; i < driver.execs_nodes[number]; i++)
        driver.ran[driver.ran_count++] = driver.node[driver.execs_first[number] + i];
    driver.launched++;
    return CUDA_SUCCESS;
}

static CUresult (*launch_alone)(const CUlaunchConfig *, CUfunction, void **, void **);

static CUresult f_launch_alone(const CUlaunchConfig *config, CUfunction function, void **parameters,
                               void **extra)
{
    CUresult error = launch_alone(config, function, parameters, extra);
    if (error == CUDA_SUCCESS)
        memcpy(&driver.ran[driver.ran_count++], extra[1], sizeof(uint32_t));
    return error;
}

static CUresult f_fill(CUdeviceptr address, unsigned char value, size_t count, CUstream stream)
{
    (void)address, (void)value, (void)count, (void)stream;
    driver.ran[driver.ran_count++] = UINT32_MAX;
    return CUDA_SUCCESS;
}

static int clusters; /* as the function has them */

static CUresult f_attribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
    (void)function;
    *value = attribute == CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH ? clusters : 0;
    return CUDA_SUCCESS;
}

static struct vgpu_channel *open_chain(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_driver *table = fake_driver_table();
    memset(&driver, 0, sizeof(driver));
    table->cuGraphCreate = f_create;
    table->cuGraphDestroy = f_destroy;
    table->cuGraphAddNode = f_add;
    table->cuGraphInstantiateWithParams = f_instantiate;
    table->cuGraphExecDestroy = f_exec_destroy;
    table->cuGraphExecNodeSetParams = f_set;
    table->cuGraphLaunch = f_launch;
    table->cuMemsetD8Async = f_fill;
    table->cuFuncGetAttribute = f_attribute;
    launch_alone = table->cuLaunchKernelEx;
    table->cuLaunchKernelEx = f_launch_alone;
    fixture_load(channel, "image");
    for (uint32_t id = STREAM; id <= STREAM2; id++)
        assert_int_equal(
            vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, id, CU_STREAM_NON_BLOCKING, 0),
            CUDA_SUCCESS);
    channel->worker.chains.enabled = true;
    return channel;
}

static void launch(struct vgpu_channel *channel, uint32_t stream, uint32_t number)
{
    uint8_t parameters[FAKE_PARAMETER_BYTES] = {0};
    memcpy(parameters, &number, sizeof(number));
    assert_int_equal(vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 1, 1, 32, 1, 1, 0, stream,
                                          parameters, sizeof(parameters), NULL, 0),
                     CUDA_SUCCESS);
}

static void launch_some(struct vgpu_channel *channel, uint32_t stream, uint32_t from, uint32_t to)
{
    for (uint32_t number = from; number < to; number++)
        launch(channel, stream, number);
}

static void expect_ran(uint32_t count)
{
    assert_int_equal(driver.ran_count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(driver.ran[i], i);
}

/* By something that runs behind all that came before. */
static void interrupt(struct vgpu_channel *channel)
{
    assert_int_equal(vgpu_send_cuMemsetD8Async(channel, CONTEXT, 4096, 0, 16, STREAM), 0);
    driver.ran_count--;
    assert_int_equal(driver.ran[driver.ran_count], UINT32_MAX);
}

static void sixteen_go_together(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 15);
    expect_ran(0);
    launch(channel, STREAM, 15);
    expect_ran(16);
    launch_some(channel, STREAM, 16, 48);
    expect_ran(48);
    assert_int_equal(driver.launched, 3);
    assert_int_equal(driver.set, 32); /* the first ones were what the graph was made of */
    assert_int_equal(fake.launches, 0);
    assert_int_equal(channel->page.calls[VGPU_CALL_vgpuLaunch], 48);
    fixture_close(channel);
}

static void fewer_go_when_nothing_waits_any_more(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 15);
    vgpu_launch_chain_go(&channel->worker); /* 8, 4, and 3 by themselves */
    expect_ran(15);
    assert_int_equal(driver.launched, 2);
    assert_int_equal(fake.launches, 3);
    launch_some(channel, STREAM, 15, 18); /* too few */
    vgpu_launch_chain_go(&channel->worker);
    expect_ran(18);
    assert_int_equal(driver.launched, 2);
    fixture_close(channel);
}

static void what_comes_between_stays_between(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 5);
    interrupt(channel);
    assert_int_equal(driver.ran_count, 5);
    launch_some(channel, STREAM, 5, 10);
    vgpu_launch_chain_go(&channel->worker);
    expect_ran(10);
    assert_int_equal(driver.launched, 2);
    launch_some(channel, STREAM, 10, 15);
    vgpu_fence_mark(&channel->worker, NULL, VGPU_MARK_TIME); /* behind all that was let in */
    expect_ran(15);
    fixture_close(channel);
}

static void fewer_go_together_where_parameters_are_many(void **state)
{
    struct vgpu_channel *channel = open_chain();
    uint8_t parameters[VGPU_CHAIN_PARAMETER_BYTES / 4] = {0};

    (void)state;
    channel->worker.handles.table[FUNCTION].parameter_bytes = sizeof(parameters);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(vgpu_send_vgpuLaunch(channel, CONTEXT, FUNCTION, 1, 1, 1, 32, 1, 1, 0,
                                              STREAM, parameters, sizeof(parameters), NULL, 0),
                         CUDA_SUCCESS);
    assert_int_equal(driver.launched, 1); /* there was room for four */
    assert_int_equal(channel->worker.chains.count, 1);
    channel->worker.chains = (struct vgpu_launch_chains){0}; /* it shall not go */
    fixture_close(channel);
}

/* Of which each has only launches that are different from those of a graph. */
static void expect_alone(struct vgpu_channel *channel, uint32_t stream)
{
    uint32_t before = fake.launches;
    launch_some(channel, stream, 0, 16);
    assert_int_equal(fake.launches, before + 16);
    assert_int_equal(driver.launched, 0);
}

static CUresult f_priority(CUstream stream, int *priority)
{
    (void)stream;
    *priority = -1;
    return CUDA_SUCCESS;
}

static void what_a_lease_has_let_in_goes_before_it_ends(void **state)
{
    const struct vgpu_call_header header = {.call = VGPU_CALL_vgpuLaunch, .context = CONTEXT};
    struct vgpu_channel *channel = open_chain();

    (void)state;
    channel->page.lease.state = VGPU_LEASE_BOUNDED;
    channel->page.lease.window = 1000000;
    assert_true(vgpu_lease_admits(&channel->worker, &header));
    launch_some(channel, STREAM, 0, 20);
    expect_ran(16);
    channel->page.lease.state = VGPU_LEASE_ENDING;
    vgpu_lease_look(&channel->worker, true);
    expect_ran(20);
    assert_int_equal(driver.launched, 2);
    fixture_close(channel);
}

static void what_a_graph_would_change_goes_alone(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    channel->worker.captures++;
    expect_alone(channel, STREAM);
    channel->worker.captures--;
    fake_driver_table()->cuStreamGetPriority = f_priority;
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, OTHER, 0, -1), 0);
    expect_alone(channel, OTHER);
    vgpu_launch_chain_leave_out(&channel->worker, channel->worker.handles.table[STREAM].object);
    expect_alone(channel, STREAM);
    vgpu_launch_chain_leave_out(&channel->worker, CU_STREAM_LEGACY);
    expect_alone(channel, 0);
    expect_alone(channel, 1);
    launch_some(channel, STREAM2, 0, 16); /* and this one has nothing of all that */
    assert_int_equal(driver.launched, 1);
    fixture_close(channel);
}

static void so_does_a_kernel_that_has_clusters(void **state)
{
    clusters = 2;
    struct vgpu_channel *channel = open_chain();

    (void)state;
    clusters = 0;
    expect_alone(channel, STREAM);
    channel->worker.handles.table[FUNCTION].goes_alone = false;
    assert_int_equal(vgpu_send_cuFuncSetAttribute(channel, CONTEXT, FUNCTION,
                                                  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                  65536),
                     CUDA_SUCCESS);
    assert_false(channel->worker.handles.table[FUNCTION].goes_alone);
    assert_int_equal(vgpu_send_cuFuncSetAttribute(channel, CONTEXT, FUNCTION,
                                                  CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 2),
                     CUDA_SUCCESS);
    expect_alone(channel, STREAM);
    fixture_close(channel);
}

static void nothing_is_collected_while_a_stream_waits_for_the_program(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    channel->worker.fences.waits++;
    expect_alone(channel, STREAM);
    channel->worker.fences.waits--;
    fixture_close(channel);
}

static void each_stream_has_graphs_of_its_own(void **state)
{
    struct vgpu_channel *channel = open_chain();
    uint32_t stream = OTHER;

    (void)state;
    launch_some(channel, STREAM, 0, 16);
    launch_some(channel, STREAM2, 16, 32);
    launch_some(channel, 0, 32, 48);
    launch_some(channel, 1, 48, 64); /* the same by another name */
    launch_some(channel, STREAM, 64, 80);
    expect_ran(80);
    assert_int_equal(driver.execs, 3);
    assert_int_equal(vgpu_send_cuStreamDestroy(channel, CONTEXT, STREAM), CUDA_SUCCESS);
    assert_int_equal(driver.destroyed, 2);
    for (; stream < OTHER + VGPU_CHAIN_STREAMS; stream++) {
        assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, stream, 0, 0),
                         CUDA_SUCCESS);
        launch_some(channel, stream, 0, 4);
        vgpu_launch_chain_go(&channel->worker);
    }
    assert_int_equal(driver.execs, VGPU_CHAIN_STREAMS + 1);
    assert_int_equal(fake.launches, 8); /* in the two streams for which there were none */
    fixture_close(channel);
}

/* Numbers of the second are above those of the first by the difference. */
static void launch_in_turns(struct vgpu_channel *channel, uint32_t first, uint32_t second,
                            uint32_t count, uint32_t difference)
{
    for (uint32_t i = 0; i < count; i++) {
        launch(channel, first, i);
        launch(channel, second, difference + i);
    }
}

static void streams_collect_at_once(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_in_turns(channel, STREAM, STREAM2, 16, 16);
    expect_ran(32); /* each when it was full */
    assert_int_equal(driver.launched, 2);
    driver.ran_count = 0;
    launch_in_turns(channel, STREAM, STREAM2, 4, 4);
    launch(channel, STREAM2, 8);
    vgpu_launch_chain_go(&channel->worker);
    expect_ran(9);
    assert_int_equal(driver.launched, 4);
    assert_int_equal(fake.launches, 1);
    fixture_close(channel);
}

static void but_the_legacy_stream_by_itself(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, 0, 0, 16); /* it is empty again, and known */
    launch_some(channel, STREAM, 16, 20);
    launch_some(channel, 1, 20, 24);
    expect_ran(20);
    launch_some(channel, STREAM, 24, 28);
    expect_ran(24);
    launch_some(channel, STREAM2, 28, 32);
    expect_ran(24);
    launch(channel, 0, 32);
    expect_ran(32);
    vgpu_launch_chain_go(&channel->worker);
    expect_ran(33);
    fixture_close(channel);
}

static void many_streams_go_before_any_has_many(void **state)
{
    struct vgpu_channel *channel = open_chain();
    uint32_t rounds = VGPU_COLLECTED_MOST / VGPU_CHAIN_STREAMS;

    (void)state;
    for (uint32_t i = 0; i < VGPU_CHAIN_STREAMS; i++)
        assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, OTHER + i, 0, 0),
                         CUDA_SUCCESS);
    for (uint32_t i = 0; i < VGPU_COLLECTED_MOST; i++) {
        assert_int_equal(driver.ran_count, 0);
        launch(channel, OTHER + i % VGPU_CHAIN_STREAMS,
               i % VGPU_CHAIN_STREAMS * rounds + i / VGPU_CHAIN_STREAMS);
    }
    expect_ran(VGPU_COLLECTED_MOST);
    assert_int_equal(driver.launched, VGPU_CHAIN_STREAMS);
    assert_int_equal(fake.launches, 0);
    fixture_close(channel);
}

static void nobody_waits_for_a_flood_of_another_stream(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch(channel, STREAM2, UINT32_MAX);
    launch_some(channel, STREAM, 0, VGPU_COLLECTED_MOST - 2);
    assert_int_equal(driver.ran_count, VGPU_COLLECTED_MOST - 16);
    launch(channel, STREAM, VGPU_COLLECTED_MOST - 2);
    assert_int_equal(driver.ran_count, VGPU_COLLECTED_MOST);
    assert_int_equal(driver.ran[VGPU_COLLECTED_MOST - 16], UINT32_MAX);
    fixture_close(channel);
}

static void who_is_interrupted_collects_none_for_a_while(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 3);
    interrupt(channel);
    for (uint32_t i = 3; i < 19; i++) { /* at once */
        launch(channel, i % 2 ? STREAM : STREAM2, i);
        expect_ran(i + 1);
    }
    launch_some(channel, STREAM, 19, 23);
    expect_ran(19);
    interrupt(channel);
    launch(channel, STREAM, 23); /* after some that went together */
    expect_ran(23);
    vgpu_launch_chain_go(&channel->worker);
    expect_ran(24);
    fixture_close(channel);
}

static void a_kernel_that_no_node_becomes_goes_alone(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 16);
    driver.refuses_kernel = CUDA_ERROR_NOT_SUPPORTED;
    launch_some(channel, STREAM, 16, 32);
    expect_ran(32);
    assert_int_equal(driver.launched, 1);
    launch(channel, STREAM, 32);
    expect_ran(33); /* at once: nothing is collected */
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    driver.refuses_kernel = CUDA_SUCCESS; /* and others are, as before */
    channel->worker.handles.table[FUNCTION].goes_alone = false;
    launch_some(channel, STREAM, 33, 49);
    expect_ran(49);
    assert_int_equal(driver.launched, 2);
    fixture_close(channel);
}

static void so_do_all_where_the_driver_makes_no_graphs(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    driver.refuses = CUDA_ERROR_OUT_OF_MEMORY;
    launch_some(channel, STREAM, 0, 48);
    expect_ran(48);
    assert_int_equal(driver.graphs, 3); /* of each size one was tried */
    assert_int_equal(driver.destroyed, 3);
    fixture_close(channel);
}

static void a_failure_is_that_of_its_launch(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 3);
    uint32_t first = channel->sequence - 2;
    fake.fail_next = CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    vgpu_launch_chain_go(&channel->worker);
    assert_int_equal(channel->header->deferred_sequence, first);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    assert_int_equal(channel->page.failed[VGPU_CLASS_LAUNCH], 1);
    assert_int_equal(channel->worker.sequence, channel->sequence);
    fixture_close(channel);
}

static void graphs_go_before_their_functions(void **state)
{
    struct vgpu_channel *channel = open_chain();

    (void)state;
    launch_some(channel, STREAM, 0, 20);
    assert_int_equal(vgpu_send_cuModuleUnload(channel, CONTEXT, MODULE), CUDA_SUCCESS);
    expect_ran(20);
    assert_int_equal(driver.destroyed, 4); /* two graphs and what was made of them */
    fixture_load(channel, "image");
    driver.ran_count = 0;
    launch_some(channel, STREAM, 0, 16);
    expect_ran(16);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRelease(channel, 0, CONTEXT, 0), CUDA_SUCCESS);
    assert_int_equal(driver.destroyed, 6);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_go_together),
        cmocka_unit_test(fewer_go_when_nothing_waits_any_more),
        cmocka_unit_test(what_comes_between_stays_between),
        cmocka_unit_test(fewer_go_together_where_parameters_are_many),
        cmocka_unit_test(what_a_lease_has_let_in_goes_before_it_ends),
        cmocka_unit_test(what_a_graph_would_change_goes_alone),
        cmocka_unit_test(so_does_a_kernel_that_has_clusters),
        cmocka_unit_test(nothing_is_collected_while_a_stream_waits_for_the_program),
        cmocka_unit_test(each_stream_has_graphs_of_its_own),
        cmocka_unit_test(streams_collect_at_once),
        cmocka_unit_test(but_the_legacy_stream_by_itself),
        cmocka_unit_test(many_streams_go_before_any_has_many),
        cmocka_unit_test(nobody_waits_for_a_flood_of_another_stream),
        cmocka_unit_test(who_is_interrupted_collects_none_for_a_while),
        cmocka_unit_test(a_kernel_that_no_node_becomes_goes_alone),
        cmocka_unit_test(so_do_all_where_the_driver_makes_no_graphs),
        cmocka_unit_test(a_failure_is_that_of_its_launch),
        cmocka_unit_test(graphs_go_before_their_functions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
