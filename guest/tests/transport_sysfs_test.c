/* SPDX-License-Identifier: MIT */
/*
 * A folder that looks like /sys/bus/pci/devices, with files for BARs, and a thread that behaves
 * like the device and its mediator. Guest processes are children of the test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/channel/transport.h"
#include "guest/tests/fake_mediator.h"

#define CHANNELS     8
#define ECHO_OP      1000
#define FUNCTION     "0000:00:05.0"
#define WINDOW_BYTES VGPU_WINDOW_MINIMUM_SIZE

struct fixture {
    char folder[64];
    volatile struct vgpu_registers *registers;
    uint8_t *window;
    pthread_t device;
    bool stopping;  /* atomic */
    uint32_t error; /* the device answers with this */
    uint32_t busy_milliseconds;
    uint32_t opens, closes; /* atomic */
    uint32_t wrong_keys;    /* atomic: CHANNEL_CLOSE with another key */
    uint32_t next_key;
};

/* ------------------------------------------------------------------------------------------------
 * The device
 */

static void open_channel(struct fixture *f, struct vgpu_mailbox_channel *opened)
{
    *opened = (struct vgpu_mailbox_channel){.response.status = VGPU_MAILBOX_BUSY};
    for (uint32_t i = 0; i < CHANNELS; i++) {
        struct vgpu_channel_entry *entry = vgpu_window_entry(f->window, i);
        if (entry->state != VGPU_CHANNEL_FREE)
            continue;
        *opened = (struct vgpu_mailbox_channel){.channel = i, .key = ++f->next_key};
        entry->key = opened->key;
        __atomic_store_n(&entry->state, VGPU_CHANNEL_OPEN, __ATOMIC_RELEASE);
        __atomic_add_fetch(&f->opens, 1, __ATOMIC_RELEASE);
        return;
    }
}

static void close_channel(struct fixture *f, const struct vgpu_mailbox_channel_close *request)
{
    struct vgpu_channel_entry *entry = vgpu_window_entry(f->window, request->channel % CHANNELS);
    if (entry->key != request->key || entry->state == VGPU_CHANNEL_FREE) {
        __atomic_add_fetch(&f->wrong_keys, 1, __ATOMIC_RELEASE);
        return;
    }
    __atomic_store_n(&entry->state, VGPU_CHANNEL_FREE, __ATOMIC_RELEASE);
    __atomic_add_fetch(&f->closes, 1, __ATOMIC_RELEASE);
}

static void answer(struct fixture *f)
{
    volatile struct vgpu_registers *registers = f->registers;
    uint8_t request[VGPU_MAILBOX_BYTES], response[VGPU_MAILBOX_BYTES] = {0};
    struct vgpu_mailbox_request head;
    uint32_t length = registers->request_length;
    memcpy(request, (void *)registers->request, sizeof(request));
    memcpy(&head, request, sizeof(head));
    if (head.op == VGPU_MAILBOX_CHANNEL_OPEN) {
        open_channel(f, (struct vgpu_mailbox_channel *)response);
        length = sizeof(struct vgpu_mailbox_channel);
    } else if (head.op == VGPU_MAILBOX_CHANNEL_CLOSE) {
        close_channel(f, (const struct vgpu_mailbox_channel_close *)request);
        length = sizeof(struct vgpu_mailbox_response);
    } else {
        memcpy(response, request, sizeof(response));
    }
    if (f->busy_milliseconds)
        usleep(f->busy_milliseconds * 1000);
    memcpy((void *)registers->response, response, sizeof(response));
    registers->response_length = length;
    registers->error = f->error;
}

static void *be_the_device(void *argument)
{
    struct fixture *f = argument;
    volatile struct vgpu_registers *registers = f->registers;
    while (!__atomic_load_n(&f->stopping, __ATOMIC_ACQUIRE)) {
        if (!registers->mailbox_doorbell) {
            usleep(50);
            continue;
        }
        uint32_t id = registers->request_id;
        registers->status |= VGPU_STATUS_MAILBOX_BUSY;
        registers->mailbox_doorbell = 0;
        answer(f);
        registers->response_id = id;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        registers->status &= ~VGPU_STATUS_MAILBOX_BUSY;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * The folder
 */

static void write_file(const struct fixture *f, const char *function, const char *name,
                       const char *text)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/%s", f->folder, function);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/%s/%s", f->folder, function, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void *make_bar(const struct fixture *f, const char *function, const char *name, off_t bytes)
{
    char path[192];
    write_file(f, function, name, "");
    snprintf(path, sizeof(path), "%s/%s/%s", f->folder, function, name);
    int file = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(file, bytes), 0);
    void *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    close(file);
    return memory;
}

static void write_ids(const struct fixture *f, const char *function, const char *vendor,
                      const char *device, const char *class)
{
    write_file(f, function, "vendor", vendor);
    write_file(f, function, "device", device);
    write_file(f, function, "class", class);
    write_file(f, function, "enable", "0\n");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->folder, "/tmp/vgpu-pci-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    write_ids(f, FUNCTION, "0x10de\n", "0x2331\n", "0x030200\n");
    f->registers = make_bar(f, FUNCTION, "resource0", VGPU_REGISTERS_SIZE);
    f->window = make_bar(f, FUNCTION, "resource1_wc", WINDOW_BYTES);
    f->registers->magic = VGPU_MAGIC;
    f->registers->version = VGPU_PROTOCOL_VERSION;
    f->registers->channel_count = CHANNELS;
    f->registers->window_size_low = WINDOW_BYTES;
    f->registers->status = VGPU_STATUS_CONNECTED;
    *(struct vgpu_window_header *)f->window =
        (struct vgpu_window_header){.magic = VGPU_WINDOW_MAGIC,
                                    .version = VGPU_PROTOCOL_VERSION,
                                    .size = WINDOW_BYTES,
                                    .channel_count = CHANNELS,
                                    .connected = 1,
                                    .generation = 1};
    assert_int_equal(pthread_create(&f->device, NULL, be_the_device, f), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    __atomic_store_n(&f->stopping, true, __ATOMIC_RELEASE);
    pthread_join(f->device, NULL);
    munmap((void *)f->registers, VGPU_REGISTERS_SIZE);
    munmap(f->window, WINDOW_BYTES);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static int try_open(const struct fixture *f, struct vgpu_transport **transport, char *message)
{
    *transport = NULL;
    return vgpu_transport_open_sysfs(f->folder, transport, message, 256);
}

static struct vgpu_transport *open_transport(const struct fixture *f)
{
    struct vgpu_transport *transport;
    char message[256];
    assert_int_equal(try_open(f, &transport, message), 0);
    return transport;
}

/* ------------------------------------------------------------------------------------------------
 * Finding it
 */

static void the_function_is_found_enabled_and_mapped(void **state)
{
    struct fixture *f = *state;
    char path[192], enabled[4] = "";
    struct vgpu_transport *transport = open_transport(f);
    assert_string_equal(transport->name, FUNCTION);
    assert_int_equal(transport->window_size, WINDOW_BYTES);
    assert_int_equal(transport->channel_count, CHANNELS);
    assert_false(transport->interrupts);
    assert_memory_equal(transport->window, f->window, 4096);
    assert_false(vgpu_transport_lost(transport, 1));
    ((struct vgpu_window_header *)f->window)->connected = 0;
    assert_true(vgpu_transport_lost(transport, 1));
    vgpu_transport_close(transport);
    snprintf(path, sizeof(path), "%s/%s/enable", f->folder, FUNCTION);
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(enabled, 1, 1, file), 1);
    fclose(file);
    assert_string_equal(enabled, "1");
}

static void other_functions_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct vgpu_transport *transport;
    char message[256], path[192];
    /* before ours in the list: a network card, a real GPU with our ids, a stranger with them */
    write_ids(f, "0000:00:01.0", "0x8086\n", "0x100e\n", "0x020000\n");
    write_ids(f, "0000:00:02.0", "0x10de\n", "0x2331\n", "0x030200\n");
    munmap(make_bar(f, "0000:00:02.0", "resource0", 16 << 20), 16 << 20);
    write_ids(f, "0000:00:03.0", "0x1af4\n", "0x1111\n", "0x00ff00\n");
    munmap(make_bar(f, "0000:00:03.0", "resource0", VGPU_REGISTERS_SIZE), VGPU_REGISTERS_SIZE);
    assert_int_equal(try_open(f, &transport, message), 0);
    assert_string_equal(transport->name, FUNCTION);
    vgpu_transport_close(transport);
    snprintf(path, sizeof(path), "%s/0000:00:02.0/enable", f->folder);
    struct stat enable;
    assert_int_equal(stat(path, &enable), 0);
    assert_int_equal(enable.st_size, 2); /* as we wrote it: "0\n" */
}

static void no_function_is_no_device(void **state)
{
    struct fixture *f = *state;
    struct vgpu_transport *transport;
    char message[256];
    write_ids(f, FUNCTION, "0x8086\n", "0x2331\n", "0x030200\n");
    assert_int_equal(try_open(f, &transport, message), -ENODEV);
    assert_non_null(strstr(message, "no vgpu device"));
    assert_int_equal(vgpu_transport_open_sysfs("/nonexistent", &transport, message, 256), -ENODEV);
}

static void the_plain_ids_and_a_plain_window_do_too(void **state)
{
    struct fixture *f = *state;
    char from[192], to[192];
    write_ids(f, FUNCTION, "0x1af4\n", "0x1111\n", "0x00ff00\n");
    snprintf(from, sizeof(from), "%s/%s/resource1_wc", f->folder, FUNCTION);
    snprintf(to, sizeof(to), "%s/%s/resource1", f->folder, FUNCTION);
    assert_int_equal(rename(from, to), 0);
    vgpu_transport_close(open_transport(f));
}

static void what_is_wrong_with_a_device_is_explained(void **state)
{
    struct fixture *f = *state;
    struct vgpu_transport *transport;
    char message[256];
    f->registers->version = 77;
    assert_int_equal(try_open(f, &transport, message), -EPROTO);
    assert_non_null(strstr(message, "protocol 77, this library 1"));
    f->registers->version = VGPU_PROTOCOL_VERSION;
    f->registers->window_size_low *= 2;
    assert_int_equal(try_open(f, &transport, message), -EPROTO);
    f->registers->window_size_low = WINDOW_BYTES;
    f->registers->channel_count = VGPU_DOORBELL_MAX + 1;
    assert_int_equal(try_open(f, &transport, message), -EPROTO);
    f->registers->channel_count = CHANNELS;
    f->registers->status = 0;
    assert_int_equal(try_open(f, &transport, message), -EHOSTDOWN);
    f->registers->status = VGPU_STATUS_REFUSED;
    assert_int_equal(try_open(f, &transport, message), -ECONNREFUSED);
    f->registers->status = VGPU_STATUS_CONNECTED;
    vgpu_transport_close(open_transport(f));
}

/* ------------------------------------------------------------------------------------------------
 * Mailbox
 */

static int exchange(struct vgpu_transport *transport, uint32_t value)
{
    uint32_t request[3] = {ECHO_OP, value, ~value}, response[VGPU_MAILBOX_BYTES / 4] = {0};
    int got = transport->operations->mailbox(transport, request, sizeof(request), response);
    if (got == sizeof(request) && memcmp(request, response, sizeof(request)) != 0)
        return -EILSEQ;
    return got;
}

static void errors_of_the_device_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct vgpu_transport *transport = open_transport(f);
    uint8_t big[VGPU_MAILBOX_BYTES + 1] = {0}, response[VGPU_MAILBOX_BYTES];
    static const struct {
        enum vgpu_device_error error;
        int expected;
    } cases[] = {{VGPU_DEVICE_OK, 12},
                 {VGPU_DEVICE_BUSY, -EBUSY},
                 {VGPU_DEVICE_BAD_LENGTH, -EMSGSIZE},
                 {VGPU_DEVICE_AWAY, -EHOSTDOWN},
                 {99, -EIO}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->error = cases[i].error;
        assert_int_equal(exchange(transport, 5), cases[i].expected);
    }
    f->error = VGPU_DEVICE_OK;
    assert_int_equal(transport->operations->mailbox(transport, big, 0, response), -EMSGSIZE);
    assert_int_equal(transport->operations->mailbox(transport, big, sizeof(big), response),
                     -EMSGSIZE);
    assert_int_equal(exchange(transport, 6), 12);
    vgpu_transport_close(transport);
}

static void an_answer_that_takes_its_time_is_awaited(void **state)
{
    struct fixture *f = *state;
    struct vgpu_transport *transport = open_transport(f);
    f->busy_milliseconds = 300; /* longer than the ring is repeated while idle */
    assert_int_equal(exchange(transport, 7), 12);
    vgpu_transport_close(transport);
}

static int exchange_in_child(struct fixture *f, uint32_t from)
{
    struct vgpu_transport *transport;
    char message[256];
    alarm(30);
    if (try_open(f, &transport, message) != 0)
        return 1;
    for (uint32_t i = from; i < from + 300; i++) {
        if (exchange(transport, i) != 12)
            return 2;
    }
    vgpu_transport_close(transport);
    return 0;
}

static void processes_get_their_own_answers(void **state)
{
    struct fixture *f = *state;
    pid_t children[4];
    for (uint32_t i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(exchange_in_child(f, i * 100000));
    }
    for (int i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Channels of processes that end
 */

static int request_channel(struct vgpu_transport *transport, struct vgpu_mailbox_channel *opened)
{
    struct vgpu_mailbox_client request = {.request.op = VGPU_MAILBOX_CHANNEL_OPEN};
    uint8_t response[VGPU_MAILBOX_BYTES];
    int got = transport->operations->mailbox(transport, &request, sizeof(request), response);
    memcpy(opened, response, sizeof(*opened));
    return got == sizeof(*opened) && opened->response.status == VGPU_MAILBOX_OK ? 0 : -EIO;
}

enum guest_life { OWNS_ITS_CHANNEL, HAS_NO_REAPER, EXECUTES_ANOTHER, LEAVES_A_CHILD };

/* A guest process that opens a channel, says so, and waits to be killed. */
static pid_t start_guest(struct fixture *f, enum guest_life life)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t guest = fork();
    if (guest == 0) {
        struct vgpu_transport *transport;
        struct vgpu_mailbox_channel opened;
        char message[256];
        alarm(20);
        if (try_open(f, &transport, message) != 0 || request_channel(transport, &opened) != 0)
            _exit(1);
        if (life != HAS_NO_REAPER &&
            transport->operations->own_channel(transport, opened.channel, opened.key) != 0)
            _exit(1);
        if (life == LEAVES_A_CHILD && fork() == 0) {
            sleep(2);
            _exit(0);
        }
        if (write(ready[1], "r", 1) != 1)
            _exit(1);
        if (life == EXECUTES_ANOTHER)
            execl("/bin/sleep", "sleep", "10", (char *)NULL);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return guest;
}

static void end_guest(pid_t guest)
{
    kill(guest, SIGKILL);
    assert_int_equal(waitpid(guest, NULL, 0), guest);
}

static void a_killed_process_loses_its_channel_within_a_second(void **state)
{
    struct fixture *f = *state;
    pid_t guest = start_guest(f, OWNS_ITS_CHANNEL);
    usleep(50000);
    assert_int_equal(f->closes, 0);
    end_guest(guest);
    assert_true(fake_mediator_await(&f->closes, 1, 1000));
    assert_int_equal(vgpu_window_entry(f->window, 0)->state, VGPU_CHANNEL_FREE);
    assert_int_equal(f->wrong_keys, 0);
}

static void a_child_that_lives_on_does_not_keep_the_channel(void **state)
{
    struct fixture *f = *state;
    end_guest(start_guest(f, LEAVES_A_CHILD));
    assert_true(fake_mediator_await(&f->closes, 1, 1000));
}

static void a_process_that_executes_another_program_loses_its_channel(void **state)
{
    struct fixture *f = *state;
    pid_t guest = start_guest(f, EXECUTES_ANOTHER);
    assert_true(fake_mediator_await(&f->closes, 1, 1000));
    end_guest(guest);
}

static void a_channel_nobody_holds_is_reclaimed_at_the_next_open(void **state)
{
    struct fixture *f = *state;
    end_guest(start_guest(f, HAS_NO_REAPER));
    usleep(50000);
    assert_int_equal(f->closes, 0);
    vgpu_transport_close(open_transport(f));
    assert_int_equal(f->closes, 1);
    assert_int_equal(f->wrong_keys, 0);
}

static void channels_of_living_processes_are_not_reclaimed(void **state)
{
    struct fixture *f = *state;
    pid_t guests[3];
    for (int i = 0; i < 3; i++)
        guests[i] = start_guest(f, HAS_NO_REAPER);
    vgpu_transport_close(open_transport(f));
    assert_int_equal(f->closes, 0);
    end_guest(guests[1]);
    vgpu_transport_close(open_transport(f));
    assert_int_equal(f->closes, 1);
    assert_int_equal(vgpu_window_entry(f->window, 0)->state, VGPU_CHANNEL_OPEN);
    assert_int_equal(vgpu_window_entry(f->window, 1)->state, VGPU_CHANNEL_FREE);
    end_guest(guests[0]);
    end_guest(guests[2]);
}

static void another_transport_of_the_process_does_not_give_the_channel_away(void **state)
{
    struct fixture *f = *state;
    struct vgpu_mailbox_channel opened;
    struct vgpu_transport *first = open_transport(f);
    assert_int_equal(request_channel(first, &opened), 0);
    vgpu_transport_close(open_transport(f)); /* as a second library of the process would */
    vgpu_transport_close(open_transport(f));
    assert_int_equal(f->closes, 0);
    vgpu_transport_close(first);
}

static void a_channel_closed_in_order_is_not_closed_again(void **state)
{
    struct fixture *f = *state;
    struct vgpu_mailbox_channel opened;
    struct vgpu_transport *transport = open_transport(f);
    assert_int_equal(request_channel(transport, &opened), 0);
    assert_int_equal(transport->operations->own_channel(transport, opened.channel, opened.key), 0);
    struct vgpu_mailbox_channel_close request = {
        .request.op = VGPU_MAILBOX_CHANNEL_CLOSE, .channel = opened.channel, .key = opened.key};
    uint8_t response[VGPU_MAILBOX_BYTES];
    assert_true(transport->operations->mailbox(transport, &request, sizeof(request), response) > 0);
    vgpu_transport_close(transport);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* the reaper is no child of ours */
    usleep(100000);
    assert_int_equal(f->closes, 1);
    assert_int_equal(f->wrong_keys, 0);
}

#define SYSFS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYSFS_TEST(the_function_is_found_enabled_and_mapped),
        SYSFS_TEST(other_functions_are_left_alone),
        SYSFS_TEST(no_function_is_no_device),
        SYSFS_TEST(the_plain_ids_and_a_plain_window_do_too),
        SYSFS_TEST(what_is_wrong_with_a_device_is_explained),
        SYSFS_TEST(errors_of_the_device_are_told_apart),
        SYSFS_TEST(an_answer_that_takes_its_time_is_awaited),
        SYSFS_TEST(processes_get_their_own_answers),
        SYSFS_TEST(a_killed_process_loses_its_channel_within_a_second),
        SYSFS_TEST(a_child_that_lives_on_does_not_keep_the_channel),
        SYSFS_TEST(a_process_that_executes_another_program_loses_its_channel),
        SYSFS_TEST(a_channel_nobody_holds_is_reclaimed_at_the_next_open),
        SYSFS_TEST(channels_of_living_processes_are_not_reclaimed),
        SYSFS_TEST(another_transport_of_the_process_does_not_give_the_channel_away),
        SYSFS_TEST(a_channel_closed_in_order_is_not_closed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
