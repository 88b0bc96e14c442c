/* SPDX-License-Identifier: MIT */
/* What the scheduler promises, on simulated machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sim/machine.h"

#define MS 1000000ull

struct simulated {
    struct vgpu_sim_scenario scenario;
    struct vgpu_sim_outcome outcome;
};

static void simulate(struct simulated *simulated, const char *text, const char *policy)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

    assert_int_equal(vgpu_sim_scenario_read(&simulated->scenario, file, "test", stderr), 0);
    fclose(file);
    simulated->scenario.seed = 1;
    simulated->scenario.policy = vgpu_policy_find(policy);
    assert_int_equal(vgpu_sim_run(&simulated->scenario, &simulated->outcome, stderr), 0);
}

static void end(struct simulated *simulated)
{
    vgpu_sim_outcome_destroy(&simulated->outcome);
    vgpu_sim_scenario_destroy(&simulated->scenario);
}

/* In per cent of what all have used. */
static double share(const struct simulated *simulated, uint32_t vm)
{
    return 100 * (double)simulated->outcome.vms[vm].used / (double)simulated->outcome.busy;
}

static void assert_within(double value, double wanted, double points)
{
    if (value < wanted - points || value > wanted + points)
        fail_msg("%.2f is not within %.2f of %.2f", value, points, wanted);
}

static double busy(const struct simulated *simulated)
{
    return (double)simulated->outcome.busy / (double)simulated->outcome.length;
}

static void weights_are_shares(void **state)
{
    static const struct {
        uint32_t weights[3];
    } cases[] = {{{80, 50, 30}}, {{30, 70, 0}}, {{10, 90, 0}}, {{1, 100, 0}}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const uint32_t *weights = cases[i].weights;
        uint32_t sum = weights[0] + weights[1] + weights[2];
        struct simulated simulated;
        char text[256] = "time 5s\n";

        for (int vm = 0; vm < 3 && weights[vm]; vm++)
            sprintf(text + strlen(text), "vm v%d weight=%u depth=4 spread=0.5\n", vm, weights[vm]);
        simulate(&simulated, text, "wfq");
        for (uint32_t vm = 0; vm < simulated.outcome.vm_count; vm++)
            assert_within(share(&simulated, vm), 100.0 * weights[vm] / sum, 1);
        assert_true(busy(&simulated) > 0.97);
        end(&simulated);
    }
}

static void weights_hold_whatever_the_kernels_are(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated,
             "time 20s\n"
             "vm a weight=80 kernel=10us batch=500 depth=2\n"
             "vm b weight=50 kernel=700us batch=20 depth=2 spread=1\n"
             "vm c weight=30 kernel=20ms batch=2 depth=2\n",
             "wfq");
    assert_within(share(&simulated, 0), 50, 2);
    assert_within(share(&simulated, 1), 31.25, 2);
    assert_within(share(&simulated, 2), 18.75, 2);
    end(&simulated);
}

static void equals_get_equal_shares(void **state)
{
    static const uint32_t counts[] = {2, 3, 4, 8, 16, 30};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        for (int policy = 0; policy < 2; policy++) {
            struct simulated simulated;
            char text[128];

            sprintf(text, "time 5s\nvm v count=%u depth=4 spread=0.5\n", counts[i]);
            simulate(&simulated, text, policy ? "fifo" : "wfq");
            assert_true(vgpu_sim_jain(&simulated.scenario, &simulated.outcome) >= 0.99);
            end(&simulated);
        }
    }
}

static void a_thousand_share(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated, "time 40s\nvm v count=1000 kernel=500us depth=2\n", "wfq");
    assert_int_equal(simulated.outcome.vm_count, 1000);
    assert_true(vgpu_sim_jain(&simulated.scenario, &simulated.outcome) >= 0.99);
    /* a round takes 4 s; within a slice the urgent may be a few rounds ahead */
    for (uint32_t i = 0; i < 1000; i++)
        assert_in_range(simulated.outcome.vms[i].longest, 1, 16000 * MS);
    end(&simulated);
}

static void a_thousand_of_all_kinds_get_on_under_every_policy(void **state)
{
    static const char *const policies[] = {"wfq", "urgency", "fifo", "deadline"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct simulated simulated;

        simulate(&simulated,
                 "time 60s\npool B weight=20\n"
                 "vm strong count=100 priority=high weight=100 kernel=500us depth=2\n"
                 "vm weak count=500 pool=B priority=low weight=1 kernel=500us\n"
                 "vm now-and-then count=390 kernel=300us gap=2s spread=1\n"
                 "vm capped count=10 cap=1 kernel=500us depth=2\n",
                 policies[i]);
        for (uint32_t vm = 0; vm < 1000; vm++)
            assert_true(simulated.outcome.vms[vm].kernels > 0);
        assert_true(busy(&simulated) > 0.95);
        end(&simulated);
    }
}

static void pools_share_before_their_vms_do(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated,
             "time 5s\npool B weight=25\n"
             "vm many count=9 depth=4\nvm one pool=B depth=4\n",
             "wfq");
    assert_within(share(&simulated, 9), 33.33, 1);
    end(&simulated);
}

static void alone_nothing_is_lost(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated, "time 2s\nvm only kernel=20us depth=2\nvm silent count=29 depth=0\n",
             "wfq");
    assert_true(busy(&simulated) > 0.9999);
    assert_int_equal(simulated.outcome.vms[0].leases, 1);
    end(&simulated);
}

static void the_gpu_does_not_idle_while_somebody_wants_it(void **state)
{
    static const char *const policies[] = {"wfq", "urgency", "fifo", "deadline"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct simulated simulated;

        simulate(&simulated,
                 "time 5s\nvm steady kernel=50us depth=4\nvm now-and-then count=8 kernel=200us "
                 "batch=5 gap=40ms spread=1\n",
                 policies[i]);
        assert_true(busy(&simulated) > 0.95);
        /* nothing but hand-overs and grace */
        assert_true((double)simulated.outcome.wasted < 200e3 * (double)simulated.outcome.handovers);
        end(&simulated);
    }
}

static void a_flood_of_launches_gets_no_more(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated,
             "time 5s\nvm flood kernel=5us batch=1000 depth=64\nvm steady kernel=50us depth=2\n",
             "wfq");
    assert_within(share(&simulated, 1), 50, 2);
    end(&simulated);
}

/* The 99th percentile of a high-priority VM's replies. */
static uint64_t reply_beside(const char *bully, const char *policy)
{
    struct simulated simulated;
    char text[512];

    sprintf(text,
            "time 10s\n%s\n"
            "vm serve priority=high kernel=200us batch=5 gap=9ms spread=0.3\n",
            bully);
    simulate(&simulated, text, policy);
    struct vgpu_sim_result *serve = &simulated.outcome.vms[simulated.outcome.vm_count - 1];
    uint64_t reply = vgpu_sim_percentile(&serve->replies, 0.99);
    end(&simulated);
    return reply;
}

static void an_important_vm_waits_for_no_slice(void **state)
{
    (void)state;
    uint64_t alone = reply_beside("", "wfq");
    assert_in_range(alone, MS, 2 * MS);
    /* what is in flight (125 us), the least of a lease (250 us), and a hand-over */
    assert_in_range(reply_beside("vm flood kernel=20us batch=1000 depth=8", "wfq"), alone,
                    alone + 575000);
    assert_in_range(reply_beside("vm flood count=4 kernel=20us batch=1000 depth=8", "wfq"), alone,
                    alone + 575000);
    /* one kernel that cannot be cut is the bound: it is let go on beside after the drain limit */
    assert_in_range(reply_beside("vm long kernel=100ms batch=1 depth=2", "wfq"), alone,
                    alone + 60 * MS);
}

static void long_kernels_are_charged_for(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated,
             "time 20s\nvm long kernel=100ms batch=1 depth=2\nvm short kernel=50us depth=4\n",
             "wfq");
    assert_within(share(&simulated, 0), 50, 2);
    end(&simulated);
}

static void whoever_comes_late_is_neither_ahead_nor_behind(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated, "time 10s\nvm first depth=4\nvm later depth=4 from=8s\n", "wfq");
    /* the last fifth of the time is shared */
    assert_within(share(&simulated, 1), 10, 0.5);
    end(&simulated);
}

static void nobody_starves(void **state)
{
    static const char *const policies[] = {"wfq", "urgency", "fifo", "deadline"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct simulated simulated;

        simulate(&simulated,
                 "time 60s\n"
                 "vm strong count=8 priority=high weight=100 kernel=1ms batch=50 depth=8\n"
                 "vm weak priority=low weight=1 kernel=1ms batch=50 depth=1\n",
                 policies[i]);
        assert_in_range(simulated.outcome.vms[8].longest, 1, 13000 * MS);
        assert_true(simulated.outcome.vms[8].kernels > 0);
        end(&simulated);
    }
}

static void reservations_are_kept(void **state)
{
    struct simulated simulated;

    (void)state;
    simulate(&simulated,
             "time 10s\n"
             "vm video period=33ms budget=8ms kernel=500us batch=8 gap=20ms\n"
             "vm batch count=6 priority=high weight=100 kernel=500us batch=100 depth=4\n",
             "deadline");
    /* 4 ms of work beside six VMs of much more weight: once what runs has drained, it is done (but
     * for the first few, when a lease had been open) */
    assert_in_range(vgpu_sim_percentile(&simulated.outcome.vms[0].replies, 0.98), 4 * MS, 7 * MS);
    end(&simulated);
    simulate(&simulated,
             "time 10s\n"
             "vm greedy period=20ms budget=8ms kernel=500us batch=100 depth=4\n"
             "vm batch count=3 weight=50 kernel=500us batch=100 depth=4\n",
             "deadline");
    /* 40 % are its budget; with its charge for that it gets no more while the others catch up */
    assert_within(share(&simulated, 0), 41, 2);
    end(&simulated);
}

static void caps_are_kept_alone_and_in_company(void **state)
{
    static const uint32_t caps[] = {5, 25, 50, 90};
    struct simulated simulated;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
        sprintf(text, "time 5s\nvm only cap=%u depth=4\n", caps[i]);
        simulate(&simulated, text, "wfq");
        assert_within(100 * busy(&simulated), caps[i], 1);
        end(&simulated);
    }
    /* It has weight for 90 %, and gets its cap; what it may not have is the other's. */
    simulate(&simulated, "time 5s\nvm heavy weight=90 cap=50 depth=4\nvm light weight=10 depth=4\n",
             "wfq");
    assert_within(share(&simulated, 0), 50, 2);
    assert_true(busy(&simulated) > 0.95);
    end(&simulated);
    /* Kernels that outlast leases, too. */
    simulate(&simulated,
             "time 20s\nvm long cap=50 kernel=100ms batch=1 depth=2\nvm other depth=2 cap=30\n",
             "urgency");
    assert_within(100 * (double)simulated.outcome.vms[0].used / (double)simulated.outcome.length,
                  50, 2);
    /* at most 30: it does not make up for what it had to wait */
    assert_within(100 * (double)simulated.outcome.vms[1].used / (double)simulated.outcome.length,
                  25, 5);
    end(&simulated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_shares),
        cmocka_unit_test(weights_hold_whatever_the_kernels_are),
        cmocka_unit_test(equals_get_equal_shares),
        cmocka_unit_test(a_thousand_share),
        cmocka_unit_test(a_thousand_of_all_kinds_get_on_under_every_policy),
        cmocka_unit_test(pools_share_before_their_vms_do),
        cmocka_unit_test(alone_nothing_is_lost),
        cmocka_unit_test(the_gpu_does_not_idle_while_somebody_wants_it),
        cmocka_unit_test(a_flood_of_launches_gets_no_more),
        cmocka_unit_test(an_important_vm_waits_for_no_slice),
        cmocka_unit_test(long_kernels_are_charged_for),
        cmocka_unit_test(whoever_comes_late_is_neither_ahead_nor_behind),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(reservations_are_kept),
        cmocka_unit_test(caps_are_kept_alone_and_in_company),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
