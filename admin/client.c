/* SPDX-License-Identifier: MIT */
#include "admin/client.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SECONDS 10

static void client_complain(const char *path, int error)
{
    struct stat state;
    const struct group *group = stat(path, &state) == 0 ? getgrgid(state.st_gid) : NULL;

    fprintf(stderr, "vgpu-admin: cannot connect to %s: %s; ", path, strerror(error));
    if (error == EACCES || error == EPERM)
        fprintf(stderr, "root and the members of the group %s may\n",
                group ? group->gr_name : "vgpu");
    else if (error == ENOENT || error == ECONNREFUSED || error == EAGAIN)
        fputs("is vgpu-mediator running? --socket=PATH, if it listens elsewhere\n", stderr);
    else
        fputs("see --socket=PATH\n", stderr);
}

static void client_be_patient(int fd, unsigned seconds)
{
    const struct timeval patience = {.tv_sec = seconds};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

void client_set_patience(FILE *stream, unsigned seconds)
{
    client_be_patient(fileno(stream), seconds);
}

enum admin_status client_connect(const char *path, FILE **stream)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *stream = NULL;
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
    } else if (fd >= 0) {
        strcpy(address.sun_path, path);
        client_be_patient(fd, PATIENCE_SECONDS);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            *stream = fdopen(fd, "r+e");
    }
    if (*stream)
        return ADMIN_DONE;
    int error = errno;
    client_complain(path, error);
    if (fd >= 0)
        close(fd);
    return error == EACCES || error == EPERM ? ADMIN_DENIED : ADMIN_UNREACHABLE;
}

json_t *client_read(FILE *stream)
{
    char *line = NULL;
    size_t size = 0;
    json_error_t wrong;
    json_t *value = NULL;
    errno = 0;
    ssize_t length = getline(&line, &size, stream);

    if (length < 0 && errno == EAGAIN) {
        fprintf(stderr,
                "vgpu-admin: the mediator has not answered for %d s, and may still do what was "
                "asked; see its log, and vgpu-admin show-audit\n",
                PATIENCE_SECONDS);
    } else if (length < 0) {
        fputs("vgpu-admin: the mediator hung up\n", stderr);
    } else {
        value = json_loadb(line, (size_t)length, 0, &wrong);
        if (!value)
            fprintf(stderr, "vgpu-admin: the mediator's answer is not JSON: %s\n", wrong.text);
    }
    free(line);
    return value;
}

static enum admin_status client_status(const char *code)
{
    static const struct {
        const char *code;
        enum admin_status status;
    } codes[] = {
        {"invalid", ADMIN_USAGE},     {"not-found", ADMIN_NOT_FOUND}, {"conflict", ADMIN_CONFLICT},
        {"no-store", ADMIN_NO_STORE}, {"denied", ADMIN_DENIED},
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        if (strcmp(codes[i].code, code) == 0)
            return codes[i].status;
    }
    return ADMIN_FAILED;
}

enum admin_status client_ask(FILE *stream, json_t *request, json_t **result)
{
    int sent = json_dumpf(request, stream, JSON_COMPACT);
    const char *code = "failed", *message = "it is no answer";
    enum admin_status status = ADMIN_DONE;

    json_decref(request);
    if (sent == 0)
        fputc('\n', stream);
    fflush(stream);
    json_t *answer = client_read(stream);
    if (!answer)
        return ADMIN_UNREACHABLE;
    const json_t *notes = json_object_get(answer, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++)
        fprintf(stderr, "vgpu-admin: note: %s\n", json_string_value(json_array_get(notes, i)));
    if (json_is_true(json_object_get(answer, "ok"))) {
        *result = json_incref(json_object_get(answer, "result"));
    } else {
        json_unpack(answer, "{s:{s:s, s:s}}", "error", "code", &code, "message", &message);
        fprintf(stderr, "vgpu-admin: %s\n", message);
        status = client_status(code);
    }
    json_decref(answer);
    return status;
}
