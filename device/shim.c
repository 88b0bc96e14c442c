/* SPDX-License-Identifier: GPL-2.0-or-later */
/**
 * What LD_PRELOAD names: brings the device into a QEMU and leaves every other program alone (QEMU's
 * children inherit the variable). The device is compiled against the private headers of one build
 * of QEMU, so the process must be that build, by the stamp QEMU carries for its own modules.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAMP_PREFIX "qemu_stamp_"
#define STAMP_LENGTH (sizeof(VGPU_QEMU_STAMP) - 1)

struct shim_search {
    const void *address; /* of a function of QEMU's: tells which object is it, even under ld.so */
    char stamp[STAMP_LENGTH + 1];
};

static const char *shim_find_stamp(const char *bytes, size_t size)
{
    const char *end = bytes + size;

    while (bytes && bytes < end) {
        bytes = memmem(bytes, (size_t)(end - bytes), STAMP_PREFIX, sizeof(STAMP_PREFIX) - 1);
        if (!bytes || (size_t)(end - bytes) < STAMP_LENGTH)
            return NULL;
        size_t digits = strspn(bytes + sizeof(STAMP_PREFIX) - 1, "0123456789abcdef");
        if (digits == STAMP_LENGTH - (sizeof(STAMP_PREFIX) - 1))
            return bytes;
        bytes++;
    }
    return NULL;
}

static bool shim_holds(const struct dl_phdr_info *object, const void *address)
{
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        ElfW(Addr) start = object->dlpi_addr + segment->p_vaddr;
        ElfW(Addr) wanted = (ElfW(Addr))address;

        if (segment->p_type == PT_LOAD && wanted >= start && wanted - start < segment->p_memsz)
            return true;
    }
    return false;
}

static int shim_search_object(struct dl_phdr_info *object, size_t size, void *opaque)
{
    struct shim_search *search = opaque;

    (void)size;
    if (!shim_holds(object, search->address))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];

        /* Constants only: nothing else holds the string. */
        if (segment->p_type != PT_LOAD || segment->p_flags != PF_R)
            continue;
        const char *found =
            shim_find_stamp((const char *)object->dlpi_addr + segment->p_vaddr, segment->p_filesz);
        if (found)
            memcpy(search->stamp, found, STAMP_LENGTH);
    }
    return 1;
}

static void shim_refuse(const char *what, const char *detail)
{
    fprintf(stderr,
            "vgpu: %s%s\n"
            "vgpu: this device was built for %s (%s).\n"
            "vgpu: build it for this QEMU with device/build-device, or build one with make qemu.\n",
            what, detail, VGPU_QEMU_PACKAGE, VGPU_QEMU_STAMP);
    exit(1);
}

static bool shim_is_qemu_by_name(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (length < 0)
        return false;
    path[length] = '\0';
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strncmp(name, "qemu-system-", 12) == 0 || strcmp(name, "qemu-kvm") == 0;
}

/** The device lies beside this library under its own name. */
static void shim_load_device(void)
{
    static const char name[] = "vgpu-qemu-device.so";
    char path[4096];
    Dl_info self;

    if (!dladdr((void *)shim_load_device, &self) || !self.dli_fname)
        shim_refuse("cannot find out where libvgpu-shim.so lies", "");
    const char *slash = strrchr(self.dli_fname, '/');
    int folder = slash ? (int)(slash - self.dli_fname) : 1;
    int length =
        snprintf(path, sizeof(path), "%.*s/%s", folder, slash ? self.dli_fname : ".", name);
    if (length < 0 || (size_t)length >= sizeof(path))
        shim_refuse("too long a path: ", self.dli_fname);
    if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL))
        shim_refuse("cannot load the device: ", dlerror());
}

__attribute__((constructor)) static void shim_start(void)
{
    struct shim_search search = {.address = dlsym(RTLD_DEFAULT, "pci_register_bar")};

    if (!search.address) {
        if (shim_is_qemu_by_name())
            shim_refuse("this QEMU was built without modules and takes no device from outside", "");
        return;
    }
    dl_iterate_phdr(shim_search_object, &search);
    if (!search.stamp[0])
        shim_refuse("this QEMU carries no stamp", "");
    if (strcmp(search.stamp, VGPU_QEMU_STAMP) != 0)
        shim_refuse("this QEMU is another build: found ", search.stamp);
    shim_load_device();
}
