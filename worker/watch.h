/* SPDX-License-Identifier: MIT */
/**
 * What the mediator's watchdog goes by: for how long the oldest piece of work has been under way.
 * A piece is what lies between two marks (worker/stream/fence.h). Marks with events cost as much as
 * launches, so work of a kind that was short before shares a mark, as long as all of it is expected
 * to take a sixteenth of the limit at most; what was long, or is not known yet, has a mark of its
 * own. Pieces of many records get more patience, should they be long after all.
 *
 * Only the oldest mark is looked at: work waits for nothing that was submitted later, so whatever
 * hangs is the oldest sooner or later, and a long queue has a new oldest all the time. What stands
 * behind a wait for the program (worker/stream/wait.h) comes after all that does not, and with more
 * patience. For the worker's thread.
 */
#ifndef VGPU_WORKER_WATCH_H
#define VGPU_WORKER_WATCH_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#define VGPU_WATCH_RECORDS 2048u /* of a piece, at most: marks of many streams take long */
#define VGPU_WATCH_KINDS   1024u

struct vgpu_worker;
struct vgpu_call_header;
struct vgpu_mark;

struct vgpu_watch {
    uint32_t oldest;   /* number of the mark that was the oldest when the worker last looked */
    uint64_t since;    /* CLOCK_MONOTONIC when it was seen first as that; 0: there was none */
    uint32_t patience; /* that it gets, in limits */

    uint32_t pieced;                 /* records of the piece that has no mark yet */
    uint32_t expected;               /* microseconds that they will take */
    uint32_t kind;                   /* of the last of them */
    bool alone;                      /* nothing may come to it */
    uint32_t unmeasured;             /* records since the last mark with an event */
    uint32_t took[VGPU_WATCH_KINDS]; /* microseconds of a record of this kind, and 1; 0: unknown */
};

/** A record that brings work is about to be replayed: if it is not to share a mark with what came
 * before, that gets marks now. */
void vgpu_watch_add(struct vgpu_worker *worker);

/** Marks are behind all that there is: the next piece begins. */
void vgpu_watch_begin(struct vgpu_worker *worker);

/** Whether nothing but one record, of a kind that is not known, came since the last mark with an
 *  event: one behind it will tell how long it takes. */
bool vgpu_watch_wonders(const struct vgpu_worker *worker);

/** A mark is placed: notes what it is behind. */
void vgpu_watch_mark(struct vgpu_worker *worker, struct vgpu_mark *mark);

/** The work before this mark took so many nanoseconds of GPU time. */
void vgpu_watch_learn(struct vgpu_worker *worker, const struct vgpu_mark *mark,
                      uint64_t nanoseconds);

/** Tells the mediator what is the oldest; marks were looked at thoroughly just now. */
void vgpu_watch_look(struct vgpu_worker *worker, uint64_t now);

/**
 * The driver does not return from some calls before the GPU has done all it was given, and
 * meanwhile nobody could see it get on, nor could what other threads of the guest ask for be done.
 * True if a record is such a call and there is work: the guest is told to wait (VGPU_RESULT_LATER).
 */
bool vgpu_watch_defers(struct vgpu_worker *worker, const struct vgpu_call_header *header);

/** Whether a record may be replayed now. Such a call of a guest that insists waits until there is
 *  one piece of work at most. */
bool vgpu_watch_admits(struct vgpu_worker *worker, const struct vgpu_call_header *header);

#endif
