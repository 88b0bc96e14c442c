/* SPDX-License-Identifier: MIT */
/** Launch attributes that cross as they are: the guest refuses others at once, the worker again. */
#ifndef VGPU_PROTOCOL_LAUNCH_H
#define VGPU_PROTOCOL_LAUNCH_H

#include <cuda.h>
#include <stdbool.h>

#define VGPU_LAUNCH_ATTRIBUTES_MAX 32u

/** True for those that mean the same anywhere: events and memory windows would name objects. */
static inline bool vgpu_launch_attribute_crosses(CUlaunchAttributeID id)
{
    switch (id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        return true;
    default:
        return false;
    }
}

#endif
