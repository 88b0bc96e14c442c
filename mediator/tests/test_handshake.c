/* SPDX-License-Identifier: MIT */
/** Clients that break the rules: each is told why, and nobody else notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/tests/client.h"

static struct test_mediator mediator;
static struct test_client bystander; /* attached all the time */
static struct test_client client;

static int start_mediator(void **state)
{
    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    test_client_create(&bystander);
    test_client_attach(&bystander, mediator.device, "bystander");
    return 0;
}

static int stop_mediator(void **state)
{
    (void)state;
    test_client_destroy(&bystander);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
    return 0;
}

static int make_client(void **state)
{
    (void)state;
    test_client_create(&client);
    test_client_connect(&client, mediator.device);
    return 0;
}

static int check_bystander(void **state)
{
    (void)state;
    test_client_destroy(&client);
    assert_true(test_client_is_alive(&bystander));
    return 0;
}

static void welcome_repeats_what_the_host_configured(void **state)
{
    struct vgpu_control_welcome welcome;

    (void)state;
    memset(client.window, 0xff, VGPU_WINDOW_EXTENTS_OFFSET);
    welcome = test_client_attach(&client, mediator.device, "web1");
    assert_int_equal(welcome.pool, 'B');
    assert_int_equal(welcome.priority, VGPU_PRIORITY_HIGH);
    assert_int_not_equal(welcome.vm_id, 0);
    for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++)
        assert_int_equal(vgpu_window_entry(client.window, i)->state, VGPU_CHANNEL_FREE);
}

static void a_wrong_magic_is_refused(void **state)
{
    char garbage[200];

    (void)state;
    memset(garbage, 'x', sizeof(garbage));
    send(client.socket, garbage, sizeof(garbage), MSG_NOSIGNAL);
    assert_non_null(strstr(test_client_refusal(&client), "not the protocol"));
}

static void another_version_is_refused_with_both_versions(void **state)
{
    const struct vgpu_control_header header = {
        .magic = VGPU_CONTROL_MAGIC, .version = 9, .op = VGPU_CONTROL_HELLO, .length = 88};

    (void)state;
    send(client.socket, &header, sizeof(header), MSG_NOSIGNAL);
    assert_non_null(strstr(test_client_refusal(&client), "version 9"));
}

static void a_short_message_is_refused(void **state)
{
    struct vgpu_control_hello hello = test_client_hello(&client, "web1");

    (void)state;
    test_client_send(&client, VGPU_CONTROL_HELLO, &hello, sizeof(hello) - 8, &client.window_fd, 1);
    assert_non_null(strstr(test_client_refusal(&client), "length"));
}

static void mailbox_before_hello_is_refused(void **state)
{
    const struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_STATUS};

    (void)state;
    test_client_post(&client, 1, &request, sizeof(request));
    assert_non_null(strstr(test_client_refusal(&client), "message 5 came where message 1"));
}

/** Sends a HELLO with this window and returns the refusal. */
static const char *refusal_of(const struct vgpu_control_hello *hello, const int *windows,
                              size_t count)
{
    test_client_connect(&client, mediator.device);
    test_client_send(&client, VGPU_CONTROL_HELLO, hello, sizeof(*hello), windows, count);
    return test_client_refusal(&client);
}

static void windows_that_cannot_be_trusted_are_refused(void **state)
{
    struct vgpu_control_hello hello = test_client_hello(&client, "web1");
    int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int read_only = memfd_create("read-only", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int windows[] = {client.window_fd, client.window_fd};

    (void)state;
    assert_int_equal(ftruncate(unsealed, 64 << 20), 0);
    assert_non_null(strstr(refusal_of(&hello, &unsealed, 1), "not sealed"));
    assert_int_equal(ftruncate(read_only, 64 << 20), 0);
    fcntl(read_only, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE);
    assert_non_null(strstr(refusal_of(&hello, &read_only, 1), "mapped"));
    assert_non_null(strstr(refusal_of(&hello, &file, 1), "not a memfd"));
    assert_non_null(strstr(refusal_of(&hello, client.doorbells, 1), "not a memfd"));
    assert_non_null(strstr(refusal_of(&hello, NULL, 0), "exactly one descriptor"));
    assert_non_null(strstr(refusal_of(&hello, windows, 2), "exactly one descriptor"));
    hello.window_size *= 2;
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "not what HELLO says"));
    hello.window_size = 1 << 20;
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "smaller than 16 MiB"));
    close(unsealed);
    close(read_only);
    close(file);
}

static void numbers_and_names_out_of_range_are_refused(void **state)
{
    const struct vgpu_control_hello good = test_client_hello(&client, "web1");
    struct vgpu_control_hello hello;

    (void)state;
    hello = good;
    hello.channels = 0;
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "1 to 256"));
    hello.channels = 257;
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "1 to 256"));
    hello = good;
    hello.vectors = UINT32_MAX;
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "1 to 256"));
    hello = good;
    hello.priority = 3;
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "priority"));
    hello = good;
    hello.pool = 'a';
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "pool"));
    hello = good;
    memset(hello.vm, 'x', sizeof(hello.vm));
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "no end"));
    hello = test_client_hello(&client, "two words");
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "name"));
    hello = test_client_hello(&client, "");
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "name"));
    hello = test_client_hello(&client, "uid-0");
    assert_non_null(strstr(refusal_of(&hello, &client.window_fd, 1), "uid-"));
}

static void a_program_may_not_have_a_devices_doorbells(void **state)
{
    struct vgpu_control_hello hello = test_client_hello(&client, "program");

    (void)state;
    hello.channels = 33;
    test_client_connect(&client, mediator.process);
    test_client_send(&client, VGPU_CONTROL_HELLO, &hello, sizeof(hello), &client.window_fd, 1);
    assert_non_null(strstr(test_client_refusal(&client), "1 to 32"));
}

static void eventfds_must_come_in_order_and_be_eventfds(void **state)
{
    const struct vgpu_control_hello hello = test_client_hello(&client, "web1");
    const struct {
        struct vgpu_control_descriptors message;
        uint32_t sent;
    } wrong[] = {
        {{VGPU_DESCRIPTOR_INTERRUPT, 0, 2, 0}, 2}, /* before the doorbells */
        {{VGPU_DESCRIPTOR_DOORBELL, 1, 2, 0}, 2},  /* a gap */
        {{VGPU_DESCRIPTOR_DOORBELL, 0, 0, 0}, 0},  /* none */
        {{VGPU_DESCRIPTOR_DOORBELL, 0, 3, 0}, 2},  /* fewer than it says */
        {{VGPU_DESCRIPTOR_DOORBELL, 0, 1, 0}, 2},  /* more than it says */
        {{VGPU_DESCRIPTOR_DOORBELL, 0, UINT32_MAX, 0}, 2},
        {{VGPU_DESCRIPTOR_DOORBELL, 0, 17, 0}, 17}, /* more than a message carries */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        test_client_connect(&client, mediator.device);
        test_client_send(&client, VGPU_CONTROL_HELLO, &hello, sizeof(hello), &client.window_fd, 1);
        test_client_send(&client, VGPU_CONTROL_DESCRIPTORS, &wrong[i].message,
                         sizeof(wrong[i].message), client.doorbells, wrong[i].sent);
        const char *text = test_client_refusal(&client);
        assert_true(strstr(text, "eventfds out of order") || strstr(text, "more than 16"));
    }
    const struct vgpu_control_descriptors one = {.kind = VGPU_DESCRIPTOR_DOORBELL, .count = 1};
    test_client_connect(&client, mediator.device);
    test_client_send(&client, VGPU_CONTROL_HELLO, &hello, sizeof(hello), &client.window_fd, 1);
    test_client_send(&client, VGPU_CONTROL_DESCRIPTORS, &one, sizeof(one), &client.window_fd, 1);
    assert_non_null(strstr(test_client_refusal(&client), "not an eventfd"));
}

static void garbage_after_welcome_ends_the_connection(void **state)
{
    const char garbage[64] = "whatever";
    char byte;

    (void)state;
    test_client_attach(&client, mediator.device, "web2");
    send(client.socket, garbage, sizeof(garbage), MSG_NOSIGNAL);
    assert_int_equal(recv(client.socket, &byte, 1, 0), 0);
    assert_int_equal(test_mediator_field(&mediator, "web2", "garbage"), 1);
}

static void impossible_mailbox_lengths_end_the_connection(void **state)
{
    const uint32_t lengths[] = {0, VGPU_MAILBOX_BYTES + 1, UINT32_MAX};
    char byte;

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct vgpu_control_mailbox mailbox = {.id = 1, .length = lengths[i]};

        test_client_attach(&client, mediator.device, "web3");
        test_client_send(&client, VGPU_CONTROL_MAILBOX, &mailbox, sizeof(mailbox), NULL, 0);
        assert_int_equal(recv(client.socket, &byte, 1, 0), 0);
    }
    struct vgpu_control_mailbox mailbox = {.id = 1, .length = 8};
    test_client_attach(&client, mediator.device, "web3");
    test_client_send(&client, VGPU_CONTROL_MAILBOX, &mailbox, sizeof(mailbox), client.doorbells, 1);
    assert_int_equal(recv(client.socket, &byte, 1, 0), 0);
    assert_int_equal(test_mediator_field(&mediator, "web3", "garbage"), 4);
}

static void a_message_may_come_byte_by_byte(void **state)
{
    struct vgpu_session_bytes {
        struct vgpu_control_header header;
        struct vgpu_control_mailbox mailbox;
    } message = {
        .header = {.magic = VGPU_CONTROL_MAGIC,
                   .version = VGPU_CONTROL_VERSION,
                   .op = VGPU_CONTROL_MAILBOX,
                   .length = sizeof(struct vgpu_control_mailbox)},
        .mailbox = {.id = 5, .length = 8, .data = {VGPU_MAILBOX_STATUS}},
    };
    uint8_t response[VGPU_MAILBOX_BYTES];

    (void)state;
    test_client_attach(&client, mediator.device, "slow");
    for (size_t i = 0; i < sizeof(message); i++)
        assert_int_equal(send(client.socket, (char *)&message + i, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(test_client_answer(&client, 5, response),
                     sizeof(struct vgpu_mailbox_vm_status));
}

static void who_floods_without_reading_is_dropped(void **state)
{
    struct vgpu_control_mailbox mailbox = {.id = 1, .length = 8, .data = {VGPU_MAILBOX_STATUS}};
    uint32_t sent = 0;

    (void)state;
    test_client_attach(&client, mediator.device, "flood");
    while (sent < 100000 &&
           test_client_send(&client, VGPU_CONTROL_MAILBOX, &mailbox, sizeof(mailbox), NULL, 0) > 0)
        sent++;
    assert_true(sent < 100000);
    /* Which of the two depends on whether the mediator had read all when it hung up. */
    assert_true(errno == EPIPE || errno == ECONNRESET);
    assert_int_equal(test_mediator_field(&mediator, "flood", "sessions"), 0);
}

static void a_stopped_client_holds_nobody_up(void **state)
{
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        struct vgpu_control_mailbox mailbox = {.id = 1, .length = 8, .data = {VGPU_MAILBOX_STATUS}};

        test_client_attach(&client, mediator.process, "stopped");
        for (int i = 0; i < 5; i++)
            test_client_send(&client, VGPU_CONTROL_MAILBOX, &mailbox, sizeof(mailbox), NULL, 0);
        raise(SIGSTOP);
        _exit(test_client_is_alive(&client));
    }
    int status;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    uint64_t start = test_now();
    for (int i = 0; i < 100; i++)
        assert_true(test_client_is_alive(&bystander));
    assert_true(test_now() - start < 1000000000);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

static void a_second_device_of_a_vm_is_refused(void **state)
{
    const struct vgpu_control_hello hello = test_client_hello(&client, "bystander");

    (void)state;
    test_client_send(&client, VGPU_CONTROL_HELLO, &hello, sizeof(hello), &client.window_fd, 1);
    test_client_send_eventfds(&client);
    assert_non_null(strstr(test_client_refusal(&client), "already connected"));
}

static void a_device_that_comes_back_at_once_is_welcome(void **state)
{
    struct vgpu_mailbox_channel channel;

    (void)state;
    test_client_attach(&client, mediator.device, "again");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(test_client_open(&client, "hang", &channel), VGPU_MAILBOX_OK);
        /* Closes the former connection and connects with the same window. */
        test_client_attach(&client, mediator.device, "again");
        assert_int_equal(test_mediator_workers(&mediator), 0);
    }
    assert_int_equal(test_mediator_field(&mediator, "again", "sessions"), 1);
}

static void users_without_end_are_not_taken(void **state)
{
    const struct vgpu_control_hello hello = test_client_hello(&client, "program");
    const uid_t first = 70000;

    (void)state;
    if (geteuid() != 0)
        skip(); /* who cannot be many users cannot try this */
    assert_int_equal(chmod(mediator.folder, 0711), 0);
    test_client_attach(&client, mediator.process, "program"); /* root is the first */
    for (uid_t i = 0; i < 255; i++) {
        assert_int_equal(seteuid(first + i), 0);
        test_client_attach(&client, mediator.process, "program");
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(seteuid(first + 256), 0);
    test_client_connect(&client, mediator.process);
    assert_int_equal(seteuid(0), 0);
    test_client_send(&client, VGPU_CONTROL_HELLO, &hello, sizeof(hello), &client.window_fd, 1);
    test_client_send_eventfds(&client);
    assert_non_null(strstr(test_client_refusal(&client), "seen 256 users of this host"));
    /* those that are known, and devices, are served */
    assert_int_equal(seteuid(first), 0);
    test_client_attach(&client, mediator.process, "program");
    assert_int_equal(seteuid(0), 0);
    test_client_attach(&client, mediator.device, "another");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_client, check_bystander)
    const struct CMUnitTest tests[] = {
        TEST(welcome_repeats_what_the_host_configured),
        TEST(a_wrong_magic_is_refused),
        TEST(another_version_is_refused_with_both_versions),
        TEST(a_short_message_is_refused),
        TEST(mailbox_before_hello_is_refused),
        TEST(windows_that_cannot_be_trusted_are_refused),
        TEST(numbers_and_names_out_of_range_are_refused),
        TEST(a_program_may_not_have_a_devices_doorbells),
        TEST(eventfds_must_come_in_order_and_be_eventfds),
        TEST(garbage_after_welcome_ends_the_connection),
        TEST(impossible_mailbox_lengths_end_the_connection),
        TEST(a_message_may_come_byte_by_byte),
        TEST(who_floods_without_reading_is_dropped),
        TEST(a_stopped_client_holds_nobody_up),
        TEST(a_second_device_of_a_vm_is_refused),
        TEST(a_device_that_comes_back_at_once_is_welcome),
        TEST(users_without_end_are_not_taken),
    };

    return cmocka_run_group_tests_name("handshake", tests, start_mediator, stop_mediator);
}
