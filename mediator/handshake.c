/* SPDX-License-Identifier: MIT */
#include "mediator/handshake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/log.h"
#include "mediator/registry.h"
#include "mediator/window.h"

/** A program has one channel, or few: any user may connect, and descriptors are for all. */
#define PROCESS_EVENTFDS 32u

static const char *vgpu_handshake_check(const struct vgpu_session *session,
                                        const struct vgpu_control_hello *hello)
{
    if (session->incoming_count != 1)
        return "HELLO does not bring exactly one descriptor, the window";
    if (hello->channels < 1 || hello->channels > VGPU_DOORBELL_MAX || hello->vectors < 1 ||
        hello->vectors > VGPU_DOORBELL_MAX)
        return "channels and vectors must be 1 to 256";
    if (strnlen(hello->vm, sizeof(hello->vm)) == sizeof(hello->vm))
        return "the name in HELLO has no end";
    if (!session->is_device)
        return hello->channels > PROCESS_EVENTFDS || hello->vectors > PROCESS_EVENTFDS
                   ? "channels and vectors of a program must be 1 to 32"
                   : NULL;
    if (!vgpu_config_vm_name_ok(hello->vm, sizeof(hello->vm)))
        return "a VM's name must be 1 to 63 letters, digits and any of ._:-";
    if (strncmp(hello->vm, "uid-", 4) == 0)
        return "names that start with uid- are those of this host's users; rename the VM";
    if (hello->priority > VGPU_PRIORITY_HIGH)
        return "the priority must be 0, 1 or 2";
    if (hello->pool < 'A' || hello->pool > 'Z')
        return "the pool must be a letter from A to Z";
    return NULL;
}

void vgpu_handshake_hello(struct vgpu_session *session)
{
    const struct vgpu_control_hello *hello = &session->input.hello;
    const char *wrong = vgpu_handshake_check(session, hello);
    void *window = NULL;

    if (!wrong)
        wrong = vgpu_window_map(session->incoming[0], hello->window_size, &window);
    if (wrong) {
        vgpu_session_fail(session, "%s", wrong);
        return;
    }
    session->window = window;
    session->window_fd = session->incoming[0];
    session->incoming_count = 0;
    session->hello = *hello;
    session->descriptors = calloc(hello->channels + hello->vectors, sizeof(int));
    if (!session->descriptors) {
        vgpu_session_fail(session, "the mediator is out of memory");
        return;
    }
    session->state = VGPU_SESSION_DESCRIPTORS;
}

/** A device that hung up and came back may be heard of before its hang-up is. */
static bool vgpu_handshake_is_gone(const struct vgpu_session *session)
{
    struct pollfd peer = {.fd = session->socket.fd, .events = POLLRDHUP};

    return poll(&peer, 1, 0) > 0 && peer.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/** The other session of this VM's device, if there is one. */
static struct vgpu_session *vgpu_handshake_former(const struct vgpu_session *session)
{
    struct vgpu_session *other = session->mediator->sessions;

    while (other && (other == session || !other->is_device || !other->vm ||
                     strcmp(other->vm->name, session->hello.vm) != 0))
        other = other->next;
    return other;
}

static void vgpu_handshake_name(const struct vgpu_session *session, char *name, size_t size)
{
    if (session->is_device)
        snprintf(name, size, "%s", session->hello.vm);
    else
        snprintf(name, size, "uid-%u", (unsigned)session->uid);
}

static void vgpu_handshake_label(struct vgpu_session *session)
{
    char program[64];

    if (session->is_device) {
        snprintf(session->label, sizeof(session->label), "VM %s", session->vm->name);
        return;
    }
    vgpu_log_clean(program, sizeof(program), session->hello.vm, sizeof(session->hello.vm));
    snprintf(session->label, sizeof(session->label), "VM %s: %.40s (process %d)", session->vm->name,
             program, (int)session->pid);
}

/** Whether there may be a VM of this name: not if it were one too many of its kind. */
static bool vgpu_handshake_has_room(const struct vgpu_session *session, const char *name)
{
    uint32_t alike = 0;

    if (vgpu_registry_seen(session->mediator, name))
        return true;
    for (const struct vgpu_vm *vm = session->mediator->vms; vm; vm = vm->next)
        alike += (strncmp(vm->name, "uid-", 4) != 0) == session->is_device;
    return alike < (session->is_device ? VGPU_VMS_MOST : VGPU_USERS_MOST);
}

static void vgpu_handshake_attach(struct vgpu_session *session)
{
    struct vgpu_mediator *mediator = session->mediator;
    char name[VGPU_CONFIG_VM_NAME];

    vgpu_handshake_name(session, name, sizeof(name));
    if (!vgpu_handshake_has_room(session, name)) {
        vgpu_session_fail(
            session,
            "%s is one too many: the mediator has seen %u %s, and forgets none before "
            "it is started again",
            name, session->is_device ? VGPU_VMS_MOST : VGPU_USERS_MOST,
            session->is_device ? "VMs" : "users of this host");
        return;
    }
    int error = vgpu_vm_take(&mediator->vms, &mediator->config, mediator->driver.probe.memory_total,
                             name, &session->vm);
    if (error) {
        vgpu_session_fail(session, "the mediator has no room for another VM: %s", strerror(-error));
        return;
    }
    error = vgpu_registry_load(mediator, session->vm);
    if (error) {
        session->vm = NULL;
        vgpu_session_fail(session, "the mediator cannot read its store: %s", strerror(-error));
        return;
    }
    vgpu_registry_place(mediator, session->vm);
    vgpu_handshake_label(session);
    vgpu_window_clear_table(session->window);
    vgpu_extents_init(&session->extents, VGPU_WINDOW_EXTENTS_OFFSET, session->hello.window_size);
    vgpu_log_client(
        VGPU_LOG_INFO, "%s: connected, window %llu MiB, %u channels, memory quota %llu MiB",
        session->label, (unsigned long long)(session->hello.window_size >> 20),
        session->hello.channels, (unsigned long long)(session->vm->ledger->quota >> 20));
    vgpu_events_pass(&mediator->events, "connected", session->vm->name, "%s", session->label);
    vgpu_session_welcome(session);
}

static void vgpu_handshake_finish(struct vgpu_session *session)
{
    struct vgpu_session *former = session->is_device ? vgpu_handshake_former(session) : NULL;

    if (former && former->state != VGPU_SESSION_ENDED && vgpu_handshake_is_gone(former)) {
        vgpu_session_end(former);
        former = vgpu_handshake_former(session);
    }
    if (!former) {
        vgpu_handshake_attach(session);
    } else if (former->state != VGPU_SESSION_ENDED) {
        former->vm->refused++;
        vgpu_session_fail(session, "VM %s is already connected; give each VM a name of its own",
                          former->vm->name);
    } else {
        /* It is the same window: the former workers must be gone before it is used again. */
        session->state = VGPU_SESSION_WAITING;
    }
}

void vgpu_handshake_descriptors(struct vgpu_session *session)
{
    const struct vgpu_control_descriptors *message = &session->input.descriptors;
    const struct vgpu_control_hello *hello = &session->hello;
    uint32_t have = session->descriptor_count;
    bool doorbells = have < hello->channels;
    uint32_t first = doorbells ? have : have - hello->channels;
    uint32_t missing = (doorbells ? hello->channels : hello->vectors) - first;

    if (message->kind != (doorbells ? VGPU_DESCRIPTOR_DOORBELL : VGPU_DESCRIPTOR_INTERRUPT) ||
        message->first != first || message->count < 1 || message->count > missing ||
        message->count != session->incoming_count) {
        vgpu_session_fail(session, "eventfds out of order, or not as many as the message says");
        return;
    }
    for (uint32_t i = 0; i < message->count; i++) {
        if (!vgpu_window_is_eventfd(session->incoming[i])) {
            vgpu_session_fail(session, "a descriptor is not an eventfd");
            return;
        }
    }
    memcpy(session->descriptors + have, session->incoming, message->count * sizeof(int));
    session->descriptor_count += message->count;
    session->incoming_count = 0;
    if (session->descriptor_count == hello->channels + hello->vectors)
        vgpu_handshake_finish(session);
}

void vgpu_handshake_resume(struct vgpu_mediator *mediator)
{
    for (struct vgpu_session *session = mediator->sessions; session; session = session->next) {
        if (session->state == VGPU_SESSION_WAITING && !vgpu_handshake_former(session))
            vgpu_handshake_attach(session);
    }
}
