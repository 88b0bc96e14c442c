/* SPDX-License-Identifier: MIT */
/** vgpu-admin: tells the mediator what an administrator wants, and shows what it answers. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/client.h"
#include "admin/commands.h"
#include "admin/output.h"
#include "admin/top.h"

#define OPTIONS_MAX    32
#define DEFAULT_SOCKET "/run/vgpu/admin.sock"

struct admin {
    const struct command *command; /* NULL: not yet known */
    const char *socket;
    enum output_form form;
    double interval;
    unsigned long count;
    bool follow;
    uint64_t given; /* options, by their place in command_options */
    json_t *request;
};

static bool admin_number(const char *text, double least, double most, double *number)
{
    char *end;

    errno = 0;
    *number = strtod(text, &end);
    return end != text && !*end && errno == 0 && *number >= least && *number <= most;
}

/** Takes an option of vgpu-admin itself. False if its value is wrong. */
static bool admin_take_local(struct admin *admin, const char *name, const char *value)
{
    double number;

    if (strcmp(name, "socket") == 0) {
        admin->socket = value;
        return true;
    }
    if (strcmp(name, "output") == 0)
        return output_parse(value, &admin->form);
    if (strcmp(name, "interval") == 0)
        return admin_number(value, 0.1, 3600, &admin->interval);
    if (!admin_number(value, 0, 1e9, &number) || number != (double)(unsigned long)number)
        return false;
    admin->count = (unsigned long)number;
    return true;
}

/** Takes an option for the mediator. False if its value cannot be told. */
static bool admin_take(struct admin *admin, const struct command_option *option, const char *value)
{
    admin->follow |= !option->value; /* the only one without a value */
    return json_object_set_new(admin->request, option->name,
                               option->value ? json_string(value) : json_true()) == 0;
}

/** Takes an option and its value. Returns an exit status, or -1 to go on. */
static int admin_take_option(struct admin *admin, const struct command_option *option,
                             const char *value)
{
    uint64_t bit = 1ull << (option - command_options);

    if (admin->given & bit) {
        fprintf(stderr, "vgpu-admin: --%s is there twice; keep one\n", option->name);
        return ADMIN_USAGE;
    }
    admin->given |= bit;
    if (!option->is_local && !admin_take(admin, option, value)) {
        fprintf(stderr, "vgpu-admin: the value of --%s is not text in UTF-8; it is %s (%s)\n",
                option->name, option->value, option->help);
        return ADMIN_USAGE;
    }
    if (option->is_local && !admin_take_local(admin, option->name, value)) {
        fprintf(stderr, "vgpu-admin: --%s=%s is not %s (%s)\n", option->name, value, option->value,
                option->help);
        return ADMIN_USAGE;
    }
    return -1;
}

static int admin_add_options(struct option *known, const char *const *names, int count)
{
    for (; *names && count < OPTIONS_MAX - 1; names++) {
        const struct command_option *option = command_option_find(*names);

        known[count++] =
            (struct option){option->name, option->value ? required_argument : no_argument, NULL,
                            (int)(option - command_options) + 1};
    }
    return count;
}

/** Takes options up to the first word that is none. Returns an exit status, or -1 to go on. */
static int admin_parse(struct admin *admin, int argc, char **argv)
{
    static const char *const common[] = {"socket", "output", "help", "version", NULL};
    struct option known[OPTIONS_MAX] = {0};
    int count = admin_add_options(known, common, 0), got;

    if (admin->command)
        admin_add_options(known, admin->command->options, count);
    while ((got = getopt_long(argc, argv, "+", known, NULL)) != -1) {
        const struct command_option *option = &command_options[got - 1];

        if (got == '?') {
            fprintf(stderr, "Try vgpu-admin %s%s--help.\n",
                    admin->command ? admin->command->verb : "", admin->command ? " " : "");
            return ADMIN_USAGE;
        }
        if (strcmp(option->name, "help") == 0) {
            if (admin->command)
                command_print_help_of(admin->command, stdout);
            else
                command_print_help(stdout);
            return ADMIN_DONE;
        }
        if (strcmp(option->name, "version") == 0) {
            puts("vgpu-admin " VGPU_VERSION);
            return ADMIN_DONE;
        }
        int status = admin_take_option(admin, option, optarg);
        if (status >= 0)
            return status;
    }
    return -1;
}

static int admin_unknown(const char *verb)
{
    fprintf(stderr, "vgpu-admin: there is no command %s; see vgpu-admin --help\n", verb);
    return ADMIN_USAGE;
}

/** `verb` may be NULL: about all of them. */
static int admin_help(const char *verb)
{
    const struct command *about = verb ? command_find(verb) : NULL;

    if (verb && !about)
        return admin_unknown(verb);
    if (about)
        command_print_help_of(about, stdout);
    else
        command_print_help(stdout);
    return ADMIN_DONE;
}

static int admin_parse_all(struct admin *admin, int argc, char **argv)
{
    int status = admin_parse(admin, argc, argv);

    if (status >= 0)
        return status;
    if (optind == argc) {
        command_print_help(stderr);
        return ADMIN_USAGE;
    }
    const char *verb = argv[optind];
    if (strcmp(verb, "help") == 0)
        return admin_help(argv[optind + 1]);
    admin->command = command_find(verb);
    if (!admin->command)
        return admin_unknown(verb);
    json_object_set_new(admin->request, "verb", json_string(verb));
    optind++;
    status = admin_parse(admin, argc, argv);
    if (status < 0 && optind < argc) {
        fprintf(stderr,
                "vgpu-admin: unexpected \"%s\" after %s; one command, and options are "
                "--NAME=VALUE\n",
                argv[optind], verb);
        status = ADMIN_USAGE;
    }
    return status;
}

/** Prints events as they come, until the mediator or the reader of our output goes. */
static enum admin_status admin_follow(const struct admin *admin, struct client *client,
                                      const json_t *past)
{
    enum client_end end = CLIENT_LINE;
    bool first = true;
    json_t *event;

    for (size_t i = 0; i < json_array_size(past); i++, first = false)
        output_print_row(admin->form, first, json_array_get(past, i), admin->command->columns);
    while (!ferror(stdout) && (end = client_read(client, true, &event)) == CLIENT_LINE) {
        output_print_row(admin->form, first, event, admin->command->columns);
        first = false;
        json_decref(event);
    }
    return end == CLIENT_FAILED ? ADMIN_UNREACHABLE : ADMIN_DONE;
}

static enum admin_status admin_run(struct admin *admin)
{
    json_t *result = NULL;
    struct client client;
    enum admin_status status = client_connect(admin->socket, &client);

    if (status != ADMIN_DONE)
        return status;
    if (strcmp(admin->command->verb, "top") == 0) {
        status = top_run(&client, admin->form, admin->interval, admin->count);
        client_close(&client);
        return status;
    }
    status = client_ask(&client, json_incref(admin->request), &result);
    if (status == ADMIN_DONE && admin->follow)
        status = admin_follow(admin, &client, result);
    else if (status == ADMIN_DONE)
        output_print(admin->form, result, admin->command->columns);
    json_decref(result);
    client_close(&client);
    return status;
}

/** Whether all of the answer got where it was to go. */
static int admin_finish(int status)
{
    bool failed = fflush(stdout) == EOF || ferror(stdout);

    if (!failed)
        return status;
    if (errno != EPIPE) /* who reads only a part of it has what they want */
        fprintf(stderr, "vgpu-admin: cannot write the answer: %s\n", strerror(errno));
    return status == ADMIN_DONE ? ADMIN_FAILED : status;
}

/** The names that the mediator has, if it answers. */
static void admin_complete_names(const char *path, const char *verb, const char *key)
{
    json_t *rows = NULL;
    struct client client;

    if (!freopen("/dev/null", "w", stderr) || client_connect(path, &client) != ADMIN_DONE)
        return;
    if (client_ask(&client, json_pack("{s:s}", "verb", verb), &rows) == ADMIN_DONE) {
        for (size_t i = 0; i < json_array_size(rows); i++)
            puts(json_string_value(json_object_get(json_array_get(rows, i), key)));
    }
    json_decref(rows);
    client_close(&client);
}

/** For the shell: --complete VERB [OPTION [SOCKET]] prints the words that may follow, one a line.
 */
static void admin_complete(int argc, char **argv)
{
    const char *path = argc > 4 && *argv[4] ? argv[4] : DEFAULT_SOCKET;
    const struct command_option *option = NULL;

    if (argc > 3 && strncmp(argv[3], "--", 2) == 0)
        option = command_option_find(argv[3] + 2);
    if (argc <= 3)
        command_print_words(argc > 2 ? argv[2] : "", stdout);
    else if (option && strcmp(option->name, "vm-name") == 0)
        admin_complete_names(path, "list-vms", "vm");
    else if (option && strcmp(option->name, "pool") == 0)
        admin_complete_names(path, "list-pools", "pool");
    else if (option)
        command_print_values(option, stdout);
}

int main(int argc, char **argv)
{
    struct admin admin = {.socket = DEFAULT_SOCKET, .interval = 1, .request = json_object()};

    signal(SIGPIPE, SIG_IGN); /* a mediator that goes is told of, too */
    if (argc > 1 && strcmp(argv[1], "--complete") == 0) {
        admin_complete(argc, argv);
        json_decref(admin.request);
        return ADMIN_DONE;
    }
    int status = admin_parse_all(&admin, argc, argv);
    if (status < 0)
        status = (int)admin_run(&admin);
    json_decref(admin.request);
    return admin_finish(status);
}
