/* SPDX-License-Identifier: MIT */
/** A context, a stream, sixteen words of memory and an empty graph for each test of graphs. */
#ifndef VGPU_SOFT_GRAPH_RIG_H
#define VGPU_SOFT_GRAPH_RIG_H

#include "soft/driver/tests/driver_test.h"

extern CUfunction poke;   /* (address, value): stores a word */
extern CUdeviceptr words; /* 16 words of device memory, 0 at first */
extern CUcontext context;
extern CUstream stream;
extern CUgraph graph;

int graph_opens(void **state);
int graph_closes(void **state);

#define with_graph(test) cmocka_unit_test_setup_teardown(test, graph_opens, graph_closes)

/** What word `index` is now. */
int word(unsigned int index);

/** Parameters of a kernel node that stores a word; arguments are read when the node is added. */
CUDA_KERNEL_NODE_PARAMS poke_params(CUdeviceptr *place, int *value, void *arguments[2]);

/** A node that stores a word, behind `count` others. */
CUgraphNode add_poke(CUgraph where, const CUgraphNode *after, size_t count, unsigned int index,
                     int value);

/** A copy from one word to another. */
CUDA_MEMCPY3D copy_words(unsigned int to, unsigned int from);

CUgraphExec instantiate(CUgraph which);

/** A host function that adds one to an _Atomic int. */
void count_up(void *data);

/** Launches and waits. */
void run(CUgraphExec executable);

#endif
