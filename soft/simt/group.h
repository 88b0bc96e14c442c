/* SPDX-License-Identifier: MIT */
/** Groups of lanes while they run: what the scheduler (warp.c) and calls (call.c) share. */
#ifndef VGPU_SOFT_GROUP_H
#define VGPU_SOFT_GROUP_H

#include "soft/simt/warp.h"

static inline void vgpu_group_add(struct vgpu_warp *w, uint32_t mask, uint32_t pc, uint32_t depth)
{
    w->groups[w->group_count++] =
        (struct vgpu_group){.mask = mask, .pc = pc, .depth = (uint16_t)depth, .stamp = w->clock};
}

static inline uint32_t vgpu_warp_guarded(const struct vgpu_warp *w, const struct vgpu_inst *i,
                                         uint32_t mask)
{
    uint32_t p;

    if (i->guard == 0)
        return mask;
    p = *(const uint32_t *)(w->base[0] + (i->guard & ~1u));
    return mask & (i->guard & 1 ? ~p : p);
}

/**
 * The lanes `mask` of the running group call a function; the group becomes those that went there.
 * Non-zero when a fault is noted.
 */
int vgpu_group_call(struct vgpu_warp *warp, struct vgpu_group *group, const struct vgpu_inst *inst,
                    uint32_t mask);

/** alloca, stacksave and stackrestore for the lanes `mask`. Non-zero when a fault is noted. */
int vgpu_group_stack(struct vgpu_warp *warp, const struct vgpu_group *group,
                     const struct vgpu_inst *inst, uint32_t mask);

/** The lanes `mask` return, each to where it came from; the group becomes some of them. */
void vgpu_group_return(struct vgpu_warp *warp, struct vgpu_group *group, uint32_t mask);

#endif
