/* SPDX-License-Identifier: MIT */
/** vgpu-status: shows the snapshot that the mediator's admin socket gives (mediator/admin/admin.h).
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SNAPSHOT_MAX (4u << 20)
#define FIELDS_MAX   64u

struct vgpu_row {
    char *field[FIELDS_MAX];
    uint32_t count;
};

static const char vgpu_help[] =
    "Usage: vgpu-status [--socket PATH] [--json]\n"
    "Shows what each virtual machine and user has of the GPU.\n"
    "\n"
    "  --socket PATH   the mediator's admin socket; default /run/vgpu/admin.sock\n"
    "  --json          everything there is, in plain units (bytes, nanoseconds)\n"
    "  --help          print this\n";

/** The snapshot as a string of one's own, or NULL after a complaint. */
static char *vgpu_status_fetch(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *text = calloc(1, SNAPSHOT_MAX + 1);
    size_t length = 0;
    ssize_t got = -1;

    if (strlen(path) >= sizeof(address.sun_path))
        errno = ENAMETOOLONG;
    if (strlen(path) < sizeof(address.sun_path) && fd >= 0 && text) {
        strcpy(address.sun_path, path);
        got = connect(fd, (struct sockaddr *)&address, sizeof(address));
        if (got >= 0)
            shutdown(fd, SHUT_WR); /* no request: the snapshot */
        while (got >= 0 && length < SNAPSHOT_MAX &&
               (got = read(fd, text + length, SNAPSHOT_MAX - length)) > 0)
            length += (size_t)got;
    }
    if (got != 0 || length == 0) {
        fprintf(stderr,
                "vgpu-status: no snapshot from %s: %s; is vgpu-mediator running, and may you look? "
                "(--socket PATH, if it listens elsewhere)\n",
                path, got < 0 ? strerror(errno) : "it hung up");
        free(text);
        text = NULL;
    }
    if (fd >= 0)
        close(fd);
    return text;
}

/** Takes one line off the text and splits it. False at its end or at an empty line. */
static bool vgpu_status_row(char **text, struct vgpu_row *row)
{
    char *line = strsep(text, "\n");

    row->count = 0;
    if (!line || !*line)
        return false;
    while (row->count < FIELDS_MAX) {
        char *field = strsep(&line, "\t");

        if (!field)
            break;
        row->field[row->count++] = field;
    }
    return true;
}

/** The field of this name as text; "" if the mediator does not tell it. */
static const char *vgpu_status_text(const struct vgpu_row *names, const struct vgpu_row *row,
                                    const char *name)
{
    for (uint32_t i = 0; i < names->count && i < row->count; i++) {
        if (strcmp(names->field[i], name) == 0)
            return row->field[i];
    }
    return "";
}

static double vgpu_status_number(const struct vgpu_row *names, const struct vgpu_row *row,
                                 const char *name)
{
    return strtod(vgpu_status_text(names, row, name), NULL);
}

static void vgpu_status_json_value(const char *name, const char *value)
{
    /* A VM may be called 007, and a driver's version is a number. */
    bool is_number = *value && strcmp(name, "vm") != 0 && strcmp(name, "protocol") != 0 &&
                     strspn(value, "0123456789") == strlen(value);

    putchar('"');
    fputs(name, stdout);
    fputs("\": ", stdout);
    if (is_number) {
        fputs(value, stdout);
        return;
    }
    putchar('"');
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            putchar('\\');
        putchar(iscntrl((unsigned char)*value) ? '?' : *value);
    }
    putchar('"');
}

static void vgpu_status_json_object(const struct vgpu_row *names, const struct vgpu_row *row)
{
    putchar('{');
    for (uint32_t i = 0; i < names->count && i < row->count; i++) {
        if (i)
            fputs(", ", stdout);
        vgpu_status_json_value(names->field[i], row->field[i]);
    }
    putchar('}');
}

static void vgpu_status_json(char *text)
{
    struct vgpu_row names, row;
    const char *separator = "\n";

    vgpu_status_row(&text, &names);
    vgpu_status_row(&text, &row);
    fputs("{\"mediator\": ", stdout);
    vgpu_status_json_object(&names, &row);
    fputs(",\n \"vms\": [", stdout);
    vgpu_status_row(&text, &names); /* the empty line between the blocks */
    vgpu_status_row(&text, &names);
    while (vgpu_status_row(&text, &row)) {
        printf("%s  ", separator);
        vgpu_status_json_object(&names, &row);
        separator = ",\n";
    }
    fputs("]}\n", stdout);
}

/** Writes a value with one of the units, each `step` times the one before. */
static const char *vgpu_status_scale(char *out, size_t size, double value, double step,
                                     const char *const *units)
{
    while (value >= step && units[1]) {
        value /= step;
        units++;
    }
    snprintf(out, size, value < 10 && value != (uint64_t)value ? "%.1f%s" : "%.0f%s", value,
             *units);
    return out;
}

static const char *vgpu_status_bytes(char *out, size_t size, double bytes)
{
    static const char *const units[] = {"", "K", "M", "G", "T", NULL};

    return vgpu_status_scale(out, size, bytes, 1024, units);
}

static const char *vgpu_status_time(char *out, size_t size, double nanoseconds)
{
    static const char *const units[] = {"ns", "us", "ms", "s", NULL};

    return vgpu_status_scale(out, size, nanoseconds, 1000, units);
}

static void vgpu_status_table_row(const struct vgpu_row *names, const struct vgpu_row *row)
{
    char to[16], from[16], gpu[16], p50[16], p99[16], used[16], quota[16], memory[40];
    bool measured = vgpu_status_number(names, row, "round_trips") > 0;

    snprintf(
        memory, sizeof(memory), "%s/%s",
        vgpu_status_bytes(used, sizeof(used), vgpu_status_number(names, row, "memory_used")),
        vgpu_status_bytes(quota, sizeof(quota), vgpu_status_number(names, row, "memory_quota")));
    vgpu_status_time(p50, sizeof(p50), vgpu_status_number(names, row, "p50_ns"));
    vgpu_status_time(p99, sizeof(p99), vgpu_status_number(names, row, "p99_ns"));
    printf(
        "%-20s %-9s %8s %6s %12s %8s %8s %8s %7s %7s %15s %7s %7s\n",
        vgpu_status_text(names, row, "vm"), vgpu_status_text(names, row, "state"),
        vgpu_status_text(names, row, "channels_open"),
        vgpu_status_text(names, row, "channels_failed"), vgpu_status_text(names, row, "calls"),
        vgpu_status_bytes(to, sizeof(to), vgpu_status_number(names, row, "bytes_to_device")),
        vgpu_status_bytes(from, sizeof(from), vgpu_status_number(names, row, "bytes_from_device")),
        vgpu_status_time(gpu, sizeof(gpu), vgpu_status_number(names, row, "gpu_ns")),
        measured ? p50 : "-", measured ? p99 : "-", memory, vgpu_status_text(names, row, "refused"),
        vgpu_status_text(names, row, "garbage"));
}

static void vgpu_status_table(char *text)
{
    struct vgpu_row names, row;
    char memory[16], uptime[16];

    vgpu_status_row(&text, &names);
    vgpu_status_row(&text, &row);
    printf(
        "%s (%s), %s of memory; mediator %s, up %s, %s refused\n\n",
        vgpu_status_text(&names, &row, "gpu"), vgpu_status_text(&names, &row, "driver"),
        vgpu_status_bytes(memory, sizeof(memory), vgpu_status_number(&names, &row, "memory_total")),
        vgpu_status_text(&names, &row, "version"),
        vgpu_status_time(uptime, sizeof(uptime), vgpu_status_number(&names, &row, "uptime_ns")),
        vgpu_status_text(&names, &row, "refused"));
    printf("%-20s %-9s %8s %6s %12s %8s %8s %8s %7s %7s %15s %7s %7s\n", "VM", "STATE", "CHANNELS",
           "FAILED", "CALLS", "TO-GPU", "FROM-GPU", "GPU-TIME", "RT-P50", "RT-P99", "MEMORY/QUOTA",
           "REFUSED", "GARBAGE");
    vgpu_status_row(&text, &names); /* the empty line between the blocks */
    vgpu_status_row(&text, &names);
    while (vgpu_status_row(&text, &row))
        vgpu_status_table_row(&names, &row);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *path = "/run/vgpu/admin.sock";
    bool json = false;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'h') {
            fputs(vgpu_help, stdout);
            return 0;
        }
        if (option == '?') {
            fputs("Try vgpu-status --help.\n", stderr);
            return 2;
        }
        if (option == 's')
            path = optarg;
        else
            json = true;
    }
    char *text = vgpu_status_fetch(path);
    if (!text)
        return EXIT_FAILURE;
    if (json)
        vgpu_status_json(text);
    else
        vgpu_status_table(text);
    free(text);
    return EXIT_SUCCESS;
}
