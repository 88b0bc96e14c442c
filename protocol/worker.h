/* SPDX-License-Identifier: MIT */
/**
 * Between the mediator and a worker: inherited descriptors, one page per worker, one page per VM,
 * and the few messages of their socket pair. The mediator trusts a worker's counters as numbers
 * only; it bounds or sums them and decides nothing about other VMs from them.
 */
#ifndef VGPU_PROTOCOL_WORKER_H
#define VGPU_PROTOCOL_WORKER_H

#include <stdbool.h>

#include "protocol/busy.h"
#include "protocol/call_class.h"
#include "protocol/latency.h"
#include "protocol/mailbox.h"

/** A worker's descriptors. The first two are open when it starts. The places of the others are
 * taken by /dev/null until VGPU_WORKER_SERVE brings them, so that no driver's are there. */
enum vgpu_worker_descriptor {
    VGPU_WORKER_SOCKET = 3,    /* SOCK_SEQPACKET to the mediator */
    VGPU_WORKER_PAGE = 4,      /* memfd of struct vgpu_worker_page */
    VGPU_WORKER_LEDGER = 5,    /* memfd of struct vgpu_ledger_page */
    VGPU_WORKER_WINDOW = 6,    /* memfd of the window; absent in a primitive worker */
    VGPU_WORKER_DOORBELL = 7,  /* eventfd to read */
    VGPU_WORKER_INTERRUPT = 8, /* eventfd to write */
    VGPU_WORKER_IMAGES = 9,    /* folder of the image cache, if the page says so */
};

#define VGPU_WORKER_CALLS_MAX 512u

/** Extents that a channel can have beside its own. */
#define VGPU_CHANNEL_EXTENTS_MAX 4096u

enum vgpu_extent_state {
    VGPU_EXTENT_NONE = 0,
    VGPU_EXTENT_OPEN = 1,   /* the guest has it */
    VGPU_EXTENT_MAPPED = 2, /* and the worker has it mapped: it cannot be closed */
};

/** What the worker may map besides its channel. The mediator opens and closes entries, the worker
 *  maps and unmaps them, both by exchanging `state`: so that no memory is taken out of the window
 *  and given to another channel while a GPU can still reach it. */
struct vgpu_worker_extent {
    uint64_t offset; /* in the window; of an entry that is not NONE */
    uint64_t bytes;
    uint32_t state; /* enum vgpu_extent_state; release and acquire */
    uint32_t reserved;
};

/** A VM's accounts: of memory, which workers charge before they allocate, and of calls
 *  (protocol/rate.h). 64-bit atomics, relaxed: they are sums, and order nothing. The mediator takes
 *  back what a dead worker had added. */
struct vgpu_ledger_page {
    /* written by the mediator */
    uint64_t quota;       /* bytes */
    uint64_t rate;        /* calls a second; 0: no limit */
    uint64_t queue_depth; /* calls that may wait, in all channels; 0: no limit */
    uint64_t padding[5];

    /* written by all workers of the VM */
    uint64_t used;    /* bytes charged */
    uint64_t free_at; /* when the next call is within the rate; also the mediator's */
    uint64_t queued;  /* calls that wait, while there is a limit */
};

/** Whether a worker may bring work to the GPU; mediator/lease.h says when. */
enum vgpu_lease_state {
    VGPU_LEASE_OPEN = 0,    /* as much as it likes */
    VGPU_LEASE_BOUNDED = 1, /* so much that `window` is not exceeded, and with word of idleness */
    VGPU_LEASE_ENDING = 2,  /* nothing more: when all is nearly done, the worker makes it NONE */
    VGPU_LEASE_NONE = 3,    /* nothing: the worker says if it wants to */
};

/** With OPEN or BOUNDED: nothing is in flight, and the mediator may make it NONE without asking.
 *  The worker takes the bit out before it brings work. */
#define VGPU_LEASE_IDLE 4u

/** More is in flight than was counted, or may be: work that came under an open lease. */
#define VGPU_LEASE_UNCOUNTED UINT32_MAX

/** Nanoseconds from the end of a lease until the next one's first work comes. */
#define VGPU_LEASE_HANDOVER 200000u

struct vgpu_worker_lease {
    uint32_t state;     /* exchanged by both sides; acquire and release */
    uint32_t wants;     /* worker: 1: a record waits for a lease; relaxed, a message follows */
    uint32_t window;    /* mediator: nanoseconds of GPU time in flight at most, when bounded */
    uint32_t in_flight; /* worker: of these; VGPU_LEASE_UNCOUNTED; relaxed */
    uint64_t late; /* worker: nanoseconds of the page's GPU time that had waited for the guest's
                      program and ran without a lease; 64-bit atomic, relaxed */
};

/** Whether what is left of a bounded lease is done by the time that somebody else's first work
 *  comes: the GPU takes one after the other. Then either side may make it NONE. A record that the
 *  worker admits just now may not be counted yet, which is little beside a slice. */
static inline bool vgpu_lease_nearly_done(const struct vgpu_worker_lease *lease)
{
    /* relaxed: any of the values of late will do */
    uint32_t half = __atomic_load_n(&lease->window, __ATOMIC_RELAXED) / 2;
    uint32_t most = half > VGPU_LEASE_HANDOVER ? half : VGPU_LEASE_HANDOVER;

    return __atomic_load_n(&lease->in_flight, __ATOMIC_RELAXED) <= most;
}

/** What the mediator's watchdog sees of a worker. 64-bit words, relaxed; times are CLOCK_MONOTONIC
 * in nanoseconds. A worker that is in a call of the driver does not look, and completes no records.
 */
/** What compiles, and what waits for the guest's program, may take so many limits. */
#define VGPU_WATCH_PATIENCE 10u

struct vgpu_worker_watch {
    uint64_t limit;  /* mediator: nanoseconds that a piece of work may take; changes at any time */
    uint64_t since;  /* worker: the oldest piece of work that is not done is the oldest since then;
                        0:  all is done */
    uint64_t looked; /* worker: when it last found that so */
    uint32_t patience; /* worker: how many limits that piece has, 1 to VGPU_WATCH_PATIENCE */
    uint32_t call;     /* worker: of the record that is being replayed; 0: none */
};

/** A worker's use of the image cache. 64-bit atomics, relaxed. */
struct vgpu_worker_images {
    uint64_t room;   /* bytes that it may still store; set by the mediator at every sweep */
    uint64_t found;  /* images that were in the cache and whole */
    uint64_t missed; /* that were not */
    uint64_t stored;
    uint64_t poisoned;   /* files with another content than their name says */
    uint64_t mismatched; /* uploads with another content than the guest said */
};

/** How long things take. Not every call is timed (worker/timing.h): a histogram's count is that of
 *  what was. */
struct vgpu_worker_times {
    struct vgpu_histogram wait;                    /* of records in the ring, leases included */
    struct vgpu_histogram call[VGPU_CALL_CLASSES]; /* of calls in the worker and the driver */
};

/** What limits on calls have cost (worker/throttle.h). 64-bit atomics, relaxed. */
struct vgpu_worker_throttle {
    uint64_t throttled;   /* how often calls had to wait for the rate */
    uint64_t nanoseconds; /* that they waited */
    uint64_t busy;        /* how often too many calls waited, and the channel was marked BUSY */
    uint64_t queued;      /* of the ledger's sum */
};

struct vgpu_worker_page {
    /* written by the mediator: the driver before the worker starts, the rest before it has to serve
     */
    uint32_t channel;
    uint32_t has_window; /* 0: a worker for mailbox primitives only */
    uint64_t offset;     /* of the channel's extent in the window */
    uint64_t size;
    char driver[256];    /* path or soname to dlopen */
    char name[64];       /* of VM and program, for logs */
    uint32_t has_images; /* 1: VGPU_WORKER_IMAGES is open */
    uint32_t is_spare; /* 1: started before there was a need for it; it ends if its driver fails */

    /* written by the worker; read by the mediator at any time */
    uint32_t ready;          /* 1 after the driver was initialised (release / acquire) */
    uint32_t exit_error;     /* CUresult for the channel's entry when the worker ends by itself */
    uint64_t memory_charged; /* bytes of the ledger that this worker holds */
    uint64_t bytes_to_device;
    uint64_t bytes_from_device;
    uint64_t bytes_cleared;   /* of new memory, of whatever another VM has left in it */
    uint64_t gpu_nanoseconds; /* measured with events, busy intervals */
    struct vgpu_worker_images images;
    struct vgpu_worker_throttle throttle;
    uint8_t padding[32];
    uint64_t calls_total; /* this and the next two: a cache line, needed for each record */
    struct vgpu_worker_lease lease;
    struct vgpu_worker_watch watch;
    uint64_t calls[VGPU_WORKER_CALLS_MAX]; /* by call id */
    uint64_t failed[VGPU_CALL_CLASSES];    /* calls with another result than success */
    struct vgpu_worker_times times;
    struct vgpu_busy busy;

    struct vgpu_worker_extent extents[VGPU_CHANNEL_EXTENTS_MAX];
};

/** Exit statuses of vgpu-worker, so that the mediator's log can say what happened. */
enum vgpu_worker_exit {
    VGPU_WORKER_EXIT_OK = 0,       /* asked to stop */
    VGPU_WORKER_EXIT_SETUP = 2,    /* a descriptor or page was not as it must be */
    VGPU_WORKER_EXIT_DRIVER = 3,   /* the driver could not be loaded or initialised */
    VGPU_WORKER_EXIT_PROTOCOL = 4, /* the guest put garbage into the ring */
};

enum vgpu_worker_op {
    VGPU_WORKER_PRIMITIVE = 1, /* mediator -> worker: a mailbox request; the answer comes back */
    VGPU_WORKER_PROBE = 2, /* mediator -> worker: describe the driver; answer: vgpu_worker_probe */
    /** mediator -> worker, once: the page says for whom, and descriptors come with it; no answer
     *  (protocol/assignment.h). Before it only PROBE is answered. */
    VGPU_WORKER_SERVE = 3,
    VGPU_WORKER_LEASE = 4, /* either way: look at the lease in the page; no data, no answer */
};

/** One SEQPACKET datagram each way; `length` bytes of data are valid. */
struct vgpu_worker_message {
    uint32_t op;
    uint32_t length;
    uint8_t data[VGPU_MAILBOX_BYTES];
};

/** Answer to PROBE: what the mediator logs at start and reports in IDENTIFY. */
struct vgpu_worker_probe {
    uint32_t result; /* CUresult of cuInit and what followed; 0 when the driver works */
    uint32_t driver_version;
    uint32_t device_count;
    uint32_t is_software;  /* 1: the software GPU */
    uint64_t memory_total; /* bytes, device 0 */
    uint32_t capability;   /* major * 10 + minor */
    uint32_t pci_domain;
    uint32_t pci_bus;
    uint32_t pci_device;
    uint8_t uuid[16];
    char gpu[96];
};

static_assert(sizeof(struct vgpu_worker_page) % 8 == 0, "no tail padding surprises");
static_assert(offsetof(struct vgpu_worker_page, calls_total) / 64 ==
                  (offsetof(struct vgpu_worker_page, calls) - 1) / 64,
              "in one cache line");
static_assert(sizeof(struct vgpu_worker_probe) <= VGPU_MAILBOX_BYTES, "fits a message");

#endif
