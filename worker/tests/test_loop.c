/* SPDX-License-Identifier: MIT */
/* The loop, in a process of its own, over a real ring in shared memory. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/calls.h"
#include "protocol/ring.h"
#include "worker/primitive.h"
#include "worker/tests/fixture.h"

#define PATIENCE_MILLISECONDS 20000

enum {
    LEASE_LATE = 150000,   /* nanoseconds: a worker that goes to sleep does so by then */
    LEASE_SEEN = 20000000, /* one that is awake has seen the lease */
    LEASE_ROUNDS = 200,    /* in most of them a loaded machine takes the worker's processor */
};

/* How many processors there are for a worker that starts; 0: as many as there are. */
static long processors;

long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN && processors ? processors : __real_sysconf(name);
}

struct guest {
    pid_t worker;
    int socket, doorbell, interrupt;
    uint8_t *extent;
    struct vgpu_channel_header *header;
    struct vgpu_ring_producer ring;
    struct vgpu_worker_page *page;
    uint32_t sequence;
};

static void *share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

/* Nothing runs any more. */
static CUresult wait_for_ever(CUstream stream, CUdeviceptr address, cuuint32_t value,
                              unsigned int flags)
{
    (void)stream, (void)address, (void)value, (void)flags;
    fake.queued = true;
    return CUDA_SUCCESS;
}

static int run_worker(const struct guest *guest, int socket, bool with_extent)
{
    struct vgpu_worker worker;
    struct vgpu_primitive primitive;
    struct vgpu_ledger_page ledger = {.quota = QUOTA};
    const struct vgpu_driver *driver = fake_driver();
    fake_driver_table()->cuStreamWaitValue32 = wait_for_ever;
    if (vgpu_worker_create(&worker, driver, guest->page, &ledger) < 0)
        return 99;
    worker.socket = socket;
    worker.doorbell = guest->doorbell;
    worker.interrupt = guest->interrupt;
    worker.extent = with_extent ? guest->extent : NULL;
    vgpu_primitive_init(&primitive, driver, CUDA_SUCCESS);
    return vgpu_loop_run(&worker, &primitive);
}

static struct guest start(bool with_extent)
{
    struct guest guest = {.doorbell = eventfd(0, EFD_NONBLOCK),
                          .interrupt = eventfd(0, EFD_NONBLOCK),
                          .extent = share(VGPU_CHANNEL_BYTES),
                          .page = share(sizeof(struct vgpu_worker_page))};
    int sockets[2];
    guest.header = (struct vgpu_channel_header *)guest.extent;
    vgpu_ring_producer_init(&guest.ring, guest.extent);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
    guest.worker = fork();
    assert_true(guest.worker >= 0);
    if (guest.worker == 0) {
        close(sockets[0]);
        _exit(run_worker(&guest, sockets[1], with_extent));
    }
    close(sockets[1]);
    guest.socket = sockets[0];
    return guest;
}

static int end_status(struct guest *guest)
{
    int status;
    assert_int_equal(waitpid(guest->worker, &status, 0), guest->worker);
    close(guest->socket);
    close(guest->doorbell);
    close(guest->interrupt);
    munmap(guest->extent, VGPU_CHANNEL_BYTES);
    munmap(guest->page, sizeof(*guest->page));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int hang_up(struct guest *guest)
{
    shutdown(guest->socket, SHUT_RDWR);
    return end_status(guest);
}

static void pause_for(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void push(struct guest *guest, struct vgpu_call_header *header, const void *payload)
{
    bool wake = false;
    header->sequence = ++guest->sequence;
    while (!vgpu_ring_push(&guest->ring, header, payload, header->payload_bytes, NULL, 0, &wake))
        pause_for(1);
    uint64_t one = 1;
    if (wake)
        assert_int_equal(write(guest->doorbell, &one, sizeof(one)), sizeof(one));
}

static void push_call(struct guest *guest, enum vgpu_call call, uint32_t context,
                      const uint32_t *words, size_t count)
{
    struct vgpu_call_header header = {.call = (uint16_t)call, .context = context};
    bool sync = call == VGPU_CALL_cuDevicePrimaryCtxRetain || call == VGPU_CALL_cuMemAlloc;
    header.flags = sync ? VGPU_CALL_WANTS_REPLY : 0;
    memcpy(header.arguments, words, count * sizeof(*words));
    push(guest, &header, NULL);
}

/* Waits until *word is `value`; the test fails if that takes unreasonably long. */
static void await(const uint32_t *word, uint32_t value)
{
    for (int i = 0; i < PATIENCE_MILLISECONDS; i++) {
        if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
            return;
        pause_for(1);
    }
    fail_msg("%u did not come, but %u", value, *word);
}

static struct vgpu_result await_reply(struct guest *guest)
{
    struct vgpu_reply_slot *slot =
        (struct vgpu_reply_slot *)(guest->extent + VGPU_CHANNEL_REPLIES_OFFSET);
    await(&slot->sequence, guest->sequence);
    return slot->result;
}

static void make_context(struct guest *guest)
{
    push_call(guest, VGPU_CALL_cuDevicePrimaryCtxRetain, 0, (uint32_t[]){CONTEXT, 0}, 2);
    assert_int_equal(await_reply(guest).result, CUDA_SUCCESS);
}

static uint32_t *fence(struct guest *guest, uint32_t index)
{
    return (uint32_t *)(guest->extent + VGPU_CHANNEL_FENCES_OFFSET) + index;
}

static void calls_are_answered_and_fences_written(void **state)
{
    (void)state;
    struct guest guest = start(true);
    make_context(&guest);
    push_call(&guest, VGPU_CALL_cuMemAlloc, CONTEXT, (uint32_t[]){1000, 0}, 2);
    struct vgpu_result result = await_reply(&guest);
    assert_int_equal(result.result, CUDA_SUCCESS);
    assert_int_not_equal(result.output[0], 0);
    push_call(&guest, VGPU_CALL_vgpuFence, CONTEXT, (uint32_t[]){0, 7, 3}, 3);
    await(fence(&guest, 7), 3);
    assert_int_equal(guest.page->calls_total, 3);
    assert_int_equal(guest.page->calls[VGPU_CALL_cuMemAlloc], 1);
    assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
}

static void a_long_stream_of_records_keeps_its_order(void **state)
{
    (void)state;
    struct guest guest = start(true);
    static uint8_t payload[VGPU_PAYLOAD_MAX];
    make_context(&guest);
    push_call(&guest, VGPU_CALL_cuMemAlloc, CONTEXT, (uint32_t[]){VGPU_PAYLOAD_MAX, 0}, 2);
    uint64_t address = await_reply(&guest).output[0];
    for (uint32_t i = 1; i <= 3000; i++) { /* many times around the ring */
        struct vgpu_call_header header = {.call = VGPU_CALL_vgpuCopyInline, .context = CONTEXT};
        header.payload_bytes = i * 7919 % sizeof(payload) + 4;
        if (header.payload_bytes > sizeof(payload))
            header.payload_bytes = sizeof(payload);
        memcpy(payload, &i, sizeof(i));
        memcpy(header.arguments, &address, sizeof(address));
        push(&guest, &header, payload);
        uint32_t words[] = {
            (uint32_t)address, (uint32_t)(address >> 32), 0, 0, 4, 0, 1, 0, i % 1000 * 4, 0};
        push_call(&guest, VGPU_CALL_vgpuCopyFromDevice, CONTEXT, words, 10);
        if (i % 1000 == 0) {
            push_call(&guest, VGPU_CALL_vgpuFence, CONTEXT, (uint32_t[]){0, 1, i}, 3);
            await(fence(&guest, 1), i);
            const uint32_t *staging =
                (const uint32_t *)(guest.extent + VGPU_CHANNEL_STAGING_OFFSET);
            for (uint32_t k = i - 999; k <= i; k++)
                assert_int_equal(staging[k % 1000], k);
        }
    }
    assert_int_equal(guest.header->deferred_error, 0);
    assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
}

static void garbage_ends_the_worker(void **state)
{
    (void)state;
    for (int how = 0; how < 5; how++) {
        struct guest guest = start(true);
        make_context(&guest);
        struct vgpu_call_header header = {.call = how == 0 ? 499 : VGPU_CALL_vgpuFence,
                                          .context = CONTEXT};
        uint64_t one = 1, tail = guest.ring.tail;
        if (how == 1) {
            header.payload_bytes = 8; /* a fence has no payload */
            push(&guest, &header, "garbage");
        } else if (how == 2) {
            memset(header.arguments, 0xff, sizeof(header.arguments));
            memset(header.arguments, 0, 4); /* stream */
            push(&guest, &header, NULL);
        } else if (how == 0) {
            push(&guest, &header, NULL);
        } else {
            tail = how == 3 ? tail - 64 : tail + VGPU_RING_BYTES + 64;
            __atomic_store_n(&guest.header->ring.tail, tail, __ATOMIC_SEQ_CST);
            assert_int_equal(write(guest.doorbell, &one, sizeof(one)), sizeof(one));
        }
        assert_int_equal(end_status(&guest), VGPU_WORKER_EXIT_PROTOCOL);
    }
}

static uint64_t processor_time(pid_t pid)
{
    clockid_t clock;
    struct timespec time;
    assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &time), 0);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void an_idle_worker_costs_nothing_and_wakes(void **state)
{
    (void)state;
    struct guest guest = start(true);
    make_context(&guest);
    push_call(&guest, VGPU_CALL_vgpuFence, CONTEXT, (uint32_t[]){0, 7, 1}, 3);
    await(fence(&guest, 7), 1);
    await(&guest.header->ring.consumer_sleeps, 1);
    pause_for(20);
    uint64_t before = processor_time(guest.worker);
    pause_for(300);
    assert_true(processor_time(guest.worker) - before < 1000000);
    push_call(&guest, VGPU_CALL_vgpuFence, CONTEXT, (uint32_t[]){0, 7, 2}, 3);
    await(fence(&guest, 7), 2);
    assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
}

static void so_does_one_whose_guest_has_a_stream_wait(void **state)
{
    (void)state;
    struct guest guest = start(true);
    make_context(&guest);
    push_call(&guest, VGPU_CALL_cuStreamWaitValue32, CONTEXT, (uint32_t[]){0, 0, 4096, 0, 1, 0}, 6);
    pause_for(20);
    await(&guest.header->ring.consumer_sleeps, 1);
    uint64_t before = processor_time(guest.worker);
    pause_for(300);
    assert_true(processor_time(guest.worker) - before < 1000000);
    assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
}

/* Until *word is `value` or that many nanoseconds have passed, awake. */
static bool soon(const uint32_t *word, uint32_t value, uint64_t nanoseconds)
{
    uint64_t begin = vgpu_timing_now();
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
        if (vgpu_timing_now() - begin > nanoseconds)
            return false;
        sched_yield();
    }
    return true;
}

/* The worker, asleep, is sent work, asks for a lease and gets it a little later, of which nobody
 * tells it. Returns whether it has seen that. */
static bool sees_a_lease(struct guest *guest, uint64_t address, uint32_t round)
{
    struct vgpu_worker_lease *lease = &guest->page->lease;
    struct vgpu_call_header header = {
        .call = VGPU_CALL_vgpuCopyInline, .context = CONTEXT, .payload_bytes = 4};
    const struct vgpu_worker_message look = {.op = VGPU_WORKER_LEASE};
    const size_t head = offsetof(struct vgpu_worker_message, data);
    struct vgpu_worker_message said;

    await(&guest->header->ring.consumer_sleeps, 1);
    pause_for(1);
    lease->window = 1000000;
    __atomic_store_n(&lease->state, VGPU_LEASE_NONE, __ATOMIC_RELEASE);
    memcpy(header.arguments, &address, sizeof(address));
    push(guest, &header, &round);
    push_call(guest, VGPU_CALL_vgpuFence, CONTEXT, (uint32_t[]){0, 7, round}, 3);
    assert_true(soon(&lease->wants, 1, PATIENCE_MILLISECONDS * 1000000ull));
    assert_false(soon(&lease->wants, 0, LEASE_LATE));
    __atomic_store_n(&lease->state, VGPU_LEASE_BOUNDED, __ATOMIC_RELEASE);
    bool seen = soon(fence(guest, 7), round, LEASE_SEEN);
    if (!seen)
        assert_int_equal(send(guest->socket, &look, head, 0), (ssize_t)head);
    await(fence(guest, 7), round);
    while (recv(guest->socket, &said, sizeof(said), MSG_DONTWAIT) > 0)
        continue;
    return seen;
}

static void who_has_rested_stays_awake_for_a_lease(void **state)
{
    (void)state;
    uint32_t seen = 0;
    processors = 16;
    struct guest guest = start(true);
    processors = 0;
    make_context(&guest);
    push_call(&guest, VGPU_CALL_cuMemAlloc, CONTEXT, (uint32_t[]){4096, 0}, 2);
    uint64_t address = await_reply(&guest).output[0];
    for (uint32_t round = 1; round <= LEASE_ROUNDS && seen < 3; round++)
        seen += sees_a_lease(&guest, address, round);
    assert_int_equal(seen, 3);
    assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
}

static void a_sleeping_guest_gets_the_interrupt(void **state)
{
    (void)state;
    struct guest guest = start(true);
    make_context(&guest);
    __atomic_store_n(&guest.header->guest_sleeps, 1, __ATOMIC_SEQ_CST);
    push_call(&guest, VGPU_CALL_vgpuFence, CONTEXT, (uint32_t[]){0, 7, 1}, 3);
    struct pollfd interrupt = {.fd = guest.interrupt, .events = POLLIN};
    assert_int_equal(poll(&interrupt, 1, PATIENCE_MILLISECONDS), 1);
    assert_int_equal(*fence(&guest, 7), 1);
    assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
}

static void ask(struct guest *guest, struct vgpu_worker_message *message)
{
    const size_t head = offsetof(struct vgpu_worker_message, data);
    struct pollfd answer = {.fd = guest->socket, .events = POLLIN};
    size_t bytes = head + message->length;
    assert_int_equal(send(guest->socket, message, bytes, 0), (ssize_t)bytes);
    assert_int_equal(poll(&answer, 1, PATIENCE_MILLISECONDS), 1);
    ssize_t got = recv(guest->socket, message, sizeof(*message), 0);
    assert_true(got >= (ssize_t)head);
    assert_int_equal(message->length, (size_t)got - head);
}

static void the_mediator_is_answered(void **state)
{
    (void)state;
    for (int with_extent = 0; with_extent < 2; with_extent++) {
        struct guest guest = start(with_extent);
        struct vgpu_worker_message message = {.op = VGPU_WORKER_PROBE};
        if (with_extent)
            make_context(&guest);
        ask(&guest, &message);
        struct vgpu_worker_probe probe;
        assert_int_equal(message.length, sizeof(probe));
        memcpy(&probe, message.data, sizeof(probe));
        assert_int_equal(probe.result, CUDA_SUCCESS);
        assert_string_equal(probe.gpu, "fake GPU");
        assert_int_equal(probe.is_software, 0);

        struct vgpu_mailbox_vector_add add = {.request = {.op = VGPU_MAILBOX_VECTOR_ADD},
                                              .count = 3};
        struct vgpu_mailbox_response response;
        message.op = VGPU_WORKER_PRIMITIVE;
        message.length = sizeof(add);
        memcpy(message.data, &add, sizeof(add));
        ask(&guest, &message);
        memcpy(&response, message.data, sizeof(response));
        assert_int_equal(response.status, VGPU_MAILBOX_OK);
        assert_int_equal(message.length, sizeof(struct vgpu_mailbox_vector_sum));

        add.count = VGPU_VECTOR_ADD_MAX + 1;
        message.op = VGPU_WORKER_PRIMITIVE;
        message.length = sizeof(add);
        memcpy(message.data, &add, sizeof(add));
        ask(&guest, &message);
        memcpy(&response, message.data, sizeof(response));
        assert_int_equal(response.status, VGPU_MAILBOX_BAD_LENGTH);

        message.op = VGPU_WORKER_PRIMITIVE;
        message.length = 4;
        ask(&guest, &message);
        memcpy(&response, message.data, sizeof(response));
        assert_int_equal(response.status, VGPU_MAILBOX_BAD_OP);
        if (with_extent) { /* and the guest's context is what it was */
            push_call(&guest, VGPU_CALL_cuMemAlloc, CONTEXT, (uint32_t[]){1000, 0}, 2);
            assert_int_equal(await_reply(&guest).result, CUDA_SUCCESS);
        }
        assert_int_equal(hang_up(&guest), VGPU_WORKER_EXIT_OK);
    }
}

static void a_busy_worker_notices_the_end(void **state)
{
    (void)state;
    struct guest guest = start(true);
    make_context(&guest);
    siginfo_t ended = {0};
    for (uint32_t i = 1; ended.si_pid == 0; i++) {
        struct vgpu_call_header header = {.call = VGPU_CALL_vgpuFence, .context = CONTEXT};
        uint32_t words[] = {0, 7, i};
        bool wake;
        memcpy(header.arguments, words, sizeof(words));
        vgpu_ring_push(&guest.ring, &header, NULL, 0, NULL, 0, &wake); /* full: never mind */
        if (i == 10000)
            shutdown(guest.socket, SHUT_RDWR);
        assert_int_equal(waitid(P_PID, (id_t)guest.worker, &ended, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    assert_int_equal(end_status(&guest), VGPU_WORKER_EXIT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered_and_fences_written),
        cmocka_unit_test(a_long_stream_of_records_keeps_its_order),
        cmocka_unit_test(garbage_ends_the_worker),
        cmocka_unit_test(an_idle_worker_costs_nothing_and_wakes),
        cmocka_unit_test(so_does_one_whose_guest_has_a_stream_wait),
        cmocka_unit_test(who_has_rested_stays_awake_for_a_lease),
        cmocka_unit_test(a_sleeping_guest_gets_the_interrupt),
        cmocka_unit_test(the_mediator_is_answered),
        cmocka_unit_test(a_busy_worker_notices_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
