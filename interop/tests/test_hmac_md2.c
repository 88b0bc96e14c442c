/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "interop/hmac_md2.h"

static void assert_digest(const uint8_t digest[VGPU_MD2_BYTES], const char *expected)
{
    char text[2 * VGPU_MD2_BYTES + 1];

    for (int i = 0; i < VGPU_MD2_BYTES; i++)
        snprintf(&text[2 * i], 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void md2_gives_the_digests_of_rfc_1319(void **state)
{
    static const struct {
        const char *text;
        const char *digest;
    } vectors[] = {
        {"", "8350e5a3e24c153df2275c9f80692773"},
        {"a", "32ec01ec4a6dac72c0ab96fb34c0b5d1"},
        {"abc", "da853b0d3f88d99b30283a69e6ded6bb"},
        {"message digest", "ab4f496bfb2a530b219ff33031fe06b0"},
        {"abcdefghijklmnopqrstuvwxyz", "4e8ddff3650292ab5a4108c3aa47940b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "da33def2a42df13975352846c30338cd"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "d5976f79d83d3a0dc9806c3c66f3efd8"},
    };
    uint8_t digest[VGPU_MD2_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        vgpu_md2(vectors[i].text, strlen(vectors[i].text), digest);
        assert_digest(digest, vectors[i].digest);
    }
}

/* The inputs of RFC 2202; the digests were computed by a separate implementation. */
static void hmac_keys_the_digest_as_rfc_2104_says(void **state)
{
    uint8_t digest[VGPU_MD2_BYTES], key[80];

    (void)state;
    memset(key, 0x0b, 16);
    vgpu_hmac_md2(key, 16, "Hi There", 8, digest);
    assert_digest(digest, "b524be0196e491ed44823746cd8923af");
    vgpu_hmac_md2("Jefe", 4, "what do ya want for nothing?", 28, digest);
    assert_digest(digest, "292f9d34f9e311846de86c495d7adfa2");
    memset(key, 0xaa, sizeof(key));
    vgpu_hmac_md2(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                  digest);
    assert_digest(digest, "615b1c392f5aaeeeab7e82572e6395d5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md2_gives_the_digests_of_rfc_1319),
        cmocka_unit_test(hmac_keys_the_digest_as_rfc_2104_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
