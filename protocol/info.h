/* SPDX-License-Identifier: MIT */
/** Replies that describe a device or a kernel, so that the guest can answer queries by itself. */
#ifndef VGPU_PROTOCOL_INFO_H
#define VGPU_PROTOCOL_INFO_H

#include "protocol/channel.h"

#define VGPU_DEVICE_ATTRIBUTES   160u /* above CU_DEVICE_ATTRIBUTE_MAX of CUDA 13.0 */
#define VGPU_FUNCTION_ATTRIBUTES 24u  /* above CU_FUNC_ATTRIBUTE_MAX */

/** Reply payload of vgpuDeviceInfo. */
struct vgpu_device_info {
    char name[96];
    uint8_t uuid[16];
    uint64_t memory_total; /* bytes, of the VM's quota or the GPU, whichever is smaller */
    uint32_t device_count;
    uint32_t driver_version;
    int32_t priority_least;
    int32_t priority_greatest;
    uint32_t image_cache; /* 1: images are asked for by their hash */
    uint32_t reserved;
    int32_t attribute[VGPU_DEVICE_ATTRIBUTES];       /* by CUdevice_attribute */
    uint8_t attribute_known[VGPU_DEVICE_ATTRIBUTES]; /* 0: the driver answered INVALID_VALUE */
};

struct vgpu_parameter {
    uint32_t offset; /* bytes, in the packed parameter block */
    uint32_t size;
};

#define VGPU_PARAMETERS_MAX                                                                        \
    ((VGPU_REPLY_PAYLOAD_MAX - sizeof(int32_t) * VGPU_FUNCTION_ATTRIBUTES - 8) /                   \
     sizeof(struct vgpu_parameter))

/** Reply payload of cuModuleGetFunction, cuLibraryGetKernel, cuKernelGetFunction; cut after
 *  parameter_count parameters. */
struct vgpu_function_info {
    int32_t attribute[VGPU_FUNCTION_ATTRIBUTES]; /* by CUfunction_attribute */
    uint32_t parameter_bytes;                    /* of the packed block */
    uint32_t parameter_count;                    /* at most VGPU_PARAMETERS_MAX */
    struct vgpu_parameter parameter[VGPU_PARAMETERS_MAX];
};

static_assert(sizeof(struct vgpu_device_info) == 944, "wire format");
static_assert(sizeof(struct vgpu_device_info) <= VGPU_REPLY_PAYLOAD_MAX, "fits a reply");
static_assert(offsetof(struct vgpu_function_info, parameter) == 104, "wire format");
static_assert(sizeof(struct vgpu_function_info) <= VGPU_REPLY_PAYLOAD_MAX, "fits a reply");

#endif
