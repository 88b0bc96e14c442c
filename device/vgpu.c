/* SPDX-License-Identifier: GPL-2.0-or-later */
/**
 * The vgpu PCI function: protocol/registers.h in BAR0, the window in BAR1. A doorbell is an eventfd
 * of the mediator's and the window its memory, so that nothing but the mailbox passes through here.
 */
#include "vgpu.h"

#include <sys/mman.h>

#include "hw/pci/msix.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#if __has_include("system/system.h")
#include "system/system.h"
#else
#include "sysemu/sysemu.h"
#endif

#define VGPU_MMIO_BYTES     VGPU_MSIX_TABLE_OFFSET /* registers and doorbells */
#define VGPU_WINDOW_MAXIMUM (1ull << 40)
#define VGPU_VECTORS_USUAL  16u /* enough to tell busy processes apart; each costs KVM a route */

static struct vgpu_window_header *vgpu_device_window_header(struct vgpu_device *device)
{
    return memory_region_get_ram_ptr(&device->window);
}

/** The guest may have scribbled on the header: all of it is written anew. */
static void vgpu_device_write_window_header(struct vgpu_device *device)
{
    struct vgpu_window_header *header = vgpu_device_window_header(device);
    bool connected = device->registers.status & VGPU_STATUS_CONNECTED;

    header->magic = VGPU_WINDOW_MAGIC;
    header->version = VGPU_PROTOCOL_VERSION;
    header->size = device->window_size;
    header->channel_count = device->channels;
    /* Pair with the acquire loads of guests that wait; whoever sees `connected` sees the rest. */
    __atomic_store_n(&header->generation, device->registers.generation, __ATOMIC_RELEASE);
    __atomic_store_n(&header->connected, connected, __ATOMIC_RELEASE);
}

void vgpu_device_connected(struct vgpu_device *device, const struct vgpu_control_welcome *welcome)
{
    struct vgpu_registers *registers = &device->registers;

    registers->vm_id = welcome->vm_id;
    registers->pool = welcome->pool;
    registers->priority = welcome->priority;
    registers->generation++;
    registers->status &= ~VGPU_STATUS_REFUSED;
    registers->status |= VGPU_STATUS_CONNECTED;
    vgpu_device_write_window_header(device);
}

void vgpu_device_disconnected(struct vgpu_device *device)
{
    device->registers.status &= ~VGPU_STATUS_CONNECTED;
    vgpu_device_write_window_header(device);
    if (device->registers.status & VGPU_STATUS_MAILBOX_BUSY)
        vgpu_device_respond(device, VGPU_DEVICE_AWAY, NULL, 0);
}

void vgpu_device_respond(struct vgpu_device *device, enum vgpu_device_error error, const void *data,
                         uint32_t length)
{
    struct vgpu_registers *registers = &device->registers;

    memset(registers->response, 0, sizeof(registers->response));
    if (length)
        memcpy(registers->response, data, length);
    registers->response_length = length;
    registers->response_id = device->answer_id;
    registers->error = error;
    registers->status &= ~VGPU_STATUS_MAILBOX_BUSY;
}

static void vgpu_device_ring_mailbox(struct vgpu_device *device)
{
    struct vgpu_registers *registers = &device->registers;

    if (registers->status & VGPU_STATUS_MAILBOX_BUSY) {
        registers->error = VGPU_DEVICE_BUSY;
        return;
    }
    device->answer_id = registers->request_id;
    if (registers->request_length == 0 || registers->request_length > VGPU_MAILBOX_BYTES) {
        vgpu_device_respond(device, VGPU_DEVICE_BAD_LENGTH, NULL, 0);
    } else if (!(registers->status & VGPU_STATUS_CONNECTED)) {
        vgpu_device_respond(device, VGPU_DEVICE_AWAY, NULL, 0);
    } else {
        registers->status |= VGPU_STATUS_MAILBOX_BUSY;
        vgpu_session_request(device);
    }
}

static uint64_t vgpu_mmio_read(void *opaque, hwaddr address, unsigned size)
{
    struct vgpu_device *device = opaque;
    uint64_t value = 0;

    if (address + size <= sizeof(device->registers))
        memcpy(&value, (uint8_t *)&device->registers + address, size);
    return value;
}

static void vgpu_mmio_write(void *opaque, hwaddr address, uint64_t value, unsigned size)
{
    struct vgpu_device *device = opaque;
    struct vgpu_registers *registers = &device->registers;

    if (address >= offsetof(struct vgpu_registers, request) &&
        address + size <= offsetof(struct vgpu_registers, response)) {
        memcpy((uint8_t *)registers + address, &value, size);
        return;
    }
    if (size != sizeof(uint32_t))
        return;
    switch (address) {
    case offsetof(struct vgpu_registers, request_id):
        registers->request_id = value;
        break;
    case offsetof(struct vgpu_registers, request_length):
        registers->request_length = value;
        break;
    case offsetof(struct vgpu_registers, mailbox_doorbell):
        vgpu_device_ring_mailbox(device);
        break;
    }
}

static const MemoryRegionOps vgpu_mmio_ops = {
    .read = vgpu_mmio_read,
    .write = vgpu_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {.min_access_size = 1, .max_access_size = 8},
    .impl = {.min_access_size = 1, .max_access_size = 4},
};

static bool vgpu_device_check_names(struct vgpu_device *device, Error **errp)
{
    static const char *const priorities[] = {"low", "medium", "high"};
    const char *pool = device->pool_name ?: "A";
    const char *priority = device->priority_name ?: "medium";

    if (!device->vm)
        device->vm = g_strdup(qemu_get_vm_name());
    if (!device->vm || !device->vm[0] ||
        strlen(device->vm) >= sizeof(((struct vgpu_control_hello *)NULL)->vm)) {
        error_setg(errp, "vgpu: vm= (or QEMU's -name) must name the VM in 1 to 63 bytes");
        return false;
    }
    if (strlen(pool) != 1 || pool[0] < 'A' || pool[0] > 'Z') {
        error_setg(errp, "vgpu: pool=%s is not a letter from A to Z", pool);
        return false;
    }
    device->pool = pool[0];
    for (uint32_t i = 0; i < ARRAY_SIZE(priorities); i++) {
        if (strcmp(priority, priorities[i]) == 0) {
            device->priority = i;
            return true;
        }
    }
    error_setg(errp, "vgpu: priority=%s is not low, medium or high", priority);
    return false;
}

static bool vgpu_device_check_sizes(struct vgpu_device *device, Error **errp)
{
    if (device->window_size < VGPU_WINDOW_MINIMUM_SIZE ||
        device->window_size > VGPU_WINDOW_MAXIMUM || !is_power_of_2(device->window_size)) {
        error_setg(errp, "vgpu: window must be a power of two from 16M to 1T");
        return false;
    }
    if (device->channels == 0 || device->channels > VGPU_DOORBELL_MAX) {
        error_setg(errp, "vgpu: channels must be from 1 to %u", VGPU_DOORBELL_MAX);
        return false;
    }
    if (device->vector_count == 0)
        device->vector_count = MIN(device->channels, VGPU_VECTORS_USUAL);
    if (device->vector_count > device->channels) {
        error_setg(errp, "vgpu: vectors must not be more than channels");
        return false;
    }
    return true;
}

static bool vgpu_device_create_window(struct vgpu_device *device, Error **errp)
{
    Error *error = NULL;
    int window = memfd_create("vgpu-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (window < 0 || ftruncate(window, device->window_size) < 0 ||
        fcntl(window, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        error_setg_errno(errp, errno, "vgpu: cannot make a window of %" PRIu64 " bytes",
                         device->window_size);
        if (window >= 0)
            close(window);
        return false;
    }
    memory_region_init_ram_from_fd(&device->window, OBJECT(device), "vgpu-window",
                                   device->window_size, RAM_SHARED, window, 0, &error);
    if (error) {
        error_propagate(errp, error);
        close(window);
        return false;
    }
    return true;
}

static bool vgpu_device_create_doorbells(struct vgpu_device *device, Error **errp)
{
    device->doorbells = g_new0(EventNotifier, device->channels);
    memory_region_transaction_begin();
    for (; device->doorbells_made < device->channels; device->doorbells_made++) {
        EventNotifier *doorbell = &device->doorbells[device->doorbells_made];
        int error = event_notifier_init(doorbell, 0);

        if (error < 0) {
            error_setg_errno(errp, -error, "vgpu: no eventfd for doorbell %" PRIu32,
                             device->doorbells_made);
            break;
        }
        memory_region_add_eventfd(&device->mmio, VGPU_DOORBELL_OFFSET + 4 * device->doorbells_made,
                                  4, false, 0, doorbell);
    }
    memory_region_transaction_commit();
    return device->doorbells_made == device->channels;
}

static void vgpu_device_destroy_doorbells(struct vgpu_device *device)
{
    memory_region_transaction_begin();
    for (uint32_t i = 0; i < device->doorbells_made; i++)
        memory_region_del_eventfd(&device->mmio, VGPU_DOORBELL_OFFSET + 4 * i, 4, false, 0,
                                  &device->doorbells[i]);
    memory_region_transaction_commit();
    for (uint32_t i = 0; i < device->doorbells_made; i++)
        event_notifier_cleanup(&device->doorbells[i]);
    device->doorbells_made = 0;
    g_free(device->doorbells);
    device->doorbells = NULL;
}

/** What a guest finds after a reset; what the mediator said stays. */
static void vgpu_device_init_registers(struct vgpu_device *device)
{
    struct vgpu_registers *registers = &device->registers;
    struct vgpu_registers before = *registers;

    memset(registers, 0, sizeof(*registers));
    registers->magic = VGPU_MAGIC;
    registers->version = VGPU_PROTOCOL_VERSION;
    registers->features = VGPU_FEATURE_WINDOW | VGPU_FEATURE_INTERRUPTS;
    registers->pool = before.pool;
    registers->priority = before.vm_id ? before.priority : device->priority;
    registers->vm_id = before.vm_id;
    registers->status = before.status & ~VGPU_STATUS_MAILBOX_BUSY;
    registers->generation = before.generation;
    registers->channel_count = device->channels;
    registers->vector_count = device->vector_count;
    registers->window_size_low = (uint32_t)device->window_size;
    registers->window_size_high = (uint32_t)(device->window_size >> 32);
    vgpu_device_write_window_header(device);
}

static void vgpu_device_reset(DeviceState *qdev)
{
    struct vgpu_device *device = VGPU_DEVICE(qdev);

    vgpu_interrupts_reset(device);
    vgpu_session_reset(device);
    vgpu_device_init_registers(device);
}

static void vgpu_device_exit(PCIDevice *pci)
{
    struct vgpu_device *device = VGPU_DEVICE(pci);

    vgpu_session_stop(device);
    vgpu_interrupts_destroy(device);
    vgpu_device_destroy_doorbells(device);
    msix_uninit(pci, &device->bar0, &device->bar0);
}

static bool vgpu_device_create_registers(struct vgpu_device *device, Error **errp)
{
    PCIDevice *pci = PCI_DEVICE(device);

    memory_region_init(&device->bar0, OBJECT(device), "vgpu-bar0", VGPU_REGISTERS_SIZE);
    memory_region_init_io(&device->mmio, OBJECT(device), &vgpu_mmio_ops, device, "vgpu-registers",
                          VGPU_MMIO_BYTES);
    memory_region_add_subregion(&device->bar0, 0, &device->mmio);
    return msix_init(pci, device->vector_count, &device->bar0, 0, VGPU_MSIX_TABLE_OFFSET,
                     &device->bar0, 0, VGPU_MSIX_PENDING_OFFSET, 0, errp) == 0;
}

static void vgpu_device_realize(PCIDevice *pci, Error **errp)
{
    struct vgpu_device *device = VGPU_DEVICE(pci);

    if (!qemu_chr_fe_backend_connected(&device->chardev)) {
        error_setg(errp, "vgpu: chardev= must name the socket to the mediator");
        return;
    }
    if (!vgpu_device_check_names(device, errp) || !vgpu_device_check_sizes(device, errp))
        return;
    pci_set_word(pci->config + PCI_VENDOR_ID, device->vendor_id);
    pci_set_word(pci->config + PCI_DEVICE_ID, device->device_id);

    if (!vgpu_device_create_window(device, errp) || !vgpu_device_create_registers(device, errp))
        return;
    if (!vgpu_device_create_doorbells(device, errp) || vgpu_interrupts_create(device, errp) < 0) {
        vgpu_interrupts_destroy(device);
        vgpu_device_destroy_doorbells(device);
        msix_uninit(pci, &device->bar0, &device->bar0);
        return;
    }
    pci_register_bar(pci, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &device->bar0);
    pci_register_bar(pci, 1,
                     PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_64 |
                         PCI_BASE_ADDRESS_MEM_PREFETCH,
                     &device->window);
    vgpu_device_init_registers(device);
    vgpu_session_start(device);
}

static Property vgpu_properties[] = {
    DEFINE_PROP_CHR("chardev", struct vgpu_device, chardev),
    DEFINE_PROP_SIZE("window", struct vgpu_device, window_size, VGPU_WINDOW_DEFAULT_SIZE),
    DEFINE_PROP_STRING("vm", struct vgpu_device, vm),
    DEFINE_PROP_STRING("pool", struct vgpu_device, pool_name),
    DEFINE_PROP_STRING("priority", struct vgpu_device, priority_name),
    DEFINE_PROP_UINT32("channels", struct vgpu_device, channels, 64),
    DEFINE_PROP_UINT32("vectors", struct vgpu_device, vector_count, 0),
    DEFINE_PROP_UINT16("vendor-id", struct vgpu_device, vendor_id, VGPU_PCI_VENDOR_ID),
    DEFINE_PROP_UINT16("device-id", struct vgpu_device, device_id, VGPU_PCI_DEVICE_ID),
    DEFINE_PROP_END_OF_LIST(),
};

/* The GPU's state is in the mediator's workers: there is nothing here that could be moved. */
static const VMStateDescription vgpu_vmstate = {
    .name = TYPE_VGPU,
    .unmigratable = 1,
};

/** An object built from outside QEMU must agree with it on what lies in what it inherits. */
static void vgpu_device_check_layout(void)
{
    if (object_type_get_instance_size(TYPE_PCI_DEVICE) != sizeof(PCIDevice) ||
        object_type_get_instance_size(TYPE_MEMORY_REGION) != sizeof(MemoryRegion)) {
        error_report("vgpu: the device was built with other structures than this QEMU has");
        exit(1);
    }
}

static void vgpu_device_class_init(ObjectClass *class, void *data)
{
    DeviceClass *device_class = DEVICE_CLASS(class);
    PCIDeviceClass *pci_class = PCI_DEVICE_CLASS(class);

    vgpu_device_check_layout();
    pci_class->realize = vgpu_device_realize;
    pci_class->exit = vgpu_device_exit;
    pci_class->vendor_id = VGPU_PCI_VENDOR_ID;
    pci_class->device_id = VGPU_PCI_DEVICE_ID;
    pci_class->class_id = VGPU_PCI_CLASS;
    device_class->desc = "GPU shared through the vgpu mediator";
    device_class->reset = vgpu_device_reset;
    device_class->vmsd = &vgpu_vmstate;
    device_class_set_props(device_class, vgpu_properties);
    set_bit(DEVICE_CATEGORY_DISPLAY, device_class->categories);
}

static const TypeInfo vgpu_type = {
    .name = TYPE_VGPU,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(struct vgpu_device),
    .class_init = vgpu_device_class_init,
    .interfaces = (InterfaceInfo[]){{INTERFACE_CONVENTIONAL_PCI_DEVICE}, {}},
};

static void vgpu_register(void)
{
    type_register_static(&vgpu_type);
}

type_init(vgpu_register)
