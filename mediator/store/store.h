/* SPDX-License-Identifier: MIT */
/**
 * What the mediator remembers when it ends: VMs, pools, limits, faults, usage and an audit of what
 * administrators did. One SQLite file with a write-ahead log; the mediator is its only writer.
 *
 * A change is there when vgpu_store_commit() returns 0, whatever happens to the process afterwards;
 * what was not committed leaves nothing behind. Soon it is on disk, whatever happens to the
 * machine: vgpu_store_flushed() tells; nobody waits for the disk but vgpu_store_close(). Functions
 * return 0 or a negative errno and vgpu_store_error() says what SQLite said; -EUCLEAN: the file is
 * damaged. For one thread; the store has another.
 */
#ifndef VGPU_MEDIATOR_STORE_STORE_H
#define VGPU_MEDIATOR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mediator/config.h"
#include "mediator/vm_limits.h"

#define VGPU_STORE_UUID   37u /* with its end */
#define VGPU_STORE_REASON 160u

struct vgpu_store;

/** A VM that was registered. */
struct vgpu_store_vm {
    char name[VGPU_CONFIG_VM_NAME];
    char uuid[VGPU_STORE_UUID]; /* lower case; "": none */
    uint32_t pool;              /* 'A'..'Z' */
    uint32_t priority;          /* VGPU_PRIORITY_* */
    struct vgpu_vm_limits limits;
    uint64_t quarantined; /* since then, seconds since 1970; 0: it is not */
    char reason[VGPU_STORE_REASON];
    uint64_t strikes; /* faults that count towards the limit */
    uint64_t struck;  /* when the last was, seconds since 1970; 0: never */
};

struct vgpu_store_pool {
    uint32_t name;    /* 'A'..'Z' */
    uint32_t weight;  /* 1..100 */
    uint32_t members; /* registered VMs; filled in by reading */
};

/** One action of an administrator; the strings are the caller's. */
struct vgpu_store_action {
    uint64_t time; /* seconds since 1970 */
    uint32_t uid;
    uint32_t pid;
    const char *verb;
    const char *target;    /* a VM or a pool; "": neither */
    const char *arguments; /* as they came, JSON */
    const char *outcome;   /* "done", or why it was refused */
};

/**
 * Opens the file, makes it if it is missing, and brings an older schema up to date. On failure
 * `why` has a line that says what to do. -EBUSY: another mediator has it; -ENOTSUP: a newer version
 * wrote it.
 */
int vgpu_store_open(const char *path, struct vgpu_store **out, char *why, size_t size);
void vgpu_store_close(struct vgpu_store *store);

/** What went wrong last, in SQLite's words. Valid until the next call. */
const char *vgpu_store_error(const struct vgpu_store *store);

/** All between begin and commit happens or nothing of it; a commit that fails has rolled back. */
int vgpu_store_begin(struct vgpu_store *store);
int vgpu_store_commit(struct vgpu_store *store);
void vgpu_store_roll_back(struct vgpu_store *store);

/** Number of the last change that was committed, or 0. */
uint64_t vgpu_store_written(struct vgpu_store *store);

/** How far changes are on disk. */
struct vgpu_store_flushed {
    uint64_t done;   /* number of the last change that is there, or that the disk did not take */
    uint64_t failed; /* changes up to this one may not be there if the machine fails; 0: none */
    int error;       /* why, a negative errno */
};
struct vgpu_store_flushed vgpu_store_flushed(struct vgpu_store *store);
/** A descriptor, the store's, that is readable when that has grown; asking ends it. */
int vgpu_store_flushed_event(const struct vgpu_store *store);

/** Adds the VM or replaces what was there under its name. -EEXIST: another has this UUID;
 *  -ENOENT: there is no such pool. */
int vgpu_store_put_vm(struct vgpu_store *store, const struct vgpu_store_vm *vm);
/** Returns -ENOENT if it is not there. */
int vgpu_store_remove_vm(struct vgpu_store *store, const char *name);
/** By name, or by UUID if `name` is NULL; -ENOENT if it is not there. */
int vgpu_store_find_vm(struct vgpu_store *store, const char *name, const char *uuid,
                       struct vgpu_store_vm *vm);
/** Calls `each` for all VMs in the order of their names. */
int vgpu_store_list_vms(struct vgpu_store *store,
                        void (*each)(const struct vgpu_store_vm *vm, void *user), void *user);

int vgpu_store_put_pool(struct vgpu_store *store, const struct vgpu_store_pool *pool);
/** Adds the pool, with the default weight, if it is not there: 1; 0: it was. */
int vgpu_store_need_pool(struct vgpu_store *store, uint32_t name);
/** -EBUSY: it has members; -ENOENT: there is none. */
int vgpu_store_remove_pool(struct vgpu_store *store, uint32_t name);
int vgpu_store_find_pool(struct vgpu_store *store, uint32_t name, struct vgpu_store_pool *pool);
int vgpu_store_list_pools(struct vgpu_store *store,
                          void (*each)(const struct vgpu_store_pool *pool, void *user), void *user);

int vgpu_store_log_action(struct vgpu_store *store, const struct vgpu_store_action *action);
/** The last `most` actions, the newest first. */
int vgpu_store_list_actions(struct vgpu_store *store, uint32_t most,
                            void (*each)(const struct vgpu_store_action *action, void *user),
                            void *user);

/** Checks a file without changing what it says; it may be in use. Problems go to `out`, one a line,
 *  else one line of what is there. Returns 0, -EUCLEAN, or why it could not be looked at. */
int vgpu_store_check(const char *path, FILE *out);

#endif
