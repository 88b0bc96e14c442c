/* SPDX-License-Identifier: MIT */
/** vgpu-mediator: the daemon. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mediator/admin/admin.h"
#include "mediator/device_status.h"
#include "mediator/health.h"
#include "mediator/history.h"
#include "mediator/listener.h"
#include "mediator/log.h"
#include "mediator/mediator.h"
#include "mediator/session.h"
#include "mediator/store/store.h"
#include "protocol/calls.h"

#define STOP_MILLISECONDS 3000

struct vgpu_daemon {
    struct vgpu_mediator mediator;
    struct vgpu_listener device;
    struct vgpu_listener process;
    struct vgpu_listener admin;
    struct vgpu_source signals;
    struct vgpu_timer stop; /* at the end, should a worker not die */
};

struct vgpu_options {
    const char *config; /* NULL: defaults only */
    const char *driver; /* NULL: as configured */
    bool check;
    bool check_store;
};

static const char vgpu_help[] =
    "Usage: vgpu-mediator [--config FILE] [--driver=auto|cuda|soft] [--check-config]\n"
    "                     [--check-store]\n"
    "Shares the GPU of this host, or the software GPU, among virtual machines and programs.\n"
    "\n"
    "  --config FILE     read settings from FILE; without it the defaults serve\n"
    "  --driver=DRIVER   cuda: NVIDIA's; soft: the software GPU; auto: the one that works\n"
    "  --check-config    say what is wrong with the settings, and start nothing\n"
    "  --check-store     say what is wrong with the store, and start nothing; it may be in use\n"
    "  --version         print the version\n"
    "  --help            print this\n"
    "\n"
    "QEMU connects to /run/vgpu/device.sock, programs to /run/vgpu/process.sock (vgpu-run "
    "PROGRAM),\n"
    "vgpu-admin to /run/vgpu/admin.sock. SIGTERM stops it; virtual machines keep running.\n";

/** Returns an exit status, or -1 to go on. */
static int vgpu_options_parse(int argc, char **argv, struct vgpu_options *options)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"driver", required_argument, NULL, 'd'},
        {"check-config", no_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"check-store", no_argument, NULL, 's'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->config = optarg;
            break;
        case 'd':
            options->driver = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 's':
            options->check_store = true;
            break;
        case 'v':
            printf("vgpu-mediator %s (protocol %016llx)\n", VGPU_VERSION,
                   (unsigned long long)VGPU_PROTOCOL_HASH);
            return 0;
        case 'h':
            fputs(vgpu_help, stdout);
            return 0;
        default:
            fputs("Try vgpu-mediator --help.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "vgpu-mediator: unexpected \"%s\"; try --help\n", argv[optind]);
        return 2;
    }
    return -1;
}

static int vgpu_daemon_configure(struct vgpu_config *config, const struct vgpu_options *options)
{
    int error = 0;

    vgpu_config_init(config);
    if (options->config) {
        FILE *file = fopen(options->config, "re");

        error = file ? vgpu_config_read(config, file, options->config, stderr) : -errno;
        if (error && error != -EINVAL)
            vgpu_log(VGPU_LOG_ERROR, "cannot read %s: %s", options->config, strerror(-error));
        if (file)
            fclose(file);
    }
    if (options->driver && !vgpu_config_parse_driver(options->driver, &config->driver)) {
        vgpu_log(VGPU_LOG_ERROR, "--driver=%s: allowed are auto, cuda and soft", options->driver);
        error = -EINVAL;
    }
    if (!error)
        vgpu_log_limit(config->log_level);
    return error;
}

static int vgpu_daemon_check_store(const struct vgpu_config *config)
{
    if (*config->store)
        return vgpu_store_check(config->store, stdout);
    printf("no store is configured (store= in [mediator])\n");
    return 0;
}

static void vgpu_daemon_take_pool(const struct vgpu_store_pool *pool, void *user)
{
    vgpu_lease_pool(user, pool->name, pool->weight);
}

static int vgpu_daemon_open_store(struct vgpu_mediator *mediator)
{
    char why[PATH_MAX + 256] = "cannot use the store: out of memory";
    int error = 0;

    if (*mediator->config.store)
        error = vgpu_store_open(mediator->config.store, &mediator->store, why, sizeof(why));
    if (!error && mediator->store) {
        error = vgpu_store_list_pools(mediator->store, vgpu_daemon_take_pool, &mediator->leases);
        if (error)
            snprintf(why, sizeof(why), "cannot read the pools in the store: %s",
                     vgpu_store_error(mediator->store));
    }
    if (error)
        vgpu_log(VGPU_LOG_ERROR, "%s", why);
    return error;
}

static void vgpu_accept_device(struct vgpu_listener *listener, int socket)
{
    struct vgpu_daemon *daemon = vgpu_container(listener, struct vgpu_daemon, device);

    vgpu_session_create(&daemon->mediator, socket, true);
}

static void vgpu_accept_process(struct vgpu_listener *listener, int socket)
{
    struct vgpu_daemon *daemon = vgpu_container(listener, struct vgpu_daemon, process);

    vgpu_session_create(&daemon->mediator, socket, false);
}

static void vgpu_accept_admin(struct vgpu_listener *listener, int socket)
{
    struct vgpu_daemon *daemon = vgpu_container(listener, struct vgpu_daemon, admin);

    vgpu_admin_serve(&daemon->mediator, socket);
}

/** The group administers, if there is one. */
static void vgpu_daemon_give_to_group(struct vgpu_mediator *mediator)
{
    const char *path = mediator->config.admin_socket, *name = mediator->config.admin_group;
    const struct group *group = getgrnam(name);

    mediator->has_admin_group = group != NULL;
    if (!group)
        return;
    mediator->admin_group = group->gr_gid;
    if (chown(path, (uid_t)-1, group->gr_gid) < 0)
        vgpu_log(VGPU_LOG_WARNING, "cannot give %s to the group %s: %s", path, name,
                 strerror(errno));
}

static int vgpu_daemon_listen(struct vgpu_daemon *daemon)
{
    const struct vgpu_config *config = &daemon->mediator.config;
    struct vgpu_loop *loop = daemon->mediator.loop;
    int error;

    daemon->device.accepted = vgpu_accept_device;
    daemon->process.accepted = vgpu_accept_process;
    daemon->admin.accepted = vgpu_accept_admin;
    error = vgpu_listener_open(&daemon->device, loop, config->device_socket, 0600);
    if (!error)
        error = vgpu_listener_open(&daemon->process, loop, config->process_socket, 0666);
    if (!error)
        error = vgpu_listener_open(&daemon->admin, loop, config->admin_socket, 0660);
    if (error)
        return error;
    vgpu_daemon_give_to_group(&daemon->mediator);
    vgpu_log(VGPU_LOG_INFO, "sockets: %s for QEMU, %s for programs, %s for vgpu-admin",
             config->device_socket, config->process_socket, config->admin_socket);
    return 0;
}

/** In the order in which the folder that the first of them made can go with the last. */
static void vgpu_daemon_hang_up(struct vgpu_daemon *daemon)
{
    vgpu_listener_close(&daemon->admin);
    vgpu_listener_close(&daemon->process);
    vgpu_listener_close(&daemon->device);
}

static void vgpu_daemon_stop_late(struct vgpu_timer *timer)
{
    struct vgpu_daemon *daemon = vgpu_container(timer, struct vgpu_daemon, stop);

    vgpu_log(VGPU_LOG_WARNING, "stopping, though not all workers have ended");
    vgpu_loop_stop(daemon->mediator.loop);
}

static void vgpu_daemon_signal(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_daemon *daemon = vgpu_container(source, struct vgpu_daemon, signals);
    struct signalfd_siginfo info;

    (void)events;
    if (read(source->fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (daemon->mediator.stopping) {
        vgpu_loop_stop(daemon->mediator.loop);
        return;
    }
    vgpu_log(VGPU_LOG_INFO, "stopping: %s", strsignal((int)info.ssi_signo));
    vgpu_daemon_hang_up(daemon);
    vgpu_timer_start(daemon->mediator.loop, &daemon->stop, STOP_MILLISECONDS);
    vgpu_sessions_stop(&daemon->mediator);
}

static void vgpu_alarm(int number)
{
    (void)number; /* it only interrupts a write, see vgpu_window_signal() */
}

static int vgpu_daemon_catch_signals(struct vgpu_daemon *daemon)
{
    const struct sigaction interrupt = {.sa_handler = vgpu_alarm};
    sigset_t set;

    sigaction(SIGALRM, &interrupt, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    daemon->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    daemon->signals.ready = vgpu_daemon_signal;
    if (daemon->signals.fd < 0)
        return -errno;
    return vgpu_loop_add(daemon->mediator.loop, &daemon->signals, EPOLLIN);
}

/** The sd_notify protocol: one datagram to the address in NOTIFY_SOCKET. */
static void vgpu_daemon_notify_ready(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static const char text[] = "READY=1";
    size_t length = path ? strlen(path) : 0;

    if (length < 2 || length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
        vgpu_log(VGPU_LOG_WARNING, "cannot notify %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/** A device brings up to 513 descriptors: the common soft limit of 1024 would be two VMs. */
static void vgpu_daemon_raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void vgpu_daemon_log_start(const struct vgpu_mediator *mediator)
{
    const struct vgpu_config *config = &mediator->config;
    const struct vgpu_worker_probe *probe = &mediator->driver.probe;

    vgpu_log(VGPU_LOG_INFO, "GPU: %s, %llu MiB, driver version %u.%u", probe->gpu,
             (unsigned long long)(probe->memory_total >> 20), probe->driver_version / 1000,
             probe->driver_version % 1000 / 10);
    vgpu_log(VGPU_LOG_INFO, "each VM: %llu MiB of GPU memory, %u channels",
             (unsigned long long)(vgpu_config_memory_quota(config, "", probe->memory_total) >> 20),
             config->max_channels);
    for (const struct vgpu_config_vm *vm = config->vms; vm; vm = vm->next)
        vgpu_log(
            VGPU_LOG_INFO, "VM %s: %llu MiB of GPU memory, %u channels", vm->name,
            (unsigned long long)(vgpu_config_memory_quota(config, vm->name, probe->memory_total) >>
                                 20),
            vgpu_config_max_channels(config, vm->name));
}

static int vgpu_daemon_run(struct vgpu_daemon *daemon)
{
    struct vgpu_mediator *mediator = &daemon->mediator;
    const char *notify = getenv("NOTIFY_SOCKET");
    struct vgpu_worker probe;
    char *notify_path = notify ? strdup(notify) : NULL;
    int error;

    /* Not for workers: they are not the service, and a driver in them is not our client. */
    unsetenv("NOTIFY_SOCKET");
    unsetenv("VGPU_SOCKET");
    vgpu_log(VGPU_LOG_INFO, "version %s, protocol %u/%016llx", VGPU_VERSION, VGPU_PROTOCOL_VERSION,
             (unsigned long long)VGPU_PROTOCOL_HASH);
    vgpu_daemon_raise_limit();
    error = vgpu_loop_create(&mediator->loop);
    if (error)
        goto out;
    vgpu_spares_init(&mediator->spares, mediator);
    error = vgpu_lease_init(&mediator->leases, mediator->loop, mediator->config.scheduler,
                            mediator->config.slice);
    if (!error)
        error = vgpu_daemon_open_store(mediator);
    if (!error)
        error = vgpu_driver_choose(&mediator->config, &mediator->driver, &probe);
    if (error)
        goto destroy_loop;
    vgpu_spares_open(&mediator->spares, &probe);
    mediator->started = vgpu_loop_now();
    mediator->health = vgpu_health_open(mediator->driver.probe.uuid);
    error = vgpu_daemon_catch_signals(daemon);
    if (!error)
        error = vgpu_daemon_listen(daemon);
    if (!error)
        error = vgpu_device_watch(mediator);
    if (!error)
        error = vgpu_history_open(mediator);
    if (!error) {
        vgpu_daemon_log_start(mediator);
        vgpu_images_open(&mediator->images, mediator);
        vgpu_metrics_server_open(&mediator->metrics, mediator);
        vgpu_daemon_notify_ready(notify_path);
        error = vgpu_loop_run(mediator->loop);
    }
    vgpu_daemon_hang_up(daemon);
    vgpu_metrics_server_close(&mediator->metrics);
    vgpu_admin_close(mediator);
    vgpu_history_close(mediator);
    vgpu_spares_close(&mediator->spares);
    vgpu_timer_stop(mediator->loop, &daemon->stop);
    vgpu_timer_stop(mediator->loop, &mediator->watch);
    vgpu_watchdog_stop(mediator);
    vgpu_health_close(mediator->health);
    vgpu_images_close(&mediator->images);
    vgpu_loop_remove(mediator->loop, &daemon->signals);
    if (!mediator->sessions)
        vgpu_vms_destroy(&mediator->vms);
destroy_loop:
    vgpu_store_close(mediator->store);
    vgpu_lease_close(&mediator->leases);
    vgpu_loop_destroy(mediator->loop);
out:
    free(notify_path);
    return error;
}

int main(int argc, char **argv)
{
    struct vgpu_daemon daemon = {
        .device.source.fd = -1,
        .process.source.fd = -1,
        .admin.source.fd = -1,
        .signals.fd = -1,
        .mediator.watch.source.fd = -1,
        .mediator.metrics = {.source.fd = -1, .timer.source.fd = -1},
        .mediator.watchdog.source.fd = -1,
        .mediator.history.source.fd = -1,
        .mediator.leases.timer.fd = -1,
        .mediator.images.folder = -1,
        .stop = {.source.fd = -1, .expired = vgpu_daemon_stop_late},
    };
    struct vgpu_options options = {0};
    int status = vgpu_options_parse(argc, argv, &options);

    if (status >= 0)
        return status;
    int error = vgpu_daemon_configure(&daemon.mediator.config, &options);
    if (!error && options.check)
        printf("the configuration is good\n");
    if (!error && options.check_store)
        error = vgpu_daemon_check_store(&daemon.mediator.config);
    if (!error && !options.check && !options.check_store)
        error = vgpu_daemon_run(&daemon);
    vgpu_config_destroy(&daemon.mediator.config);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
