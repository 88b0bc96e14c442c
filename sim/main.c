/* SPDX-License-Identifier: MIT */
/** vgpu-sim: runs the mediator's scheduler on a scenario, and says what each VM would have got. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "sim/machine.h"
#include "sim/plot.h"

struct options {
    const struct vgpu_policy *policy; /* NULL: the scenario's */
    const char *svg;
    uint64_t seed;
    const char *scenario;
};

static const char help[] =
    "Usage: vgpu-sim [--policy=wfq|urgency|fifo|deadline] [--seed=N] [--svg=FILE] SCENARIO\n"
    "Simulates virtual machines that share a GPU, and prints what each of them gets.\n"
    "\n"
    "  --policy=NAME   instead of the scenario's\n"
    "  --seed=N        of what varies; the same gives the same\n"
    "  --svg=FILE      draw shares over time\n"
    "  --help          print this\n"
    "\n"
    "A scenario is a file of lines such as\n"
    "  time 10s\n"
    "  vm train count=2 weight=80 kernel=200us batch=100 depth=2\n"
    "  vm serve priority=high kernel=50us batch=4 gap=10ms spread=0.5\n"
    "  work 1.5ms recorded 300us\n";

static bool take_option(int option, struct options *options)
{
    char *end;

    switch (option) {
    case 'p':
        options->policy = vgpu_policy_find(optarg);
        if (!options->policy)
            fprintf(stderr, "vgpu-sim: no policy \"%s\"; there are wfq, urgency, fifo, deadline\n",
                    optarg);
        return options->policy != NULL;
    case 's':
        options->seed = strtoull(optarg, &end, 10);
        if (end == optarg || *end)
            fprintf(stderr, "vgpu-sim: the seed \"%s\" is no number\n", optarg);
        return end != optarg && !*end;
    case 'g':
        options->svg = optarg;
        return true;
    case 'h':
        fputs(help, stdout);
        exit(EXIT_SUCCESS);
    default:
        fputs("Try vgpu-sim --help.\n", stderr);
        return false;
    }
}

static bool take_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"policy", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'},
        {"svg", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (!take_option(option, options))
            return false;
    }
    if (optind + 1 != argc) {
        fputs("vgpu-sim: one scenario, please; see --help\n", stderr);
        return false;
    }
    options->scenario = argv[optind];
    return true;
}

static void print(const struct vgpu_sim_scenario *scenario, struct vgpu_sim_outcome *outcome)
{
    static const double ms = 1e6;
    double busy = outcome->busy ? (double)outcome->busy : 1;

    printf("%-20s %7s %9s %8s %10s %10s %10s %10s %10s\n", "vm", "share", "gpu_s", "leases",
           "wait_p50", "wait_p99", "reply_p50", "reply_p99", "starved");
    for (uint32_t i = 0; i < outcome->vm_count; i++) {
        struct vgpu_sim_result *vm = &outcome->vms[i];
        printf("%-20s %6.2f%% %9.3f %8llu", scenario->vms[i].name, 100 * (double)vm->used / busy,
               (double)vm->used / 1e9, (unsigned long long)vm->leases);
        printf(" %8.3fms %8.3fms %8.3fms %8.3fms %8.3fms\n",
               (double)vgpu_sim_percentile(&vm->waits, 0.5) / ms,
               (double)vgpu_sim_percentile(&vm->waits, 0.99) / ms,
               (double)vgpu_sim_percentile(&vm->replies, 0.5) / ms,
               (double)vgpu_sim_percentile(&vm->replies, 0.99) / ms, (double)vm->longest / ms);
    }
    printf("policy %s: busy %.2f%%, idle with work waiting %.2f%%, %llu hand-overs, "
           "Jain's index by weight %.4f\n",
           scenario->policy->name, 100 * (double)outcome->busy / (double)outcome->length,
           100 * (double)outcome->wasted / (double)outcome->length,
           (unsigned long long)outcome->handovers, vgpu_sim_jain(scenario, outcome));
}

static int draw(const struct vgpu_sim_scenario *scenario, const struct vgpu_sim_outcome *outcome,
                const char *path)
{
    FILE *file = fopen(path, "we");

    if (!file)
        return -errno;
    vgpu_sim_plot(scenario, outcome, file);
    return fclose(file) ? -errno : 0;
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1};
    struct vgpu_sim_scenario scenario;
    struct vgpu_sim_outcome outcome = {0};

    if (!take_options(argc, argv, &options))
        return 2;
    FILE *file = fopen(options.scenario, "re");
    if (!file) {
        fprintf(stderr, "vgpu-sim: %s: %s\n", options.scenario, strerror(errno));
        return EXIT_FAILURE;
    }
    int error = vgpu_sim_scenario_read(&scenario, file, options.scenario, stderr);
    fclose(file);
    scenario.seed = options.seed;
    if (options.policy)
        scenario.policy = options.policy;
    if (!error)
        error = vgpu_sim_run(&scenario, &outcome, stderr);
    if (!error)
        print(&scenario, &outcome);
    if (!error && options.svg)
        error = draw(&scenario, &outcome, options.svg);
    if (error)
        fprintf(stderr, "vgpu-sim: %s\n", strerror(-error));
    vgpu_sim_outcome_destroy(&outcome);
    vgpu_sim_scenario_destroy(&scenario);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
