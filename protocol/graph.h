/* SPDX-License-Identifier: MIT */
/**
 * Nodes of graphs as they cross: handles are ids, pointers to arrays are bytes behind the fixed
 * part. Both sides have the same byte order; every value is checked by the worker.
 */
#ifndef VGPU_PROTOCOL_GRAPH_H
#define VGPU_PROTOCOL_GRAPH_H

#include <assert.h>
#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

/** An edge; or a node in `from`, and what leads to or from it. */
struct vgpu_wire_edge {
    uint32_t from, to;
    CUgraphEdgeData data;
};

struct vgpu_wire_kernel { /* followed by the packed parameters */
    uint32_t function;    /* or kernel */
    uint32_t context;     /* of a kernel; 0: the current one */
    uint32_t grid[3], block[3];
    uint32_t shared_bytes;
};

struct vgpu_wire_place {
    uint64_t address; /* of the device, or of host memory that is shared */
    uint64_t x, y, z, lod;
    uint64_t pitch, height;
    uint32_t type; /* CUmemorytype: never unified */
    uint32_t array;
};

struct vgpu_wire_copy {
    struct vgpu_wire_place source, destination;
    uint64_t width, height, depth;
    uint32_t context;
    uint32_t reserved;
};

struct vgpu_wire_memset {
    uint64_t address, pitch, width, height;
    uint32_t value, element;
    uint32_t context;
    uint32_t reserved;
};

struct vgpu_wire_host {
    uint32_t upcall;
};

struct vgpu_wire_child {
    uint32_t graph;
    uint32_t ownership; /* CUgraphChildGraphNodeOwnership */
};

struct vgpu_wire_event {
    uint32_t event;
};

struct vgpu_wire_alloc { /* followed by CUmemAccessDesc */
    uint64_t bytes;
    uint64_t address; /* what the driver chose */
    CUmemPoolProps pool;
};

struct vgpu_wire_free {
    uint64_t address;
};

struct vgpu_wire_memory_operations { /* followed by CUstreamBatchMemOpParams */
    uint32_t context;
    uint32_t flags;
};

struct vgpu_wire_conditional { /* followed by the ids of the body graphs */
    uint64_t handle;
    uint32_t type;
    uint32_t context;
};

struct vgpu_wire_node {
    _Alignas(16) uint32_t type; /* CUgraphNodeType */
    uint32_t tail_bytes;
    union {
        struct vgpu_wire_kernel kernel;
        struct vgpu_wire_copy copy;
        struct vgpu_wire_memset memset;
        struct vgpu_wire_host host;
        struct vgpu_wire_child child;
        struct vgpu_wire_event event; /* that is recorded or waited for */
        struct vgpu_wire_alloc alloc;
        struct vgpu_wire_free free;
        struct vgpu_wire_memory_operations operations;
        struct vgpu_wire_conditional conditional;
    };
};

/** CUDA's kernel parameters are at most 32,764 bytes. */
#define VGPU_NODE_TAIL_MAX 32768u

/** A node with what belongs to it. */
struct vgpu_node_message {
    struct vgpu_wire_node node;
    _Alignas(16) uint8_t tail[VGPU_NODE_TAIL_MAX];
};

static_assert(offsetof(struct vgpu_node_message, tail) == sizeof(struct vgpu_wire_node),
              "the tail follows at once");

#define VGPU_NO_NODE UINT32_MAX

/** What came of instantiating or updating an executable graph, whether it failed or not. */
struct vgpu_graph_outcome {
    uint32_t result;     /* CUgraphInstantiateResult or CUgraphExecUpdateResult */
    uint32_t error_node; /* its place among the nodes of the graph, or VGPU_NO_NODE */
    uint32_t error_from;
    uint32_t judged; /* it allocates or frees memory, so that a launch may be refused */
};

#endif
