/* SPDX-License-Identifier: MIT */
#include "mediator/admin/call.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mediator/audit.h"
#include "mediator/log.h"
#include "mediator/mediator.h"
#include "mediator/registry.h"

#define AUDIT_ARGUMENTS 1024u /* bytes that are kept of them */

void vgpu_admin_fail(struct vgpu_admin_call *call, const char *code, const char *format, ...)
{
    char text[sizeof(call->message)];
    va_list arguments;

    if (call->error)
        return;
    call->error = code;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    vgpu_log_clean(call->message, sizeof(call->message), text, sizeof(text));
}

void vgpu_admin_fail_store(struct vgpu_admin_call *call)
{
    vgpu_admin_fail(call, "failed",
                    "%sthe store %s: %s; see the disk it is on, other programs that use it, and "
                    "vgpu-mediator --check-store",
                    call->verb->event ? "nothing was changed: " : "", call->mediator->config.store,
                    vgpu_store_error(call->mediator->store));
}

void vgpu_admin_note(struct vgpu_admin_call *call, const char *format, ...)
{
    va_list arguments;
    char text[256];

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    json_array_append_new(call->notes, json_string(text));
}

bool vgpu_admin_has(const struct vgpu_admin_call *call, const char *name)
{
    return json_object_get(call->arguments, name) != NULL;
}

const char *vgpu_admin_text(const struct vgpu_admin_call *call, const char *name)
{
    const char *text = json_string_value(json_object_get(call->arguments, name));

    return text ? text : "";
}

void vgpu_admin_fail_value(struct vgpu_admin_call *call, const char *name, const char *allowed)
{
    const char *of = *call->target ? ": " : "";

    if (vgpu_admin_has(call, name))
        vgpu_admin_fail(call, "invalid", "%s%s%s=%.80s is not %s", call->target, of, name,
                        vgpu_admin_text(call, name), allowed);
    else
        vgpu_admin_fail(call, "invalid", "%s%swhich %s? %s needs --%s, %s", call->target, of, name,
                        call->verb->name, name, allowed);
}

bool vgpu_admin_number(struct vgpu_admin_call *call, const char *name, uint64_t least,
                       uint64_t most, const char *allowed, uint64_t *number)
{
    const char *text = vgpu_admin_text(call, name);
    char *end = NULL;

    errno = 0;
    if (isdigit((unsigned char)*text)) /* strtoull would take a sign */
        *number = strtoull(text, &end, 10);
    if (end && !*end && errno == 0 && *number >= least && *number <= most)
        return true;
    vgpu_admin_fail_value(call, name, allowed);
    return false;
}

bool vgpu_admin_pool(struct vgpu_admin_call *call, uint32_t *pool)
{
    const char *text = vgpu_admin_text(call, "pool");

    if (*text < 'A' || *text > 'Z' || text[1]) {
        vgpu_admin_fail_value(call, "pool", "a letter from A to Z");
        return false;
    }
    *pool = (uint32_t)*text;
    return true;
}

void vgpu_admin_put_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text));
}

void vgpu_admin_put_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key,
                        json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number));
}

json_t *vgpu_admin_refusal(const char *code, const char *message)
{
    return json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", code, "message", message);
}

json_t *vgpu_admin_event(const struct vgpu_event *event)
{
    json_t *row = json_object();

    vgpu_admin_put_number(row, "event", event->number);
    vgpu_admin_put_number(row, "time_ms", event->milliseconds);
    vgpu_admin_put_text(row, "kind", event->kind);
    vgpu_admin_put_text(row, "vm", event->vm);
    vgpu_admin_put_text(row, "text", event->text);
    return row;
}

static const struct vgpu_admin_verb *vgpu_admin_find_verb(const char *name)
{
    static const struct vgpu_admin_verb *const tables[] = {
        vgpu_admin_vm_verbs, vgpu_admin_pool_verbs, vgpu_admin_show_verbs,
        vgpu_admin_history_verbs};

    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        for (const struct vgpu_admin_verb *verb = tables[i]; verb->name; verb++) {
            if (strcmp(verb->name, name) == 0)
                return verb;
        }
    }
    return NULL;
}

/** Makes every argument text: numbers and booleans are told like words of a command line. */
static bool vgpu_admin_arguments_to_text(json_t *arguments)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(arguments, next, key, value)
    {
        char text[24];

        if (json_is_string(value))
            continue;
        if (json_is_integer(value))
            snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
        else if (json_is_boolean(value))
            snprintf(text, sizeof(text), "%s", json_is_true(value) ? "true" : "false");
        else
            return false;
        json_object_set_new(arguments, key, json_string(text));
    }
    return true;
}

static void vgpu_admin_check_arguments(struct vgpu_admin_call *call,
                                       const struct vgpu_admin_verb *verb)
{
    const char *key;
    json_t *value;

    if (!vgpu_admin_arguments_to_text(call->arguments)) {
        vgpu_admin_fail(call, "invalid", "arguments are strings, whole numbers or booleans");
        return;
    }
    json_object_foreach(call->arguments, key, value)
    {
        uint32_t i = 0;

        while (i < VGPU_ADMIN_ARGUMENTS && verb->arguments[i] &&
               strcmp(verb->arguments[i], key) != 0)
            i++;
        if (i == VGPU_ADMIN_ARGUMENTS || !verb->arguments[i])
            vgpu_admin_fail(call, "invalid", "%s knows no argument %.40s; see vgpu-admin help %s",
                            verb->name, key, verb->name);
    }
}

/** Writes down what was asked and what came of it, in the transaction that is open. */
static int vgpu_admin_log(const struct vgpu_admin_call *call, const struct vgpu_admin_verb *verb)
{
    char *arguments = json_dumps(call->arguments, JSON_COMPACT | JSON_ENSURE_ASCII);

    if (arguments && strlen(arguments) > AUDIT_ARGUMENTS)
        strcpy(arguments + AUDIT_ARGUMENTS - 3, "..."); /* no honest request is as long */
    const struct vgpu_store_action action = {
        .time = (uint64_t)time(NULL),
        .uid = call->uid,
        .pid = call->pid,
        .verb = verb->name,
        .target = call->target,
        .arguments = arguments ? arguments : "",
        .outcome = call->error ? call->message : "done",
    };
    int error = vgpu_store_log_action(call->mediator->store, &action);

    free(arguments);
    return error;
}

/** In a transaction of its own. */
static void vgpu_admin_log_refused(const struct vgpu_admin_call *call,
                                   const struct vgpu_admin_verb *verb)
{
    if (vgpu_admin_log(call, verb))
        vgpu_audit_complain(call->mediator);
}

/** What was asked for, as words: "weight=80 share-cap=50". */
static void vgpu_admin_describe(const struct vgpu_admin_call *call, char *text, size_t size)
{
    const char *key;
    json_t *value;
    size_t used = 0;

    *text = '\0';
    json_object_foreach(call->arguments, key, value)
    {
        if (used < size && strcmp(key, "vm-name") != 0)
            used +=
                (size_t)snprintf(text + used, size - used, "%s=%s ", key, json_string_value(value));
    }
}

/** It was committed. */
static void vgpu_admin_apply(const struct vgpu_admin_call *call, const struct vgpu_admin_verb *verb)
{
    struct vgpu_mediator *mediator = call->mediator;
    char what[VGPU_EVENT_TEXT];

    vgpu_log(VGPU_LOG_INFO, "user %u: %s %s", call->uid, verb->name, call->target);
    vgpu_admin_describe(call, what, sizeof(what));
    vgpu_events_add(&mediator->events, verb->event,
                    call->change == VGPU_ADMIN_PUT_VM || call->change == VGPU_ADMIN_REMOVED_VM
                        ? call->vm.name
                        : "",
                    "%s %sby user %u", verb->name, what, call->uid);
    if (call->change == VGPU_ADMIN_PUT_VM)
        vgpu_registry_apply(mediator, &call->vm);
    else if (call->change == VGPU_ADMIN_REMOVED_VM)
        vgpu_registry_forget(mediator, call->vm.name);
    else if (call->change == VGPU_ADMIN_PUT_POOL)
        vgpu_lease_pool(&mediator->leases, call->pool.name, call->pool.weight);
}

static void vgpu_admin_change(struct vgpu_admin_call *call, const struct vgpu_admin_verb *verb)
{
    struct vgpu_store *store = call->mediator->store;

    if (!store && verb->run == vgpu_admin_clear_quarantine) {
        if (!call->error)
            verb->run(call); /* who was quarantined by this mediator must be let in by it */
        return;
    }
    if (!store) {
        vgpu_admin_fail(call, "no-store",
                        "this mediator keeps nothing; set store= in [mediator] of its "
                        "configuration and start it again");
        return;
    }
    if (call->error) {
        vgpu_admin_log_refused(call, verb);
        return;
    }
    if (vgpu_store_begin(store)) {
        vgpu_admin_fail_store(call);
        return;
    }
    verb->run(call);
    if (!call->error && (vgpu_admin_log(call, verb) || vgpu_store_commit(store)))
        vgpu_admin_fail_store(call);
    if (!call->error) {
        call->written = vgpu_store_written(store);
        vgpu_admin_apply(call, verb);
        return;
    }
    vgpu_store_roll_back(store);
    vgpu_admin_log_refused(call, verb);
}

static void vgpu_admin_deny(struct vgpu_admin_call *call, const struct vgpu_admin_verb *verb)
{
    call->error = NULL; /* whatever else is wrong with the request */
    vgpu_admin_fail(call, "denied",
                    "user %u may look, but not %s; root and the members of the group %s may "
                    "(usermod --append --groups %s USER)",
                    call->uid, verb->name, call->mediator->config.admin_group,
                    call->mediator->config.admin_group);
    vgpu_log_client(VGPU_LOG_WARNING, "user %u was denied %s", call->uid, verb->name);
    if (vgpu_audit_takes_denied(call->mediator))
        vgpu_admin_log_refused(call, verb);
}

static void vgpu_admin_run(struct vgpu_admin_call *call, const struct vgpu_admin_verb *verb)
{
    vgpu_admin_check_arguments(call, verb);
    if (verb->event && !call->may_change)
        vgpu_admin_deny(call, verb);
    else if (verb->event)
        vgpu_admin_change(call, verb);
    else if (!call->error)
        verb->run(call);
    /* After the change: the VM is told as it is now. */
    if (!call->error && call->change == VGPU_ADMIN_PUT_VM)
        call->result = vgpu_admin_vm_row(call->mediator, &call->vm, true,
                                         vgpu_registry_seen(call->mediator, call->vm.name));
}

json_t *vgpu_admin_answer(struct vgpu_admin_call *call, const char *line, size_t length)
{
    json_error_t wrong;
    json_t *answer;

    call->notes = json_array();
    call->arguments = json_loadb(line, length, JSON_REJECT_DUPLICATES, &wrong);
    const char *name = json_string_value(json_object_get(call->arguments, "verb"));
    const struct vgpu_admin_verb *verb = name ? vgpu_admin_find_verb(name) : NULL;
    if (!call->arguments)
        vgpu_admin_fail(call, "invalid", "the request is not JSON: %s", wrong.text);
    else if (!name)
        vgpu_admin_fail(call, "invalid", "the request has no verb");
    else if (!verb)
        vgpu_admin_fail(call, "invalid", "no verb %.40s; see vgpu-admin help", name);
    if (verb) {
        json_object_del(call->arguments, "verb");
        call->verb = verb;
        vgpu_admin_run(call, verb);
    }
    if (call->error)
        answer = vgpu_admin_refusal(call->error, call->message);
    else
        answer = json_pack("{s:b, s:o, s:O}", "ok", 1, "result",
                           call->result ? json_incref(call->result) : json_object(), "notes",
                           call->notes);
    json_decref(call->result);
    json_decref(call->notes);
    json_decref(call->arguments);
    return answer;
}
