/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "guest/memory/spans.h"

#define START 0x10200u
#define BYTES 0x40000u

static void first_fit_is_aligned_and_bounded(void **state)
{
    (void)state;
    struct vgpu_spans spans;
    uint64_t first, second;
    assert_true(vgpu_spans_init(&spans, START, BYTES));
    assert_true(vgpu_spans_take(&spans, 512, 4096, &first));
    assert_int_equal(first, 0x11000);
    assert_true(vgpu_spans_take(&spans, 512, 512, &second));
    assert_int_equal(second, START); /* what the alignment left over is used */
    assert_false(vgpu_spans_take(&spans, BYTES, 512, &second));
    vgpu_spans_put(&spans, first, 512);
    vgpu_spans_put(&spans, START, 512);
    assert_true(vgpu_spans_whole(&spans, BYTES));
    assert_true(vgpu_spans_take(&spans, BYTES, 512, &second));
    assert_int_equal(spans.count, 0);
    vgpu_spans_put(&spans, second, BYTES);
    assert_true(vgpu_spans_whole(&spans, BYTES));
    vgpu_spans_destroy(&spans);
}

/* Random pieces: no two overlap, and all that comes back is one again. */
static void pieces_never_overlap_and_join_again(void **state)
{
    (void)state;
    enum { PIECES = 300 };
    static struct vgpu_span pieces[PIECES];
    static uint8_t owner[BYTES / 512];
    struct vgpu_spans spans;
    assert_true(vgpu_spans_init(&spans, START, BYTES));
    srand(7);
    for (int round = 0; round < 20000; round++) {
        int i = rand() % PIECES;
        struct vgpu_span *piece = &pieces[i];
        uint8_t mark = 0;
        if (piece->bytes == 0) {
            uint64_t bytes = (uint64_t)(rand() % 8 + 1) * 512;
            if (!vgpu_spans_take(&spans, bytes, rand() % 2 ? 512 : 2048, &piece->start))
                continue;
            piece->bytes = bytes;
            assert_true(piece->start >= START && piece->start + bytes <= START + BYTES);
            mark = 1;
        } else {
            vgpu_spans_put(&spans, piece->start, piece->bytes);
        }
        for (uint64_t at = piece->start; at < piece->start + piece->bytes; at += 512) {
            assert_int_equal(owner[(at - START) / 512], !mark);
            owner[(at - START) / 512] = mark;
        }
        if (!mark)
            piece->bytes = 0;
    }
    for (int i = 0; i < PIECES; i++) {
        if (pieces[i].bytes)
            vgpu_spans_put(&spans, pieces[i].start, pieces[i].bytes);
    }
    assert_true(vgpu_spans_whole(&spans, BYTES));
    vgpu_spans_destroy(&spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_fit_is_aligned_and_bounded),
        cmocka_unit_test(pieces_never_overlap_and_join_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
