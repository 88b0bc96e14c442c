/* SPDX-License-Identifier: MIT */
/** The mediator's log: one event a line on stderr. One thread. */
#ifndef VGPU_MEDIATOR_LOG_H
#define VGPU_MEDIATOR_LOG_H

#include <stdbool.h>
#include <stddef.h>

/** Numbers are those of syslog, which the journal understands as a <N> prefix. */
enum vgpu_log_level {
    VGPU_LOG_ERROR = 3,
    VGPU_LOG_WARNING = 4,
    VGPU_LOG_INFO = 6,
};

/** Lines less important than `level` are left out from now on. */
void vgpu_log_limit(enum vgpu_log_level level);

void vgpu_log(enum vgpu_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** For lines that a client can cause as often as it likes: so many in a while, the rest counted. */
void vgpu_log_client(enum vgpu_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Copies text from outside so that it is one printable word or line; always terminated. */
void vgpu_log_clean(char *to, size_t size, const char *from, size_t from_size);

#endif
