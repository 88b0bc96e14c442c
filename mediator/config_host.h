/* SPDX-License-Identifier: MIT */
/** Whether this host has what a configuration names, for vgpu-mediator --check-config. */
#ifndef VGPU_MEDIATOR_CONFIG_HOST_H
#define VGPU_MEDIATOR_CONFIG_HOST_H

#include "mediator/config.h"

/** Says on `out`, a line each, what is missing and what to do. Returns how much of it would keep
 *  the mediator from starting or serving. */
uint32_t vgpu_config_check_host(const struct vgpu_config *config, FILE *out);

#endif
