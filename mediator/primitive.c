/* SPDX-License-Identifier: MIT */
#include "mediator/primitive.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/log.h"
#include "mediator/session.h"

#define DEADLINE_MILLISECONDS 30000

/* CUresults, by value: the mediator is built without cuda.h. */
#define CUDA_ERROR_DEVICE_UNAVAILABLE 46u
#define CUDA_ERROR_LAUNCH_TIMEOUT     702u

static void vgpu_primitive_done(struct vgpu_primitive *primitive, const void *answer, size_t length)
{
    if (!primitive->pending)
        return;
    primitive->pending = false;
    vgpu_timer_stop(primitive->session->mediator->loop, &primitive->deadline);
    vgpu_session_answer(primitive->session, primitive->id, answer, length);
}

static void vgpu_primitive_fail(struct vgpu_primitive *primitive, uint32_t error)
{
    const struct vgpu_mailbox_response answer = {.status = VGPU_MAILBOX_GPU_ERROR, .value = error};

    vgpu_primitive_done(primitive, &answer, sizeof(answer));
}

static void vgpu_primitive_received(struct vgpu_worker *worker,
                                    const struct vgpu_worker_message *message)
{
    struct vgpu_primitive *primitive = vgpu_container(worker, struct vgpu_primitive, worker);
    struct vgpu_mailbox_response head;

    memcpy(&head, message->data, sizeof(head));
    /* The worker may have been taken over by its guest: only answers that could be one pass. */
    if (message->op != VGPU_WORKER_PRIMITIVE || message->length < sizeof(head) ||
        head.status > VGPU_MAILBOX_REFUSED ||
        (head.status == VGPU_MAILBOX_OK && message->length != primitive->length)) {
        vgpu_worker_kill(worker);
        return;
    }
    vgpu_primitive_done(primitive, message->data, message->length);
}

static void vgpu_primitive_ended(struct vgpu_worker *worker, const struct vgpu_worker_end *end)
{
    struct vgpu_primitive *primitive = vgpu_container(worker, struct vgpu_primitive, worker);
    struct vgpu_session *session = primitive->session;
    uint32_t error = __atomic_load_n(&worker->page->exit_error, __ATOMIC_RELAXED);
    char what[160];

    vgpu_worker_describe_end(worker, end, what, sizeof(what));
    vgpu_counters_add_worker(&session->vm->totals, worker->page);
    vgpu_vm_worker_ended(session->vm, worker->page);
    vgpu_worker_release(worker);
    primitive->runs = false;
    session->workers--;
    if (session->state == VGPU_SESSION_ATTACHED) {
        vgpu_log_client(VGPU_LOG_WARNING, "VM %s: the worker for mailbox primitives %s",
                        session->vm->name, what);
        vgpu_primitive_fail(primitive,
                            end->status == VGPU_WORKER_EXIT_DRIVER && !end->signaled && error
                                ? error
                                : CUDA_ERROR_DEVICE_UNAVAILABLE);
    }
    vgpu_session_settle(session);
}

static void vgpu_primitive_expired(struct vgpu_timer *timer)
{
    struct vgpu_primitive *primitive = vgpu_container(timer, struct vgpu_primitive, deadline);

    vgpu_worker_kill(&primitive->worker);
    vgpu_primitive_fail(primitive, CUDA_ERROR_LAUNCH_TIMEOUT);
}

void vgpu_primitive_init(struct vgpu_primitive *primitive, struct vgpu_session *session)
{
    *primitive = (struct vgpu_primitive){.session = session};
    vgpu_worker_init(&primitive->worker);
    primitive->worker.ended = vgpu_primitive_ended;
    primitive->worker.received = vgpu_primitive_received;
    primitive->deadline.source.fd = -1;
    primitive->deadline.expired = vgpu_primitive_expired;
}

static int vgpu_primitive_start(struct vgpu_primitive *primitive)
{
    struct vgpu_session *session = primitive->session;
    char name[64];

    snprintf(name, sizeof(name), "%.31s/mailbox", session->vm->name);
    const struct vgpu_worker_service service = {
        .name = name,
        .ledger = session->vm->ledger_fd,
        .window = -1,
    };
    int error = vgpu_spares_serve(&session->mediator->spares, &primitive->worker, &service);

    if (error)
        return error;
    primitive->runs = true;
    session->workers++;
    session->vm->workers++;
    return 0;
}

int vgpu_primitive_submit(struct vgpu_primitive *primitive, uint32_t id, const void *request,
                          size_t length, size_t answer_length)
{
    int error = 0;

    /* Without its socket the worker is on its way out: BUSY until it was reaped. */
    if (primitive->pending || (primitive->runs && primitive->worker.socket.fd < 0))
        return -EBUSY;
    if (!primitive->runs)
        error = vgpu_primitive_start(primitive);
    if (!error)
        error = vgpu_worker_send(&primitive->worker, VGPU_WORKER_PRIMITIVE, request, length);
    if (error)
        return error == -EPIPE || error == -EAGAIN ? -EBUSY : error;
    primitive->pending = true;
    primitive->id = id;
    primitive->length = (uint32_t)answer_length;
    vgpu_timer_start(primitive->session->mediator->loop, &primitive->deadline,
                     DEADLINE_MILLISECONDS);
    return 0;
}

void vgpu_primitive_close(struct vgpu_primitive *primitive)
{
    primitive->pending = false;
    vgpu_timer_stop(primitive->session->mediator->loop, &primitive->deadline);
    if (primitive->runs)
        vgpu_worker_kill(&primitive->worker);
}
