/* SPDX-License-Identifier: MIT */
/* Comparisons, and choices between two values. */
#include <math.h>
#include <string.h>

#include "tests/instructions/every/reference.h"

/* The first word that is a relation. */
static const char *relation_of(const struct form *f)
{
    for (unsigned n = 0; n < f->word_count; n++) {
        if (is_one_of(f->words[n], "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan"))
            return f->words[n];
    }
    return NULL;
}

/* order: -1, 0, 1; 2 if one is no number. */
static bool relates(const char *relation, int order)
{
    static const struct {
        const char *names;
        bool less, equal, greater, unordered;
    } relations[] = {{"eq", false, true, false, false},    {"ne", true, false, true, false},
                     {"lt lo", true, false, false, false}, {"le ls", true, true, false, false},
                     {"gt hi", false, false, true, false}, {"ge hs", false, true, true, false},
                     {"equ", false, true, false, true},    {"neu", true, false, true, true},
                     {"ltu", true, false, false, true},    {"leu", true, true, false, true},
                     {"gtu", false, false, true, true},    {"geu", false, true, true, true},
                     {"num", true, true, true, false},     {"nan", false, false, false, true}};

    for (size_t n = 0; n < sizeof(relations) / sizeof(relations[0]); n++) {
        if (is_one_of(relation, relations[n].names))
            return order == 2   ? relations[n].unordered
                   : order < 0  ? relations[n].less
                   : order == 0 ? relations[n].equal
                                : relations[n].greater;
    }
    return false;
}

static int order_of(const struct form *f, struct type t, uint64_t a, uint64_t b)
{
    double x, y;

    if (t.kind != 'f') {
        wide v = number(a, t.bits, t.kind == 's'), w = number(b, t.bits, t.kind == 's');

        return v < w ? -1 : v > w;
    }
    x = value_of(t, has(f, "ftz") ? flushed(t, a & ones(t.bits)) : a & ones(t.bits));
    y = value_of(t, has(f, "ftz") ? flushed(t, b & ones(t.bits)) : b & ones(t.bits));
    return isnan(x) || isnan(y) ? 2 : x < y ? -1 : x > y;
}

static bool joined(const struct form *f, bool r, uint64_t other)
{
    bool q = (other & 1) ^ (strchr(f->operands, '!') != NULL);

    return has(f, "and") ? r && q : has(f, "or") ? r || q : has(f, "xor") ? r != q : r;
}

/* What "true" is to the type of the result. */
static uint64_t truth(struct type t)
{
    return t.kind == 'f' ? (uint64_t)t.bias << t.mantissa : ones(t.bits);
}

static bool tested(const struct form *f, struct type t, uint64_t a)
{
    double v = value_of(t, a & ones(t.bits));
    bool subnormal = v != 0 && flushed(t, a) != a;

    return has(f, "finite")       ? isfinite(v)
           : has(f, "infinite")   ? isinf(v)
           : has(f, "number")     ? !isnan(v)
           : has(f, "notanumber") ? isnan(v)
           : has(f, "subnormal")  ? subnormal
                                  : isfinite(v) && !subnormal;
}

bool reference_compare(const struct form *f, const uint64_t *s, struct answer *answer)
{
    const char *relation = relation_of(f);
    struct type to = f->types[0], of = f->types[f->type_count == 0 ? 0 : f->type_count - 1];

    if (is_one_of(f->opcode, "setp set") && relation != NULL) {
        bool packed = of.lanes == 2, two = strchr(f->operands, '|') != NULL;

        for (unsigned n = 0; n < of.lanes; n++) {
            int order = order_of(f, of, s[0] >> n * of.bits, s[1] >> n * of.bits);
            bool r = relates(relation, order);

            if (f->opcode[3] == 'p') {
                answer->values[n] = joined(f, r, s[2]);
                if (two && !packed)
                    answer->values[1] = joined(f, !r, s[2]);
            } else {
                answer->values[0] |= (joined(f, r, s[2]) ? truth(to) : 0) << n * of.bits;
            }
        }
        return true;
    }
    if (strcmp(f->opcode, "testp") == 0) {
        answer->values[0] = tested(f, of, s[0]);
        return true;
    }
    if (strcmp(f->opcode, "selp") == 0) {
        answer->values[0] = s[2] & 1 ? s[0] : s[1];
        return true;
    }
    if (strcmp(f->opcode, "slct") == 0) {
        bool first = of.kind == 's' ? (int32_t)s[2] >= 0
                                    : value_of(of, has(f, "ftz") ? flushed(of, s[2]) : s[2]) >= 0;

        answer->values[0] = first ? s[0] : s[1];
        return true;
    }
    return false;
}
