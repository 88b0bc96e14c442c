/* SPDX-License-Identifier: MIT */
#include "protocol/assignment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST (VGPU_ASSIGNED + 1)

/* The message's data says which descriptors are there: a bit for each. */
static_assert(VGPU_ASSIGNED < 32, "a bit for each");

int vgpu_assignment_send(int socket, const int *descriptors, int log)
{
    struct vgpu_worker_message message = {.op = VGPU_WORKER_SERVE, .length = sizeof(uint32_t)};
    int present[MOST];
    uint32_t mask = 0, count = 0;
    char control[CMSG_SPACE(sizeof(present))] __attribute__((aligned(8))) = {0};

    for (uint32_t i = 0; i < VGPU_ASSIGNED; i++) {
        if (descriptors[i] < 0)
            continue;
        mask |= 1u << i;
        present[count++] = descriptors[i];
    }
    present[count++] = log;
    memcpy(message.data, &mask, sizeof(mask));
    struct iovec bytes = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr letter = {.msg_iov = &bytes,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&letter);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), present, count * sizeof(int));
    return sendmsg(socket, &letter, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static uint32_t take_descriptors(struct msghdr *letter, int *descriptors)
{
    uint32_t count = 0;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(letter); part; part = CMSG_NXTHDR(letter, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here && count < MOST; i++)
            memcpy(&descriptors[count++], CMSG_DATA(part) + i * sizeof(int), sizeof(int));
    }
    return count;
}

static bool put_into_places(uint32_t mask, const int *descriptors)
{
    bool placed = true;
    uint32_t next = 0;

    for (int i = 0; i < VGPU_ASSIGNED; i++) {
        if (!(mask & 1u << i))
            close(VGPU_WORKER_LEDGER + i);
        else
            placed &= dup2(descriptors[next++], VGPU_WORKER_LEDGER + i) >= 0;
    }
    return placed && dup2(descriptors[next], STDERR_FILENO) >= 0 &&
           dup2(descriptors[next], STDOUT_FILENO) >= 0;
}

ssize_t vgpu_assignment_receive(int socket, struct vgpu_worker_message *message, int flags)
{
    int descriptors[MOST] = {0};
    char control[CMSG_SPACE(sizeof(descriptors))] __attribute__((aligned(8)));
    struct iovec bytes = {.iov_base = message, .iov_len = sizeof(*message)};
    struct msghdr letter = {.msg_iov = &bytes,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    uint32_t mask = 0;

    memset(message, 0, sizeof(*message));
    ssize_t got = recvmsg(socket, &letter, flags | MSG_CMSG_CLOEXEC);
    if (got <= 0)
        return got < 0 ? -errno : 0;
    uint32_t count = take_descriptors(&letter, descriptors);
    memcpy(&mask, message->data, sizeof(mask));
    bool serves = message->op == VGPU_WORKER_SERVE;
    bool fits = serves
                    ? mask < 1u << VGPU_ASSIGNED && count == (uint32_t)__builtin_popcount(mask) + 1
                    : count == 0;
    if (fits && serves)
        fits = put_into_places(mask, descriptors);
    for (uint32_t i = 0; i < count; i++)
        close(descriptors[i]);
    return fits ? got : -EPROTO;
}
