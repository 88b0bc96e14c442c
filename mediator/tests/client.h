/* SPDX-License-Identifier: MIT */
/**
 * For tests: a mediator of one's own with the fake worker, and clients that speak the protocol by
 * hand, so that they can also speak it wrongly. Functions fail the test when they fail.
 */
#ifndef VGPU_MEDIATOR_TESTS_CLIENT_H
#define VGPU_MEDIATOR_TESTS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/control.h"
#include "protocol/window.h"

#define CLIENT_CHANNELS 20u /* more than one message of eventfds */
#define CLIENT_VECTORS  2u

struct test_mediator {
    char folder[64];
    char device[96];
    char process[96];
    char admin[96];
    char log[96];
    char config[96];
    pid_t pid;
};

struct test_client {
    int socket;
    int window_fd;
    void *window;
    uint64_t window_size;
    int doorbells[CLIENT_CHANNELS];
    int interrupts[CLIENT_VECTORS];
};

/** Makes the folder and a configuration with these further lines in [mediator], and starts. */
void test_mediator_create(struct test_mediator *mediator, const char *settings);
/** Starts (again), and returns when it is ready. */
void test_mediator_start(struct test_mediator *mediator);
/** Sends the signal and returns the exit status, or 128 + signal. */
int test_mediator_stop(struct test_mediator *mediator, int signal_number);
void test_mediator_destroy(struct test_mediator *mediator);
/** Waits up to 5 s until the log has this text. */
void test_mediator_logged(const struct test_mediator *mediator, const char *text);
/** Children of the mediator that have not ended. */
uint32_t test_mediator_workers(const struct test_mediator *mediator);

/** As many, and the process ids of at most `most` of them. */
uint32_t test_mediator_list_workers(const struct test_mediator *mediator, pid_t *pids,
                                    uint32_t most);
/** Runs vgpu-status --json; the field of this VM, or of the mediator if vm is NULL; -1: not there.
 */
long long test_mediator_field(const struct test_mediator *mediator, const char *vm,
                              const char *field);

/** A client with window and eventfds that is not connected. */
void test_client_create(struct test_client *client);
void test_client_destroy(struct test_client *client);
void test_client_connect(struct test_client *client, const char *path);
/** Sends header, body and descriptors. Returns what sendmsg returns: a refusal may be under way. */
ssize_t test_client_send(struct test_client *client, uint16_t op, const void *body, size_t length,
                         const int *descriptors, size_t count);
struct vgpu_control_hello test_client_hello(const struct test_client *client, const char *vm);
void test_client_send_eventfds(struct test_client *client);
/** Receives one message. Returns its op, or 0 when the mediator hung up or 5 s have passed. */
int test_client_receive(struct test_client *client, void *body, size_t size);
/** Connects and shakes hands; fails unless welcomed. */
struct vgpu_control_welcome test_client_attach(struct test_client *client, const char *path,
                                               const char *vm);
/** The text of the refusal that comes next. Static. */
const char *test_client_refusal(struct test_client *client);

void test_client_post(struct test_client *client, uint32_t id, const void *request, size_t length);
/** Receives an answer; returns its length. */
size_t test_client_answer(struct test_client *client, uint32_t id, void *response);
/** One mailbox exchange; returns the response's length. `response` has VGPU_MAILBOX_BYTES. */
size_t test_client_mailbox(struct test_client *client, const void *request, size_t length,
                           void *response);

/** Opens a channel whose fake worker has this command; the mailbox status, `out` if it is OK. */
uint32_t test_client_open(struct test_client *client, const char *command,
                          struct vgpu_mailbox_channel *out);
uint32_t test_client_close(struct test_client *client, uint32_t channel, uint32_t key);
/** Waits up to a second until the entry has this state. */
void test_client_await_state(struct test_client *client, uint32_t channel, uint32_t state);
bool test_client_is_alive(struct test_client *client);

/** Waits until the condition holds, and fails after `seconds`. */
#define test_await(condition, seconds)                                                             \
    do {                                                                                           \
        for (uint64_t end_ = test_now() + (uint64_t)((seconds)*1e9); !(condition);) {              \
            if (test_now() > end_)                                                                 \
                fail_msg("not within %g s: %s", (double)(seconds), #condition);                    \
            test_nap();                                                                            \
        }                                                                                          \
    } while (0)
uint64_t test_now(void); /* nanoseconds */
void test_nap(void);

#endif
