/* SPDX-License-Identifier: MIT */
/* MD2 (RFC 1319) and HMAC (RFC 2104) over it. */
#include "interop/hmac_md2.h"

#include <string.h>

enum { BLOCK = 16, ROUNDS = 18, STATE = 3 * BLOCK };

/* The permutation of RFC 1319, section 3.2, which is made from the digits of pi. */
static const uint8_t pi_table[256] = {
    41,  46,  67,  201, 162, 216, 124, 1,   61,  54,  84,  161, 236, 240, 6,   19,  98,  167, 5,
    243, 192, 199, 115, 140, 152, 147, 43,  217, 188, 76,  130, 202, 30,  155, 87,  60,  253, 212,
    224, 22,  103, 66,  111, 24,  138, 23,  229, 18,  190, 78,  196, 214, 218, 158, 222, 73,  160,
    251, 245, 142, 187, 47,  238, 122, 169, 104, 121, 145, 21,  178, 7,   63,  148, 194, 16,  137,
    11,  34,  95,  33,  128, 127, 93,  154, 90,  144, 50,  39,  53,  62,  204, 231, 191, 247, 151,
    3,   255, 25,  48,  179, 72,  165, 181, 209, 215, 94,  146, 42,  172, 86,  170, 198, 79,  184,
    56,  210, 150, 164, 125, 182, 118, 252, 107, 226, 156, 116, 4,   241, 69,  157, 112, 89,  100,
    113, 135, 32,  134, 91,  207, 101, 230, 45,  168, 2,   27,  96,  37,  173, 174, 176, 185, 246,
    28,  70,  97,  105, 52,  64,  126, 15,  85,  71,  163, 35,  221, 81,  175, 58,  195, 92,  249,
    206, 186, 197, 234, 38,  44,  83,  13,  110, 133, 40,  132, 9,   211, 223, 205, 244, 65,  129,
    77,  82,  106, 220, 55,  200, 108, 193, 171, 250, 36,  225, 123, 8,   12,  189, 177, 74,  120,
    136, 149, 139, 227, 99,  232, 109, 233, 203, 213, 254, 59,  0,   29,  57,  242, 239, 183, 14,
    102, 88,  208, 228, 166, 119, 114, 248, 235, 117, 75,  10,  49,  68,  80,  180, 143, 237, 31,
    26,  219, 153, 141, 51,  159, 17,  131, 20,
};

struct md2 {
    uint8_t state[BLOCK];
    uint8_t checksum[BLOCK];
    uint8_t pending[BLOCK];
    size_t pending_bytes;
};

static void mix(struct md2 *md2, const uint8_t block[BLOCK])
{
    uint8_t x[STATE];
    uint8_t t = 0;

    for (int i = 0; i < BLOCK; i++) {
        x[i] = md2->state[i];
        x[BLOCK + i] = block[i];
        x[2 * BLOCK + i] = md2->state[i] ^ block[i];
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < STATE; i++)
            t = x[i] ^= pi_table[t];
        t = (uint8_t)(t + round);
    }
    memcpy(md2->state, x, BLOCK);
}

static void take_block(struct md2 *md2, const uint8_t block[BLOCK])
{
    uint8_t last = md2->checksum[BLOCK - 1];

    for (int i = 0; i < BLOCK; i++)
        last = md2->checksum[i] ^= pi_table[block[i] ^ last];
    mix(md2, block);
}

static void update(struct md2 *md2, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    while (size--) {
        md2->pending[md2->pending_bytes++] = *bytes++;
        if (md2->pending_bytes == BLOCK) {
            take_block(md2, md2->pending);
            md2->pending_bytes = 0;
        }
    }
}

static void finish(struct md2 *md2, uint8_t digest[VGPU_MD2_BYTES])
{
    size_t padding = BLOCK - md2->pending_bytes;
    uint8_t last[BLOCK];

    memset(last, (int)padding, sizeof(last));
    update(md2, last, padding);
    memcpy(last, md2->checksum, BLOCK);
    mix(md2, last);
    memcpy(digest, md2->state, BLOCK);
}

void vgpu_md2(const void *data, size_t size, uint8_t digest[VGPU_MD2_BYTES])
{
    struct md2 md2 = {0};

    update(&md2, data, size);
    finish(&md2, digest);
}

void vgpu_hmac_md2(const void *key, size_t key_size, const void *data, size_t size,
                   uint8_t digest[VGPU_MD2_BYTES])
{
    uint8_t block[BLOCK] = {0}, inner[BLOCK], outer[BLOCK];
    struct md2 md2 = {0};

    if (key_size > BLOCK)
        vgpu_md2(key, key_size, block);
    else
        memcpy(block, key, key_size);
    for (int i = 0; i < BLOCK; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    update(&md2, inner, BLOCK);
    update(&md2, data, size);
    finish(&md2, digest);
    md2 = (struct md2){0};
    update(&md2, outer, BLOCK);
    update(&md2, digest, BLOCK);
    finish(&md2, digest);
}
