/* SPDX-License-Identifier: MIT */
/* Functions that device code calls and nobody defines: vprintf, __assertfail, malloc, free,
 * cudaGraphSetConditional. */
#include <stdio.h>
#include <string.h>

#include "soft/simt/warp.h"

/* Longest format, string argument and line. Field widths and precisions are cut to 512. */
#define MAX_STRING 4096u
#define MAX_LINE   8192u
#define MAX_FIELD  512

struct line {
    char text[MAX_LINE];
    size_t used;
};

/* Where the n-th argument of the call is in the caller's local frame of a lane. */
static uint8_t *slot(const struct vgpu_warp *w, const struct vgpu_call *call, uint32_t n,
                     unsigned lane)
{
    const uint32_t *stack;

    for (uint32_t g = 0; g < w->group_count; g++) {
        if ((w->groups[g].mask >> lane & 1) == 0)
            continue;
        stack = (const uint32_t *)(void *)(w->frames[w->groups[g].depth] + VGPU_FRAME_STACK);
        return vgpu_warp_local(w, lane, stack[lane] + call->arguments[n].source,
                               call->arguments[n].size);
    }
    return NULL;
}

static uint64_t argument(const struct vgpu_warp *w, const struct vgpu_call *call, uint32_t n,
                         unsigned lane)
{
    const uint8_t *at = slot(w, call, n, lane);
    uint64_t value = 0;

    if (at != NULL)
        memcpy(&value, at, call->arguments[n].size < 8 ? call->arguments[n].size : 8);
    return value;
}

static void put_result(const struct vgpu_warp *w, const struct vgpu_call *call, unsigned lane,
                       uint64_t value)
{
    uint8_t *at = call->return_count > 0 ? slot(w, call, 0, lane) : NULL;

    if (at != NULL)
        memcpy(at, &value, call->arguments[0].size < 8 ? call->arguments[0].size : 8);
}

/* Copies a string of the device; false where it is not readable. */
static bool read_string(const struct vgpu_warp *w, unsigned lane, uint64_t address, char *to,
                        size_t size)
{
    for (size_t n = 0; n + 1 < size; n++) {
        const char *at = vgpu_warp_generic(w, lane, address + n, 1);

        if (at == NULL)
            return false;
        to[n] = *at;
        if (*at == '\0')
            return true;
    }
    to[size - 1] = '\0';
    return true;
}

/* ---- printf ---- */

struct arguments {
    const struct vgpu_warp *warp;
    unsigned lane;
    uint64_t address;
    uint64_t offset;
    bool bad;
};

static uint64_t next_argument(struct arguments *a, uint32_t size)
{
    uint64_t value = 0;
    const void *at;

    a->offset = (a->offset + size - 1) & ~(uint64_t)(size - 1);
    at = vgpu_warp_generic(a->warp, a->lane, a->address + a->offset, size);
    a->offset += size;
    if (at == NULL)
        a->bad = true;
    else
        memcpy(&value, at, size);
    return value;
}

struct conversion {
    char flags[8];
    int width, precision; /* -1: none */
    bool is_long;
    char letter;
};

static int field(const char **at, struct arguments *a)
{
    int n = 0;

    if (**at == '*') {
        (*at)++;
        n = (int32_t)next_argument(a, 4);
        return n > MAX_FIELD ? MAX_FIELD : n < -MAX_FIELD ? -MAX_FIELD : n;
    }
    for (; **at >= '0' && **at <= '9'; (*at)++)
        n = n * 10 + (**at - '0') > MAX_FIELD ? MAX_FIELD : n * 10 + (**at - '0');
    return n;
}

static struct conversion read_conversion(const char **at, struct arguments *a)
{
    struct conversion c = {.width = -1, .precision = -1};
    size_t n = 0;

    for (; **at != '\0' && strchr("-+ #0", **at) != NULL; (*at)++) {
        if (n + 2 < sizeof(c.flags) && strchr(c.flags, **at) == NULL)
            c.flags[n++] = **at;
    }
    if (**at == '*' || (**at >= '0' && **at <= '9')) {
        c.width = field(at, a);
        if (c.width < 0) {
            c.width = -c.width;
            c.flags[n++] = '-';
        }
    }
    if (**at == '.') {
        (*at)++;
        c.precision = field(at, a);
    }
    for (; **at == 'l' || **at == 'h' || **at == 'z' || **at == 'j' || **at == 't'; (*at)++)
        c.is_long |= **at != 'h';
    c.letter = **at;
    if (**at != '\0')
        (*at)++;
    return c;
}

/* Of d and i with its sign. */
static unsigned long long next_integer(struct arguments *a, const struct conversion *c)
{
    uint64_t bits = next_argument(a, c->is_long ? 8 : 4);
    bool has_sign = c->letter == 'd' || c->letter == 'i';

    return has_sign && !c->is_long ? (uint64_t)(int64_t)(int32_t)bits : bits;
}

/* The host would print the sign of a NaN. */
static double next_number(struct arguments *a)
{
    uint64_t bits = next_argument(a, 8);
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number != number ? __builtin_nan("") : number;
}

static bool next_string(struct arguments *a, char *string, size_t size)
{
    uint64_t address = next_argument(a, 8);

    if (address == 0)
        strcpy(string, "(null)");
    else if (!read_string(a->warp, a->lane, address, string, size))
        a->bad = true;
    string[size - 1] = '\0';
    return !a->bad;
}

/* The host's printf does the work, with a conversion that was put together here. */
#define PRINT(value)                                                                               \
    (c->precision >= 0 ? snprintf(to, room, form, width, c->precision, value)                      \
                       : snprintf(to, room, form, width, value))

static void print_conversion(struct line *out, const struct conversion *c, struct arguments *a)
{
    size_t room = sizeof(out->text) - out->used;
    char *to = out->text + out->used, form[32], string[MAX_STRING];
    int n = 0, width = c->width < 0 ? 0 : c->width;

    snprintf(form, sizeof(form), "%%%s*%s%s%c", c->flags, c->precision >= 0 ? ".*" : "",
             strchr("dixXou", c->letter) != NULL ? "ll" : "", c->letter);
    switch (c->letter) {
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        n = PRINT(next_integer(a, c));
        break;
    case 'c':
        n = snprintf(to, room, "%*c", width, (int)(next_argument(a, 4) & 0xff));
        break;
    case 's':
        if (next_string(a, string, sizeof(string)))
            n = PRINT(string);
        break;
    case 'p':
        n = snprintf(to, room, "0x%llx", (unsigned long long)next_argument(a, 8));
        break;
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
    case 'a':
    case 'A':
        n = PRINT(next_number(a));
        break;
    case '%':
        n = snprintf(to, room, "%%");
        break;
    default:
        n = snprintf(to, room, "%%%c", c->letter == '\0' ? ' ' : c->letter);
        break;
    }
    if (n > 0)
        out->used += (size_t)n < room ? (size_t)n : room - 1;
}
#undef PRINT

static int print_lane(struct vgpu_warp *w, const struct vgpu_call *call, unsigned lane)
{
    struct arguments a = {.warp = w, .lane = lane, .address = argument(w, call, 2, lane)};
    const struct vgpu_launch *launch = w->block->launch;
    uint64_t address = argument(w, call, 1, lane);
    char format[MAX_STRING];
    struct line out;
    const char *at = format;

    out.used = 0;
    if (!read_string(w, lane, address, format, sizeof(format)))
        return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, lane, address, 1);
    while (*at != '\0' && out.used + 1 < sizeof(out.text)) {
        if (*at != '%') {
            out.text[out.used++] = *at++;
        } else {
            struct conversion c;

            at++;
            c = read_conversion(&at, &a);
            print_conversion(&out, &c, &a);
        }
        if (a.bad)
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, lane, a.address + a.offset, 8);
    }
    if (launch->print != NULL)
        launch->print(launch->print_context, out.text, out.used);
    put_result(w, call, lane, out.used);
    return 0;
}

/* ---- the others ---- */

/* __assertfail(message, file, line, function, character size) */
static int fail_assertion(struct vgpu_warp *w, const struct vgpu_call *call, unsigned lane)
{
    const struct vgpu_launch *launch = w->block->launch;
    char message[256], file[256], function[256], text[1024];
    int n;

    if (!read_string(w, lane, argument(w, call, 0, lane), message, sizeof(message)) ||
        !read_string(w, lane, argument(w, call, 1, lane), file, sizeof(file)) ||
        !read_string(w, lane, argument(w, call, 3, lane), function, sizeof(function)))
        return vgpu_warp_fault(w, VGPU_FAULT_ASSERT, lane, 0, 0);
    n = snprintf(text, sizeof(text),
                 "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", file,
                 (unsigned)argument(w, call, 2, lane), function, w->block->id[0], w->block->id[1],
                 w->block->id[2], w->tid[0][lane], w->tid[1][lane], w->tid[2][lane], message);
    if (launch->print != NULL && n > 0)
        launch->print(launch->print_context, text, (size_t)n);
    snprintf(w->fault_text, sizeof(w->fault_text), "assertion `%.60s' failed", message);
    return vgpu_warp_fault(w, VGPU_FAULT_ASSERT, lane, 0, 0);
}

static void allocate(struct vgpu_warp *w, const struct vgpu_call *call, unsigned lane)
{
    uint64_t address = 0, size = argument(w, call, 1, lane);

    if (size == 0 || vgpu_memory_allocate(w->block->memory, size, &address) != 0)
        address = 0;
    put_result(w, call, lane, address);
}

/* cudaGraphSetConditional(handle, value): the handle is the address of the condition's word. */
static int set_condition(struct vgpu_warp *w, const struct vgpu_call *call, unsigned lane)
{
    uint64_t address = argument(w, call, 0, lane);
    uint32_t *word =
        address % sizeof(*word) ? NULL : vgpu_warp_generic(w, lane, address, sizeof(*word));

    if (word == NULL)
        return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, lane, address, sizeof(*word));
    /* Relaxed: it is read after the kernel. */
    __atomic_store_n(word, (uint32_t)argument(w, call, 1, lane), __ATOMIC_RELAXED);
    return 0;
}

int vgpu_builtin_call(struct vgpu_warp *w, const struct vgpu_function *function,
                      const struct vgpu_call *call, uint32_t mask)
{
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        int error = 0;

        switch (function->builtin) {
        case VGPU_BUILTIN_PRINTF:
            error = print_lane(w, call, lane);
            break;
        case VGPU_BUILTIN_ASSERT:
            error = fail_assertion(w, call, lane);
            break;
        case VGPU_BUILTIN_MALLOC:
            allocate(w, call, lane);
            break;
        case VGPU_BUILTIN_SET_CONDITION:
            error = set_condition(w, call, lane);
            break;
        default:
            vgpu_memory_free(w->block->memory, argument(w, call, 0, lane));
            break;
        }
        if (error != 0)
            return error;
    }
    return 0;
}
