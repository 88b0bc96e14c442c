/* SPDX-License-Identifier: MIT */
/** One line to standard error, which the mediator's journal takes in. */
#ifndef VGPU_WORKER_LOG_H
#define VGPU_WORKER_LOG_H

/** Puts `name` (of VM and program; must stay valid) before every line from now on. */
void vgpu_log_name(const char *name);

__attribute__((format(printf, 1, 2))) void vgpu_log(const char *format, ...);

#endif
