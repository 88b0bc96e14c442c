/* SPDX-License-Identifier: MIT */
/** The terminal as a page that is drawn again and again, and keys. */
#ifndef VGPU_ADMIN_SCREEN_H
#define VGPU_ADMIN_SCREEN_H

#include <stdbool.h>
#include <termios.h>

struct screen {
    int signals; /* signalfd */
    bool is_raw; /* `before` is to be put back */
    struct termios before;
};

/** What screen_wait() returns, if it is not a key. */
#define SCREEN_TIME   0
#define SCREEN_RESIZE (-1)
#define SCREEN_END    (-2) /* a signal, or the terminal has gone */

/** Takes the terminal of stdin and stdout; false: there is none, or it cannot be had. */
bool screen_open(struct screen *screen);
/** Gives it back as it was. */
void screen_close(struct screen *screen);

/** Shows the lines of `text`, as much of them as the terminal has room for; if lines are left over,
 *  the last one says how many. */
void screen_draw(const char *text);

/** Waits for a key, a signal or the time, whichever comes first. Returns a key or SCREEN_*. */
int screen_wait(const struct screen *screen, double seconds);

#endif
