/* SPDX-License-Identifier: MIT */
#include "tests/instructions/every/memory.h"

#include <string.h>

static unsigned bits_of_register(char letter)
{
    return letter == 'h' ? 16 : letter == 'd' ? 64 : letter == 'g' ? 64 : letter == 'q' ? 128 : 32;
}

static char letter_of(struct type t)
{
    return t.kind != 'f'  ? 'q'
           : t.bits == 64 ? 'd'
           : t.bits == 32 ? 'f'
           : t.lanes == 2 ? (t.mantissa == 10 ? 'E' : 'B')
                          : (t.mantissa == 10 ? 'e' : 'b');
}

/* Which register is what: those in brackets are the address, a last one the policy. */
static void find_roles(const struct form *f, struct access *a)
{
    unsigned element = 0;

    for (unsigned n = 0; n < f->register_count; n++) {
        const struct register_use *use = &f->registers[n];
        const char *open = strchr(f->operands, '['), *close = strchr(f->operands, ']');
        const char *at = f->operands + use->at;
        unsigned bits = bits_of_register(use->letter);

        if (at > open && at < close) {
            a->roles[n] = ROLE_ADDRESS;
        } else if (a->hinted && n + 1 == f->register_count) {
            a->roles[n] = ROLE_HINT;
        } else if (use->written) {
            a->roles[n] = ROLE_WRITTEN;
            /* "_" takes the place of a register. */
            for (const char *c = f->operands; c < at; c++)
                element += *c == '_';
            a->element_of_written[a->written_count] = n + element;
            element = 0;
            a->written_bits[a->written_count++] = bits;
        } else {
            a->roles[n] = ROLE_READ;
            a->read_bits[a->read_count++] = bits;
        }
    }
}

bool access_of(const struct form *f, struct access *a)
{
    memset(a, 0, sizeof(*a));
    if (!is_one_of(f->opcode, "ld ldu st atom red") || f->type_count == 0 || has(f, "async") ||
        has(f, "bulk") || has(f, "param"))
        return false;
    a->kind = f->opcode[0] == 'l'   ? LOAD
              : f->opcode[0] == 's' ? STORE
              : f->opcode[0] == 'a' ? ATOMIC
                                    : REDUCTION;
    a->type = f->types[f->type_count - 1];
    a->lanes = has(f, "v8") ? 8 : has(f, "v4") ? 4 : has(f, "v2") ? 2 : 1;
    a->offset = strstr(f->operands, "+4") != NULL ? 4 : 0;
    a->letter = letter_of(a->type);
    a->hinted = has(f, "L2::cache_hint");
    find_roles(f, a);
    return true;
}

/* What an atomic operation makes of the old value. */
static uint64_t combined(const struct form *f, struct type t, uint64_t old, uint64_t v)
{
    bool least = has(f, "min");
    wide a = number(old, t.bits, t.kind == 's'), b = number(v, t.bits, t.kind == 's');

    if (has(f, "and"))
        return old & v;
    if (has(f, "or"))
        return old | v;
    if (has(f, "xor"))
        return old ^ v;
    if (has(f, "exch"))
        return v;
    if (has(f, "inc"))
        return old >= v ? 0 : old + 1;
    if (has(f, "dec"))
        return old == 0 || old > v ? v : old - 1;
    if (t.kind == 'f')
        return has(f, "add") ? float_sum(t, old, v) : float_extreme(t, least, old, v);
    if (has(f, "add"))
        return old + v;
    return (a < b) == least ? old : v;
}

/* Devices flush subnormal sums of f32 in global memory and keep them in shared memory. */
static bool is_open(const struct access *a, const struct form *f, uint64_t old, uint64_t v)
{
    struct type t = a->type;
    uint64_t sum = t.kind == 'f' && t.bits == 32 ? float_sum(t, old, v) : 0;

    return t.kind == 'f' && t.bits == 32 && has(f, "add") &&
           (flushed(t, old) != old || flushed(t, v) != v || flushed(t, sum) != sum);
}

static void put_element(uint8_t *memory, const struct access *a, unsigned n, uint64_t v)
{
    size_t size = a->type.bits * a->type.lanes / 8;

    memcpy(memory + a->offset + n * size, &v, size);
}

static uint64_t element(const uint8_t *memory, const struct access *a, unsigned n)
{
    size_t size = a->type.bits * a->type.lanes / 8;
    uint64_t v = 0;

    memcpy(&v, memory + a->offset + n * size, size > 8 ? 8 : size);
    return v;
}

/* Exchanges of 128 bits: two halves at once. */
static void done_128(const struct form *f, uint8_t *memory, const uint64_t *read, uint64_t *written)
{
    bool same = memcmp(memory, read, 16) == 0;

    memcpy(written, memory, 16);
    /* The second register has its lower half from the same place as the first one. */
    if (f->opcode[0] == 's' || has(f, "exch"))
        memcpy(memory, read, 16);
    else if (has(f, "cas") && same)
        memcpy(memory, (uint64_t[2]){read[0], read[2]}, 16);
}

bool access_done(const struct access *a, const struct form *f, uint8_t memory[MEMORY_BYTES],
                 const uint64_t *read, uint64_t *written)
{
    struct type t = a->type;
    unsigned bits = t.bits * t.lanes;

    if (bits == 128) {
        done_128(f, memory, read, written);
        return true;
    }
    for (unsigned n = 0; n < a->lanes; n++) {
        uint64_t old = element(memory, a, n), v = read[n] & ones(bits), r = 0;

        for (unsigned k = 0; k < a->written_count; k++) {
            if (a->element_of_written[k] == n)
                written[k] = (uint64_t)number(old, bits, t.kind == 's');
        }
        if (a->kind == LOAD)
            continue;
        if (a->kind == STORE) {
            put_element(memory, a, n, v);
            continue;
        }
        if (has(f, "cas")) {
            if (old == v)
                put_element(memory, a, n, read[1]);
            continue;
        }
        for (unsigned lane = 0; lane < t.lanes; lane++) {
            uint64_t x = old >> lane * t.bits & ones(t.bits), y = v >> lane * t.bits & ones(t.bits);

            if (is_open(a, f, x, y))
                return false;
            r |= (combined(f, t, x, y) & ones(t.bits)) << lane * t.bits;
        }
        put_element(memory, a, n, r);
    }
    return true;
}
