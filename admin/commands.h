/* SPDX-License-Identifier: MIT */
/** What vgpu-admin can be told: help, completion and the command line go by these tables. */
#ifndef VGPU_ADMIN_COMMANDS_H
#define VGPU_ADMIN_COMMANDS_H

#include <stdbool.h>
#include <stdio.h>

#define COMMAND_OPTIONS 12
#define COMMAND_COLUMNS 16u

struct command {
    const char *verb;
    const char *help;
    const char *options[COMMAND_OPTIONS]; /* names, up to the first NULL */
    /** The columns of a table, up to the first NULL; none: all. JSON and CSV have all. */
    const char *columns[COMMAND_COLUMNS];
};

struct command_option {
    const char *name;
    const char *value; /* what follows the =; NULL: nothing does */
    const char *help;
    bool is_local; /* for vgpu-admin itself: the mediator is not told */
};

extern const struct command commands[];               /* the last one has no verb */
extern const struct command_option command_options[]; /* the last one has no name */

/** NULL if there is none. */
const struct command *command_find(const char *verb);
const struct command_option *command_option_find(const char *name);

/** All commands, or one of them with its options. */
void command_print_help(FILE *out);
void command_print_help_of(const struct command *command, FILE *out);

/** Words for shell completion, one a line: verbs, or the options of a verb. */
void command_print_words(const char *verb, FILE *out);
/** The values that an option can have, if it has some to choose from. */
void command_print_values(const struct command_option *option, FILE *out);

#endif
