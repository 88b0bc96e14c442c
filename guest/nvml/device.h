/* SPDX-License-Identifier: MIT */
/**
 * What is behind libvgpu-nvml.so: one mailbox, one device. Numbers are this VM's share of it where
 * there is one, else the host's GPU's. Any thread may call these.
 */
#ifndef VGPU_GUEST_NVML_DEVICE_H
#define VGPU_GUEST_NVML_DEVICE_H

/* Every version of a function is defined, each under its own name; all are exported. */
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#pragma GCC visibility push(default)
#include <nvml.h>
#pragma GCC visibility pop

#include <stdbool.h>

#include "protocol/device_status.h"

/** Opens the mailbox with the first call. NVML_ERROR_DRIVER_NOT_LOADED: there is no vgpu device. */
nvmlReturn_t vgpu_nvml_open(void);
/** NVML_ERROR_UNINITIALIZED when it was called more often than vgpu_nvml_open. */
nvmlReturn_t vgpu_nvml_close(void);

/** The only device's handle. */
nvmlDevice_t vgpu_nvml_handle(void);

/** Checks the handle and copies out what the host says now (at most a tenth of a second old).
 *  NVML_ERROR_UNINITIALIZED, INVALID_ARGUMENT, or GPU_IS_LOST when the host does not answer. */
nvmlReturn_t vgpu_nvml_look(nvmlDevice_t handle, struct vgpu_mailbox_device *device);

/** As vgpu_nvml_look, for one reading: NVML_ERROR_NOT_SUPPORTED where it is not known. */
nvmlReturn_t vgpu_nvml_reading(nvmlDevice_t handle, enum vgpu_reading reading,
                               unsigned long long *value);
/** The same for functions whose answers are 32-bit numbers; `value` is the program's. */
nvmlReturn_t vgpu_nvml_word(nvmlDevice_t handle, enum vgpu_reading reading, unsigned int *value);

/** The processes of this VM that use the GPU, from the `first` on. */
nvmlReturn_t vgpu_nvml_processes(unsigned int first, struct vgpu_mailbox_processes *processes);

/** Copies a text out if it fits: else NVML_ERROR_INSUFFICIENT_SIZE. */
nvmlReturn_t vgpu_nvml_text(const char *text, char *out, unsigned int size);

/** "GPU-..." of a UUID. */
#define VGPU_NVML_UUID_TEXT 41u
void vgpu_nvml_uuid_text(const uint8_t uuid[16], char text[VGPU_NVML_UUID_TEXT]);

#endif
