/* SPDX-License-Identifier: MIT */
#include "worker/tests/live.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/assignment.h"

#define EXTENT_OFFSET 0x5000u
#define PATIENCE      60000000000ull /* nanoseconds */

uint64_t live_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int share(size_t bytes, void **memory)
{
    int file = memfd_create("live", MFD_CLOEXEC);
    assert_true(file >= 0 && ftruncate(file, (off_t)bytes) == 0);
    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    assert_ptr_not_equal(*memory, MAP_FAILED);
    return file;
}

static void become_worker(const char *program, const int *descriptors)
{
    enum { count = 2 }; /* socket and page */
    int moved[count], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < count; i++)
        moved[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 20);
    null = fcntl(null, F_DUPFD_CLOEXEC, 20);
    for (int place = VGPU_WORKER_LEDGER; place <= VGPU_WORKER_IMAGES; place++)
        dup2(null, place);
    for (size_t i = 0; i < count; i++)
        dup2(moved[i], VGPU_WORKER_SOCKET + (int)i);
    execl(program, "vgpu-worker", (char *)NULL);
    _exit(127);
}

struct vgpu_channel *live_start(const char *program, const char *driver, bool with_window,
                                int *status)
{
    struct vgpu_channel *channel = calloc(1, sizeof(*channel));
    int sockets[2];
    int page = share(sizeof(*channel->page), (void **)&channel->page);
    int ledger = share(sizeof(*channel->ledger), (void **)&channel->ledger);
    int window = share(EXTENT_OFFSET + VGPU_CHANNEL_BYTES, (void **)&channel->window);

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    channel->socket = sockets[0];
    channel->doorbell = eventfd(0, EFD_CLOEXEC);
    channel->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    channel->extent = channel->window + EXTENT_OFFSET;
    channel->header = (struct vgpu_channel_header *)channel->extent;
    vgpu_ring_producer_init(&channel->ring, channel->extent);
    channel->ledger->quota = 1ull << 30;
    channel->page->has_window = with_window;
    channel->page->offset = EXTENT_OFFSET;
    channel->page->size = VGPU_CHANNEL_BYTES;
    snprintf(channel->page->driver, sizeof(channel->page->driver), "%s", driver);
    snprintf(channel->page->name, sizeof(channel->page->name), "test");
    const int descriptors[] = {sockets[1], page};
    const int assigned[VGPU_ASSIGNED] = {ledger, with_window ? window : -1,
                                         with_window ? channel->doorbell : -1,
                                         with_window ? channel->interrupt : -1, -1};
    assert_int_equal(vgpu_assignment_send(channel->socket, assigned, STDERR_FILENO), 0);
    channel->worker = fork();
    assert_true(channel->worker >= 0);
    if (channel->worker == 0)
        become_worker(program, descriptors);
    close(sockets[1]);
    close(page);
    close(ledger);
    close(window);
    while (__atomic_load_n(&channel->page->ready, __ATOMIC_ACQUIRE) == 0) {
        siginfo_t ended = {0};
        waitid(P_PID, (id_t)channel->worker, &ended, WEXITED | WNOHANG | WNOWAIT);
        if (ended.si_pid == channel->worker) {
            *status = live_end(channel);
            return NULL;
        }
        usleep(1000);
    }
    return channel;
}

int live_end(struct vgpu_channel *channel)
{
    int status;
    shutdown(channel->socket, SHUT_RDWR);
    assert_int_equal(waitpid(channel->worker, &status, 0), channel->worker);
    close(channel->socket);
    close(channel->doorbell);
    close(channel->interrupt);
    munmap(channel->page, sizeof(*channel->page));
    munmap(channel->ledger, sizeof(*channel->ledger));
    munmap(channel->window, EXTENT_OFFSET + VGPU_CHANNEL_BYTES);
    free(channel);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void live_ask(struct vgpu_channel *channel, struct vgpu_worker_message *message)
{
    const size_t head = offsetof(struct vgpu_worker_message, data);
    size_t bytes = head + message->length;
    struct pollfd answer = {.fd = channel->socket, .events = POLLIN};
    assert_int_equal(send(channel->socket, message, bytes, 0), (ssize_t)bytes);
    assert_int_equal(poll(&answer, 1, 60000), 1);
    assert_true(recv(channel->socket, message, sizeof(*message), 0) >= (ssize_t)head);
}

/* Spins, and now and then lets the worker have the processor. */
static void relax(struct vgpu_channel *channel, uint64_t start, uint32_t round)
{
    if (round % 1024 != 1023)
        return;
    siginfo_t ended = {0};
    waitid(P_PID, (id_t)channel->worker, &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid == channel->worker || live_now() - start > PATIENCE)
        fail_msg("the worker is gone or does nothing");
    sched_yield();
}

CUresult vgpu_channel_post(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2)
{
    bool wake = false;
    uint64_t one = 1, start = live_now();
    header->sequence = ++channel->sequence;
    for (uint32_t round = 0;
         !vgpu_ring_push(&channel->ring, header, part1, bytes1, part2, bytes2, &wake); round++)
        relax(channel, start, round);
    if (wake)
        assert_int_equal(write(channel->doorbell, &one, sizeof(one)), sizeof(one));
    return CUDA_SUCCESS;
}

CUresult vgpu_channel_call(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2,
                           struct vgpu_result *result, void *reply, size_t capacity,
                           size_t *reply_bytes)
{
    struct vgpu_reply_slot *slot =
        (struct vgpu_reply_slot *)(channel->extent + VGPU_CHANNEL_REPLIES_OFFSET);
    uint64_t start = live_now();
    do {
        vgpu_channel_post(channel, header, part1, bytes1, part2, bytes2);
        for (uint32_t round = 0;
             __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) != channel->sequence; round++)
            relax(channel, start, round);
        header->flags |= VGPU_CALL_INSISTS; /* when all that went before is done */
    } while (slot->result.result == VGPU_RESULT_LATER);
    *result = slot->result;
    size_t bytes = result->payload_bytes < capacity ? result->payload_bytes : capacity;
    if (bytes)
        memcpy(reply, slot->payload, bytes);
    if (reply_bytes)
        *reply_bytes = bytes;
    return (CUresult)result->result;
}

CUresult live_wait(struct vgpu_channel *channel, uint32_t fence, uint32_t value)
{
    uint32_t *word = (uint32_t *)(channel->extent + VGPU_CHANNEL_FENCES_OFFSET) + fence;
    uint64_t start = live_now();
    for (uint32_t round = 0;
         __atomic_load_n(word, __ATOMIC_ACQUIRE) != value &&
         __atomic_load_n(&channel->header->deferred_error, __ATOMIC_ACQUIRE) == 0;
         round++)
        relax(channel, start, round);
    return (CUresult)__atomic_exchange_n(&channel->header->deferred_error, 0, __ATOMIC_ACQ_REL);
}

void *live_staging(struct vgpu_channel *channel)
{
    return channel->extent + VGPU_CHANNEL_STAGING_OFFSET;
}
