/* SPDX-License-Identifier: MIT */
/**
 * A channel's extent: one guest process's connection to its worker.
 *
 *   0x000000  header (4 KiB)                      0x001000  reply slots, 64 of 4 KiB
 *   0x041000  fences, 65,536 words                0x081000  command ring, 1 MiB
 *   0x181000  staging, 16 chunks of 512 KiB
 *
 * Records are a call header and its payload, padded to 64 bytes. The ring's indices are
 * free-running byte counts; the guest is the producer, the worker the consumer. What follows the
 * end of the ring continues at its start; records may wrap.
 */
#ifndef VGPU_PROTOCOL_CHANNEL_H
#define VGPU_PROTOCOL_CHANNEL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VGPU_RECORD_ALIGNMENT    64u
#define VGPU_CALL_HEADER_BYTES   80u
#define VGPU_ARGUMENT_BYTES      64u
#define VGPU_RING_BYTES          (1u << 20)
#define VGPU_PAYLOAD_MAX         65536u /* inline; larger data goes through staging */
#define VGPU_REPLY_SLOTS         64u
#define VGPU_REPLY_SLOT_BYTES    4096u
#define VGPU_REPLY_PAYLOAD_MAX   (VGPU_REPLY_SLOT_BYTES - 64u)
#define VGPU_FENCES              65536u
#define VGPU_NO_FENCE            UINT32_MAX /* in the place of a fence's number: none is wanted */
#define VGPU_STAGING_CHUNKS      16u
#define VGPU_STAGING_CHUNK_BYTES (1u << 19)

#define VGPU_CHANNEL_REPLIES_OFFSET 0x1000u
#define VGPU_CHANNEL_FENCES_OFFSET  0x41000u
#define VGPU_CHANNEL_RING_OFFSET    0x81000u
#define VGPU_CHANNEL_STAGING_OFFSET 0x181000u
#define VGPU_CHANNEL_BYTES                                                                         \
    (VGPU_CHANNEL_STAGING_OFFSET + VGPU_STAGING_CHUNKS * VGPU_STAGING_CHUNK_BYTES)

/** The ring's indices: a cache line for each side, see protocol/ring.h for who may write what. */
struct vgpu_ring_indices {
    uint64_t tail;   /* bytes produced; guest */
    uint32_t pushed; /* sequence of the last record; guest; only a number to show and to limit by */
    uint8_t tail_padding[52];
    uint64_t head; /* bytes consumed; worker */
    uint8_t head_padding[56];
    uint32_t consumer_sleeps; /* worker: 1 = ring the doorbell after the next push; guest: 0 */
    uint8_t sleep_padding[60];
};

#define VGPU_LATENCY_BUCKETS 128u /* protocol/latency.h */

#define VGPU_UPCALLS_MAX                                                                           \
    65536u /* ids of functions of the program that the host may know at once                       \
            */

enum vgpu_upcall_kind {
    VGPU_UPCALL_RUN = 1,  /* the program's function is due */
    VGPU_UPCALL_GONE = 2, /* it will never be due again: its id is free */
};

/**
 * A function of the program that the driver wants run: one at a time, in the guest. The worker
 * fills in what it is and then counts `posted` up (release); the guest, which acquires that, runs
 * it and then stores the same number in `done` (release), for which the worker waits.
 */
struct vgpu_upcall_place {
    uint32_t posted; /* worker */
    uint32_t kind;   /* worker: enum vgpu_upcall_kind */
    uint32_t id;     /* worker: that the guest gave to the function */
    uint32_t status; /* worker: CUresult of the stream, for stream callbacks */
    uint8_t posted_padding[48];
    uint32_t done; /* guest */
    uint8_t done_padding[60];
};

struct vgpu_channel_header {
    struct vgpu_ring_indices ring;
    /** CUresult of the first asynchronous call that failed since the guest last took it with an
     *  exchange to 0; a release store by the worker. Sticky errors are kept by the guest's context.
     */
    uint32_t deferred_error;
    uint32_t deferred_sequence; /* of the record that failed */
    /** Bytes of device printf output that wait in the worker: the guest fetches them (console). */
    uint32_t console_pending;
    uint32_t guest_sleeps; /* guest: 1 = raise the interrupt when a reply or fence is written */
    /** Worker: 1 = the guest keeps records with sequences beyond `allowed` until there are fewer
     * that wait. A guest that does not is stopped by the end of its ring. */
    uint32_t limited;
    uint32_t allowed;
    uint32_t guest_waits; /* guest: threads that have waited awake for a while; a hint */
    uint8_t state_padding[36];
    uint32_t latency[VGPU_LATENCY_BUCKETS]; /* round trips as the guest measured them */
    struct vgpu_upcall_place upcall;
};

/** The fixed part of a record. Arguments are packed at natural alignment by generated code. */
struct vgpu_call_header {
    uint16_t call; /* enum vgpu_call */
    uint8_t flags; /* VGPU_CALL_* */
    uint8_t reply_slot;
    uint32_t context;  /* handle id of the context to be current; 0 for none */
    uint32_t sequence; /* of the record in its channel, from 1, wraps */
    uint32_t payload_bytes;
    uint8_t arguments[VGPU_ARGUMENT_BYTES];
};

#define VGPU_CALL_WANTS_REPLY 1u
/** The guest has waited in vain for the work that is under way: the worker waits now, and with it
 *  all that comes after this record. */
#define VGPU_CALL_INSISTS 2u

/** Beyond all values of CUresult: nothing was done, because the call is one of those for which a
 *  driver waits for all work, and there is some. The guest, where only the thread that called has
 *  to wait, asks again when that is done. */
#define VGPU_RESULT_LATER 10001u

struct vgpu_result {
    uint32_t result; /* CUresult */
    uint32_t payload_bytes;
    uint64_t output[4];
};

/** `sequence` is a release store by the worker after all else in the slot; the guest's acquire
 *  load of its record's sequence makes the rest readable. */
struct vgpu_reply_slot {
    uint32_t sequence;
    uint32_t reserved[5];
    struct vgpu_result result;
    uint8_t payload[VGPU_REPLY_PAYLOAD_MAX];
};

static_assert(sizeof(struct vgpu_ring_indices) == 192, "channel layout");
static_assert(offsetof(struct vgpu_ring_indices, head) == 64, "channel layout");
static_assert(offsetof(struct vgpu_ring_indices, consumer_sleeps) == 128, "channel layout");
static_assert(offsetof(struct vgpu_channel_header, deferred_error) == 192, "channel layout");
static_assert(offsetof(struct vgpu_channel_header, latency) == 256, "channel layout");
static_assert(offsetof(struct vgpu_channel_header, upcall) == 768, "channel layout");
static_assert(offsetof(struct vgpu_upcall_place, done) == 64, "channel layout");
static_assert(sizeof(struct vgpu_channel_header) <= VGPU_CHANNEL_REPLIES_OFFSET, "channel layout");
static_assert(sizeof(struct vgpu_call_header) == VGPU_CALL_HEADER_BYTES, "channel layout");
static_assert(sizeof(struct vgpu_result) == 40, "channel layout");
static_assert(offsetof(struct vgpu_reply_slot, payload) == 64, "channel layout");
static_assert(sizeof(struct vgpu_reply_slot) == VGPU_REPLY_SLOT_BYTES, "channel layout");
static_assert(VGPU_CHANNEL_REPLIES_OFFSET + VGPU_REPLY_SLOTS * VGPU_REPLY_SLOT_BYTES ==
                  VGPU_CHANNEL_FENCES_OFFSET,
              "channel layout");
static_assert(VGPU_CHANNEL_FENCES_OFFSET + VGPU_FENCES * 4 == VGPU_CHANNEL_RING_OFFSET,
              "channel layout");
static_assert(VGPU_CHANNEL_RING_OFFSET + VGPU_RING_BYTES == VGPU_CHANNEL_STAGING_OFFSET,
              "channel layout");

#endif
