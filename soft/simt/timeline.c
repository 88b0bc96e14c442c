/* SPDX-License-Identifier: MIT */
#include "soft/simt/timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one file of the process. */
static struct {
    pthread_once_t once;
    int fd; /* -1: not wanted */
} timeline = {.once = PTHREAD_ONCE_INIT, .fd = -1};

static void read_environment(void)
{
    const char *path = getenv("VGPU_SOFT_TIMELINE");

    if (path == NULL || *path == '\0')
        return;
    timeline.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (timeline.fd < 0)
        fprintf(stderr, "VGPU_SOFT_TIMELINE=%s: %s: launches are not written down\n", path,
                strerror(errno));
}

bool vgpu_timeline_wanted(void)
{
    pthread_once(&timeline.once, read_environment);
    return timeline.fd >= 0;
}

void vgpu_timeline_add(const char *kernel, double begin, double end)
{
    char line[160];
    int length = snprintf(line, sizeof(line), "%.0f %.0f %d %.100s\n", begin * 1e9, end * 1e9,
                          (int)getpid(), kernel);

    /* One write, so that lines of several processes do not mix. */
    if (length > 0 && write(timeline.fd, line, (size_t)length) < 0)
        return; /* a full disk is no reason to stop a program */
}
