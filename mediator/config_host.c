/* SPDX-License-Identifier: MIT */
#include "mediator/config_host.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t vgpu_config_check_part(const char *key, const char *path, int mode, FILE *out)
{
    struct stat status;
    const char *wrong = NULL;

    if (access(path, mode) < 0)
        wrong = strerror(errno);
    else if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        wrong = "it is no file";
    if (wrong)
        fprintf(out, "%s=%s: %s; install it there, or set another %s=\n", key, path, wrong, key);
    return wrong != NULL;
}

/** Who checks may be another user than the mediator's, so that permissions tell nothing. */
static uint32_t vgpu_config_check_store(const char *path, FILE *out)
{
    struct stat status;
    bool is_there = stat(path, &status) == 0;
    bool is_file = !is_there || S_ISREG(status.st_mode);

    if (!is_file)
        fprintf(out, "store=%s: it is no file; set store= to a file, which the mediator makes\n",
                path);
    else if (is_there && access(path, W_OK) < 0 && errno == EROFS)
        fprintf(out, "store=%s: %s; mount it for writing, or set another store=\n", path,
                strerror(EROFS));
    else
        return 0;
    return 1;
}

/** The mediator makes a file's folder, but not what that is in. */
static uint32_t vgpu_config_check_folder(const char *key, const char *path, uint32_t levels,
                                         FILE *out)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "%s", path);
    for (uint32_t i = 0; i < levels; i++) {
        char *slash = strrchr(folder, '/');

        if (!slash || slash == folder)
            return 0;
        *slash = '\0';
        if (access(folder, F_OK) == 0)
            return 0;
    }
    fprintf(out, "%s=%s: there is no folder %s; make it, or set another %s=\n", key, path, folder,
            key);
    return 1;
}

/** What is no mistake, and yet may not be what was meant. */
static void vgpu_config_check_reservations(const struct vgpu_config *config, FILE *out)
{
    bool heeded = strcmp(config->scheduler->name, "deadline") == 0;
    double reserved = 0;

    for (const struct vgpu_config_vm *vm = config->vms; vm; vm = vm->next) {
        if (vm->reservation.period)
            reserved += 100.0 * vm->reservation.budget / vm->reservation.period;
    }
    if (reserved > 0 && !heeded)
        fprintf(out, "reservation= has no effect with scheduler=%s; set scheduler=deadline\n",
                config->scheduler->name);
    else if (reserved > 90)
        fprintf(
            out,
            "reservations are %.0f %% of the GPU together: when all of these VMs are there, those "
            "that come last get none; at most 90 %% can be reserved\n",
            reserved);
}

uint32_t vgpu_config_check_host(const struct vgpu_config *config, FILE *out)
{
    uint32_t wrong = vgpu_config_check_part("worker", config->worker, X_OK, out);

    if (config->driver != VGPU_DRIVER_CUDA &&
        vgpu_config_check_part("soft-library", config->soft_library, R_OK, out))
        wrong += config->driver == VGPU_DRIVER_SOFT; /* else NVIDIA's may do */
    wrong += vgpu_config_check_folder("device-socket", config->device_socket, 2, out);
    wrong += vgpu_config_check_folder("process-socket", config->process_socket, 2, out);
    wrong += vgpu_config_check_folder("admin-socket", config->admin_socket, 2, out);
    if (*config->store)
        wrong += vgpu_config_check_folder("store", config->store, 2, out) +
                 vgpu_config_check_store(config->store, out);
    vgpu_config_check_reservations(config, out);
    if (!getgrnam(config->admin_group))
        fprintf(out,
                "admin-group=%s: there is no such group, so only root administers; groupadd "
                "--system %s\n",
                config->admin_group, config->admin_group);
    return wrong;
}
