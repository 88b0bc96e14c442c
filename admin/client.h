/* SPDX-License-Identifier: MIT */
/** A connection to the mediator's admin socket (mediator/admin/admin.h). */
#ifndef VGPU_ADMIN_CLIENT_H
#define VGPU_ADMIN_CLIENT_H

#include <jansson.h>
#include <stdio.h>

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

/** A stream to read and write; or its status, after a complaint on stderr. */
enum admin_status client_connect(const char *path, FILE **stream);

/** How long to wait for the mediator; 0: for ever. */
void client_set_patience(FILE *stream, unsigned seconds);

/** One line, a new reference; NULL after a complaint. */
json_t *client_read(FILE *stream);

/** Sends a request (takes it over) and reads the answer, whose notes and error go to stderr. On
 *  ADMIN_DONE, *result is a new reference. */
enum admin_status client_ask(FILE *stream, json_t *request, json_t **result);

#endif
