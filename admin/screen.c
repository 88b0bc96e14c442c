/* SPDX-License-Identifier: MIT */
#include "admin/screen.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* another page, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME  "\033[H"
#define WIPE  "\033[K" /* to the end of the line */
#define CLEAR "\033[J" /* to the end of the page */

static int screen_catch(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool screen_open(struct screen *screen)
{
    struct termios raw;

    *screen = (struct screen){.signals = -1};
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &screen->before) < 0)
        return false;
    screen->signals = screen_catch();
    if (screen->signals < 0)
        return false;
    raw = screen->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped program would leave the terminal like this */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    screen->is_raw = tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
    setvbuf(stderr, NULL, _IOFBF, BUFSIZ); /* complaints come when the page is gone */
    fputs(ENTER, stdout);
    fflush(stdout);
    return true;
}

void screen_close(struct screen *screen)
{
    if (screen->signals < 0)
        return;
    fputs(LEAVE, stdout);
    fflush(stdout);
    if (screen->is_raw)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &screen->before);
    fflush(stderr);
    close(screen->signals);
    screen->signals = -1;
}

static unsigned screen_count_lines(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

void screen_draw(const char *text)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    unsigned lines = screen_count_lines(text);
    unsigned shown = lines <= size.ws_row ? lines : size.ws_row - 1u;
    fputs(HOME, stdout);
    for (unsigned i = 0; i < shown; i++) {
        size_t length = strcspn(text, "\n");

        /* The last line ends without a line feed, which would move the page up. */
        printf("%s%.*s" WIPE, i ? "\r\n" : "", length < size.ws_col ? (int)length : size.ws_col,
               text);
        text += length + 1;
    }
    if (shown < lines)
        printf("%s%u more" WIPE, shown ? "\r\n" : "", lines - shown);
    fputs(CLEAR, stdout);
    fflush(stdout);
}

int screen_wait(const struct screen *screen, double seconds)
{
    struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = screen->signals, .events = POLLIN}};
    struct signalfd_siginfo info;
    unsigned char key;

    if (poll(wait, 2, (int)(seconds * 1000) + 1) <= 0)
        return SCREEN_TIME;
    if (wait[1].revents && read(screen->signals, &info, sizeof(info)) == sizeof(info))
        return info.ssi_signo == SIGWINCH ? SCREEN_RESIZE : SCREEN_END;
    if (wait[0].revents && read(STDIN_FILENO, &key, 1) != 1)
        return SCREEN_END;
    return wait[0].revents ? key : SCREEN_TIME;
}
