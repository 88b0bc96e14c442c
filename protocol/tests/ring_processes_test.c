/* SPDX-License-Identifier: MIT */
/* A producer and a consumer in two processes, as in life: nothing is lost, reordered or slept
 * through. */
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/ring.h"

/* Races need many; a sanitizer sees in the first what it would see in all. */
#ifdef __SANITIZE_ADDRESS__
#define RECORDS 200000u
#else
#define RECORDS 1000000u
#endif
#define SLEEPY_RECORDS         100000u
#define LOST_WAKE_MILLISECONDS 5000

enum consumer_end {
    CONSUMER_DONE = 0,
    CONSUMER_FAULT = 1,
    CONSUMER_DISORDER = 2,
    CONSUMER_OVERSLEPT = 3
};

static uint32_t next_random(uint32_t *random)
{
    *random = *random * 1664525 + 1013904223;
    return *random >> 8;
}

static void nap(uint32_t nanoseconds)
{
    struct timespec time = {.tv_nsec = nanoseconds};
    nanosleep(&time, NULL);
}

static void idle_for(uint32_t turns)
{
    for (volatile uint32_t i = 0; i < turns; i++)
        continue;
}

static uint32_t payload_size(uint32_t sequence)
{
    return sequence % 97 == 0 ? 3000 : sequence % 64;
}

/* Sleeps as a worker does; false if no doorbell came although records did not either. */
static bool sleep_until_rung(struct vgpu_ring_consumer *ring, int doorbell)
{
    uint64_t count;
    struct pollfd event = {.fd = doorbell, .events = POLLIN};
    if (!vgpu_ring_sleep(ring))
        return true;
    bool rung = poll(&event, 1, LOST_WAKE_MILLISECONDS) == 1 &&
                read(doorbell, &count, sizeof(count)) == sizeof(count);
    vgpu_ring_awake(ring);
    return rung;
}

static enum consumer_end consume(void *extent, int doorbell, uint32_t records, uint32_t spins)
{
    static uint8_t payload[VGPU_PAYLOAD_MAX];
    struct vgpu_ring_consumer ring;
    struct vgpu_call_header header;
    uint32_t random = 5, idle = 0;
    vgpu_ring_consumer_init(&ring, extent);
    for (uint32_t sequence = 1; sequence <= records;) {
        int got = vgpu_ring_pop(&ring, &header, payload);
        if (got < 0)
            return CONSUMER_FAULT;
        if (got == 0) {
            if (++idle <= spins)
                continue;
            idle_for(next_random(&random) % 256); /* what comes now is seen by vgpu_ring_sleep() */
            if (!sleep_until_rung(&ring, doorbell))
                return CONSUMER_OVERSLEPT;
            continue;
        }
        idle = 0;
        uint32_t bytes = payload_size(sequence);
        if (header.sequence != sequence || header.payload_bytes != bytes ||
            (bytes && (payload[0] != (uint8_t)sequence || payload[bytes - 1] != (uint8_t)sequence)))
            return CONSUMER_DISORDER;
        if (next_random(&random) % 50000 == 0)
            nap(2000000);
        sequence++;
    }
    return CONSUMER_DONE;
}

/* After every second record the consumer is waited for, so that nothing covers up a lost wake; the
 * second comes about when the consumer goes to sleep after the first. */
static bool lag(struct vgpu_ring_producer *ring, uint32_t sequence, uint32_t turns)
{
    time_t end = time(NULL) + LOST_WAKE_MILLISECONDS / 1000 + 1;
    idle_for(turns);
    while (sequence % 2 == 0 &&
           __atomic_load_n(&ring->indices->head, __ATOMIC_ACQUIRE) != ring->tail) {
        if (time(NULL) > end)
            return false;
    }
    return true;
}

static void produce(void *extent, int doorbell, uint32_t records, uint32_t nap_each, bool lags)
{
    static uint8_t payload[4096];
    struct vgpu_ring_producer ring;
    uint64_t one = 1;
    uint32_t random = 9;
    vgpu_ring_producer_init(&ring, extent);
    for (uint32_t sequence = 1; sequence <= records; sequence++) {
        struct vgpu_call_header header = {.sequence = sequence,
                                          .payload_bytes = payload_size(sequence)};
        bool wake;
        memset(payload, (int)sequence, header.payload_bytes);
        while (!vgpu_ring_push(&ring, &header, payload, header.payload_bytes, NULL, 0, &wake))
            nap(20000);
        if (wake)
            assert_int_equal(write(doorbell, &one, sizeof(one)), sizeof(one));
        if (lags && !lag(&ring, sequence, next_random(&random) % 2048))
            break;
        if (next_random(&random) % nap_each == 0)
            nap(next_random(&random) % 100000);
    }
}

/* On a CPU of its own where there are two: races need both sides at once. */
static void settle_on(uint32_t cpu)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &allowed) && cpu-- == 0)
            CPU_SET(i, &one);
    }
    if (CPU_COUNT(&one) == 1)
        sched_setaffinity(0, sizeof(one), &one);
}

static void run(uint32_t records, uint32_t spins, uint32_t nap_each, bool lags)
{
    void *extent =
        mmap(NULL, VGPU_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int doorbell = eventfd(0, 0);
    pid_t consumer = fork();
    if (consumer == 0) {
        settle_on(1);
        _exit(consume(extent, doorbell, records, spins));
    }
    cpu_set_t before;
    sched_getaffinity(0, sizeof(before), &before);
    settle_on(0);
    produce(extent, doorbell, records, nap_each, lags);
    int status;
    assert_int_equal(waitpid(consumer, &status, 0), consumer);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CONSUMER_DONE);
    sched_setaffinity(0, sizeof(before), &before);
    munmap(extent, VGPU_CHANNEL_BYTES);
    close(doorbell);
}

static void a_million_records_arrive_in_order(void **state)
{
    (void)state;
    run(RECORDS, 1000, 20000, false);
}

static void a_consumer_that_always_sleeps_is_always_woken(void **state)
{
    (void)state;
    run(SLEEPY_RECORDS, 0, 1000, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_records_arrive_in_order),
        cmocka_unit_test(a_consumer_that_always_sleeps_is_always_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
