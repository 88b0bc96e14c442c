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
#include "mediator/audit.h"
#include "mediator/config_host.h"
#include "mediator/device_status.h"
#include "mediator/drain.h"
#include "mediator/health.h"
#include "mediator/history.h"
#include "mediator/listener.h"
#include "mediator/log.h"
#include "mediator/mediator.h"
#include "mediator/reload.h"
#include "mediator/service.h"
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
    struct vgpu_service service;
    struct vgpu_drain drain;
    struct vgpu_timer stop; /* at the end, should a worker not die */
    const struct vgpu_options *options;
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
    "vgpu-admin to /run/vgpu/admin.sock. SIGHUP has it read FILE again. SIGTERM stops it when "
    "running\n"
    "work has finished, or at once the second time; virtual machines keep running.\n";

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
            snprintf(why, sizeof(why),
                     "cannot read the pools in the store %s: %s; see vgpu-mediator --check-store",
                     mediator->config.store, vgpu_store_error(mediator->store));
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

/** The group administers, if there is one; an inherited socket has its group already. */
static void vgpu_daemon_find_group(struct vgpu_daemon *daemon)
{
    struct vgpu_mediator *mediator = &daemon->mediator;
    const char *name = mediator->config.admin_group;
    const struct group *group = getgrnam(name);

    mediator->has_admin_group = group != NULL;
    if (!group)
        return;
    mediator->admin_group = group->gr_gid;
    if (daemon->admin.inode && chown(daemon->admin.path, (uid_t)-1, group->gr_gid) < 0)
        vgpu_log(VGPU_LOG_WARNING, "cannot give %s to the group %s: %s", daemon->admin.path, name,
                 strerror(errno));
}

static int vgpu_daemon_open_listener(struct vgpu_daemon *daemon, struct vgpu_listener *listener,
                                     const char *name, const char *path, mode_t mode)
{
    int inherited = vgpu_service_take(&daemon->service, name);

    return inherited >= 0 ? vgpu_listener_adopt(listener, daemon->mediator.loop, inherited)
                          : vgpu_listener_open(listener, daemon->mediator.loop, path, mode);
}

static int vgpu_daemon_listen(struct vgpu_daemon *daemon)
{
    const struct vgpu_config *config = &daemon->mediator.config;
    int error;

    daemon->device.accepted = vgpu_accept_device;
    daemon->process.accepted = vgpu_accept_process;
    daemon->admin.accepted = vgpu_accept_admin;
    error =
        vgpu_daemon_open_listener(daemon, &daemon->device, "device", config->device_socket, 0600);
    if (!error)
        error = vgpu_daemon_open_listener(daemon, &daemon->process, "process",
                                          config->process_socket, 0666);
    if (!error)
        error =
            vgpu_daemon_open_listener(daemon, &daemon->admin, "admin", config->admin_socket, 0660);
    if (error)
        return error;
    vgpu_daemon_find_group(daemon);
    vgpu_log(VGPU_LOG_INFO, "sockets: %s for QEMU, %s for programs, %s for vgpu-admin",
             daemon->device.path, daemon->process.path, daemon->admin.path);
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

static void vgpu_daemon_drained(struct vgpu_drain *drain)
{
    struct vgpu_daemon *daemon = vgpu_container(drain, struct vgpu_daemon, drain);

    vgpu_timer_start(daemon->mediator.loop, &daemon->stop, STOP_MILLISECONDS);
    vgpu_sessions_stop(&daemon->mediator);
}

/** The first time running work may finish, the second time it is ended, and then so are we. */
static void vgpu_daemon_stop(struct vgpu_daemon *daemon, int number)
{
    struct vgpu_mediator *mediator = &daemon->mediator;
    uint32_t seconds = mediator->config.stop_timeout;

    if (mediator->stopping) {
        vgpu_loop_stop(mediator->loop);
    } else if (mediator->draining) {
        vgpu_drain_stop(&daemon->drain);
        vgpu_daemon_drained(&daemon->drain);
    } else {
        vgpu_log(VGPU_LOG_INFO, "stopping: %s; what is being computed has %u s", strsignal(number),
                 seconds);
        vgpu_service_say(&daemon->service,
                         "STOPPING=1\nSTATUS=lets running work finish\nEXTEND_TIMEOUT_USEC=%llu",
                         (seconds * 1000ull + 2 * STOP_MILLISECONDS) * 1000);
        vgpu_daemon_hang_up(daemon);
        vgpu_drain_start(&daemon->drain, mediator, seconds);
    }
}

/** `uid` and `pid`: who sent the signal. */
static void vgpu_daemon_reload(struct vgpu_daemon *daemon, uint32_t uid, uint32_t pid)
{
    const char *outcome = "done";
    struct vgpu_config fresh;

    if (!daemon->options->config) {
        vgpu_log(VGPU_LOG_WARNING, "there is no file to read again: the defaults serve (--config)");
        return;
    }
    vgpu_service_say(&daemon->service, "RELOADING=1\nMONOTONIC_USEC=%llu",
                     (unsigned long long)vgpu_loop_now() / 1000);
    if (vgpu_daemon_configure(&fresh, daemon->options)) {
        vgpu_log(VGPU_LOG_ERROR, "%s is not good: all settings stay as they were",
                 daemon->options->config);
        vgpu_service_say(&daemon->service, "READY=1\nSTATUS=serving; the changed configuration is "
                                           "not good, see the log");
        outcome = "the file is not good, see the log: all settings stay as they were";
        vgpu_events_add(&daemon->mediator.events, "reloaded", "",
                        "not done: %s is not good, see the log", daemon->options->config);
    } else {
        uint32_t kept = vgpu_reload(&daemon->mediator, &fresh);

        if (kept)
            outcome = "done; some settings wait for a restart, see the log";
        vgpu_log(VGPU_LOG_INFO, "read %s again", daemon->options->config);
        vgpu_events_add(&daemon->mediator.events, "reloaded", "", "%s%s", daemon->options->config,
                        kept ? "; some settings wait for a restart" : "");
        vgpu_service_say(&daemon->service, "READY=1\nSTATUS=serving%s",
                         kept ? "; some changed settings need a restart, see the log" : "");
    }
    vgpu_config_destroy(&fresh);
    vgpu_audit_reload(&daemon->mediator, uid, pid, daemon->options->config, outcome);
}

static void vgpu_daemon_signal(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_daemon *daemon = vgpu_container(source, struct vgpu_daemon, signals);
    struct signalfd_siginfo info;

    (void)events;
    if (read(source->fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP)
        vgpu_daemon_reload(daemon, info.ssi_uid, info.ssi_pid);
    else
        vgpu_daemon_stop(daemon, (int)info.ssi_signo);
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
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    daemon->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    daemon->signals.ready = vgpu_daemon_signal;
    if (daemon->signals.fd < 0)
        return -errno;
    return vgpu_loop_add(daemon->mediator.loop, &daemon->signals, EPOLLIN);
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

/** All that was opened since there is a driver. */
static void vgpu_daemon_close(struct vgpu_daemon *daemon)
{
    struct vgpu_mediator *mediator = &daemon->mediator;

    vgpu_daemon_hang_up(daemon);
    vgpu_metrics_server_close(&mediator->metrics);
    vgpu_admin_close(mediator);
    vgpu_history_close(mediator);
    vgpu_spares_close(&mediator->spares);
    vgpu_timer_stop(mediator->loop, &daemon->stop);
    vgpu_drain_stop(&daemon->drain);
    vgpu_timer_stop(mediator->loop, &mediator->watch);
    vgpu_watchdog_stop(mediator);
    vgpu_health_close(mediator->health);
    vgpu_images_close(&mediator->images);
    vgpu_loop_remove(mediator->loop, &daemon->signals);
    if (!mediator->sessions)
        vgpu_vms_destroy(&mediator->vms);
}

static int vgpu_daemon_run(struct vgpu_daemon *daemon, const struct vgpu_options *options)
{
    struct vgpu_mediator *mediator = &daemon->mediator;
    struct vgpu_worker probe;
    int error;

    daemon->options = options;
    unsetenv("VGPU_SOCKET"); /* a driver in a worker is not our client */
    vgpu_log(VGPU_LOG_INFO, "version %s, protocol %u/%016llx", VGPU_VERSION, VGPU_PROTOCOL_VERSION,
             (unsigned long long)VGPU_PROTOCOL_HASH);
    vgpu_daemon_raise_limit();
    error = vgpu_service_open(&daemon->service);
    if (!error)
        error = vgpu_loop_create(&mediator->loop);
    if (error)
        return error;
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
    /* First the signals: NVIDIA's library starts threads, which would take and die of them. */
    error = vgpu_daemon_catch_signals(daemon);
    mediator->health = vgpu_health_open(mediator->driver.probe.uuid);
    if (!error)
        error = vgpu_admin_open(mediator);
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
        vgpu_service_ready(&daemon->service, mediator->loop);
        error = vgpu_loop_run(mediator->loop);
    }
    vgpu_daemon_close(daemon);
destroy_loop:
    vgpu_service_close(&daemon->service);
    vgpu_store_close(mediator->store);
    vgpu_lease_close(&mediator->leases);
    vgpu_loop_destroy(mediator->loop);
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
        .mediator.flushed.fd = -1,
        .mediator.leases.timer.fd = -1,
        .mediator.images.folder = -1,
        .drain.drained = vgpu_daemon_drained,
        .stop = {.source.fd = -1, .expired = vgpu_daemon_stop_late},
    };
    struct vgpu_options options = {0};
    int status = vgpu_options_parse(argc, argv, &options);

    if (status >= 0)
        return status;
    int error = vgpu_daemon_configure(&daemon.mediator.config, &options);
    if (!error && options.check && vgpu_config_check_host(&daemon.mediator.config, stdout))
        error = -ENOENT;
    if (!error && options.check)
        printf("the configuration is good\n");
    if (!error && options.check_store)
        error = vgpu_daemon_check_store(&daemon.mediator.config);
    if (!error && !options.check && !options.check_store)
        error = vgpu_daemon_run(&daemon, &options);
    vgpu_config_destroy(&daemon.mediator.config);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
