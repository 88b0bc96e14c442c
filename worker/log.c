/* SPDX-License-Identifier: MIT */
#include "worker/log.h"

#include <stdarg.h>
#include <stdio.h>

static const char *prefix = "";

void vgpu_log_name(const char *name)
{
    prefix = name;
}

void vgpu_log(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    fprintf(stderr, "vgpu-worker%s%s: %s\n", *prefix ? " " : "", prefix, line);
}
