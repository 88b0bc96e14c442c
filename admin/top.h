/* SPDX-License-Identifier: MIT */
/** vgpu-admin top: what VMs do between two looks at their counters. */
#ifndef VGPU_ADMIN_TOP_H
#define VGPU_ADMIN_TOP_H

#include "admin/client.h"
#include "admin/output.h"

/** Looks `count` times (0: for ever), `interval` seconds apart. On a terminal it draws a page that
 *  follows the size of the terminal and keys, of which q quits. */
enum admin_status top_run(struct client *client, enum output_form form, double interval,
                          unsigned long count);

#endif
