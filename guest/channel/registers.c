/* SPDX-License-Identifier: MIT */
#include "guest/channel/registers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS  1000000000ll
#define LOCK_LIMIT   (60 * NANOSECONDS)
#define BUSY_LIMIT   (10 * NANOSECONDS)
#define ANSWER_LIMIT (120 * NANOSECONDS)
#define RING_AGAIN   (NANOSECONDS / 10)

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

/* Waits a little, the longer the longer one waits already. */
static void pause_since(int64_t start)
{
    int64_t waited = now() - start;
    int64_t pause = waited / 8 < 2000000 ? waited / 8 : 2000000;
    struct timespec time = {.tv_nsec = (long)pause};
    if (waited > 20000)
        nanosleep(&time, NULL);
}

static bool set_lock(int file, short type, int byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(file, F_OFD_SETLK, &lock) == 0;
}

bool vgpu_registers_try_lock(int file, int byte)
{
    return set_lock(file, F_WRLCK, byte);
}

void vgpu_registers_unlock(int file, int byte)
{
    set_lock(file, F_UNLCK, byte);
}

int vgpu_registers_lock_mailbox(int file)
{
    /* Tried, not waited for in the kernel: its holder may be a stopped process. */
    int64_t start = now();
    while (!vgpu_registers_try_lock(file, VGPU_LOCK_MAILBOX)) {
        if (now() - start > LOCK_LIMIT)
            return -EBUSY;
        pause_since(start);
    }
    return 0;
}

/* The mailbox buffers are registers: 32-bit accesses only. */
static void write_buffer(volatile uint8_t *buffer, const uint8_t *data, size_t bytes)
{
    volatile uint32_t *words = (volatile uint32_t *)buffer;
    for (size_t at = 0; at < bytes; at += 4) {
        uint32_t word = 0;
        memcpy(&word, data + at, bytes - at < 4 ? bytes - at : 4);
        words[at / 4] = word;
    }
}

static void read_buffer(uint8_t *data, const volatile uint8_t *buffer, size_t bytes)
{
    const volatile uint32_t *words = (const volatile uint32_t *)buffer;
    for (size_t at = 0; at < bytes; at += 4) {
        uint32_t word = words[at / 4];
        memcpy(data + at, &word, bytes - at < 4 ? bytes - at : 4);
    }
}

static bool busy(volatile struct vgpu_registers *registers)
{
    return registers->status & VGPU_STATUS_MAILBOX_BUSY;
}

static int ring_and_wait(volatile struct vgpu_registers *registers, uint32_t id)
{
    /* What was written to the window must be there before the host hears of it. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    int64_t start = now(), rung = start;
    registers->mailbox_doorbell = 1;
    while (busy(registers) || registers->response_id != id) {
        int64_t time = now();
        if (busy(registers)) {
            rung = time;
        } else if (time - rung > RING_AGAIN) {
            /* Idle, and the answer is not ours: our ring met someone else's request. */
            registers->mailbox_doorbell = 1;
            rung = time;
        }
        if (time - start > ANSWER_LIMIT)
            return -EIO;
        pause_since(start);
    }
    return 0;
}

int vgpu_registers_exchange(volatile struct vgpu_registers *registers, const void *request,
                            size_t length, void *response)
{
    if (length == 0 || length > VGPU_MAILBOX_BYTES)
        return -EMSGSIZE;
    int64_t start = now();
    while (busy(registers)) { /* a process was killed while it waited for its answer */
        if (now() - start > BUSY_LIMIT)
            return -EBUSY;
        pause_since(start);
    }
    uint32_t id = registers->response_id + 1;
    write_buffer(registers->request, request, length);
    registers->request_id = id;
    registers->request_length = (uint32_t)length;
    int error = ring_and_wait(registers, id);
    if (error)
        return error;
    switch (registers->error) {
    case VGPU_DEVICE_OK:
        break;
    case VGPU_DEVICE_BUSY:
        return -EBUSY;
    case VGPU_DEVICE_BAD_LENGTH:
        return -EMSGSIZE;
    case VGPU_DEVICE_AWAY:
        return -EHOSTDOWN;
    default:
        return -EIO;
    }
    uint32_t answered = registers->response_length;
    if (answered == 0 || answered > VGPU_MAILBOX_BYTES)
        return -EIO;
    read_buffer(response, registers->response, answered);
    return (int)answered;
}
