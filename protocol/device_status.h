/* SPDX-License-Identifier: MIT */
/**
 * What the mailbox says of a VM's GPU and of who uses it: the source of libvgpu-nvml.so. Numbers
 * are the VM's share where there is one (memory, utilisation, processes), else the host's GPU's.
 */
#ifndef VGPU_PROTOCOL_DEVICE_STATUS_H
#define VGPU_PROTOCOL_DEVICE_STATUS_H

#include "protocol/mailbox.h"

/** What is read of the host's GPU, in NVML's units. */
enum vgpu_reading {
    VGPU_READING_TEMPERATURE, /* degrees Celsius */
    VGPU_READING_TEMPERATURE_MEMORY,
    VGPU_READING_TEMPERATURE_SHUTDOWN, /* the thresholds */
    VGPU_READING_TEMPERATURE_SLOWDOWN,
    VGPU_READING_TEMPERATURE_MEMORY_MAX,
    VGPU_READING_TEMPERATURE_GPU_MAX,
    VGPU_READING_POWER, /* milliwatts */
    VGPU_READING_POWER_LIMIT,
    VGPU_READING_POWER_LIMIT_ENFORCED,
    VGPU_READING_POWER_LIMIT_DEFAULT,
    VGPU_READING_POWER_LIMIT_LEAST,
    VGPU_READING_POWER_LIMIT_MOST,
    VGPU_READING_ENERGY,         /* millijoules */
    VGPU_READING_CLOCK_GRAPHICS, /* MHz; in the order of nvmlClockType_t */
    VGPU_READING_CLOCK_SM,
    VGPU_READING_CLOCK_MEMORY,
    VGPU_READING_CLOCK_VIDEO,
    VGPU_READING_CLOCK_MAX_GRAPHICS,
    VGPU_READING_CLOCK_MAX_SM,
    VGPU_READING_CLOCK_MAX_MEMORY,
    VGPU_READING_CLOCK_MAX_VIDEO,
    VGPU_READING_CLOCK_EVENTS,           /* nvmlClocksEventReasons */
    VGPU_READING_CLOCK_EVENTS_SUPPORTED, /* the same bits */
    VGPU_READING_FAN,                    /* per cent */
    VGPU_READING_PERFORMANCE_STATE,      /* nvmlPstates_t */
    VGPU_READING_PERSISTENCE,            /* nvmlEnableState_t */
    VGPU_READING_ECC,
    VGPU_READING_ECC_UNCORRECTED, /* since the driver was loaded */
    VGPU_READING_ECC_CORRECTED,
    VGPU_READING_PCIE_GENERATION,
    VGPU_READING_PCIE_GENERATION_MAX,
    VGPU_READING_PCIE_WIDTH,
    VGPU_READING_PCIE_WIDTH_MAX,
    VGPU_READING_ARCHITECTURE, /* nvmlDeviceArchitecture_t */
    VGPU_READING_BRAND,        /* nvmlBrandType_t */
    VGPU_READING_BUS_WIDTH,    /* bits, of the memory */
    VGPU_READING_CORES,
    VGPU_READING_MEMORY_TOTAL,    /* bytes */
    VGPU_READING_MEMORY_RESERVED, /* bytes, by the driver and its firmware */
    VGPU_READING_PCI_DEVICE,      /* device id in the high half, vendor id in the low one */
    VGPU_READING_PCI_SUBSYSTEM,
    VGPU_READINGS
};

struct vgpu_mailbox_device {
    struct vgpu_mailbox_response response;
    uint64_t memory_quota; /* bytes of GPU memory that this VM may hold */
    uint64_t memory_used;  /* and holds */
    uint64_t known;        /* bit by enum vgpu_reading */
    uint64_t reading[VGPU_READINGS];
    uint32_t busy;         /* per cent of the last second in which the GPU worked for this VM */
    uint32_t processes;    /* of this VM that use the GPU */
    uint32_t cuda_version; /* as cuDriverGetVersion */
    uint32_t capability;   /* major * 10 + minor */
    uint32_t pci_domain;   /* of the host's GPU */
    uint32_t pci_bus;
    uint32_t pci_device;
    uint8_t uuid[16];
    char gpu[96];
    char driver[80]; /* the driver's own version text */
};

/** Asks for the processes from the `first` on, in the order of their channels. */
struct vgpu_mailbox_process_query {
    struct vgpu_mailbox_request request;
    uint32_t first;
    uint32_t reserved;
};

#define VGPU_PROCESSES_MAX 60u
struct vgpu_mailbox_processes {
    struct vgpu_mailbox_response response;
    uint32_t count; /* of those that follow; fewer than VGPU_PROCESSES_MAX: there are no more */
    uint32_t reserved;
    struct vgpu_process_use {
        uint64_t memory;  /* bytes of GPU memory */
        uint32_t process; /* the guest's process id, as it said in CHANNEL_OPEN */
        uint32_t reserved;
    } process[VGPU_PROCESSES_MAX];
};

static_assert(VGPU_READINGS <= 64, "bits of `known`");
static_assert(sizeof(struct vgpu_mailbox_device) <= VGPU_MAILBOX_BYTES, "fits the mailbox");
static_assert(sizeof(struct vgpu_mailbox_processes) <= VGPU_MAILBOX_BYTES, "fits the mailbox");

#endif
