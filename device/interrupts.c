/* SPDX-License-Identifier: GPL-2.0-or-later */
/**
 * MSI-X raised by eventfds of the mediator's workers. An unmasked vector is given to KVM (irqfd)
 * where there is one; otherwise, and while it is masked, QEMU watches the event itself, so that a
 * masked interrupt becomes a pending bit and none is lost.
 */
#include "vgpu.h"

#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#if __has_include("system/kvm.h")
#include "system/kvm.h"
#else
#include "sysemu/kvm.h"
#endif

static void vgpu_vector_raised(void *opaque)
{
    struct vgpu_vector *vector = opaque;
    PCIDevice *pci = PCI_DEVICE(vector->device);

    if (event_notifier_test_and_clear(&vector->event) && msix_enabled(pci))
        msix_notify(pci, vector - vector->device->vectors);
}

static void vgpu_vector_watch(struct vgpu_vector *vector, bool watch)
{
    qemu_set_fd_handler(event_notifier_get_fd(&vector->event), watch ? vgpu_vector_raised : NULL,
                        NULL, vector);
}

/** Never fails: QEMU takes a failure here for a bug and aborts, and the watch works as well. */
static int vgpu_vector_use(PCIDevice *pci, unsigned int index, MSIMessage message)
{
    struct vgpu_vector *vector = &VGPU_DEVICE(pci)->vectors[index];
    KVMRouteChange change;
    int route;

    if (!kvm_msi_via_irqfd_enabled() || vector->route >= 0)
        return 0;
    change = kvm_irqchip_begin_route_changes(kvm_state);
    route = kvm_irqchip_add_msi_route(&change, index, pci);
    if (route < 0)
        return 0;
    kvm_irqchip_commit_route_changes(&change);

    vgpu_vector_watch(vector, false);
    if (kvm_irqchip_add_irqfd_notifier_gsi(kvm_state, &vector->event, NULL, route) < 0) {
        kvm_irqchip_release_virq(kvm_state, route);
        vgpu_vector_watch(vector, true);
        return 0;
    }
    vector->route = route;
    return 0;
}

static void vgpu_vector_release(PCIDevice *pci, unsigned int index)
{
    struct vgpu_vector *vector = &VGPU_DEVICE(pci)->vectors[index];

    if (vector->route < 0)
        return;
    kvm_irqchip_remove_irqfd_notifier_gsi(kvm_state, &vector->event, vector->route);
    kvm_irqchip_release_virq(kvm_state, vector->route);
    vector->route = -1;
    vgpu_vector_watch(vector, true);
}

int vgpu_interrupts_create(struct vgpu_device *device, Error **errp)
{
    PCIDevice *pci = PCI_DEVICE(device);

    device->vectors = g_new0(struct vgpu_vector, device->vector_count);
    for (uint32_t i = 0; i < device->vector_count; i++) {
        struct vgpu_vector *vector = &device->vectors[i];
        int error = event_notifier_init(&vector->event, 0);

        if (error < 0) {
            error_setg_errno(errp, -error, "vgpu: no eventfd for interrupt %" PRIu32, i);
            return error;
        }
        vector->device = device; /* marks it as made, for destroy */
        vector->route = -1;
        vgpu_vector_watch(vector, true);
        msix_vector_use(pci, i);
    }
    return msix_set_vector_notifiers(pci, vgpu_vector_use, vgpu_vector_release, NULL);
}

void vgpu_interrupts_reset(struct vgpu_device *device)
{
    for (uint32_t i = 0; i < device->vector_count; i++)
        vgpu_vector_release(PCI_DEVICE(device), i);
}

void vgpu_interrupts_destroy(struct vgpu_device *device)
{
    for (uint32_t i = 0; device->vectors && i < device->vector_count; i++) {
        struct vgpu_vector *vector = &device->vectors[i];

        if (!vector->device)
            break;
        vgpu_vector_release(PCI_DEVICE(device), i);
        vgpu_vector_watch(vector, false);
        event_notifier_cleanup(&vector->event);
    }
    g_free(device->vectors);
    device->vectors = NULL;
}
