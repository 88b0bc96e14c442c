/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediator/tests/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/calls.h"

uint64_t test_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void test_nap(void)
{
    usleep(2000);
}

void test_mediator_create(struct test_mediator *mediator, const char *settings)
{
    strcpy(mediator->folder, "/tmp/vgpu-mediator-XXXXXX");
    assert_non_null(mkdtemp(mediator->folder));
    snprintf(mediator->device, sizeof(mediator->device), "%s/run/device.sock", mediator->folder);
    snprintf(mediator->process, sizeof(mediator->process), "%s/run/process.sock", mediator->folder);
    snprintf(mediator->admin, sizeof(mediator->admin), "%s/run/admin.sock", mediator->folder);
    snprintf(mediator->log, sizeof(mediator->log), "%s/log", mediator->folder);
    snprintf(mediator->config, sizeof(mediator->config), "%s/vgpu.ini", mediator->folder);
    FILE *config = fopen(mediator->config, "w");
    assert_non_null(config);
    fprintf(config,
            "[mediator]\ndevice-socket=%s\nprocess-socket=%s\nadmin-socket=%s\nworker=%s\n"
            "soft-library=/nowhere/libvgpu-soft.so\nimage-cache=%s/images\n%s%s%s",
            mediator->device, mediator->process, mediator->admin, getenv("FAKE_WORKER"),
            mediator->folder, strstr(settings, "spare-workers") ? "" : "spare-workers=0\n",
            strstr(settings, "metrics=") ? "" : "metrics=none\n", settings);
    fclose(config);
    test_mediator_start(mediator);
}

static void exec_mediator(const struct test_mediator *mediator, const char *notify)
{
    const char *program = getenv("VGPU_MEDIATOR");
    int log = open(mediator->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    setenv("NOTIFY_SOCKET", notify, 1);
    if (program)
        execl(program, "vgpu-mediator", "--config", mediator->config, NULL);
    _exit(127);
}

void test_mediator_start(struct test_mediator *mediator)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct pollfd waiting = {.fd = notify, .events = POLLIN};
    char text[64] = "";

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", mediator->folder);
    assert_int_equal(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);
    mediator->pid = fork();
    assert_true(mediator->pid >= 0);
    if (mediator->pid == 0)
        exec_mediator(mediator, address.sun_path);
    assert_int_equal(poll(&waiting, 1, 10000), 1);
    assert_true(recv(notify, text, sizeof(text) - 1, 0) > 0);
    assert_int_equal(strncmp(text, "READY=1\n", 8), 0);
    close(notify);
    unlink(address.sun_path);
}

int test_mediator_stop(struct test_mediator *mediator, int signal_number)
{
    int status;

    kill(mediator->pid, signal_number);
    assert_int_equal(waitpid(mediator->pid, &status, 0), mediator->pid);
    mediator->pid = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void test_mediator_destroy(struct test_mediator *mediator)
{
    char command[128];

    if (mediator->pid > 0)
        test_mediator_stop(mediator, SIGKILL);
    snprintf(command, sizeof(command), "rm -r %s", mediator->folder);
    assert_int_equal(system(command), 0);
}

static bool log_has(const struct test_mediator *mediator, const char *text)
{
    FILE *file = fopen(mediator->log, "r");
    char line[2048];
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return found;
}

void test_mediator_logged(const struct test_mediator *mediator, const char *text)
{
    uint64_t end = test_now() + 5000000000u;

    while (!log_has(mediator, text)) {
        if (test_now() > end)
            fail_msg("not in the log: %s", text);
        test_nap();
    }
}

uint32_t test_mediator_list_workers(const struct test_mediator *mediator, pid_t *pids,
                                    uint32_t most)
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc");
    struct dirent *entry;

    while ((entry = readdir(folder))) {
        char path[300], state = 'Z';
        int parent = 0;

        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        FILE *stat = fopen(path, "r");
        if (!stat)
            continue;
        if (fscanf(stat, "%*d (%*[^)]) %c %d", &state, &parent) == 2 && state != 'Z')
            parent = parent == mediator->pid;
        else
            parent = 0;
        if (parent && count < most)
            pids[count] = atoi(entry->d_name);
        count += (uint32_t)parent;
        fclose(stat);
    }
    closedir(folder);
    return count;
}

uint32_t test_mediator_workers(const struct test_mediator *mediator)
{
    return test_mediator_list_workers(mediator, NULL, 0);
}

long long test_mediator_field(const struct test_mediator *mediator, const char *vm,
                              const char *field)
{
    char command[256], text[16384], name[80];

    snprintf(command, sizeof(command), "%s --json --socket %s", getenv("VGPU_STATUS"),
             mediator->admin);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(text, 1, sizeof(text) - 1, pipe);
    text[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    snprintf(name, sizeof(name), "\"vm\": \"%s\"", vm ? vm : "");
    char *object = vm ? strstr(text, name) : strstr(text, "\"mediator\": {");
    if (!object)
        return -1;
    *strchr(object, '}') = '\0';
    snprintf(name, sizeof(name), "\"%s\": ", field);
    char *value = strstr(object, name);
    return value ? strtoll(value + strlen(name), NULL, 10) : -1;
}

void test_client_create(struct test_client *client)
{
    client->socket = -1;
    client->window_size = 64ull << 20;
    client->window_fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(client->window_fd >= 0);
    assert_int_equal(ftruncate(client->window_fd, (off_t)client->window_size), 0);
    assert_int_equal(fcntl(client->window_fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    client->window =
        mmap(NULL, client->window_size, PROT_READ | PROT_WRITE, MAP_SHARED, client->window_fd, 0);
    assert_ptr_not_equal(client->window, MAP_FAILED);
    for (uint32_t i = 0; i < CLIENT_CHANNELS; i++)
        client->doorbells[i] = eventfd(0, EFD_CLOEXEC);
    for (uint32_t i = 0; i < CLIENT_VECTORS; i++)
        client->interrupts[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void test_client_destroy(struct test_client *client)
{
    if (client->socket >= 0)
        close(client->socket);
    munmap(client->window, client->window_size);
    close(client->window_fd);
    for (uint32_t i = 0; i < CLIENT_CHANNELS; i++)
        close(client->doorbells[i]);
    for (uint32_t i = 0; i < CLIENT_VECTORS; i++)
        close(client->interrupts[i]);
}

void test_client_connect(struct test_client *client, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval limit = {.tv_sec = 5};

    if (client->socket >= 0)
        close(client->socket);
    client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(client->socket, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(client->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

ssize_t test_client_send(struct test_client *client, uint16_t op, const void *body, size_t length,
                         const int *descriptors, size_t count)
{
    struct vgpu_control_header header = {.magic = VGPU_CONTROL_MAGIC,
                                         .version = VGPU_CONTROL_VERSION,
                                         .op = op,
                                         .length = (uint32_t)length};
    struct iovec parts[] = {{&header, sizeof(header)}, {(void *)(uintptr_t)body, length}};
    char control[CMSG_SPACE(64 * sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (count) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(part), descriptors, count * sizeof(int));
    }
    return sendmsg(client->socket, &message, MSG_NOSIGNAL);
}

struct vgpu_control_hello test_client_hello(const struct test_client *client, const char *vm)
{
    struct vgpu_control_hello hello = {
        .window_size = client->window_size,
        .channels = CLIENT_CHANNELS,
        .vectors = CLIENT_VECTORS,
        .priority = VGPU_PRIORITY_HIGH,
        .pool = 'B',
    };

    snprintf(hello.vm, sizeof(hello.vm), "%s", vm);
    return hello;
}

void test_client_send_eventfds(struct test_client *client)
{
    for (uint32_t first = 0; first < CLIENT_CHANNELS; first += VGPU_CONTROL_DESCRIPTORS_MAX) {
        uint32_t left = CLIENT_CHANNELS - first;
        struct vgpu_control_descriptors message = {
            .kind = VGPU_DESCRIPTOR_DOORBELL,
            .first = first,
            .count = left < VGPU_CONTROL_DESCRIPTORS_MAX ? left : VGPU_CONTROL_DESCRIPTORS_MAX,
        };

        test_client_send(client, VGPU_CONTROL_DESCRIPTORS, &message, sizeof(message),
                         client->doorbells + first, message.count);
    }
    struct vgpu_control_descriptors message = {
        .kind = VGPU_DESCRIPTOR_INTERRUPT, .first = 0, .count = CLIENT_VECTORS};
    test_client_send(client, VGPU_CONTROL_DESCRIPTORS, &message, sizeof(message),
                     client->interrupts, CLIENT_VECTORS);
}

int test_client_receive(struct test_client *client, void *body, size_t size)
{
    struct vgpu_control_header header;

    if (recv(client->socket, &header, sizeof(header), MSG_WAITALL) != sizeof(header))
        return 0;
    assert_int_equal(header.magic, VGPU_CONTROL_MAGIC);
    assert_int_equal(header.version, VGPU_CONTROL_VERSION);
    assert_true(header.length <= size);
    assert_int_equal(recv(client->socket, body, header.length, MSG_WAITALL), header.length);
    return header.op;
}

struct vgpu_control_welcome test_client_attach(struct test_client *client, const char *path,
                                               const char *vm)
{
    struct vgpu_control_hello hello = test_client_hello(client, vm);
    union {
        struct vgpu_control_welcome welcome;
        struct vgpu_control_refused refused;
    } body;

    test_client_connect(client, path);
    test_client_send(client, VGPU_CONTROL_HELLO, &hello, sizeof(hello), &client->window_fd, 1);
    test_client_send_eventfds(client);
    int op = test_client_receive(client, &body, sizeof(body));
    if (op == VGPU_CONTROL_REFUSED)
        fail_msg("refused: %s", body.refused.text);
    assert_int_equal(op, VGPU_CONTROL_WELCOME);
    return body.welcome;
}

const char *test_client_refusal(struct test_client *client)
{
    static struct vgpu_control_refused refused;
    char byte;

    assert_int_equal(test_client_receive(client, &refused, sizeof(refused)), VGPU_CONTROL_REFUSED);
    assert_int_equal(recv(client->socket, &byte, 1, 0), 0); /* and then it hangs up */
    return refused.text;
}

void test_client_post(struct test_client *client, uint32_t id, const void *request, size_t length)
{
    struct vgpu_control_mailbox mailbox = {.id = id, .length = (uint32_t)length};

    memcpy(mailbox.data, request, length);
    test_client_send(client, VGPU_CONTROL_MAILBOX, &mailbox, sizeof(mailbox), NULL, 0);
}

size_t test_client_answer(struct test_client *client, uint32_t id, void *response)
{
    struct vgpu_control_mailbox mailbox = {0};

    assert_int_equal(test_client_receive(client, &mailbox, sizeof(mailbox)), VGPU_CONTROL_MAILBOX);
    assert_int_equal(mailbox.id, id);
    assert_in_range(mailbox.length, sizeof(struct vgpu_mailbox_response), VGPU_MAILBOX_BYTES);
    memcpy(response, mailbox.data, mailbox.length);
    return mailbox.length;
}

size_t test_client_mailbox(struct test_client *client, const void *request, size_t length,
                           void *response)
{
    test_client_post(client, 7, request, length);
    return test_client_answer(client, 7, response);
}

uint32_t test_client_open(struct test_client *client, const char *command,
                          struct vgpu_mailbox_channel *out)
{
    struct vgpu_mailbox_client request = {
        .request.op = VGPU_MAILBOX_CHANNEL_OPEN,
        .protocol_hash = VGPU_PROTOCOL_HASH,
        .version = VGPU_PROTOCOL_VERSION,
        .process = 1234,
    };
    union {
        struct vgpu_mailbox_channel channel;
        uint8_t bytes[VGPU_MAILBOX_BYTES];
    } response = {0};

    snprintf(request.program, sizeof(request.program), "%s", command);
    size_t length = test_client_mailbox(client, &request, sizeof(request), &response);
    if (response.channel.response.status == VGPU_MAILBOX_OK) {
        assert_int_equal(length, sizeof(response.channel));
        *out = response.channel;
    }
    return response.channel.response.status;
}

uint32_t test_client_close(struct test_client *client, uint32_t channel, uint32_t key)
{
    const struct vgpu_mailbox_channel_close request = {
        .request.op = VGPU_MAILBOX_CHANNEL_CLOSE, .channel = channel, .key = key};
    union {
        struct vgpu_mailbox_response response;
        uint8_t bytes[VGPU_MAILBOX_BYTES];
    } answer = {0};

    test_client_mailbox(client, &request, sizeof(request), &answer);
    return answer.response.status;
}

void test_client_await_state(struct test_client *client, uint32_t channel, uint32_t state)
{
    const struct vgpu_channel_entry *entry = vgpu_window_entry(client->window, channel);

    test_await(__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) == state, 1);
}

bool test_client_is_alive(struct test_client *client)
{
    const struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_STATUS};
    uint8_t response[VGPU_MAILBOX_BYTES];

    return test_client_mailbox(client, &request, sizeof(request), response) ==
           sizeof(struct vgpu_mailbox_vm_status);
}
