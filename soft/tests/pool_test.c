/* SPDX-License-Identifier: MIT */
/* Who runs which blocks: %smid is the number of a pool thread, or 0 for a thread that launches. */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "soft/tests/harness.h"

/*
 * Each block takes the next number of `order`, does `turns` rounds of work, and notes the number
 * and who ran it.
 */
static const char text[] =
    HEADER ".visible .entry work(.param .u64 order, .param .u64 out, .param .u32 turns)\n{\n"
           ".reg .b64 %d<6>;\n.reg .b32 %r<8>;\n.reg .pred %p<2>;\n"
           "ld.param.u64 %d1, [order];\nld.param.u64 %d2, [out];\nld.param.u32 %r5, [turns];\n"
           "atom.global.add.u32 %r1, [%d1], 1;\nmov.u32 %r2, %smid;\nmov.u32 %r3, %ctaid.x;\n"
           "mul.wide.u32 %d3, %r3, 8;\nadd.u64 %d2, %d2, %d3;\n"
           "again:\nsub.u32 %r5, %r5, 1;\nsetp.ne.u32 %p1, %r5, 0;\n@%p1 bra again;\n"
           "st.global.v2.u32 [%d2], {%r1, %r2};\nret;\n}\n";

struct place {
    uint32_t order, who;
};

struct work {
    struct rig *rig;
    uint32_t blocks;
    struct {
        uint32_t *order;
        struct place *out;
        uint32_t turns;
    } p;
};

static void *launch(void *argument)
{
    struct work *work = argument;

    rig_run(work->rig, "work", (struct geometry){work->blocks, 1, 0}, &work->p);
    return NULL;
}

static void prepare(struct work *work, struct rig *rig, uint32_t *order, uint32_t blocks)
{
    *work = (struct work){.rig = rig, .blocks = blocks, .p = {.order = order, .turns = 2000}};
    work->p.out = rig_allocate(rig, blocks * sizeof(*work->p.out));
}

static uint32_t now(const uint32_t *order)
{
    return __atomic_load_n(order, __ATOMIC_RELAXED);
}

/* Blocks that pool threads ran, of those with numbers from `from` up to `to`. */
static uint32_t blocks_of_pool(const struct work *work, uint32_t from, uint32_t to)
{
    uint32_t count = 0;

    for (uint32_t b = 0; b < work->blocks; b++)
        count +=
            work->p.out[b].who > 0 && work->p.out[b].order >= from && work->p.out[b].order < to;
    return count;
}

static void all_processors_run_one_launch(void **state)
{
    struct rig rig;
    struct work work;

    (void)state;
    rig_load(&rig, text);
    prepare(&work, &rig, rig_allocate(&rig, 4), 2000);
    launch(&work);
    assert_int_equal(now(work.p.order), 2000);
    /* Nobody was left out, and in each thread later blocks came later. */
    for (uint32_t who = 0; who < 2; who++) {
        uint32_t last = 0, count = 0;

        for (uint32_t b = 0; b < work.blocks; b++) {
            if (work.p.out[b].who != who)
                continue;
            assert_true(count == 0 || work.p.out[b].order > last);
            last = work.p.out[b].order;
            count++;
        }
        assert_true(count > 0);
    }
    rig_drop(&rig);
}

/* With two processors and two launches, each has the thread that launched it; a launch alone has
   both. */
static void launches_share_the_pool(void **state)
{
    struct work first, second;
    uint32_t *order, from = UINT32_MAX, to = 0;
    struct rig rig;
    pthread_t one, other;

    (void)state;
    rig_load(&rig, text);
    order = rig_allocate(&rig, 4);
    prepare(&first, &rig, order, 20000);
    prepare(&second, &rig, order, 1000);
    pthread_create(&one, NULL, launch, &first);
    while (blocks_of_pool(&first, 0, UINT32_MAX) == 0)
        sched_yield();
    pthread_create(&other, NULL, launch, &second);
    pthread_join(other, NULL);
    pthread_join(one, NULL);
    assert_int_equal(now(order), 21000);
    for (uint32_t b = 0; b < second.blocks; b++) {
        from = second.p.out[b].order < from ? second.p.out[b].order : from;
        to = second.p.out[b].order > to ? second.p.out[b].order : to;
    }
    assert_true(blocks_of_pool(&first, 0, from) > 0);
    /* One may have been at hand when the second one came, and when it ended. */
    assert_true(blocks_of_pool(&first, from, to) + blocks_of_pool(&second, 0, UINT32_MAX) <= 2);
    assert_true(blocks_of_pool(&first, to, UINT32_MAX) > 0);
    rig_drop(&rig);
}

/* Many at once, most of them small: all are done. */
static void many_launches_at_once(void **state)
{
    enum { THREADS = 12, ROUNDS = 40 };
    struct work work[THREADS];
    pthread_t threads[THREADS];
    uint32_t *order;
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    order = rig_allocate(&rig, 4);
    for (uint32_t t = 0; t < THREADS; t++) {
        prepare(&work[t], &rig, order, 1 + t * t);
        work[t].p.turns = 100;
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t expected = 0;

        *order = 0;
        for (uint32_t t = 0; t < THREADS; t++)
            pthread_create(&threads[t], NULL, launch, &work[t]);
        for (uint32_t t = 0; t < THREADS; t++) {
            pthread_join(threads[t], NULL);
            expected += work[t].blocks;
        }
        assert_int_equal(now(order), expected);
    }
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_processors_run_one_launch),
        cmocka_unit_test(launches_share_the_pool),
        cmocka_unit_test(many_launches_at_once),
    };
    cpu_set_t usable, two;
    int count = 0;

    /* The pool is as large as the processors that the process may use: two, whatever there are. */
    if (sched_getaffinity(0, sizeof(usable), &usable) != 0 || CPU_COUNT(&usable) < 2)
        return 77;
    CPU_ZERO(&two);
    for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++) {
        if (CPU_ISSET(cpu, &usable)) {
            CPU_SET(cpu, &two);
            count++;
        }
    }
    if (sched_setaffinity(0, sizeof(two), &two) != 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
