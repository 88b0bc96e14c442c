/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "guest/memory/pages.h"

#define PAGE  4096u
#define PAGES 700u /* more than are asked about at once */

static long faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static void prepared_pages_are_there(void **state)
{
    (void)state;
    char *memory =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char there[PAGES];
    assert_ptr_not_equal(memory, MAP_FAILED);
    memory[5 * PAGE] = 1;
    vgpu_pages_prepare(memory + 100, PAGES * PAGE - 200); /* all but the first and the last */
    assert_int_equal(mincore(memory, PAGES * PAGE, there), 0);
    if (!(there[1] & 1))
        skip(); /* a kernel that cannot */
    for (size_t i = 1; i < PAGES - 1; i++)
        assert_true(there[i] & 1);
    assert_false(there[0] & 1 || there[PAGES - 1] & 1);
    assert_int_equal(memory[5 * PAGE], 1);
    long before = faults();
    memset(memory + PAGE, 1, (PAGES - 2) * PAGE);
    assert_true(faults() - before < PAGES / 2); /* a sanitizer's shadow of them has faults, too */
    munmap(memory, PAGES * PAGE);
}

static void filling_is_copying(void **state)
{
    (void)state;
    enum { BYTES = 1000 };
    unsigned char source[BYTES], target[BYTES];
    for (size_t i = 0; i < BYTES; i++)
        source[i] = (unsigned char)(i * 7 + 1);
    for (size_t shift = 0; shift < 70; shift += 3) {
        for (size_t bytes = 0; bytes < 300; bytes += 13) {
            memset(target, 0, BYTES);
            vgpu_pages_fill(target + shift, source + 11, bytes);
            assert_memory_equal(target + shift, source + 11, bytes);
            for (size_t i = 0; i < BYTES; i++)
                assert_true((i >= shift && i < shift + bytes) || target[i] == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared_pages_are_there),
        cmocka_unit_test(filling_is_copying),
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
