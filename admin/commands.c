/* SPDX-License-Identifier: MIT */
#include "admin/commands.h"

#include <string.h>

#define TARGET "vm-name", "vm-uuid"

const struct command commands[] = {
    {"register-vm",
     "make a VM known, and say what it may have",
     {TARGET, "pool", "priority", "weight", "share-cap", "memory", "rate", "queue-depth",
      "watchdog", "fault-limit"},
     {NULL}},
    {"unregister-vm", "forget a VM and its settings", {TARGET}, {NULL}},
    {"list-vms",
     "all VMs: those that are registered, and those that were seen",
     {NULL},
     {"vm", "state", "pool", "priority", "weight", "share_cap_percent", "memory_used_bytes",
      "memory_quota_bytes", "channels", "quarantine"}},
    {"show-vm", "all about one VM", {TARGET}, {NULL}},
    {"set-pool", "move a VM to another pool", {TARGET, "pool"}, {NULL}},
    {"set-priority", "who goes first", {TARGET, "priority"}, {NULL}},
    {"set-weight", "the VM's share of GPU time within its pool", {TARGET, "weight"}, {NULL}},
    {"set-rate-limit",
     "calls a second, and how many may wait",
     {TARGET, "rate", "queue-depth"},
     {NULL}},
    {"set-memory", "how much memory of the GPU a VM may hold", {TARGET, "memory"}, {NULL}},
    {"set-share-cap", "the most of GPU time, even if it is idle", {TARGET, "share-cap"}, {NULL}},
    {"set-watchdog",
     "how long work may take, and how many faults are too many",
     {TARGET, "watchdog", "fault-limit"},
     {NULL}},
    {"quarantine", "take the GPU away from a VM", {TARGET, "reason"}, {NULL}},
    {"clear-quarantine", "let a VM use the GPU again", {TARGET}, {NULL}},
    {"create-pool", "a new pool of VMs", {"pool", "weight"}, {NULL}},
    {"delete-pool", "remove a pool that has no members", {"pool"}, {NULL}},
    {"set-pool-weight", "a pool's share of GPU time", {"pool", "weight"}, {NULL}},
    {"list-pools", "all pools", {NULL}, {NULL}},
    {"show-metrics",
     "what VMs have used",
     {TARGET},
     {"vm", "busy_percent", "gpu_ns", "calls", "to_device_bytes", "from_device_bytes",
      "memory_used_bytes", "p50_ns", "p95_ns", "p99_ns", "wait_p99_ns", "execution_p99_ns",
      "channels_lost"}},
    {"show-health", "the mediator and the GPU", {NULL}, {NULL}},
    {"show-queue", "the channels, and what waits in them", {TARGET}, {NULL}},
    {"show-connections", "who is connected", {TARGET}, {NULL}},
    {"show-audit", "what administrators did, the newest first", {"last"}, {NULL}},
    {"show-usage", "what VMs used in each hour", {TARGET, "hours"}, {NULL}},
    {"show-faults", "what cost VMs their workers in each hour", {TARGET, "hours"}, {NULL}},
    {"events", "what happened lately", {"follow"}, {"time_ms", "kind", "vm", "text"}},
    {"top", "who uses the GPU now, live in the terminal", {"interval", "count"}, {NULL}},
    {NULL, NULL, {NULL}, {NULL}},
};

const struct command_option command_options[] = {
    {"vm-name", "NAME", "a VM; a user of the host is uid-NUMBER", false},
    {"vm-uuid", "UUID", "a VM by the UUID it was registered with", false},
    {"pool", "A...Z", "a pool; A unless it is said", false},
    {"priority", "low|medium|high", "medium unless it is said", false},
    {"weight", "1...100", "50 unless it is said", false},
    {"share-cap", "1...100", "per cent of GPU time; 100 is no cap", false},
    {"memory", "SIZE", "16G, 25% of the GPU's memory, or default", false},
    {"rate", "NUMBER", "calls a second; 0 is no limit", false},
    {"queue-depth", "NUMBER", "calls that may wait; 0 is no limit", false},
    {"watchdog", "SECONDS", "30 unless it is said", false},
    {"fault-limit", "NUMBER", "faults until it is quarantined; 3 unless it is said, 0 is never",
     false},
    {"reason", "TEXT", "what the VM's users are told", false},
    {"last", "NUMBER", "how many; 100 unless it is said", false},
    {"hours", "NUMBER", "how far back; 24 unless it is said", false},
    {"follow", NULL, "go on until interrupted", false},
    {"interval", "SECONDS", "between looks, 0.1 to 3600; 1 unless it is said", true},
    {"count", "NUMBER", "of looks, a whole number; 0, for ever, unless it is said", true},
    {"socket", "PATH", "the mediator's admin socket; default /run/vgpu/admin.sock", true},
    {"output", "table|json|csv", "table unless it is said", true},
    {"help", NULL, "print this", true},
    {"version", NULL, "print the version", true},
    {NULL, NULL, NULL, false},
};

/* That every command takes. */
static const char *const command_common[] = {"socket", "output", "help", "version"};

const struct command *command_find(const char *verb)
{
    for (const struct command *command = commands; command->verb; command++) {
        if (strcmp(command->verb, verb) == 0)
            return command;
    }
    return NULL;
}

const struct command_option *command_option_find(const char *name)
{
    for (const struct command_option *option = command_options; option->name; option++) {
        if (strcmp(option->name, name) == 0)
            return option;
    }
    return NULL;
}

static void command_print_option(const char *name, FILE *out)
{
    const struct command_option *option = command_option_find(name);
    char left[48];

    snprintf(left, sizeof(left), "--%s%s%s", name, option->value ? "=" : "",
             option->value ? option->value : "");
    fprintf(out, "  %-28s %s\n", left, option->help);
}

static void command_print_common(FILE *out)
{
    for (size_t i = 0; i < sizeof(command_common) / sizeof(*command_common); i++)
        command_print_option(command_common[i], out);
}

void command_print_help(FILE *out)
{
    fputs("Usage: vgpu-admin [--socket=PATH] [--output=table|json|csv] COMMAND [OPTION...]\n"
          "Administers the GPU that this host shares among virtual machines and programs.\n\n",
          out);
    for (const struct command *command = commands; command->verb; command++)
        fprintf(out, "  %-18s %s\n", command->verb, command->help);
    fputs("\n", out);
    command_print_common(out);
    fputs("\nvgpu-admin COMMAND --help tells the options of a command.\n"
          "Exit status: 0 done; 1 the mediator could not; 2 a wrong command line or value;\n"
          "3 no mediator answers, or it hung up; 4 there is no such VM or pool; 5 it conflicts\n"
          "with what is there; 6 the mediator has no store; 7 permission denied.\n",
          out);
}

void command_print_help_of(const struct command *command, FILE *out)
{
    fprintf(out, "Usage: vgpu-admin %s [OPTION...]\n%s\n\n", command->verb, command->help);
    for (int i = 0; command->options[i]; i++)
        command_print_option(command->options[i], out);
    command_print_common(out);
}

static void command_print_word(const char *name, FILE *out)
{
    fprintf(out, "--%s%s\n", name, command_option_find(name)->value ? "=" : "");
}

void command_print_words(const char *verb, FILE *out)
{
    const struct command *chosen = command_find(verb);

    for (const struct command *command = commands; !chosen && command->verb; command++)
        fprintf(out, "%s\n", command->verb);
    for (int i = 0; chosen && chosen->options[i]; i++)
        command_print_word(chosen->options[i], out);
    for (size_t i = 0; i < sizeof(command_common) / sizeof(*command_common); i++)
        command_print_word(command_common[i], out);
}

void command_print_values(const struct command_option *option, FILE *out)
{
    const char *rest = option->value;

    while (rest && strchr(option->value, '|')) {
        size_t length = strcspn(rest, "|");

        fprintf(out, "%.*s\n", (int)length, rest);
        rest = rest[length] ? rest + length + 1 : NULL;
    }
}
