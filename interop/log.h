/* SPDX-License-Identifier: MIT */
/** Lines on stderr of a library that lives in somebody else's process. */
#ifndef VGPU_INTEROP_LOG_H
#define VGPU_INTEROP_LOG_H

enum vgpu_log_level {
    VGPU_LOG_ERROR, /* always written, and added to the log that programs read */
    VGPU_LOG_INFO,  /* with VGPU_LOG=info or debug in the environment */
    VGPU_LOG_DEBUG, /* with VGPU_LOG=debug */
};

/** Writes "vgpu: ..." as one line (none needed in `format`), from any thread. */
void vgpu_log(enum vgpu_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Adds an error to the log that programs read with cuLogs*, where the library has one
 * (driver_log.c), and tells the program's callbacks. From any thread that holds no lock that a
 * function of CUDA takes: callbacks may call such functions. */
void vgpu_log_keep(const char *message) __attribute__((weak));

#endif
