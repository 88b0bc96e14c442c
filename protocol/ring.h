/* SPDX-License-Identifier: MIT */
/**
 * The command ring: one producer side (a guest process, which serialises its threads) and one
 * consumer (the worker). Each side keeps private copies of the indices that it owns, so that
 * nothing the other side writes can make it read or write outside the ring.
 *
 * Ordering: the producer's release store of `tail` pairs with the consumer's acquire load; the
 * consumer's release store of `head` pairs with the producer's acquire load. Sleeping: the consumer
 * stores consumer_sleeps = 1 and re-reads `tail`, the producer stores `tail` and then reads
 * consumer_sleeps, both with sequential consistency, so that one of the two sees the other. The
 * producer that sees it sets it to 0: it rings once, however much it pushes before the consumer
 * runs.
 */
#ifndef VGPU_PROTOCOL_RING_H
#define VGPU_PROTOCOL_RING_H

#include <stdbool.h>
#include <string.h>

#include "protocol/channel.h"

/** A consumer that is handed nonsense stops with one of these and its channel is closed. */
enum vgpu_ring_fault {
    VGPU_RING_OK = 0,
    VGPU_RING_BAD_TAIL,    /* tail behind head, misaligned, or further than the ring is long */
    VGPU_RING_BAD_PAYLOAD, /* payload larger than VGPU_PAYLOAD_MAX or than what was pushed */
};

struct vgpu_ring_producer {
    struct vgpu_ring_indices *indices;
    uint8_t *bytes;
    uint64_t tail;        /* private: ours */
    uint64_t head_cached; /* last head seen */
};

struct vgpu_ring_consumer {
    struct vgpu_ring_indices *indices;
    const uint8_t *bytes;
    uint64_t head;        /* private: ours */
    uint64_t tail_cached; /* last tail seen */
    uint64_t head_told;   /* what the producer knows of ours */
    uint64_t plain;       /* up to there the ring neither ends, nor is empty, nor has to be told */
};

/** Both take a mapped extent of VGPU_CHANNEL_BYTES bytes; neither owns it. */
void vgpu_ring_producer_init(struct vgpu_ring_producer *ring, void *extent);
void vgpu_ring_consumer_init(struct vgpu_ring_consumer *ring, void *extent);

/**
 * Appends a record if there is room for it now. Payload is gathered from two parts (either may be
 * empty). Returns false when the ring is full. header->payload_bytes must be the parts' sum, at
 * most VGPU_PAYLOAD_MAX. *wake is set when the consumer sleeps: ring the doorbell then.
 */
bool vgpu_ring_push(struct vgpu_ring_producer *ring, const struct vgpu_call_header *header,
                    const void *part1, size_t bytes1, const void *part2, size_t bytes2, bool *wake);

/** Of a record, header included, that is as short as records are: most are no longer. */
#define VGPU_RING_SHORT 128u
/** The consumer tells of its head in such steps. */
#define VGPU_RING_TOLD (VGPU_RING_BYTES / 16)

static_assert(VGPU_RING_SHORT % VGPU_RECORD_ALIGNMENT == 0 &&
                  VGPU_RING_SHORT - VGPU_CALL_HEADER_BYTES < VGPU_RECORD_ALIGNMENT,
              "no record is shorter");

/** The next record comes while this one is replayed: it is in another processor's cache. */
static inline void vgpu_ring_fetch(const struct vgpu_ring_consumer *ring)
{
    const uint8_t *next = ring->bytes + ring->head % VGPU_RING_BYTES;
    __builtin_prefetch(next); /* what it is, if there is none, does not matter */
    __builtin_prefetch(next + VGPU_RECORD_ALIGNMENT);
}

/** vgpu_ring_pop() of a record of any length, wherever it lies. */
int vgpu_ring_pop_any(struct vgpu_ring_consumer *ring, struct vgpu_call_header *header,
                      uint8_t *payload);

/**
 * Copies the next record out of shared memory: *header, and its payload into `payload`
 * (VGPU_PAYLOAD_MAX bytes, of which those behind the payload are of no value). Returns 1 with a
 * record, 0 when the ring is empty, or the negated enum vgpu_ring_fault. The copy is made once:
 * nothing is read again after it was checked. The producer's cache line is read only when what was
 * seen of it is used up; room is given back when the ring is found empty, and in steps of a 16th of
 * it.
 */
static inline int vgpu_ring_pop(struct vgpu_ring_consumer *ring, struct vgpu_call_header *header,
                                uint8_t *payload)
{
    const uint8_t *record = ring->bytes + ring->head % VGPU_RING_BYTES;
    if (ring->head + VGPU_RING_SHORT > ring->plain)
        return vgpu_ring_pop_any(ring, header, payload);
    memcpy(header, record, sizeof(*header));
    memcpy(payload, record + sizeof(*header), VGPU_RING_SHORT - sizeof(*header));
    if (header->payload_bytes > VGPU_RING_SHORT - sizeof(*header))
        return vgpu_ring_pop_any(ring, header, payload); /* which believes nothing of that copy */
    ring->head += VGPU_RING_SHORT;
    vgpu_ring_fetch(ring);
    return 1;
}

/** Whether a record is there to be taken out: a look, no more. */
static inline bool vgpu_ring_has(const struct vgpu_ring_consumer *ring)
{
    return __atomic_load_n(&ring->indices->tail, __ATOMIC_RELAXED) != ring->head;
}

/** Says "I sleep"; returns false (and takes it back) if a record has arrived meanwhile. */
bool vgpu_ring_sleep(struct vgpu_ring_consumer *ring);
void vgpu_ring_awake(struct vgpu_ring_consumer *ring);

#endif
