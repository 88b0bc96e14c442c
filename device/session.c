/* SPDX-License-Identifier: GPL-2.0-or-later */
/**
 * The device's side of protocol/control.h over a QEMU character device. The mediator is another
 * process that may be slow, gone, new or broken: output waits for the socket without anyone waiting
 * for it, input is bounded by one message, and nonsense ends the connection and nothing else.
 */
#include "vgpu.h"

#include "qemu/error-report.h"
#include "qemu/main-loop.h"

/** Hangs up soon. Not now: the character device may be on the stack and free itself under it. */
static void vgpu_session_end(struct vgpu_device *device)
{
    device->session.ending = true;
    qemu_bh_schedule(device->disconnect);
}

static void vgpu_session_fail(struct vgpu_device *device, const char *why)
{
    if (device->session.ending)
        return;
    warn_report("vgpu: mediator of VM %s: %s; disconnecting", device->vm, why);
    vgpu_session_end(device);
}

static void vgpu_session_disconnect(void *opaque)
{
    struct vgpu_device *device = opaque;

    /* A socket that is still connecting aborts QEMU when it is told to disconnect. */
    if (device->session.open)
        qemu_chr_fe_disconnect(&device->chardev);
}

static uint32_t vgpu_session_build(struct vgpu_control_message *message, enum vgpu_control_op op,
                                   size_t length)
{
    message->header = (struct vgpu_control_header){
        .magic = VGPU_CONTROL_MAGIC,
        .version = VGPU_CONTROL_VERSION,
        .op = op,
        .length = length,
    };
    return sizeof(message->header) + length;
}

static uint32_t vgpu_session_build_hello(struct vgpu_device *device, int *descriptors)
{
    struct vgpu_control_hello *hello = &device->session.output.hello;

    memset(hello, 0, sizeof(*hello));
    hello->window_size = device->window_size;
    hello->channels = device->channels;
    hello->vectors = device->vector_count;
    hello->priority = device->priority;
    hello->pool = device->pool;
    g_strlcpy(hello->vm, device->vm, sizeof(hello->vm));
    descriptors[0] = memory_region_get_fd(&device->window);
    return vgpu_session_build(&device->session.output, VGPU_CONTROL_HELLO, sizeof(*hello));
}

/** Number `index` of the messages that carry eventfds; 0 when there is none of that number. */
static uint32_t vgpu_session_build_descriptors(struct vgpu_device *device, uint32_t index,
                                               int *descriptors, int *count)
{
    const uint32_t step = VGPU_CONTROL_DESCRIPTORS_MAX;
    uint32_t doorbell_messages = DIV_ROUND_UP(device->channels, step);
    bool doorbells = index < doorbell_messages;
    uint32_t first = (doorbells ? index : index - doorbell_messages) * step;
    uint32_t total = doorbells ? device->channels : device->vector_count;
    struct vgpu_control_descriptors *body = &device->session.output.descriptors;

    if (first >= total)
        return 0;
    *body = (struct vgpu_control_descriptors){
        .kind = doorbells ? VGPU_DESCRIPTOR_DOORBELL : VGPU_DESCRIPTOR_INTERRUPT,
        .first = first,
        .count = MIN(step, total - first),
    };
    *count = body->count;
    for (uint32_t i = 0; i < body->count; i++)
        descriptors[i] = event_notifier_get_fd(doorbells ? &device->doorbells[first + i]
                                                         : &device->vectors[first + i].event);
    return vgpu_session_build(&device->session.output, VGPU_CONTROL_DESCRIPTORS, sizeof(*body));
}

/** Makes the handshake's next message the output; false when all of it is on its way. */
static bool vgpu_session_continue_handshake(struct vgpu_device *device)
{
    struct vgpu_session *session = &device->session;
    int descriptors[VGPU_CONTROL_DESCRIPTORS_MAX];
    int count = 1;

    session->sent = 0;
    session->queued = 0;
    if (session->greeted)
        return false;
    if (session->handshake == 0)
        session->queued = vgpu_session_build_hello(device, descriptors);
    else
        session->queued =
            vgpu_session_build_descriptors(device, session->handshake - 1, descriptors, &count);
    session->greeted = session->queued == 0;
    if (session->greeted)
        return false;
    session->handshake++;
    if (qemu_chr_fe_set_msgfds(&device->chardev, descriptors, count) < 0) {
        vgpu_session_fail(device, "this chardev carries no descriptors; use a Unix socket");
        session->queued = 0;
        return false;
    }
    return true;
}

static void vgpu_session_send(struct vgpu_device *device);

static gboolean vgpu_session_writable(void *unused, GIOCondition condition, void *opaque)
{
    struct vgpu_device *device = opaque;

    device->write_watch = 0;
    vgpu_session_send(device);
    return G_SOURCE_REMOVE;
}

/** Writes until there is nothing left or the socket is full; then the watch continues. */
static void vgpu_session_send(struct vgpu_device *device)
{
    struct vgpu_session *session = &device->session;

    while (session->open && !session->ending && !device->write_watch) {
        if (session->sent == session->queued && !vgpu_session_continue_handshake(device))
            break;
        int written =
            qemu_chr_fe_write(&device->chardev, (uint8_t *)&session->output + session->sent,
                              session->queued - session->sent);
        if (written > 0) {
            session->sent += written;
        } else if (!session->open) {
            break; /* the failed write closed the connection, and `session` started anew */
        } else if (written == 0 || errno == EAGAIN) {
            device->write_watch = qemu_chr_fe_add_watch(&device->chardev, G_IO_OUT | G_IO_HUP,
                                                        vgpu_session_writable, device);
            if (!device->write_watch)
                vgpu_session_fail(device, "the chardev cannot be waited for");
        } else {
            vgpu_session_fail(device, strerror(errno));
        }
    }
}

static uint32_t vgpu_session_body_length(uint16_t op)
{
    switch (op) {
    case VGPU_CONTROL_WELCOME:
        return sizeof(struct vgpu_control_welcome);
    case VGPU_CONTROL_REFUSED:
        return sizeof(struct vgpu_control_refused);
    case VGPU_CONTROL_MAILBOX:
        return sizeof(struct vgpu_control_mailbox);
    default:
        return 0;
    }
}

static void vgpu_session_welcomed(struct vgpu_device *device,
                                  const struct vgpu_control_welcome *welcome)
{
    struct vgpu_session *session = &device->session;

    if (session->welcomed || session->refused) {
        vgpu_session_fail(device, "a second answer to HELLO");
    } else if (!session->greeted) {
        vgpu_session_fail(device, "a WELCOME before the end of the HELLO");
    } else if (welcome->pool < 'A' || welcome->pool > 'Z' ||
               welcome->priority > VGPU_PRIORITY_HIGH) {
        vgpu_session_fail(device, "a WELCOME with an unknown pool or priority");
    } else {
        session->welcomed = true;
        device->last_refusal[0] = '\0';
        vgpu_device_connected(device, welcome);
    }
}

static void vgpu_session_refused(struct vgpu_device *device,
                                 const struct vgpu_control_refused *refused)
{
    struct vgpu_session *session = &device->session;
    char text[sizeof(refused->text)];

    if (session->welcomed || session->refused) {
        vgpu_session_fail(device, "a second answer to HELLO");
        return;
    }
    session->refused = true;
    device->registers.status |= VGPU_STATUS_REFUSED;
    g_strlcpy(text, refused->text, sizeof(text));
    for (char *c = text; *c; c++)
        *c = g_ascii_isprint(*c) ? *c : '?';
    /* A refused device knocks again at every reconnect: say each reason once. */
    if (strcmp(text, device->last_refusal) != 0)
        warn_report("vgpu: the mediator refused VM %s: %s", device->vm, text);
    g_strlcpy(device->last_refusal, text, sizeof(device->last_refusal));
    /* QEMU may see the end of a connection before the bytes that precede it: so that none are lost,
     * it is the device that hangs up after a refusal, and the mediator waits for that. */
    vgpu_session_end(device);
}

static void vgpu_session_answered(struct vgpu_device *device,
                                  const struct vgpu_control_mailbox *mailbox)
{
    if (!(device->registers.status & VGPU_STATUS_MAILBOX_BUSY) || mailbox->id != device->request ||
        device->session.sent != device->session.queued)
        vgpu_session_fail(device, "a mailbox response without a request");
    else if (mailbox->length == 0 || mailbox->length > VGPU_MAILBOX_BYTES)
        vgpu_session_fail(device, "a mailbox response of an impossible length");
    else
        vgpu_device_respond(device, VGPU_DEVICE_OK, mailbox->data, mailbox->length);
}

static void vgpu_session_dispatch(struct vgpu_device *device)
{
    const struct vgpu_control_message *input = &device->session.input;

    switch (input->header.op) {
    case VGPU_CONTROL_WELCOME:
        vgpu_session_welcomed(device, &input->welcome);
        break;
    case VGPU_CONTROL_REFUSED:
        vgpu_session_refused(device, &input->refused);
        break;
    case VGPU_CONTROL_MAILBOX:
        vgpu_session_answered(device, &input->mailbox);
        break;
    }
}

/** Bytes that the current header or body still lacks: a message is never read past its end. */
static uint32_t vgpu_session_missing(const struct vgpu_session *session)
{
    const struct vgpu_control_header *header = &session->input.header;
    uint32_t wanted = sizeof(*header);

    if (session->received >= wanted)
        wanted += header->length;
    return wanted - session->received;
}

static int vgpu_session_can_read(void *opaque)
{
    struct vgpu_device *device = opaque;

    return device->session.ending ? 0 : vgpu_session_missing(&device->session);
}

static void vgpu_session_read(void *opaque, const uint8_t *bytes, int size)
{
    struct vgpu_device *device = opaque;
    struct vgpu_session *session = &device->session;
    const struct vgpu_control_header *header = &session->input.header;

    if (session->ending || size <= 0)
        return;
    if ((uint32_t)size > vgpu_session_missing(session)) {
        vgpu_session_fail(device, "more bytes than were asked for");
        return;
    }
    memcpy((uint8_t *)&session->input + session->received, bytes, size);
    session->received += size;
    if (session->received == sizeof(*header) &&
        (header->magic != VGPU_CONTROL_MAGIC || header->version != VGPU_CONTROL_VERSION ||
         header->reserved != 0 || header->length == 0 ||
         header->length != vgpu_session_body_length(header->op))) {
        vgpu_session_fail(device, "not a message of this protocol");
        return;
    }
    if (session->received == sizeof(*header) + header->length) {
        vgpu_session_dispatch(device);
        session->received = 0;
    }
}

static void vgpu_session_opened(struct vgpu_device *device)
{
    memset(&device->session, 0, sizeof(device->session));
    device->session.open = true;
    vgpu_session_send(device);
}

static void vgpu_session_closed(struct vgpu_device *device)
{
    if (device->write_watch)
        g_source_remove(device->write_watch);
    device->write_watch = 0;
    qemu_bh_cancel(device->disconnect);
    memset(&device->session, 0, sizeof(device->session));
    vgpu_device_disconnected(device);
}

static void vgpu_session_event(void *opaque, QEMUChrEvent event)
{
    if (event == CHR_EVENT_OPENED)
        vgpu_session_opened(opaque);
    else if (event == CHR_EVENT_CLOSED)
        vgpu_session_closed(opaque);
}

void vgpu_session_start(struct vgpu_device *device)
{
    device->disconnect = qemu_bh_new(vgpu_session_disconnect, device);
    qemu_chr_fe_set_handlers(&device->chardev, vgpu_session_can_read, vgpu_session_read,
                             vgpu_session_event, NULL, device, NULL, true);
}

void vgpu_session_stop(struct vgpu_device *device)
{
    vgpu_session_disconnect(device);
    qemu_chr_fe_deinit(&device->chardev, false);
    qemu_bh_delete(device->disconnect);
    device->disconnect = NULL;
}

/* No other output can be under way: the guest was welcomed after all of the handshake was sent, and
 * its last request was answered or it would be busy. */
void vgpu_session_request(struct vgpu_device *device)
{
    struct vgpu_session *session = &device->session;
    struct vgpu_control_mailbox *mailbox = &session->output.mailbox;
    uint32_t length = device->registers.request_length;

    device->request++;
    memset(mailbox, 0, sizeof(*mailbox));
    mailbox->id = device->request;
    mailbox->length = length;
    memcpy(mailbox->data, device->registers.request, length);
    session->sent = 0;
    session->queued = vgpu_session_build(&session->output, VGPU_CONTROL_MAILBOX, sizeof(*mailbox));
    session->mailbox_used = true;
    vgpu_session_send(device);
}

void vgpu_session_reset(struct vgpu_device *device)
{
    if (!device->session.mailbox_used)
        return;
    vgpu_session_end(device);
    vgpu_device_disconnected(device);
}
