/* SPDX-License-Identifier: MIT */
#include "mediator/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_LINES   50u /* in each period */
#define CLIENT_SECONDS 10

/** How much clients have caused lately, for each level: greetings must not crowd out faults. */
struct vgpu_log_budget {
    time_t period;
    uint32_t lines;      /* in this period */
    uint32_t suppressed; /* in this period */
};

static struct {
    enum vgpu_log_level limit;
    struct vgpu_log_budget budget[VGPU_LOG_INFO + 1];
} vgpu_log_context = {.limit = VGPU_LOG_INFO};

/** True if stderr is the journal's stream, and not only that of some parent of ours. */
static bool vgpu_log_to_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void vgpu_log_limit(enum vgpu_log_level level)
{
    vgpu_log_context.limit = level;
}

static void vgpu_log_write(enum vgpu_log_level level, const char *format, va_list arguments)
{
    char line[1024];
    int length = 0;

    if (level > vgpu_log_context.limit)
        return;
    if (vgpu_log_to_journal())
        length = snprintf(line, sizeof(line), "<%d>", (int)level);
    else
        length = snprintf(line, sizeof(line), "vgpu-mediator: %s",
                          level == VGPU_LOG_ERROR     ? "error: "
                          : level == VGPU_LOG_WARNING ? "warning: "
                                                      : "");
    int body = vsnprintf(line + length, sizeof(line) - (size_t)length - 1, format, arguments);
    if (body < 0)
        return;
    length = (int)strlen(line);
    line[length] = '\n';
    /* One write, so that lines of workers on the same descriptor do not mix with ours. */
    fwrite(line, 1, (size_t)length + 1, stderr);
}

void vgpu_log(enum vgpu_log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vgpu_log_write(level, format, arguments);
    va_end(arguments);
}

void vgpu_log_client(enum vgpu_log_level level, const char *format, ...)
{
    struct vgpu_log_budget *budget = &vgpu_log_context.budget[level];
    struct timespec now;
    va_list arguments;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - budget->period >= CLIENT_SECONDS) {
        if (budget->suppressed)
            vgpu_log(level, "%u more lines about clients were left out", budget->suppressed);
        *budget = (struct vgpu_log_budget){.period = now.tv_sec};
    }
    if (budget->lines >= CLIENT_LINES) {
        budget->suppressed++;
        return;
    }
    budget->lines++;
    va_start(arguments, format);
    vgpu_log_write(level, format, arguments);
    va_end(arguments);
}

void vgpu_log_clean(char *to, size_t size, const char *from, size_t from_size)
{
    size_t length = strnlen(from, from_size);

    if (length >= size)
        length = size - 1;
    for (size_t i = 0; i < length; i++)
        to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
    to[length] = '\0';
}
