/* SPDX-License-Identifier: MIT */
#include "sim/scenario.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One setting of a scenario: a name and the duration that it sets. */
struct setting {
    const char *name;
    uint64_t *value;
};

/* Empty for what is no duration; "0" needs no unit. */
static bool parse_duration(const char *text, uint64_t *nanoseconds)
{
    static const struct {
        const char *name;
        double nanoseconds;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    char *end;
    double number = strtod(text, &end);

    if (end == text || !(number >= 0) || number > 1e12)
        return false;
    if (number == 0 && *end == '\0') {
        *nanoseconds = 0;
        return true;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (strcmp(end, units[i].name) == 0 && number * units[i].nanoseconds < 1e15) {
            *nanoseconds = (uint64_t)(number * units[i].nanoseconds + 0.5);
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, uint32_t least, uint32_t most, uint32_t *number)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end || *text == '-' || value < least || value > most)
        return false;
    *number = (uint32_t)value;
    return true;
}

static bool find_pool(const struct vgpu_sim_scenario *scenario, const char *name, uint32_t *pool)
{
    for (*pool = 0; *pool < scenario->pool_count; ++*pool) {
        if (strcmp(scenario->pools[*pool].name, name) == 0)
            return true;
    }
    return false;
}

static bool name_ok(const char *name)
{
    return name && *name && strlen(name) < VGPU_SIM_NAME - 6 &&
           !name[strspn(name,
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-")];
}

static const char *read_pool(struct vgpu_sim_scenario *scenario, char **rest)
{
    char *name = strsep(rest, " "), *weight = strsep(rest, " ");
    uint32_t pool;

    if (!name_ok(name))
        return "pool NAME [weight=1..100]";
    if (!find_pool(scenario, name, &pool)) {
        if (pool == VGPU_SIM_POOLS_MOST)
            return "at most 26 pools";
        strcpy(scenario->pools[scenario->pool_count].name, name);
        scenario->pools[scenario->pool_count++].weight = VGPU_WEIGHT_DEFAULT;
    }
    if (weight && (strncmp(weight, "weight=", 7) != 0 ||
                   !parse_number(weight + 7, 1, VGPU_WEIGHT_MOST, &scenario->pools[pool].weight)))
        return "pool NAME [weight=1..100]";
    return NULL;
}

/* Sets one KEY=VALUE of a VM. */
static bool set_vm(const struct vgpu_sim_scenario *scenario, struct vgpu_sim_vm_plan *vm,
                   uint32_t *count, const char *key, const char *value)
{
    const struct setting times[] = {
        {"period", &vm->period}, {"budget", &vm->budget}, {"kernel", &vm->kernel},
        {"gap", &vm->gap},       {"from", &vm->from},     {"until", &vm->until},
    };

    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        if (strcmp(key, times[i].name) == 0)
            return parse_duration(value, times[i].value);
    }
    if (strcmp(key, "count") == 0)
        return parse_number(value, 1, VGPU_SIM_VMS_MOST, count);
    if (strcmp(key, "pool") == 0)
        return find_pool(scenario, value, &vm->pool);
    if (strcmp(key, "priority") == 0)
        return vgpu_priority_find(value, &vm->priority);
    if (strcmp(key, "weight") == 0)
        return parse_number(value, 1, VGPU_WEIGHT_MOST, &vm->weight);
    if (strcmp(key, "cap") == 0)
        return parse_number(value, 1, 100, &vm->cap);
    if (strcmp(key, "batch") == 0)
        return parse_number(value, 1, 1000000, &vm->batch);
    if (strcmp(key, "depth") == 0)
        return parse_number(value, 0, VGPU_SIM_DEPTH_MOST, &vm->depth);
    if (strcmp(key, "spread") == 0) {
        char *end;
        vm->spread = strtod(value, &end);
        return end != value && !*end && vm->spread >= 0 && vm->spread <= 1;
    }
    return false;
}

static const char *read_vm(struct vgpu_sim_scenario *scenario, char **rest)
{
    struct vgpu_sim_vm_plan plan = {
        .priority = VGPU_PRIORITY_MEDIUM,
        .cap = 100,
        .weight = VGPU_WEIGHT_DEFAULT,
        .kernel = 50000,
        .batch = 16,
        .depth = 1,
        .until = VGPU_TIME_NEVER,
    };
    const char *name = strsep(rest, " ");
    uint32_t count = 1;
    char *word;

    if (!name_ok(name))
        return "vm NAME [KEY=VALUE...]";
    while ((word = strsep(rest, " ")) != NULL) {
        char *value = strchr(word, '=');
        if (!value)
            return "vm NAME [KEY=VALUE...]";
        *value++ = '\0';
        if (!set_vm(scenario, &plan, &count, word, value))
            return "a VM has no such key, or the key no such value";
    }
    if (plan.kernel == 0)
        return "a kernel lasts at least 1ns";
    if (count > VGPU_SIM_VMS_MOST - scenario->vm_count)
        return "at most 1000 VMs";
    for (uint32_t i = 1; i <= count; i++) {
        struct vgpu_sim_vm_plan *vm = &scenario->vms[scenario->vm_count++];
        *vm = plan;
        vm->count = count;
        if (count == 1)
            snprintf(vm->name, sizeof(vm->name), "%s", name);
        else
            snprintf(vm->name, sizeof(vm->name), "%s-%u", name, i);
    }
    return NULL;
}

static const char *add_work(struct vgpu_sim_vm_plan *vm, struct vgpu_sim_work work)
{
    /* Room grows by doubling: at each power of two it is full. */
    if ((vm->work_count & (vm->work_count - 1)) == 0) {
        size_t room = vm->work_count ? 2ul * vm->work_count : 1;
        struct vgpu_sim_work *grown = reallocarray(vm->work, room, sizeof(*grown));
        if (!grown)
            return "out of memory";
        vm->work = grown;
    }
    if (vm->work_count && vm->work[vm->work_count - 1].arrives > work.arrives)
        return "work of one VM comes in the order of time";
    vm->work[vm->work_count++] = work;
    return NULL;
}

static const char *read_work(struct vgpu_sim_scenario *scenario, char **rest)
{
    const char *time = strsep(rest, " "), *name = strsep(rest, " "), *lasts = strsep(rest, " ");
    const char *count = strsep(rest, " ");
    struct vgpu_sim_work work = {.count = 1};

    if (!lasts || !parse_duration(time, &work.arrives) || !parse_duration(lasts, &work.lasts) ||
        work.lasts == 0 || (count && !parse_number(count, 1, 1000000, &work.count)))
        return "work TIME VM DURATION [COUNT]";
    for (uint32_t i = 0; i < scenario->vm_count; i++) {
        if (strcmp(scenario->vms[i].name, name) == 0)
            return add_work(&scenario->vms[i], work);
    }
    return "work of a VM that is not there";
}

static const char *read_setting(struct vgpu_sim_scenario *scenario, const char *word, char **rest)
{
    const struct setting times[] = {
        {"time", &scenario->length},           {"slice", &scenario->times.slice},
        {"least", &scenario->times.least},     {"drain", &scenario->times.drain},
        {"calm", &scenario->times.calm},       {"patience", &scenario->times.patience},
        {"longest", &scenario->times.longest}, {"round", &scenario->times.round},
        {"window", &scenario->window},         {"grace", &scenario->grace},
        {"handover", &scenario->handover},
    };
    const char *value = strsep(rest, " ");

    if (strcmp(word, "policy") == 0) {
        scenario->policy = value ? vgpu_policy_find(value) : NULL;
        return scenario->policy ? NULL : "policy wfq, urgency, fifo or deadline";
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        if (strcmp(word, times[i].name) == 0)
            return value && parse_duration(value, times[i].value) ? NULL : "a duration like 4ms";
    }
    return "no such statement";
}

/* One line, without its end and comment: NULL, or what is wrong. */
static const char *read_line(struct vgpu_sim_scenario *scenario, char *line)
{
    const char *word = strsep(&line, " ");

    if (*word == '\0')
        return NULL;
    if (strcmp(word, "vm") == 0)
        return read_vm(scenario, &line);
    if (strcmp(word, "pool") == 0)
        return read_pool(scenario, &line);
    if (strcmp(word, "work") == 0)
        return read_work(scenario, &line);
    return read_setting(scenario, word, &line);
}

/* Takes out the comment and all blanks but one between words. */
static void tidy(char *line)
{
    char *to = line;

    for (const char *from = line; *from && *from != '#' && *from != '\n'; from++) {
        bool blank = *from == ' ' || *from == '\t';
        if (!blank)
            *to++ = *from;
        else if (to > line && to[-1] != ' ')
            *to++ = ' ';
    }
    if (to > line && to[-1] == ' ')
        to--;
    *to = '\0';
}

int vgpu_sim_scenario_read(struct vgpu_sim_scenario *scenario, FILE *file, const char *name,
                           FILE *errors)
{
    char *line = NULL;
    size_t room = 0;
    int error = 0;

    *scenario = (struct vgpu_sim_scenario){
        .policy = &vgpu_policy_wfq,
        .times = vgpu_scheduler_default_times,
        .length = 10000000000ull,
        .window = 1000000,
        .grace = 50000,
        .handover = 30000,
        .pools = {{"A", VGPU_WEIGHT_DEFAULT}},
        .pool_count = 1,
        .vms = calloc(VGPU_SIM_VMS_MOST, sizeof(*scenario->vms)),
    };
    if (!scenario->vms)
        return -ENOMEM;
    for (uint32_t number = 1; getline(&line, &room, file) > 0; number++) {
        tidy(line);
        const char *wrong = read_line(scenario, line);
        if (wrong) {
            fprintf(errors, "%s:%u: %s\n", name, number, wrong);
            error = -EINVAL;
        }
    }
    free(line);
    if (ferror(file)) {
        fprintf(errors, "%s: cannot be read\n", name);
        error = -EINVAL;
    }
    if (!error && (scenario->times.slice == 0 || scenario->length == 0)) {
        fprintf(errors, "%s: time and slice are more than 0\n", name);
        error = -EINVAL;
    }
    return error;
}

void vgpu_sim_scenario_destroy(struct vgpu_sim_scenario *scenario)
{
    for (uint32_t i = 0; scenario->vms && i < scenario->vm_count; i++)
        free(scenario->vms[i].work);
    free(scenario->vms);
    *scenario = (struct vgpu_sim_scenario){0};
}
