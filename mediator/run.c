/* SPDX-License-Identifier: MIT */
/**
 * vgpu-run PROGRAM: runs a CUDA program on this host's mediator or, where there is none, on one
 * that is started for it and ends with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/paths.h"

#define DEFAULT_SOCKET "/run/vgpu/process.sock"

/* As env(1) and timeout(1) have them. */
#define EXIT_OURS        125
#define EXIT_CANNOT_RUN  126
#define EXIT_NOT_FOUND   127
#define EXIT_SIGNAL_BASE 128

struct vgpu_run {
    const char *driver; /* NULL: whatever there is */
    bool verbose;
    char **program; /* NULL-terminated */
    char library[PATH_MAX];
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int signals; /* signalfd */
    pid_t mediator;
};

static const char vgpu_help[] =
    "Usage: vgpu-run [--driver=auto|cuda|soft] [--verbose] PROGRAM [ARGUMENT...]\n"
    "Runs a CUDA program through vgpu. It uses the mediator at $VGPU_SOCKET, or the one of this\n"
    "host; where there is none, or with --driver, it starts one for this program alone. No GPU "
    "and\n"
    "no privileges are needed: without an NVIDIA GPU the software GPU serves.\n"
    "\n"
    "  --driver=DRIVER   which driver the mediator of its own uses; also $VGPU_DRIVER\n"
    "  --verbose         show the log of the mediator of its own\n"
    "  --version         print the version\n"
    "  --help            print this\n"
    "\n"
    "Ends with the program's status, 128+N if signal N ended it; 125: vgpu-run itself failed,\n"
    "126: the program cannot be run, 127: it was not found.\n";

static void vgpu_run_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void vgpu_run_complain(const char *format, ...)
{
    va_list arguments;

    fputs("vgpu-run: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/** Returns an exit status, or -1 to go on. */
static int vgpu_run_parse(int argc, char **argv, struct vgpu_run *run)
{
    static const struct option known[] = {
        {"driver", required_argument, NULL, 'd'},
        {"verbose", no_argument, NULL, 'V'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    run->driver = getenv("VGPU_DRIVER");
    while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1) {
        switch (option) {
        case 'd':
            run->driver = optarg;
            break;
        case 'V':
            run->verbose = true;
            break;
        case 'v':
            printf("vgpu-run %s\n", VGPU_VERSION);
            return 0;
        case 'h':
            fputs(vgpu_help, stdout);
            return 0;
        default:
            fputs("Try vgpu-run --help.\n", stderr);
            return EXIT_OURS;
        }
    }
    run->program = argv + optind;
    if (optind == argc) {
        vgpu_run_complain("which program? Try vgpu-run --help");
        return EXIT_OURS;
    }
    return -1;
}

static bool vgpu_run_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int probe;

    if (strlen(path) >= sizeof(address.sun_path))
        return false;
    strcpy(address.sun_path, path);
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool answers = connect(probe, (struct sockaddr *)&address, sizeof(address)) == 0 ||
                   errno == EAGAIN; /* busy, but there */
    close(probe);
    return answers;
}

/** Becomes the program; returns only the exit status of the failure to. */
static int vgpu_run_exec(struct vgpu_run *run, const char *socket_path)
{
    const char *before = getenv("LD_LIBRARY_PATH");
    char *path = NULL;

    if (asprintf(&path, "%s%s%s", run->library, before && *before ? ":" : "",
                 before ? before : "") < 0 ||
        setenv("LD_LIBRARY_PATH", path, 1) < 0 || setenv("VGPU_SOCKET", socket_path, 1) < 0) {
        vgpu_run_complain("out of memory");
        return EXIT_OURS;
    }
    execvp(run->program[0], run->program);
    vgpu_run_complain("%s: %s", run->program[0], strerror(errno));
    return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

/** A file name that nobody can have taken; the mediator makes the folder, and removes it. */
static bool vgpu_run_choose_folder(char *folder, size_t size)
{
    const char *parent = getenv("XDG_RUNTIME_DIR");
    uint64_t number;

    if (!parent || *parent != '/' || access(parent, W_OK) < 0)
        parent = "/tmp";
    return getrandom(&number, sizeof(number), 0) == sizeof(number) &&
           (size_t)snprintf(folder, size, "%s/vgpu-run-%016llx", parent,
                            (unsigned long long)number) < size;
}

/** The user's own cache, so that the next program that he runs finds what this one has loaded. */
static void vgpu_run_choose_images(char *images, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;

    if (cache && *cache == '/')
        length = snprintf(images, size, "%s/vgpu/images", cache);
    else if (home && *home == '/')
        length = snprintf(images, size, "%s/.cache/vgpu/images", home);
    if (length < 0 || (size_t)length >= size || strchr(images, '\n'))
        snprintf(images, size, "none");
}

/** The private mediator's settings as a file without a name; the folder of its sockets is chosen.
 */
static int vgpu_run_configure(struct vgpu_run *run)
{
    char folder[sizeof(run->socket) - sizeof("/process.sock")];
    char images[PATH_MAX];
    int config = memfd_create("vgpu-run", 0); /* inherited */

    if (config < 0 || !vgpu_run_choose_folder(folder, sizeof(folder)))
        return -1;
    vgpu_run_choose_images(images, sizeof(images));
    snprintf(run->socket, sizeof(run->socket), "%s/process.sock", folder);
    /* Nobody has to be protected from its work, which may take as long as natively. */
    dprintf(config,
            "[mediator]\ndevice-socket=%s/device.sock\nprocess-socket=%s\n"
            "admin-socket=%s/admin.sock\nimage-cache=%s\nspare-workers=1\nmetrics=none\n"
            "stop-timeout=0\nlog-level=%s\n[vm uid-%u]\nwatchdog=86400\nfault-limit=0\n",
            folder, run->socket, folder, images, run->verbose ? "info" : "warning",
            (unsigned)getuid());
    return config;
}

/** A datagram socket for READY=1, with a name that the kernel chooses. */
static int vgpu_run_notify_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(sa_family_t);
    char name[sizeof(address.sun_path) + 1] = "@";
    int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (notify < 0 || bind(notify, (struct sockaddr *)&address, size) < 0)
        return -1;
    size = sizeof(address);
    if (getsockname(notify, (struct sockaddr *)&address, &size) < 0)
        return -1;
    size -= (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1; /* the leading zero */
    memcpy(name + 1, address.sun_path + 1, size);
    name[size + 1] = '\0';
    return setenv("NOTIFY_SOCKET", name, 1) < 0 ? -1 : notify;
}

static void vgpu_run_unblock(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void vgpu_run_exec_mediator(const struct vgpu_run *run, const char *path, int config,
                                   pid_t parent)
{
    char file[32], driver[64];
    char *arguments[] = {"vgpu-mediator", "--config", file, run->driver ? driver : NULL, NULL};

    snprintf(file, sizeof(file), "/dev/fd/%d", config);
    snprintf(driver, sizeof(driver), "--driver=%s", run->driver ? run->driver : "");
    /* However vgpu-run ends: it stops and cleans up. Ctrl-C at the terminal is not for it. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_OURS);
    setsid();
    umask(077);
    vgpu_run_unblock();
    execv(path, arguments);
    vgpu_run_complain("%s: %s", path, strerror(errno));
    _exit(EXIT_OURS);
}

/** Returns 0 when it is ready, or an exit status: it failed, or a signal came. */
static int vgpu_run_await_mediator(struct vgpu_run *run, int notify)
{
    struct pollfd waiting[] = {{.fd = notify, .events = POLLIN},
                               {.fd = run->signals, .events = POLLIN}};

    for (;;) {
        struct signalfd_siginfo info;

        if (poll(waiting, 2, -1) < 0)
            continue;
        if (waiting[0].revents & POLLIN)
            return 0;
        if (read(run->signals, &info, sizeof(info)) != sizeof(info))
            continue;
        if (info.ssi_signo != SIGCHLD)
            return EXIT_SIGNAL_BASE + (int)info.ssi_signo;
        if (waitpid(run->mediator, NULL, WNOHANG) == run->mediator) {
            vgpu_run_complain("no mediator could be started%s",
                              run->verbose ? "" : "; --verbose shows why");
            run->mediator = 0;
            return EXIT_OURS;
        }
    }
}

static int vgpu_run_start_mediator(struct vgpu_run *run)
{
    char path[PATH_MAX];
    pid_t parent = getpid();

    if (vgpu_path_find(VGPU_PART_MEDIATOR, path, sizeof(path)) != 0) {
        vgpu_run_complain("no mediator answers at %s, and none is installed at %s", DEFAULT_SOCKET,
                          path);
        return EXIT_OURS;
    }
    int config = vgpu_run_configure(run);
    int notify = config < 0 ? -1 : vgpu_run_notify_socket();
    if (notify >= 0)
        run->mediator = fork();
    if (notify < 0 || run->mediator < 0) {
        vgpu_run_complain("cannot start a mediator: %s", strerror(errno));
        return EXIT_OURS;
    }
    if (run->mediator == 0)
        vgpu_run_exec_mediator(run, path, config, parent);
    close(config);
    unsetenv("NOTIFY_SOCKET");
    int status = vgpu_run_await_mediator(run, notify);
    close(notify);
    return status;
}

static void vgpu_run_stop_mediator(struct vgpu_run *run)
{
    if (run->mediator <= 0)
        return;
    kill(run->mediator, SIGTERM);
    while (waitpid(run->mediator, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static int vgpu_run_exit_status(int status)
{
    return WIFSIGNALED(status) ? EXIT_SIGNAL_BASE + WTERMSIG(status) : WEXITSTATUS(status);
}

/** Passes signals on until the program ends. Returns its exit status. */
static int vgpu_run_attend(struct vgpu_run *run, pid_t program)
{
    for (;;) {
        struct signalfd_siginfo info;
        int status;

        if (read(run->signals, &info, sizeof(info)) != sizeof(info))
            continue;
        if (info.ssi_signo != SIGCHLD) {
            /* The terminal has sent its signals to the program, too. */
            if (info.ssi_code != SI_KERNEL)
                kill(program, (int)info.ssi_signo);
            continue;
        }
        if (waitpid(program, &status, WNOHANG) == program)
            return vgpu_run_exit_status(status);
        if (run->mediator > 0 && waitpid(run->mediator, NULL, WNOHANG) == run->mediator) {
            vgpu_run_complain("the mediator of %s has ended", run->program[0]);
            run->mediator = 0;
        }
    }
}

static int vgpu_run_program(struct vgpu_run *run)
{
    pid_t parent = getpid();
    pid_t program = fork();

    if (program < 0) {
        vgpu_run_complain("cannot start %s: %s", run->program[0], strerror(errno));
        return EXIT_OURS;
    }
    if (program == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* its GPU would be gone anyway */
        if (getppid() != parent)
            _exit(EXIT_OURS);
        vgpu_run_unblock();
        _exit(vgpu_run_exec(run, run->socket));
    }
    return vgpu_run_attend(run, program);
}

static int vgpu_run_catch_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    struct vgpu_run run = {0};
    int status = vgpu_run_parse(argc, argv, &run);
    const char *given = getenv("VGPU_SOCKET");

    if (status >= 0)
        return status;
    if (vgpu_path_find(VGPU_PART_GUEST_LIBRARY, run.library, sizeof(run.library)) != 0) {
        vgpu_run_complain("the CUDA library of vgpu is not at %s", run.library);
        return EXIT_OURS;
    }
    if (!run.driver && given && *given) {
        if (vgpu_run_answers(given))
            return vgpu_run_exec(&run, given);
        vgpu_run_complain("no mediator answers at VGPU_SOCKET=%s; start it, or unset VGPU_SOCKET",
                          given);
        return EXIT_OURS;
    }
    if (!run.driver && vgpu_run_answers(DEFAULT_SOCKET))
        return vgpu_run_exec(&run, DEFAULT_SOCKET);
    run.signals = vgpu_run_catch_signals();
    status = run.signals < 0 ? EXIT_OURS : vgpu_run_start_mediator(&run);
    if (status == 0)
        status = vgpu_run_program(&run);
    vgpu_run_stop_mediator(&run);
    return status;
}
