/* SPDX-License-Identifier: MIT */
/*
 * Peers: kernels of one device that reach the memory of another. All devices are in one address
 * space, so that copies between them need nothing; what is kept here is what kernels may do.
 */
#include "soft/driver/peer.h"

#include <stdlib.h>

#include "soft/driver/context.h"
#include "soft/driver/stream/stream.h"

/* Two devices by their ordinals. */
static CUresult find(CUdevice one, CUdevice other)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    return vgpu_device_get(one) && vgpu_device_get(other) ? CUDA_SUCCESS
                                                          : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceCanAccessPeer(int *canAccessPeer, CUdevice dev, CUdevice peerDev)
{
    CUresult result = find(dev, peerDev);

    if (result != CUDA_SUCCESS)
        return result;
    if (!canAccessPeer)
        return CUDA_ERROR_INVALID_VALUE;
    *canAccessPeer = dev != peerDev;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib, CUdevice srcDevice,
                                 CUdevice dstDevice)
{
    CUresult result = find(srcDevice, dstDevice);

    if (result != CUDA_SUCCESS)
        return result;
    if (!value || (unsigned int)attrib < 1 ||
        (unsigned int)attrib > CU_DEVICE_P2P_ATTRIBUTE_ONLY_PARTIAL_NATIVE_ATOMIC_SUPPORTED)
        return CUDA_ERROR_INVALID_VALUE;
    if (srcDevice == dstDevice)
        return CUDA_ERROR_INVALID_DEVICE;
    /* Textures are a device's own. */
    *value = attrib == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED ||
             attrib == CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED;
    return CUDA_SUCCESS;
}

/* What the host's processor can do on any memory, all devices can. */
static unsigned int atomic_capability(CUatomicOperation operation)
{
    unsigned int words = CU_ATOMIC_CAPABILITY_SCALAR_32 | CU_ATOMIC_CAPABILITY_SCALAR_64;

    switch (operation) {
    case CU_ATOMIC_OPERATION_INTEGER_ADD:
    case CU_ATOMIC_OPERATION_INTEGER_MIN:
    case CU_ATOMIC_OPERATION_INTEGER_MAX:
        return words | CU_ATOMIC_CAPABILITY_SIGNED | CU_ATOMIC_CAPABILITY_UNSIGNED |
               CU_ATOMIC_CAPABILITY_REDUCTION;
    case CU_ATOMIC_OPERATION_INTEGER_INCREMENT:
    case CU_ATOMIC_OPERATION_INTEGER_DECREMENT:
        return CU_ATOMIC_CAPABILITY_SCALAR_32 | CU_ATOMIC_CAPABILITY_UNSIGNED |
               CU_ATOMIC_CAPABILITY_REDUCTION;
    case CU_ATOMIC_OPERATION_AND:
    case CU_ATOMIC_OPERATION_OR:
    case CU_ATOMIC_OPERATION_XOR:
        return words | CU_ATOMIC_CAPABILITY_UNSIGNED | CU_ATOMIC_CAPABILITY_REDUCTION;
    case CU_ATOMIC_OPERATION_EXCHANGE:
    case CU_ATOMIC_OPERATION_CAS:
        return words | CU_ATOMIC_CAPABILITY_UNSIGNED;
    case CU_ATOMIC_OPERATION_FLOAT_ADD:
        return words | CU_ATOMIC_CAPABILITY_SIGNED | CU_ATOMIC_CAPABILITY_REDUCTION |
               CU_ATOMIC_CAPABILITY_VECTOR_32x4;
    default:
        return 0;
    }
}

static CUresult tell_capabilities(unsigned int *capabilities, const CUatomicOperation *operations,
                                  unsigned int count)
{
    if (!capabilities || !operations || count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < count; i++) {
        if ((unsigned int)operations[i] >= CU_ATOMIC_OPERATION_MAX)
            return CUDA_ERROR_INVALID_VALUE;
    }
    for (unsigned int i = 0; i < count; i++)
        capabilities[i] = atomic_capability(operations[i]);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAtomicCapabilities(unsigned int *capabilities,
                                          const CUatomicOperation *operations, unsigned int count,
                                          CUdevice srcDevice, CUdevice dstDevice)
{
    CUresult result = find(srcDevice, dstDevice);

    if (result != CUDA_SUCCESS)
        return result;
    if (srcDevice == dstDevice)
        return CUDA_ERROR_INVALID_DEVICE;
    return tell_capabilities(capabilities, operations, count);
}

/* The device's memory is the host's. */
CUresult cuDeviceGetHostAtomicCapabilities(unsigned int *capabilities,
                                           const CUatomicOperation *operations, unsigned int count,
                                           CUdevice dev)
{
    CUresult result = find(dev, dev);

    return result == CUDA_SUCCESS ? tell_capabilities(capabilities, operations, count) : result;
}

/* ---- contexts ---- */

/* Lock held. */
static size_t position_of(const struct vgpu_context *context, const struct vgpu_context *peer)
{
    size_t at = 0;

    while (at < context->peer_count && context->peers[at] != peer)
        at++;
    return at;
}

/* A device reaches another one as long as any of its contexts does. Lock held. */
static bool reaches(const struct vgpu_device *device, const struct vgpu_device *peer)
{
    for (const struct vgpu_context *c = vgpu_driver()->contexts; c; c = c->next) {
        for (size_t i = 0; i < c->peer_count && c->device == device; i++) {
            if (c->peers[i]->device == peer)
                return true;
        }
    }
    return false;
}

/* Lock held. */
static CUresult update(struct vgpu_device *device, struct vgpu_device *peer)
{
    return vgpu_memory_set_peer(device->memory, peer->memory, reaches(device, peer)) == 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_TOO_MANY_PEERS;
}

/* Lock held. */
static CUresult add(struct vgpu_context *context, struct vgpu_context *peer)
{
    struct vgpu_context **peers =
        reallocarray(context->peers, context->peer_count + 1, sizeof(*context->peers));

    if (!peers)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->peers = peers;
    peers[context->peer_count++] = peer;
    return update(context->device, peer->device);
}

/* Lock held. */
static void remove_at(struct vgpu_context *context, size_t at)
{
    struct vgpu_context *peer = context->peers[at];

    context->peers[at] = context->peers[--context->peer_count];
    update(context->device, peer->device);
}

/* The current context and the other one that a call names. */
static CUresult enter(CUcontext handle, struct vgpu_context **context, struct vgpu_context **peer)
{
    CUresult result = vgpu_context_enter(context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!handle || vgpu_context_named(handle, peer) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_CONTEXT;
    return CUDA_SUCCESS;
}

CUresult cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags)
{
    struct vgpu_context *context, *peer;
    CUresult result = enter(peerContext, &context, &peer);

    if (result != CUDA_SUCCESS)
        return result;
    if (Flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (peer->device == context->device)
        return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
    pthread_mutex_lock(&vgpu_driver()->lock);
    result = position_of(context, peer) < context->peer_count
                 ? CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
                 : add(context, peer);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return result;
}

CUresult cuCtxDisablePeerAccess(CUcontext peerContext)
{
    struct vgpu_context *context, *peer;
    CUresult result = enter(peerContext, &context, &peer);
    size_t at;

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_context_drain(context); /* kernels find out what they reach when they run */
    pthread_mutex_lock(&vgpu_driver()->lock);
    at = position_of(context, peer);
    if (at < context->peer_count)
        remove_at(context, at);
    else
        result = CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return result;
}

bool vgpu_peer_reaches(const struct vgpu_device *device, const struct vgpu_device *peer)
{
    bool reached;

    pthread_mutex_lock(&vgpu_driver()->lock);
    reached = reaches(device, peer);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return reached;
}

void vgpu_peer_forget(struct vgpu_context *gone)
{
    pthread_mutex_lock(&vgpu_driver()->lock);
    while (gone->peer_count > 0)
        remove_at(gone, gone->peer_count - 1);
    for (struct vgpu_context *c = vgpu_driver()->contexts; c; c = c->next) {
        size_t at = position_of(c, gone);

        if (at < c->peer_count)
            remove_at(c, at);
    }
    pthread_mutex_unlock(&vgpu_driver()->lock);
}
