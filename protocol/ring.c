/* SPDX-License-Identifier: MIT */
#include "protocol/ring.h"

#include <string.h>

static uint64_t record_bytes(uint32_t payload_bytes)
{
    uint64_t bytes = VGPU_CALL_HEADER_BYTES + (uint64_t)payload_bytes;
    return (bytes + VGPU_RECORD_ALIGNMENT - 1) & ~(uint64_t)(VGPU_RECORD_ALIGNMENT - 1);
}

void vgpu_ring_producer_init(struct vgpu_ring_producer *ring, void *extent)
{
    struct vgpu_channel_header *header = extent;
    ring->indices = &header->ring;
    ring->bytes = (uint8_t *)extent + VGPU_CHANNEL_RING_OFFSET;
    ring->tail = __atomic_load_n(&ring->indices->tail, __ATOMIC_RELAXED);
    ring->head_cached = __atomic_load_n(&ring->indices->head, __ATOMIC_ACQUIRE);
}

void vgpu_ring_consumer_init(struct vgpu_ring_consumer *ring, void *extent)
{
    struct vgpu_channel_header *header = extent;
    ring->indices = &header->ring;
    ring->bytes = (uint8_t *)extent + VGPU_CHANNEL_RING_OFFSET;
    ring->head = ring->tail_cached = ring->head_told = ring->plain = 0;
}

static uint64_t copy_in(struct vgpu_ring_producer *ring, uint64_t position, const void *data,
                        size_t bytes)
{
    size_t start = position % VGPU_RING_BYTES;
    size_t first = bytes < VGPU_RING_BYTES - start ? bytes : VGPU_RING_BYTES - start;
    if (bytes) {
        memcpy(ring->bytes + start, data, first);
        memcpy(ring->bytes, (const uint8_t *)data + first, bytes - first);
    }
    return position + bytes;
}

/* All of a record, to where the ring does not end. Most records are only a header and a few bytes.
 */
static void copy_in_whole(uint8_t *to, const struct vgpu_call_header *header, const void *part1,
                          size_t bytes1, const void *part2, size_t bytes2)
{
    memcpy(to, header, sizeof(*header));
    to += sizeof(*header);
    if (bytes1)
        memcpy(to, part1, bytes1);
    if (bytes2)
        memcpy(to + bytes1, part2, bytes2);
}

static void copy_out(const struct vgpu_ring_consumer *ring, uint64_t position, void *data,
                     size_t bytes)
{
    size_t start = position % VGPU_RING_BYTES;
    size_t first = bytes < VGPU_RING_BYTES - start ? bytes : VGPU_RING_BYTES - start;
    memcpy(data, ring->bytes + start, first);
    if (first < bytes)
        memcpy((uint8_t *)data + first, ring->bytes, bytes - first);
}

bool vgpu_ring_push(struct vgpu_ring_producer *ring, const struct vgpu_call_header *header,
                    const void *part1, size_t bytes1, const void *part2, size_t bytes2, bool *wake)
{
    uint64_t bytes = record_bytes(header->payload_bytes);
    *wake = false;
    if (ring->tail + bytes - ring->head_cached > VGPU_RING_BYTES) {
        /* pairs with the release store in tell_head() */
        ring->head_cached = __atomic_load_n(&ring->indices->head, __ATOMIC_ACQUIRE);
        if (ring->tail + bytes - ring->head_cached > VGPU_RING_BYTES)
            return false;
    }
    size_t start = ring->tail % VGPU_RING_BYTES;
    if (start + bytes <= VGPU_RING_BYTES) {
        copy_in_whole(ring->bytes + start, header, part1, bytes1, part2, bytes2);
    } else {
        uint64_t position = copy_in(ring, ring->tail, header, sizeof(*header));
        position = copy_in(ring, position, part1, bytes1);
        copy_in(ring, position, part2, bytes2);
    }
    ring->tail += bytes;
    __atomic_store_n(&ring->indices->pushed, header->sequence, __ATOMIC_RELAXED);
    /* seq_cst on both sides of the sleep handshake, see vgpu_ring_sleep() */
    __atomic_store_n(&ring->indices->tail, ring->tail, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->indices->consumer_sleeps, __ATOMIC_SEQ_CST) != 0)
        /* relaxed: the doorbell orders; the flag is taken so that it is rung once for each sleep */
        *wake = __atomic_exchange_n(&ring->indices->consumer_sleeps, 0, __ATOMIC_RELAXED) != 0;
    return true;
}

/* Every store takes the line from a producer that waits for room. */
static void tell_head(struct vgpu_ring_consumer *ring)
{
    ring->head_told = ring->head;
    /* pairs with the acquire load in vgpu_ring_push() */
    __atomic_store_n(&ring->indices->head, ring->head, __ATOMIC_RELEASE);
}

/* Looks for more than was seen before. */
static int look_at_tail(struct vgpu_ring_consumer *ring)
{
    if (ring->head_told != ring->head)
        tell_head(ring);
    /* pairs with the store of tail in vgpu_ring_push() */
    uint64_t tail = __atomic_load_n(&ring->indices->tail, __ATOMIC_ACQUIRE);
    uint64_t available = tail - ring->head;
    if (available == 0)
        return 0;
    if (available > VGPU_RING_BYTES || available % VGPU_RECORD_ALIGNMENT != 0 ||
        available < VGPU_CALL_HEADER_BYTES)
        return -VGPU_RING_BAD_TAIL;
    ring->tail_cached = tail;
    return 1;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int vgpu_ring_pop_any(struct vgpu_ring_consumer *ring, struct vgpu_call_header *header,
                      uint8_t *payload)
{
    int found = ring->head == ring->tail_cached ? look_at_tail(ring) : 1;
    if (found <= 0)
        return found;
    copy_out(ring, ring->head, header, sizeof(*header));
    uint64_t bytes = record_bytes(header->payload_bytes);
    if (header->payload_bytes > VGPU_PAYLOAD_MAX || bytes > ring->tail_cached - ring->head)
        return -VGPU_RING_BAD_PAYLOAD;
    if (header->payload_bytes)
        copy_out(ring, ring->head + sizeof(*header), payload, header->payload_bytes);
    ring->head += bytes;
    if (ring->head - ring->head_told >= VGPU_RING_TOLD)
        tell_head(ring);
    uint64_t end = ring->head - ring->head % VGPU_RING_BYTES + VGPU_RING_BYTES;
    uint64_t untold = ring->head_told + VGPU_RING_TOLD - VGPU_RECORD_ALIGNMENT;
    ring->plain = least(ring->tail_cached, least(end, untold));
    vgpu_ring_fetch(ring);
    return 1;
}

bool vgpu_ring_sleep(struct vgpu_ring_consumer *ring)
{
    __atomic_store_n(&ring->indices->consumer_sleeps, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->indices->tail, __ATOMIC_SEQ_CST) == ring->head)
        return true;
    vgpu_ring_awake(ring);
    return false;
}

void vgpu_ring_awake(struct vgpu_ring_consumer *ring)
{
    __atomic_store_n(&ring->indices->consumer_sleeps, 0, __ATOMIC_RELAXED);
}
