/* SPDX-License-Identifier: MIT */
/* Names and scopes. One hash table; a symbol knows its scope, and closing a scope drops its own. */
#include "soft/ptx/parser.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More rows than any real kernel has, few enough that a frame stays in tens of megabytes. */
#define PTX_MAX_ROWS 200000u

static uint32_t hash_name(struct ptx_slice name)
{
    uint32_t h = 2166136261u;

    for (uint32_t i = 0; i < name.length; i++)
        h = (h ^ (unsigned char)name.start[i]) * 16777619u;
    return h;
}

static bool same(struct ptx_slice a, struct ptx_slice b)
{
    return a.length == b.length && memcmp(a.start, b.start, a.length) == 0;
}

static void enlarge(struct ptx_parser *p)
{
    uint32_t count = p->bucket_count == 0 ? 1024 : p->bucket_count * 4;
    struct ptx_symbol **buckets = calloc(count, sizeof(struct ptx_symbol *));

    if (buckets == NULL) {
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
        return;
    }
    /* Inner symbols come first in a bucket: insert from the outermost scope inwards. */
    for (uint32_t scope = 0; scope <= p->scope; scope++) {
        for (struct ptx_symbol *s = p->scopes[scope]; s != NULL; s = s->next_in_scope) {
            s->next_in_bucket = buckets[s->hash & (count - 1)];
            buckets[s->hash & (count - 1)] = s;
        }
    }
    free(p->buckets);
    p->buckets = buckets;
    p->bucket_count = count;
}

static struct ptx_symbol *insert(struct ptx_parser *p, struct ptx_slice name, uint32_t scope,
                                 enum ptx_symbol_kind kind)
{
    struct ptx_symbol *s;

    if (p->symbol_count >= p->bucket_count)
        enlarge(p);
    s = p->error == 0 ? ptx_take(p, sizeof(*s)) : NULL;
    if (s == NULL)
        return NULL;
    s->name = name;
    s->hash = hash_name(name);
    s->kind = (uint8_t)kind;
    s->scope = (uint8_t)scope;
    s->declared = p->current;
    s->owner = scope == 0 && !p->linked ? p->current : 0;
    s->next_in_scope = p->scopes[scope];
    p->scopes[scope] = s;
    s->next_in_bucket = p->buckets[s->hash & (p->bucket_count - 1)];
    p->buckets[s->hash & (p->bucket_count - 1)] = s;
    p->symbol_count++;
    return s;
}

/* What another text keeps to itself is not seen; what this one does hides what is linked. */
static bool better(const struct ptx_parser *p, const struct ptx_symbol *s,
                   const struct ptx_symbol *best)
{
    if (s->owner != 0 && s->owner != p->current)
        return false;
    return best == NULL || s->scope > best->scope ||
           (s->scope == best->scope && s->owner > best->owner);
}

/* The innermost one of the name among families, or among everything else. */
static struct ptx_symbol *lookup(struct ptx_parser *p, struct ptx_slice name, bool family)
{
    struct ptx_symbol *best = NULL;
    uint32_t hash = hash_name(name);

    if (p->bucket_count == 0)
        return NULL;
    for (struct ptx_symbol *s = p->buckets[hash & (p->bucket_count - 1)]; s != NULL;
         s = s->next_in_bucket) {
        if (s->hash == hash && (s->kind == PTX_SYMBOL_FAMILY) == family && same(s->name, name) &&
            better(p, s, best))
            best = s;
    }
    return best;
}

/* The family that has a register `name`: its prefix, with a number below its count. */
static struct ptx_symbol *family_of(struct ptx_parser *p, struct ptx_slice name)
{
    uint32_t digits = 0;
    uint64_t number = 0;
    struct ptx_symbol *family;

    while (digits < name.length && isdigit((unsigned char)name.start[name.length - 1 - digits]))
        digits++;
    if (digits == 0 || digits > 9 || digits == name.length)
        return NULL;
    for (uint32_t i = name.length - digits; i < name.length; i++)
        number = number * 10 + (uint64_t)(name.start[i] - '0');
    family = lookup(p, (struct ptx_slice){name.start, name.length - digits}, true);
    return family != NULL && number < family->count ? family : NULL;
}

struct ptx_symbol *ptx_symbol_find(struct ptx_parser *p, struct ptx_slice name)
{
    struct ptx_symbol *exact = lookup(p, name, false), *family;

    /* The family lookup is only needed where an inner family may hide an outer register. */
    if (exact != NULL && (p->scope <= 1 || exact->scope == p->scope))
        return exact;
    family = family_of(p, name);
    if (family == NULL || (exact != NULL && exact->scope >= family->scope))
        return exact;
    exact = insert(p, name, family->scope, PTX_SYMBOL_REGISTER);
    if (exact != NULL) {
        exact->type = family->type;
        exact->ref = ptx_new_register(p, ptx_type_width(family->type));
    }
    return exact;
}

struct ptx_symbol *ptx_symbol_here(struct ptx_parser *p, struct ptx_slice name)
{
    struct ptx_symbol *exact = lookup(p, name, false), *family = lookup(p, name, true);

    /* A name that this text keeps to itself may be linked between others. */
    if (exact != NULL && p->scope == 0 && exact->owner == 0 && !p->linked &&
        exact->declared != p->current)
        exact = NULL;
    if (exact != NULL && exact->scope == p->scope) {
        exact->declared = p->current;
        return exact;
    }
    return family != NULL && family->scope == p->scope ? family : NULL;
}

struct ptx_symbol *ptx_symbol_add(struct ptx_parser *p, struct ptx_slice name,
                                  enum ptx_symbol_kind kind)
{
    struct ptx_symbol *s = ptx_symbol_here(p, name);

    if (s != NULL && (s->kind == PTX_SYMBOL_FAMILY) == (kind == PTX_SYMBOL_FAMILY)) {
        ptx_fail(p, -EINVAL, p->token.line, "'%.*s' is declared twice",
                 (int)(name.length < 100 ? name.length : 100), name.start);
        return NULL;
    }
    return insert(p, name, p->scope, kind);
}

uint32_t ptx_new_register(struct ptx_parser *p, uint32_t width)
{
    if (p->rows[width] >= PTX_MAX_ROWS) {
        ptx_fail(p, -ENOTSUP, p->token.line, "a function with more than %u registers of a width",
                 PTX_MAX_ROWS);
        return PTX_REF(width, 0);
    }
    return PTX_REF(width, p->rows[width]++);
}

void ptx_scope_open(struct ptx_parser *p)
{
    if (p->scope + 1 >= PTX_MAX_SCOPES) {
        ptx_fail(p, -EINVAL, p->token.line, "more than %d scopes inside each other",
                 PTX_MAX_SCOPES);
        return;
    }
    p->scope++;
    p->scopes[p->scope] = NULL;
}

/* Labels are known now: branches of this scope that name one of them are done, the others may mean
   a label of the scope around it. */
static void close_fixups(struct ptx_parser *p)
{
    uint32_t kept, i;

    for (i = p->fixup_count; i > 0 && p->fixups[i - 1].scope >= p->scope; i--)
        ;
    kept = i;
    for (; i < p->fixup_count; i++) {
        struct ptx_fixup fixup = p->fixups[i];
        struct ptx_symbol *s = ptx_symbol_here(p, fixup.name);

        if (s != NULL && s->kind == PTX_SYMBOL_LABEL) {
            if (fixup.is_target)
                p->unit->targets[fixup.where] = s->index;
            else
                p->unit->code[fixup.where].imm = s->index;
            continue;
        }
        if (p->scope <= 1)
            ptx_fail(p, -EINVAL, fixup.line, "no label '%.*s'",
                     (int)(fixup.name.length < 100 ? fixup.name.length : 100), fixup.name.start);
        fixup.scope = (uint8_t)(p->scope - 1);
        p->fixups[kept++] = fixup;
    }
    p->fixup_count = kept;
}

static void drop_symbols(struct ptx_parser *p)
{
    for (struct ptx_symbol *s = p->scopes[p->scope]; s != NULL; s = s->next_in_scope) {
        struct ptx_symbol **link = &p->buckets[s->hash & (p->bucket_count - 1)];

        while (*link != s)
            link = &(*link)->next_in_bucket;
        *link = s->next_in_bucket;
        p->symbol_count--;
    }
    p->scopes[p->scope] = NULL;
    p->scope--;
}

void ptx_scope_close(struct ptx_parser *p)
{
    if (p->error != 0 || p->scope == 0)
        return;
    close_fixups(p);
    drop_symbols(p);
}

void ptx_scope_abandon(struct ptx_parser *p)
{
    while (p->scope > 0)
        drop_symbols(p);
    p->fixup_count = 0;
}
