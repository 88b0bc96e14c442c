/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/machine.h"

static int read_text(struct vgpu_sim_scenario *scenario, const char *text, char **said)
{
    size_t size;
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    FILE *errors = open_memstream(said, &size);
    int error = vgpu_sim_scenario_read(scenario, file, "text", errors);

    fclose(file);
    fclose(errors);
    return error;
}

static void reads_what_there_is(void **state)
{
    struct vgpu_sim_scenario scenario;
    char *said;

    (void)state;
    assert_int_equal(
        read_text(&scenario,
                  "# nothing\n\n time\t2s # of simulation\npolicy deadline\nslice 2.5ms\n"
                  "pool B weight=20\n"
                  "vm a count=2 pool=B priority=high weight=80 kernel=1us period=20ms "
                  "budget=5ms\nvm r depth=0\nwork 1ms r 300us\nwork 1ms r 200ns\n",
                  &said),
        0);
    assert_string_equal(said, "");
    assert_ptr_equal(scenario.policy, &vgpu_policy_deadline);
    assert_int_equal(scenario.times.slice, 2500000);
    assert_int_equal(scenario.length, 2000000000);
    assert_int_equal(scenario.vm_count, 3);
    assert_string_equal(scenario.vms[1].name, "a-2");
    assert_int_equal(scenario.vms[1].pool, 1);
    assert_int_equal(scenario.vms[1].priority, VGPU_PRIORITY_HIGH);
    assert_int_equal(scenario.vms[2].work_count, 2);
    assert_int_equal(scenario.vms[2].work[1].lasts, 200);
    free(said);
    vgpu_sim_scenario_destroy(&scenario);
}

static void says_what_is_wrong_and_where(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"policy best\n", "text:1: policy"},
        {"\nslice 4\n", "text:2: a duration"},
        {"slice 0\n", "text: time and slice"},
        {"vm a weight=0\n", "text:1: a VM has no such key"},
        {"vm a weight=101\n", "text:1: a VM has no such key"},
        {"vm a rate=5\n", "text:1: a VM has no such key"},
        {"vm a kernel=0\n", "text:1: a kernel lasts"},
        {"vm a count=1000\nvm b\n", "text:2: at most 1000"},
        {"vm a pool=B\n", "text:1: a VM has no such key"},
        {"work 1ms a 1ms\n", "text:1: work of a VM that is not there"},
        {"vm a\nwork 2ms a 1ms\nwork 1ms a 1ms\n", "text:3: work of one VM"},
        {"guess\n", "text:1: no such statement"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct vgpu_sim_scenario scenario;
        char *said;

        assert_int_equal(read_text(&scenario, cases[i].text, &said), -EINVAL);
        if (strncmp(said, cases[i].said, strlen(cases[i].said)) != 0)
            fail_msg("\"%s\" was said of \"%s\"", said, cases[i].text);
        free(said);
        vgpu_sim_scenario_destroy(&scenario);
    }
}

static void recorded_work_runs_when_it_came(void **state)
{
    struct vgpu_sim_scenario scenario;
    struct vgpu_sim_outcome outcome;
    char *said;

    (void)state;
    assert_int_equal(read_text(&scenario,
                               "time 1s\nhandover 10us\nvm a depth=0\nvm b depth=0\n"
                               "work 1ms a 5ms\nwork 2ms b 1ms\nwork 900ms a 200ms\n",
                               &said),
                     0);
    assert_int_equal(vgpu_sim_run(&scenario, &outcome, stderr), 0);
    assert_int_equal(outcome.vms[0].kernels, 1); /* the last does not end within the time */
    assert_int_equal(outcome.vms[1].kernels, 1);
    /* b comes 1 ms after a began, waits for the rest of a's kernel and for the hand-over */
    assert_int_equal(outcome.vms[0].waits.values[0], 10000);
    assert_in_range(outcome.vms[1].waits.values[0], 4010000, 4110000);
    assert_int_equal(outcome.busy, 6000000);
    free(said);
    vgpu_sim_outcome_destroy(&outcome);
    vgpu_sim_scenario_destroy(&scenario);
}

static void percentiles_and_jain_are_right(void **state)
{
    uint64_t values[] = {5, 1, 4, 2, 3};
    struct vgpu_sim_series series = {.values = values, .count = 5};
    struct vgpu_sim_series none = {0};
    struct vgpu_sim_vm_plan plans[2] = {{.weight = 50}, {.weight = 50}};
    struct vgpu_sim_result results[2] = {{.used = 100}, {.used = 0}};
    const struct vgpu_sim_scenario scenario = {.vms = plans, .vm_count = 2};
    const struct vgpu_sim_outcome outcome = {.vms = results, .vm_count = 2};

    (void)state;
    assert_int_equal(vgpu_sim_percentile(&series, 0.5), 3);
    assert_int_equal(vgpu_sim_percentile(&series, 0.99), 5);
    assert_int_equal(vgpu_sim_percentile(&none, 0.5), 0);
    assert_float_equal(vgpu_sim_jain(&scenario, &outcome), 0.5, 1e-9);
    results[1].used = 100;
    assert_float_equal(vgpu_sim_jain(&scenario, &outcome), 1, 1e-9);
    plans[1].weight = 100; /* has the time that another half its weight has */
    assert_float_equal(vgpu_sim_jain(&scenario, &outcome), 0.9, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_there_is),
        cmocka_unit_test(says_what_is_wrong_and_where),
        cmocka_unit_test(recorded_work_runs_when_it_came),
        cmocka_unit_test(percentiles_and_jain_are_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
