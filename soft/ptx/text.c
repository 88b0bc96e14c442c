/* SPDX-License-Identifier: MIT */
#include "soft/ptx/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void skip_blank(struct ptx_text *t)
{
    while (t->at < t->end) {
        if (*t->at == '\n') {
            t->line++;
            t->at++;
        } else if (isspace((unsigned char)*t->at) || *t->at == '\0') {
            t->at++;
        } else if (t->end - t->at >= 2 && t->at[0] == '/' && t->at[1] == '/') {
            while (t->at < t->end && *t->at != '\n')
                t->at++;
        } else if (t->end - t->at >= 2 && t->at[0] == '/' && t->at[1] == '*') {
            t->at += 2;
            while (t->at < t->end && !(t->end - t->at >= 2 && t->at[0] == '*' && t->at[1] == '/')) {
                if (*t->at == '\n')
                    t->line++;
                t->at++;
            }
            t->at += t->at < t->end ? 2 : 0;
        } else {
            return;
        }
    }
}

void ptx_text_skip_line(struct ptx_text *t)
{
    while (t->at < t->end && *t->at != '\n')
        t->at++;
}

bool ptx_text_skip_body(struct ptx_text *t)
{
    uint32_t depth = 1;

    while (t->at < t->end && depth > 0) {
        switch (*t->at) {
        case '{':
            depth++;
            break;
        case '}':
            depth--;
            break;
        case '\n':
            t->line++;
            break;
        case '"':
            do
                t->at++;
            while (t->at < t->end && *t->at != '"' && *t->at != '\n');
            if (t->at == t->end || *t->at == '\n')
                continue;
            break;
        case '/':
            if (t->end - t->at >= 2 && (t->at[1] == '/' || t->at[1] == '*')) {
                skip_blank(t);
                continue;
            }
            break;
        default:
            break;
        }
        t->at++;
    }
    return depth == 0;
}

static bool word_start(char c)
{
    return isalpha((unsigned char)c) || c == '_' || c == '%' || c == '$' || c == '.';
}

static bool word_part(const struct ptx_text *t, const char *p)
{
    if (isalnum((unsigned char)*p) || *p == '_' || *p == '$' || *p == '.')
        return true;
    /* "::" is part of an opcode (L1::evict_last) when a letter follows; ":" ends a label. */
    if (*p == ':' && t->end - p >= 3 && p[1] == ':')
        return isalnum((unsigned char)p[2]);
    return *p == ':' && p > t->at && p[-1] == ':' && t->end - p >= 2 &&
           isalnum((unsigned char)p[1]);
}

static bool digits(const char *p, uint32_t n, unsigned base, uint64_t *value)
{
    uint64_t v = 0;

    for (uint32_t i = 0; i < n; i++) {
        char c = p[i];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 99;

        if (d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v))
            return false;
    }
    *value = v;
    return n > 0;
}

static bool decimal_fraction(struct ptx_slice s, uint64_t *bits)
{
    char copy[64], *end;
    double value;

    if (s.length >= sizeof(copy))
        return false;
    memcpy(copy, s.start, s.length);
    copy[s.length] = '\0';
    value = strtod(copy, &end);
    memcpy(bits, &value, sizeof(value));
    return *end == '\0';
}

/* A number: integer with base prefix and U suffix, 0f/0d bit patterns, decimal fractions. */
static void number(struct ptx_text *t, struct ptx_token *token)
{
    const char *p = t->at;
    uint32_t n;
    bool good, fraction = false;
    bool prefixed = t->end - p >= 2 && p[0] == '0' && isalpha((unsigned char)p[1]) && p[1] != 'e' &&
                    p[1] != 'E';

    while (p < t->end && (isalnum((unsigned char)*p) || *p == '_' || (!prefixed && *p == '.') ||
                          (!prefixed && (*p == '+' || *p == '-') && (p[-1] | 32) == 'e'))) {
        if (!prefixed && (*p == '.' || (*p | 32) == 'e'))
            fraction = true;
        p++;
    }
    n = (uint32_t)(p - t->at);
    token->text = (struct ptx_slice){t->at, n};
    token->kind = PTX_INTEGER;
    p = t->at;
    t->at += n;
    if (fraction) {
        token->kind = decimal_fraction(token->text, &token->bits) ? PTX_DOUBLE : PTX_BAD;
        return;
    }
    if (prefixed && (p[1] == 'f' || p[1] == 'F')) {
        good = n == 10 && digits(p + 2, 8, 16, &token->bits);
        token->kind = PTX_FLOAT;
    } else if (prefixed && (p[1] == 'd' || p[1] == 'D')) {
        good = n == 18 && digits(p + 2, 16, 16, &token->bits);
        token->kind = PTX_DOUBLE;
    } else {
        if (n > 1 && (p[n - 1] == 'U' || p[n - 1] == 'u'))
            n--;
        if (prefixed && n > 2 && (p[1] == 'x' || p[1] == 'X'))
            good = digits(p + 2, n - 2, 16, &token->bits);
        else if (prefixed && n > 2 && (p[1] == 'b' || p[1] == 'B'))
            good = digits(p + 2, n - 2, 2, &token->bits);
        else if (n > 1 && p[0] == '0')
            good = digits(p + 1, n - 1, 8, &token->bits);
        else
            good = digits(p, n, 10, &token->bits);
    }
    if (!good)
        token->kind = PTX_BAD;
}

static void string(struct ptx_text *t, struct ptx_token *token)
{
    const char *p = t->at + 1;

    while (p < t->end && *p != '"' && *p != '\n')
        p += *p == '\\' && t->end - p >= 2 && p[1] != '\n' ? 2 : 1;
    token->text = (struct ptx_slice){t->at + 1, (uint32_t)(p - t->at - 1)};
    token->kind = p < t->end && *p == '"' ? PTX_STRING : PTX_BAD;
    t->at = p < t->end && *p == '"' ? p + 1 : p;
}

struct ptx_token ptx_text_next(struct ptx_text *t)
{
    struct ptx_token token = {.kind = PTX_END};
    const char *p;

    skip_blank(t);
    token.line = t->line;
    token.text = (struct ptx_slice){t->at, 0};
    if (t->at >= t->end)
        return token;
    if (word_start(*t->at)) {
        for (p = t->at + 1; p < t->end && word_part(t, p); p++)
            ;
        token.kind = PTX_WORD;
        token.text.length = (uint32_t)(p - t->at);
        t->at = p;
    } else if (isdigit((unsigned char)*t->at)) {
        number(t, &token);
    } else if (*t->at == '"') {
        string(t, &token);
    } else {
        token.kind = PTX_SIGN;
        token.text.length = 1;
        t->at++;
    }
    return token;
}
