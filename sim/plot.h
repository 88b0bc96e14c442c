/* SPDX-License-Identifier: MIT */
#ifndef VGPU_SIM_PLOT_H
#define VGPU_SIM_PLOT_H

#include "sim/machine.h"

/** Draws the shares of the GPU over time as SVG: one band per VM on top of each other, white where
 *  the GPU had nothing to do. Of many VMs the last ones make one band. */
void vgpu_sim_plot(const struct vgpu_sim_scenario *scenario, const struct vgpu_sim_outcome *outcome,
                   FILE *out);

#endif
