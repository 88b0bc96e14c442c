/* SPDX-License-Identifier: MIT */
/** SIGHUP: the configuration is read again, and what can change while VMs are served changes. */
#ifndef VGPU_MEDIATOR_RELOAD_H
#define VGPU_MEDIATOR_RELOAD_H

#include "mediator/mediator.h"

/**
 * Puts `fresh` in the place of the mediator's configuration, and takes it over. What is fixed while
 * the mediator runs stays as it was, with a line in the log for each setting that differs. Returns
 * how many do.
 */
uint32_t vgpu_reload(struct vgpu_mediator *mediator, struct vgpu_config *fresh);

#endif
