/* SPDX-License-Identifier: MIT */
#include "guest/nvml/device.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "guest/channel/transport.h"
#include "interop/log.h"

#define FRESH_NANOSECONDS 100000000u

/* The library's one state. */
static struct {
    pthread_mutex_t lock;
    unsigned int opened; /* how often */
    struct vgpu_transport *transport;
    uint64_t looked; /* when `device` was fetched; 0: never */
    struct vgpu_mailbox_device device;
} nvml = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What a handle points to: programs never look inside. */
static const char the_device[] = "vgpu device 0";

nvmlDevice_t vgpu_nvml_handle(void)
{
    return (nvmlDevice_t)(uintptr_t)the_device;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* One exchange; the answer must be of the expected size. Called with the lock. */
static nvmlReturn_t ask(const void *request, size_t length, void *answer, size_t size)
{
    uint64_t response[VGPU_MAILBOX_BYTES / sizeof(uint64_t)] = {0};
    const struct vgpu_mailbox_response *head = (const void *)response;
    int got = nvml.transport->operations->mailbox(nvml.transport, request, length, response);

    if (got < (int)sizeof(*head))
        return NVML_ERROR_GPU_IS_LOST;
    if (head->status != VGPU_MAILBOX_OK || (size_t)got != size)
        return NVML_ERROR_UNKNOWN;
    memcpy(answer, response, size);
    return NVML_SUCCESS;
}

/* In a guest the device is where the guest sees it; a host process sees the host's GPU. */
static void place(struct vgpu_mailbox_device *device)
{
    struct vgpu_pci_place seen;
    if (vgpu_transport_place(nvml.transport, &seen)) {
        device->pci_domain = seen.domain;
        device->pci_bus = seen.bus;
        device->pci_device = seen.device;
    }
}

static nvmlReturn_t refresh(void)
{
    const struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_DEVICE};
    uint64_t time = now();

    if (nvml.looked && time - nvml.looked < FRESH_NANOSECONDS)
        return NVML_SUCCESS;
    nvmlReturn_t error = ask(&request, sizeof(request), &nvml.device, sizeof(nvml.device));
    if (error)
        return error;
    nvml.device.gpu[sizeof(nvml.device.gpu) - 1] = '\0';
    nvml.device.driver[sizeof(nvml.device.driver) - 1] = '\0';
    place(&nvml.device);
    nvml.looked = time;
    return NVML_SUCCESS;
}

nvmlReturn_t vgpu_nvml_open(void)
{
    nvmlReturn_t error = NVML_SUCCESS;
    char message[256];

    pthread_mutex_lock(&nvml.lock);
    if (nvml.opened == 0 && vgpu_transport_open(&nvml.transport, message, sizeof(message)) < 0) {
        vgpu_log(VGPU_LOG_ERROR, "%s", message);
        error = NVML_ERROR_DRIVER_NOT_LOADED;
    } else {
        nvml.opened++;
    }
    pthread_mutex_unlock(&nvml.lock);
    return error;
}

nvmlReturn_t vgpu_nvml_close(void)
{
    nvmlReturn_t error = NVML_SUCCESS;

    pthread_mutex_lock(&nvml.lock);
    if (nvml.opened == 0) {
        error = NVML_ERROR_UNINITIALIZED;
    } else if (--nvml.opened == 0) {
        vgpu_transport_close(nvml.transport);
        nvml.transport = NULL;
        nvml.looked = 0;
    }
    pthread_mutex_unlock(&nvml.lock);
    return error;
}

nvmlReturn_t vgpu_nvml_look(nvmlDevice_t handle, struct vgpu_mailbox_device *device)
{
    nvmlReturn_t error = NVML_ERROR_UNINITIALIZED;

    pthread_mutex_lock(&nvml.lock);
    if (nvml.opened)
        error = handle == vgpu_nvml_handle() ? refresh() : NVML_ERROR_INVALID_ARGUMENT;
    if (error == NVML_SUCCESS)
        *device = nvml.device;
    pthread_mutex_unlock(&nvml.lock);
    return error;
}

nvmlReturn_t vgpu_nvml_reading(nvmlDevice_t handle, enum vgpu_reading reading,
                               unsigned long long *value)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);

    if (error)
        return error;
    if (value == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!(device.known >> reading & 1))
        return NVML_ERROR_NOT_SUPPORTED;
    *value = device.reading[reading];
    return NVML_SUCCESS;
}

nvmlReturn_t vgpu_nvml_word(nvmlDevice_t handle, enum vgpu_reading reading, unsigned int *value)
{
    unsigned long long wide;
    nvmlReturn_t error = vgpu_nvml_reading(handle, reading, &wide);

    if (error)
        return error;
    if (value == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *value = (unsigned int)wide;
    return NVML_SUCCESS;
}

nvmlReturn_t vgpu_nvml_processes(unsigned int first, struct vgpu_mailbox_processes *processes)
{
    const struct vgpu_mailbox_process_query query = {.request.op = VGPU_MAILBOX_PROCESSES,
                                                     .first = first};
    nvmlReturn_t error = NVML_ERROR_UNINITIALIZED;

    pthread_mutex_lock(&nvml.lock);
    if (nvml.opened)
        error = ask(&query, sizeof(query), processes, sizeof(*processes));
    pthread_mutex_unlock(&nvml.lock);
    if (error == NVML_SUCCESS && processes->count > VGPU_PROCESSES_MAX)
        error = NVML_ERROR_UNKNOWN;
    return error;
}

nvmlReturn_t vgpu_nvml_text(const char *text, char *out, unsigned int size)
{
    if (out == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

void vgpu_nvml_uuid_text(const uint8_t uuid[16], char text[VGPU_NVML_UUID_TEXT])
{
    size_t at = (size_t)snprintf(text, VGPU_NVML_UUID_TEXT, "GPU-");
    for (int i = 0; i < 16; i++)
        at += (size_t)snprintf(text + at, VGPU_NVML_UUID_TEXT - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}
