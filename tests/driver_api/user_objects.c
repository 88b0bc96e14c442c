/* SPDX-License-Identifier: MIT */
/* User objects: the destructor runs when the last reference is gone. */
#include <stdatomic.h>
#include <time.h>

#include "tests/driver_api/check.h"

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void CUDA_CB add_one(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static void expect_destroyed(atomic_int *destroyed)
{
    for (int i = 0; i < 5000 && !atomic_load(destroyed); i++)
        nap();
    EXPECT(atomic_load(destroyed) == 1);
}

/* Nothing ends here: so this takes a while. */
static void expect_alive(atomic_int *destroyed)
{
    for (int i = 0; i < 10; i++)
        nap();
    EXPECT(atomic_load(destroyed) == 0);
}

static CUuserObject make_object(atomic_int *destroyed, unsigned int references)
{
    CUuserObject object;
    atomic_store(destroyed, 0);
    CHECK(cuUserObjectCreate(&object, destroyed, add_one, references,
                             CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    return object;
}

static CUgraph make_graph(void)
{
    CUgraphNode node;
    CUgraph graph;
    CHECK(cuGraphCreate(&graph, 0));
    CHECK(cuGraphAddEmptyNode(&node, graph, NULL, 0));
    return graph;
}

/* A graph that owns the only reference to an object. */
static CUgraph make_owner(atomic_int *destroyed)
{
    CUgraph graph = make_graph();
    CHECK(cuGraphRetainUserObject(graph, make_object(destroyed, 1), 1, CU_GRAPH_USER_OBJECT_MOVE));
    return graph;
}

static void graphs_give_references_back(void)
{
    atomic_int destroyed;
    CUuserObject object = make_object(&destroyed, 1);
    CUgraph graph = make_graph();
    EXPECT(cuGraphRetainUserObject(graph, object, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphRetainUserObject(graph, object, 3, 0));
    CHECK(cuUserObjectRelease(object, 1));
    CHECK(cuGraphReleaseUserObject(graph, object, 2));
    expect_alive(&destroyed);
    CHECK(cuGraphReleaseUserObject(graph, object, 1));
    expect_destroyed(&destroyed);
    CHECK(cuGraphDestroy(graph));
    for (int i = 0; i < 10; i++)
        nap();
    EXPECT(atomic_load(&destroyed) == 1);
}

/* An executable graph holds what its graph held when it was made, and a graph what its children
 * held. */
static void copies_of_graphs_hold_objects(void)
{
    atomic_int destroyed;
    CUgraph graph = make_owner(&destroyed), outer = make_graph();
    CUgraphNode child;
    CUgraphExec exec;
    CHECK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, graph));
    CHECK(cuGraphDestroy(graph));
    expect_alive(&destroyed);
    CHECK(cuGraphInstantiate(&exec, outer, 0));
    CHECK(cuGraphDestroy(outer));
    expect_alive(&destroyed);
    CHECK(cuGraphLaunch(exec, NULL));
    CHECK(cuCtxSynchronize());
    expect_alive(&destroyed);
    CHECK(cuGraphExecDestroy(exec));
    expect_destroyed(&destroyed);
}

/* What an update brings takes the place of what was held. */
static void updates_bring_other_objects(void)
{
    atomic_int destroyed[2];
    CUgraph graph = make_owner(&destroyed[0]), other = make_owner(&destroyed[1]);
    CUgraphExecUpdateResultInfo info;
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuGraphExecUpdate(exec, other, &info));
    CHECK(cuGraphDestroy(other));
    expect_destroyed(&destroyed[0]);
    expect_alive(&destroyed[1]);
    CHECK(cuGraphExecDestroy(exec));
    expect_destroyed(&destroyed[1]);
}

int main(void)
{
    atomic_int destroyed = 0;
    CUuserObject object;
    check_context();
    EXPECT(cuUserObjectCreate(&object, &destroyed, add_one, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuUserObjectCreate(&object, &destroyed, add_one, 0, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuUserObjectCreate(&object, &destroyed, NULL, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) ==
           CUDA_ERROR_INVALID_VALUE);
    for (int i = 0; i < 20; i++) {
        atomic_store(&destroyed, 0);
        CHECK(
            cuUserObjectCreate(&object, &destroyed, add_one, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
        CHECK(cuUserObjectRetain(object, 3));
        CHECK(cuUserObjectRelease(object, 2));
        CHECK(cuCtxSynchronize());
        EXPECT(atomic_load(&destroyed) == 0);
        CHECK(cuUserObjectRelease(object, 2));
        expect_destroyed(&destroyed);
    }
    graphs_give_references_back();
    copies_of_graphs_hold_objects();
    updates_bring_other_objects();
    return 0;
}
