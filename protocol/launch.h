/* SPDX-License-Identifier: MIT */
/** How launch attributes cross: the guest refuses what does not at once, the worker again. */
#ifndef VGPU_PROTOCOL_LAUNCH_H
#define VGPU_PROTOCOL_LAUNCH_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>

#define VGPU_LAUNCH_ATTRIBUTES_MAX 32u

/** True for those that cross as they are: they mean the same anywhere. */
static inline bool vgpu_launch_attribute_crosses(CUlaunchAttributeID id)
{
    switch (id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return true;
    default:
        return false;
    }
}

/** Where an attribute names an event, or NULL. On the wire there is its id, as if it were a
 * pointer.
 */
static inline CUevent *vgpu_launch_attribute_event(CUlaunchAttribute *attribute)
{
    switch (attribute->id) {
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
        return &attribute->value.programmaticEvent.event;
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        return &attribute->value.launchCompletionEvent.event;
    default:
        return NULL;
    }
}

#endif
