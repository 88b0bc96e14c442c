/* SPDX-License-Identifier: MIT */
/**
 * Stands in for vgpu-worker: does what the program's name in CHANNEL_OPEN tells it to. It checks
 * first that it was given exactly the descriptors of protocol/worker.h.
 *
 *   wait           answers a doorbell with an interrupt, ends with its socket
 *   exit-N         exits with status N; with N=3 it leaves exit_error 209
 *   crash, hang    a segmentation fault; deaf to everything but SIGKILL
 *   charge-N       charges N bytes and counts calls, then as wait
 *   scribble       fills its extent, which must be zero, with bytes; then as wait
 *   crash-soon     aborts at the first doorbell
 *   map            maps the channel's extents at one doorbell, and unmaps them at the next
 *   talk           sends the mediator a message that it has not asked for
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mediator/tests/fake_worker.h"
#include "protocol/assignment.h"
#include "protocol/channel.h"
#include "protocol/worker.h"

static void check_descriptors(bool has_window)
{
    uint32_t expected = has_window ? 0x3ff : 0x3f; /* 0..9, without 9 or without 6..9 */
    uint32_t found = 0;
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;

    while ((entry = readdir(folder))) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] == '.' || fd == dirfd(folder))
            continue;
        if (fd > 9)
            exit(VGPU_WORKER_EXIT_SETUP);
        found |= 1u << fd;
    }
    closedir(folder);
    if ((found & expected) != expected || (!has_window && found & 0x3c0))
        exit(VGPU_WORKER_EXIT_SETUP);
}

static void answer_probe(const struct vgpu_worker_page *page)
{
    struct vgpu_worker_message message = {.op = VGPU_WORKER_PROBE,
                                          .length = sizeof(struct vgpu_worker_probe)};
    struct vgpu_worker_probe probe = {
        .driver_version = 13000,
        .device_count = 1,
        .is_software = strstr(page->driver, "soft") != NULL,
        .memory_total = FAKE_MEMORY_TOTAL,
        .gpu = "fake GPU",
    };

    memcpy(message.data, &probe, sizeof(probe));
    send(VGPU_WORKER_SOCKET, &message, sizeof(message), 0);
}

static void answer_primitive(struct vgpu_worker_message *message)
{
    struct vgpu_mailbox_vector_add add;
    struct vgpu_mailbox_vector_sum sum = {0};

    memcpy(&add, message->data, sizeof(add));
    if (add.operand[0] == FAKE_OPERAND_CRASH)
        abort();
    if (add.operand[0] == FAKE_OPERAND_SLOW)
        usleep(300000);
    sum.count = add.count;
    for (uint32_t i = 0; i < add.count; i++)
        sum.sum[i] = add.operand[i] + add.operand[add.count + i];
    message->length = sizeof(sum);
    if (add.operand[0] == FAKE_OPERAND_GARBAGE)
        message->length = 4;
    memcpy(message->data, &sum, sizeof(sum));
    send(VGPU_WORKER_SOCKET, message, sizeof(*message), 0);
}

/** Changes the state of all extents that have the one to the other. */
static void move_extents(struct vgpu_worker_page *page, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < VGPU_CHANNEL_EXTENTS_MAX; i++) {
        uint32_t state = from;

        __atomic_compare_exchange_n(&page->extents[i].state, &state, to, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
}

/** Serves until the mediator closes the socket. */
static void serve(struct vgpu_worker_page *page, const char *command)
{
    struct pollfd waiting[] = {
        {.fd = VGPU_WORKER_SOCKET, .events = POLLIN},
        {.fd = page->has_window ? VGPU_WORKER_DOORBELL : -1, .events = POLLIN}};
    struct vgpu_worker_message message;
    uint64_t count;
    bool mapped = false;

    while (poll(waiting, 2, -1) >= 0) {
        if (waiting[1].revents && strcmp(command, "crash-soon") == 0)
            abort();
        if (waiting[1].revents && strcmp(command, "map") == 0) {
            mapped = !mapped;
            move_extents(page, mapped ? VGPU_EXTENT_OPEN : VGPU_EXTENT_MAPPED,
                         mapped ? VGPU_EXTENT_MAPPED : VGPU_EXTENT_OPEN);
        }
        if (waiting[1].revents && read(VGPU_WORKER_DOORBELL, &count, sizeof(count)) > 0 &&
            write(VGPU_WORKER_INTERRUPT, &count, sizeof(count)) < 0)
            exit(VGPU_WORKER_EXIT_SETUP);
        if (!waiting[0].revents)
            continue;
        if (recv(VGPU_WORKER_SOCKET, &message, sizeof(message), 0) <= 0)
            return;
        answer_primitive(&message);
    }
}

static void scribble(const struct vgpu_worker_page *page)
{
    unsigned char *extent = mmap(NULL, page->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                                 VGPU_WORKER_WINDOW, (off_t)page->offset);

    if (extent == MAP_FAILED)
        exit(VGPU_WORKER_EXIT_SETUP);
    for (uint64_t i = 0; i < page->size; i++) {
        if (extent[i])
            exit(FAKE_EXIT_STALE);
    }
    memset(extent, 0xff, page->size);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void charge(struct vgpu_worker_page *page, uint64_t bytes)
{
    struct vgpu_ledger_page *ledger =
        mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, VGPU_WORKER_LEDGER, 0);

    if (ledger == MAP_FAILED)
        exit(VGPU_WORKER_EXIT_SETUP);
    page->calls_total = 7;
    page->calls[3] = 7;
    page->bytes_to_device = 100;
    page->bytes_from_device = 50;
    page->gpu_nanoseconds = FAKE_GPU_NANOSECONDS;
    uint64_t at = now();
    vgpu_busy_count(&page->busy, at, at + FAKE_GPU_NANOSECONDS);
    page->memory_charged = bytes;
    __atomic_fetch_add(&ledger->used, bytes, __ATOMIC_RELAXED);
}

/** Answers probes until there is somebody to serve. */
static void await_assignment(const struct vgpu_worker_page *page)
{
    struct vgpu_worker_message message = {0};

    check_descriptors(true); /* the places are taken */
    while (message.op != VGPU_WORKER_SERVE) {
        if (vgpu_assignment_receive(VGPU_WORKER_SOCKET, &message, 0) <= 0)
            exit(VGPU_WORKER_EXIT_OK);
        if (message.op == VGPU_WORKER_PROBE)
            answer_probe(page);
    }
    check_descriptors(page->has_window);
}

int main(void)
{
    struct vgpu_worker_page *page =
        mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, VGPU_WORKER_PAGE, 0);

    if (page == MAP_FAILED)
        return VGPU_WORKER_EXIT_SETUP;
    if (strstr(page->driver, "libcuda")) {
        fprintf(stderr, "fake worker: cannot open %s\n", page->driver);
        return VGPU_WORKER_EXIT_DRIVER;
    }
    page->ready = 1;
    await_assignment(page);
    const char *command = strchr(page->name, '/') + 1;

    if (strncmp(command, "exit-", 5) == 0) {
        int status = atoi(command + 5);

        page->exit_error = status == VGPU_WORKER_EXIT_DRIVER ? 209 : 0;
        return status;
    }
    if (strncmp(command, "charge-", 7) == 0)
        charge(page, strtoull(command + 7, NULL, 10));
    if (strcmp(command, "scribble") == 0)
        scribble(page);
    if (strcmp(command, "talk") == 0)
        send(VGPU_WORKER_SOCKET, page, 64, 0);
    if (strcmp(command, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    while (strcmp(command, "hang") == 0)
        pause();
    serve(page, command);
    return VGPU_WORKER_EXIT_OK;
}
