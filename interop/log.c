/* SPDX-License-Identifier: MIT */
#include "interop/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum vgpu_log_level wanted(void)
{
    const char *value = getenv("VGPU_LOG");

    if (value && strcmp(value, "debug") == 0)
        return VGPU_LOG_DEBUG;
    if (value && strcmp(value, "info") == 0)
        return VGPU_LOG_INFO;
    return VGPU_LOG_ERROR;
}

void vgpu_log(enum vgpu_log_level level, const char *format, ...)
{
    char line[512] = "vgpu: ";
    const size_t prefix = strlen(line);
    size_t length = prefix;
    va_list arguments;
    int written;

    if (level > wanted())
        return;
    va_start(arguments, format);
    written = vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
    va_end(arguments);
    if (written < 0)
        return;
    if (level == VGPU_LOG_ERROR && vgpu_log_keep)
        vgpu_log_keep(line + prefix);
    length = strlen(line);
    line[length++] = '\n';
    /* One write, so that lines of several threads do not mix; nothing can be done if it fails. */
    if (write(STDERR_FILENO, line, length) < 0)
        return;
}
