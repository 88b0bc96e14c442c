/* SPDX-License-Identifier: MIT */
/** A connection to the mediator's admin socket (mediator/admin/admin.h). */
#ifndef VGPU_ADMIN_CLIENT_H
#define VGPU_ADMIN_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/** Exit statuses; vgpu-admin(1) has them too. */
enum admin_status {
    ADMIN_DONE = 0,
    ADMIN_FAILED = 1,
    ADMIN_USAGE = 2,
    ADMIN_UNREACHABLE = 3,
    ADMIN_NOT_FOUND = 4,
    ADMIN_CONFLICT = 5,
    ADMIN_NO_STORE = 6,
    ADMIN_DENIED = 7,
};

struct client {
    const char *path;
    int fd;
    char *text; /* received, and not read yet */
    size_t length;
    size_t room;
};

/** Connects to the socket at `path`, which must outlive the client; if that fails there is nothing
 *  to close, and a complaint on stderr. */
enum admin_status client_connect(const char *path, struct client *client);
void client_close(struct client *client);

/** How client_read() ends. */
enum client_end {
    CLIENT_LINE,        /* *line is a new reference */
    CLIENT_FAILED,      /* a complaint was made */
    CLIENT_READER_GONE, /* nobody reads our stdout any more; only while it waits for ever */
};

/** Waits for a line, for ever, or as long as the mediator may take to answer. */
enum client_end client_read(struct client *client, bool for_ever, json_t **line);

/** Sends a request (takes it over) and reads the answer, whose notes and error go to stderr. On
 *  ADMIN_DONE, *result is a new reference. */
enum admin_status client_ask(struct client *client, json_t *request, json_t **result);

/** Waits so many milliseconds; false, at once, if nobody reads our stdout any more. */
bool client_pause(int milliseconds);

#endif
