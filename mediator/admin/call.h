/* SPDX-License-Identifier: MIT */
/** One request of the admin socket (admin.h), from its line to the line of its answer. */
#ifndef VGPU_MEDIATOR_ADMIN_CALL_H
#define VGPU_MEDIATOR_ADMIN_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "mediator/events.h"
#include "mediator/store/store.h"

struct vgpu_admin_verb;
struct vgpu_mediator;

#define VGPU_ADMIN_ARGUMENTS 16u

struct vgpu_admin_call {
    struct vgpu_mediator *mediator;
    uint32_t uid; /* of the client */
    uint32_t pid;
    bool may_change; /* of the client */
    const struct vgpu_admin_verb *verb;
    json_t *arguments; /* the request without its verb */
    /** What the verb's function leaves: */
    json_t *result;    /* an object, or an array of objects */
    json_t *notes;     /* array of strings for the administrator */
    const char *error; /* its code; NULL: it went well */
    char message[384];
    bool follow; /* events are to come */
    /** What becomes of the VM `vm` or the pool `pool` in memory when the change was committed. */
    enum {
        VGPU_ADMIN_NOTHING,
        VGPU_ADMIN_PUT_VM,
        VGPU_ADMIN_REMOVED_VM,
        VGPU_ADMIN_PUT_POOL,
    } change;
    struct vgpu_store_vm vm;
    struct vgpu_store_pool pool;
    uint64_t written; /* number of the change in the store, to be answered when it is on disk */
    char target[VGPU_CONFIG_VM_NAME]; /* for the audit: a VM or a pool */
};

struct vgpu_admin_verb {
    const char *name;
    /** The kind of event that it makes happen; NULL: it only looks. Its changes of the store are
     *  one transaction, which is committed if it leaves no error. */
    const char *event;
    void (*run)(struct vgpu_admin_call *call);
    const char *arguments[VGPU_ADMIN_ARGUMENTS]; /* that it knows, up to the first NULL */
};

extern const struct vgpu_admin_verb vgpu_admin_vm_verbs[];
extern const struct vgpu_admin_verb vgpu_admin_pool_verbs[];
extern const struct vgpu_admin_verb vgpu_admin_show_verbs[];
extern const struct vgpu_admin_verb vgpu_admin_history_verbs[];

/** The answer to a line, a new reference; NULL: out of memory. */
json_t *vgpu_admin_answer(struct vgpu_admin_call *call, const char *line, size_t length);
json_t *vgpu_admin_refusal(const char *code, const char *message);
json_t *vgpu_admin_event(const struct vgpu_event *event);

/* For the verbs: */

/** Ends the call with this error; the first one counts. */
void vgpu_admin_fail(struct vgpu_admin_call *call, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Ends it because the store did not do what it should. */
void vgpu_admin_fail_store(struct vgpu_admin_call *call);
void vgpu_admin_note(struct vgpu_admin_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** The argument as text, "" if it is not there. */
const char *vgpu_admin_text(const struct vgpu_admin_call *call, const char *name);
bool vgpu_admin_has(const struct vgpu_admin_call *call, const char *name);
/** Ends the call: the argument is missing, or is not what is `allowed`. */
void vgpu_admin_fail_value(struct vgpu_admin_call *call, const char *name, const char *allowed);
/** The argument as a number; false, after a failure, if it is none or out of range. */
bool vgpu_admin_number(struct vgpu_admin_call *call, const char *name, uint64_t least,
                       uint64_t most, const char *allowed, uint64_t *number);
/** The argument `pool`: a letter; false after a failure. */
bool vgpu_admin_pool(struct vgpu_admin_call *call, uint32_t *pool);

/** A member of an object, from here on owned by it. */
void vgpu_admin_put_text(json_t *object, const char *key, const char *text);
void vgpu_admin_put_number(json_t *object, const char *key, uint64_t number);

struct vgpu_vm;
/** What list-vms and show-vm tell of a VM, a new reference; `seen` NULL: it was not seen. */
json_t *vgpu_admin_vm_row(struct vgpu_mediator *mediator, const struct vgpu_store_vm *vm,
                          bool registered, struct vgpu_vm *seen);

/** Of vms.c: the VM that `vm-name` or `vm-uuid` name into `vm`; an empty name if there are neither.
 *  *registered: the store has it. False after a failure. */
bool vgpu_admin_take_optional(struct vgpu_admin_call *call, bool *registered);

/** Of vms.c: what a mediator without a store can do, too. */
void vgpu_admin_clear_quarantine(struct vgpu_admin_call *call);

#endif
