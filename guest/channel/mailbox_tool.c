/* SPDX-License-Identifier: MIT */
/* vgpu-mailbox: asks the mediator through the mailbox alone; no CUDA library, no channel. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest/channel/transport.h"
#include "protocol/calls.h"

enum exit_status {
    EXIT_OK = 0,
    EXIT_USAGE = 2,
    EXIT_NO_DEVICE = 3,
    EXIT_AWAY = 4,       /* no mediator, or it went away, or it refused us */
    EXIT_BUSY = 5,       /* the mailbox or the GPU's primitives stayed busy */
    EXIT_BAD_LENGTH = 6, /* the device or the mediator did not take the request's length */
    EXIT_PERMISSION = 7,
    EXIT_PROTOCOL = 8, /* another protocol, or an answer that makes no sense */
    EXIT_GPU = 9,      /* the GPU failed, or its sums are wrong */
};

#define ADD_COUNT 100u

static const char usage[] =
    "usage: vgpu-mailbox [identify | status | add]\n"
    "Asks the vgpu mediator through the device's mailbox.\n"
    "  identify  who we are to the host, and which GPU it has (default)\n"
    "  status    what this VM has used of it\n"
    "  add       adds 100 random numbers on the GPU and checks the sums\n"
    "The device is the one of VGPU_SOCKET=PATH, the vgpu PCI function, or " VGPU_DEFAULT_SOCKET
    ".\n"
    "Exit status: 0 done, 2 usage, 3 no device, 4 no mediator, 5 busy, 6 bad length,\n"
    "7 no permission, 8 another protocol, 9 the GPU failed.\n";

union answer {
    uint8_t bytes[VGPU_MAILBOX_BYTES];
    struct vgpu_mailbox_response response;
    struct vgpu_mailbox_refusal refusal;
    struct vgpu_mailbox_identity identity;
    struct vgpu_mailbox_vm_status status;
    struct vgpu_mailbox_vector_sum sum;
};

static int exit_status(int error)
{
    switch (error) {
    case -ENODEV:
        return EXIT_NO_DEVICE;
    case -EHOSTDOWN:
    case -ECONNREFUSED:
        return EXIT_AWAY;
    case -EBUSY:
        return EXIT_BUSY;
    case -EMSGSIZE:
        return EXIT_BAD_LENGTH;
    case -EACCES:
        return EXIT_PERMISSION;
    default:
        return EXIT_PROTOCOL;
    }
}

static int explain_refusal(const char *device, union answer *answer)
{
    uint32_t status = answer->response.status, value = answer->response.value;
    answer->refusal.text[sizeof(answer->refusal.text) - 1] = 0;
    const char *text = answer->refusal.text;
    switch (status) {
    case VGPU_MAILBOX_BAD_LENGTH:
        fprintf(stderr, "vgpu-mailbox: %s: the host did not take the request's length: %s\n",
                device, text);
        return EXIT_BAD_LENGTH;
    case VGPU_MAILBOX_BUSY:
        fprintf(stderr, "vgpu-mailbox: %s: the host is busy, try again: %s\n", device, text);
        return EXIT_BUSY;
    case VGPU_MAILBOX_REFUSED:
        fprintf(stderr, "vgpu-mailbox: %s: the host refused: %s\n", device, text);
        return EXIT_AWAY;
    case VGPU_MAILBOX_GPU_ERROR:
        fprintf(stderr, "vgpu-mailbox: %s: the GPU failed with CUDA error %u: %s\n", device, value,
                text);
        return EXIT_GPU;
    case VGPU_MAILBOX_VERSION_MISMATCH:
        fprintf(stderr,
                "vgpu-mailbox: %s: the host speaks another protocol: %s; this program: version "
                "%u, protocol %016llx\n",
                device, text, VGPU_PROTOCOL_VERSION, VGPU_PROTOCOL_HASH);
        return EXIT_PROTOCOL;
    default:
        fprintf(stderr, "vgpu-mailbox: %s: the host answered with status %u: %s\n", device, status,
                text);
        return EXIT_PROTOCOL;
    }
}

/* One exchange; EXIT_OK when `answer` holds an answer of `expected` bytes or more. */
static int ask(struct vgpu_transport *transport, const void *request, size_t length,
               union answer *answer, size_t expected)
{
    memset(answer, 0, sizeof(*answer));
    int got = transport->operations->mailbox(transport, request, length, answer->bytes);
    if (got < 0) {
        static const char *const reasons[] = {
            [EXIT_NO_DEVICE] = "the device is gone",
            [EXIT_AWAY] = "the mediator went away",
            [EXIT_BUSY] = "the mailbox stayed busy",
            [EXIT_BAD_LENGTH] = "the device did not take the request's length",
            [EXIT_PROTOCOL] = "no answer that makes sense",
            [EXIT_PERMISSION] = "no permission",
        };
        int status = exit_status(got);
        fprintf(stderr, "vgpu-mailbox: %s: %s\n", transport->name, reasons[status]);
        return status;
    }
    if ((size_t)got >= sizeof(answer->response) && answer->response.status != VGPU_MAILBOX_OK)
        return explain_refusal(transport->name, answer);
    if ((size_t)got < expected) {
        fprintf(stderr, "vgpu-mailbox: %s: the answer is cut off after %d bytes\n", transport->name,
                got);
        return EXIT_PROTOCOL;
    }
    return EXIT_OK;
}

static int identify(struct vgpu_transport *transport)
{
    static const char *const priorities[] = {"low", "medium", "high"};
    struct vgpu_mailbox_client request = {.request.op = VGPU_MAILBOX_IDENTIFY,
                                          .protocol_hash = VGPU_PROTOCOL_HASH,
                                          .version = VGPU_PROTOCOL_VERSION,
                                          .process = (uint32_t)getpid(),
                                          .program = "vgpu-mailbox"};
    union answer answer;
    int status =
        ask(transport, &request, sizeof(request), &answer, sizeof(struct vgpu_mailbox_identity));
    if (status)
        return status;
    const struct vgpu_mailbox_identity *id = &answer.identity;
    printf("device:    %s\n", transport->name);
    printf("vm:        %.63s (id %u)\n", id->vm, id->vm_id);
    printf("pool:      %c\n", id->pool >= 'A' && id->pool <= 'Z' ? (char)id->pool : '?');
    printf("priority:  %s\n", id->priority <= VGPU_PRIORITY_HIGH ? priorities[id->priority] : "?");
    printf("memory:    %llu MiB\n", (unsigned long long)(id->memory_quota >> 20));
    printf("gpu:       %.95s (%u)\n", id->gpu, id->device_count);
    printf("driver:    %.63s, CUDA %u.%u\n", id->driver, id->driver_version / 1000,
           id->driver_version % 1000 / 10);
    printf("mediator:  %.63s\n", id->mediator);
    printf("protocol:  version %u, %016llx\n", id->version, (unsigned long long)id->protocol_hash);
    return EXIT_OK;
}

static int show_status(struct vgpu_transport *transport)
{
    struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_STATUS};
    union answer answer;
    int error =
        ask(transport, &request, sizeof(request), &answer, sizeof(struct vgpu_mailbox_vm_status));
    if (error)
        return error;
    const struct vgpu_mailbox_vm_status *status = &answer.status;
    printf("memory:    %llu of %llu MiB used\n", (unsigned long long)(status->memory_used >> 20),
           (unsigned long long)(status->memory_quota >> 20));
    printf("calls:     %llu\n", (unsigned long long)status->calls);
    printf("to GPU:    %llu bytes\n", (unsigned long long)status->bytes_to_device);
    printf("from GPU:  %llu bytes\n", (unsigned long long)status->bytes_from_device);
    printf("GPU time:  %.3f s\n", (double)status->gpu_nanoseconds / 1e9);
    printf("mediator:  up %.0f s\n", (double)status->uptime_nanoseconds / 1e9);
    printf("channels:  %u open, %u failed\n", status->channels_open, status->channels_failed);
    return EXIT_OK;
}

static int add(struct vgpu_transport *transport)
{
    struct vgpu_mailbox_vector_add request = {.request.op = VGPU_MAILBOX_VECTOR_ADD,
                                              .count = ADD_COUNT};
    union answer answer;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    srandom((unsigned)start.tv_nsec);
    for (uint32_t i = 0; i < 2 * ADD_COUNT; i++)
        request.operand[i] = (float)random() / 65536.0f;
    int status = ask(transport, &request, sizeof(request), &answer,
                     offsetof(struct vgpu_mailbox_vector_sum, sum) + ADD_COUNT * sizeof(float));
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (status)
        return status;
    for (uint32_t i = 0; i < ADD_COUNT; i++) {
        float expected = request.operand[i] + request.operand[ADD_COUNT + i];
        if (answer.sum.sum[i] != expected) {
            fprintf(stderr, "vgpu-mailbox: %s: sum %u is %a, not %a\n", transport->name, i,
                    (double)answer.sum.sum[i], (double)expected);
            return EXIT_GPU;
        }
    }
    printf("%u sums from the GPU are right (%.2f ms)\n", ADD_COUNT,
           (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6);
    return EXIT_OK;
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        int (*run)(struct vgpu_transport *transport);
    } commands[] = {{"identify", identify}, {"status", show_status}, {"add", add}};
    const char *command = count < 2 ? "identify" : arguments[1];
    if (!strcmp(command, "--help") || !strcmp(command, "-h")) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    for (size_t i = 0; count <= 2 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(command, commands[i].name) != 0)
            continue;
        char message[512];
        struct vgpu_transport *transport;
        int error = vgpu_transport_open(&transport, message, sizeof(message));
        if (error) {
            fprintf(stderr, "vgpu-mailbox: %s\n", message);
            return exit_status(error);
        }
        int status = commands[i].run(transport);
        vgpu_transport_close(transport);
        return status;
    }
    fputs(usage, stderr);
    return EXIT_USAGE;
}
