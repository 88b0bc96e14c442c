/* SPDX-License-Identifier: MIT */
/** A VM as the mediator knows it: its ledger, its limits and what it has used so far. */
#ifndef VGPU_MEDIATOR_VM_H
#define VGPU_MEDIATOR_VM_H

#include <stdint.h>

#include "mediator/config.h"
#include "mediator/pool_usage.h"
#include "mediator/scheduler/scheduler.h"
#include "mediator/store/store.h"
#include "mediator/vm_limits.h"
#include "protocol/channel.h"
#include "protocol/latency.h"
#include "protocol/worker.h"

/** Sums over workers. They come from workers and guests: numbers to show, never to decide on. */
struct vgpu_counters {
    uint64_t calls;
    uint64_t bytes_to_device;
    uint64_t bytes_from_device;
    uint64_t bytes_cleared;
    uint64_t gpu_nanoseconds; /* as workers measured it, shared or not: mediator/gpu_time.h */
    uint64_t images_found;    /* in the cache, by their hash */
    uint64_t images_missed;   /* and so uploaded */
    uint64_t images_refused;  /* uploads that were not what the guest said */
    uint64_t throttled;       /* times that calls had to wait for the VM's rate */
    uint64_t throttled_nanoseconds;
    uint64_t busy;            /* times that more calls waited than its queue depth */
    uint64_t images_poisoned; /* files of the cache that were not what they were called */
    uint64_t call[VGPU_WORKER_CALLS_MAX]; /* by call id */
    uint64_t failed[VGPU_CALL_CLASSES];
    uint64_t latency[VGPU_LATENCY_BUCKETS]; /* round trips, as guests measured them */
    struct vgpu_worker_times times;
};

/** What cost a VM a worker. */
enum vgpu_fault {
    VGPU_FAULT_CRASH,    /* it was killed by a signal, or ended for no reason of its own */
    VGPU_FAULT_PROTOCOL, /* garbage was in the ring */
    VGPU_FAULT_DRIVER,   /* the driver could not go on */
    VGPU_FAULT_HANG,     /* its work did not finish: the watchdog */
    VGPU_FAULTS
};

struct vgpu_vm_fault {
    uint64_t count;
    char detail[160]; /* of the last one */
};

/** Counts that are in the store already. */
struct vgpu_vm_written {
    uint64_t gpu_nanoseconds;
    uint64_t calls;
    uint64_t bytes_to_device;
    uint64_t bytes_from_device;
    uint64_t faults[VGPU_FAULTS];
};
struct vgpu_channel;

/** Lives as long as the mediator, so that totals and ledger outlast a reboot of the VM. */
struct vgpu_vm {
    struct vgpu_vm *next;
    char name[VGPU_CONFIG_VM_NAME];
    uint32_t id; /* from 1 */
    uint32_t pool;
    uint32_t priority;
    uint32_t max_channels;
    struct vgpu_vm_limits limits;
    bool registered;            /* in the store, which pool, priority and limits are from */
    char uuid[VGPU_STORE_UUID]; /* "": none */
    bool unkept;                /* the store could not be told of its faults */
    uint64_t quarantined;       /* since then, seconds since 1970; 0: it is not */
    char reason[VGPU_STORE_REASON];
    uint64_t strikes; /* faults that count, since it was last cleared, or none for a day */
    uint64_t struck;  /* when the last was, seconds since 1970 */
    int ledger_fd;
    struct vgpu_ledger_page *ledger;

    uint32_t sessions; /* attached ones */
    uint32_t workers;  /* alive, primitive workers included */
    uint32_t channels_open;
    uint32_t channels_failed; /* lost: the worker died, or garbage was in the ring */
    uint64_t refused;         /* connections and mailbox requests that were turned down */
    uint32_t busy;            /* per cent of the last second in which the GPU worked for it */
    uint64_t measured;        /* its GPU nanoseconds when `busy` was measured */
    uint64_t garbage;         /* violations of the protocol, on the socket and in rings */
    struct vgpu_vm_fault faults[VGPU_FAULTS];
    struct vgpu_vm_written written;
    struct vgpu_counters counted;  /* as of the last writing */
    struct vgpu_counters totals;   /* of workers that have ended */
    struct vgpu_counters shown;    /* the most that was ever told: what workers say may shrink */
    struct vgpu_pool_usage pooled; /* what its pools were told of */
    uint64_t gpu_nanoseconds;      /* its share of the GPU's time: mediator/gpu_time.h */

    struct vgpu_tenant tenant;     /* its turns at the GPU: mediator/lease.h */
    struct vgpu_channel *channels; /* those whose workers live */
    uint64_t charged;              /* GPU nanoseconds that the scheduler was told of */
    uint64_t charged_at;           /* vgpu_loop_now() */
    uint64_t may_charge; /* nanoseconds in which it had a lease and that were not charged */
    uint64_t leases;     /* that it has had */
    bool has_lease;
    bool is_open; /* the lease */
};

/** A VM is known as long as the mediator runs: its counters must not shrink. So that nobody makes
 *  them without end, of which a user of the host may have many user numbers: */
#define VGPU_VMS_MOST   1024u /* devices' VMs */
#define VGPU_USERS_MOST 256u  /* of the host, whose programs are VMs */

/** The VM of this name, made if there is none yet. Returns 0 or a negative errno. */
int vgpu_vm_take(struct vgpu_vm **vms, const struct vgpu_config *config, uint64_t memory_total,
                 const char *name, struct vgpu_vm **out);
void vgpu_vms_destroy(struct vgpu_vm **vms);

/** Puts the limits of memory (bytes) and calls where the VM's workers see them, at once. */
void vgpu_vm_limit(struct vgpu_vm *vm, uint64_t quota);

/** Bytes charged now, as the ledger says. */
uint64_t vgpu_vm_memory_used(const struct vgpu_vm *vm);

/** Gives back what a worker that has ended still held; with the last worker, all of it. */
void vgpu_vm_worker_ended(struct vgpu_vm *vm, const struct vgpu_worker_page *page);

/** Adds a worker's page, which may still change; sums stay at UINT64_MAX instead of wrapping. */
void vgpu_counters_add_worker(struct vgpu_counters *counters, const struct vgpu_worker_page *page);

/** Calls of each class. */
void vgpu_counters_classes(const struct vgpu_counters *counters, uint64_t calls[VGPU_CALL_CLASSES]);

/** Durations of all calls, by those that were timed of each class (protocol/latency.h). */
void vgpu_counters_execution(const struct vgpu_counters *counters,
                             uint64_t buckets[VGPU_LATENCY_BUCKETS]);

/** Makes counters that have shrunk, as numbers of workers may, what they were at most. */
void vgpu_counters_keep(struct vgpu_counters *counters, struct vgpu_counters *most);

/** Adds by how much the round trips in the header of the channel at `offset` of a window have grown
 *  beyond those in `seen`, which becomes what they are. */
void vgpu_counters_add_latency(struct vgpu_counters *counters, uint32_t seen[VGPU_LATENCY_BUCKETS],
                               int window, uint64_t offset);

#endif
