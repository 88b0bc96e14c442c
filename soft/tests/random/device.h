/* SPDX-License-Identifier: MIT */
/** A device that libcuda.so.1 has, and running a random kernel on it. Knows the Driver API alone.
 */
#ifndef VGPU_RANDOM_DEVICE_H
#define VGPU_RANDOM_DEVICE_H

#include "soft/tests/random/kernel.h"

struct device;

enum ran {
    RAN,     /* and left its results */
    REFUSED, /* it could not be loaded; the device is as it was */
    BROKEN,  /* it failed, and this process can use the device no more */
};

/** Opens the first device. NULL after saying on stderr why not. */
struct device *device_open(const uint32_t input[INPUT_WORDS]);

/** Device, driver and version, for a comment. */
void device_describe(const struct device *device, char *text, size_t size);

/**
 * Loads and runs a kernel; what it leaves comes to `results`, which have been made for it. Says on
 * stderr what went wrong with kernel number `index`. `together` as of kernel_text().
 */
enum ran device_run(struct device *device, uint32_t index, const struct kernel *kernel,
                    bool together, struct results *results);

#endif
