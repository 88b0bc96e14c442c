/* SPDX-License-Identifier: MIT */
/** vgpu-admin: tells the mediator what an administrator wants, and shows what it answers. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "admin/client.h"
#include "admin/commands.h"
#include "admin/output.h"
#include "admin/top.h"

#define OPTIONS_MAX 32

struct admin {
    const struct command *command; /* NULL: not yet known */
    const char *socket;
    enum output_form form;
    double interval;
    unsigned long count;
    bool follow;
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
    if (!admin_number(value, 0, 1e9, &number))
        return false;
    admin->count = (unsigned long)number;
    return true;
}

static void admin_take(struct admin *admin, const struct command_option *option, const char *value)
{
    if (option->value) {
        json_object_set_new(admin->request, option->name, json_string(value));
        return;
    }
    json_object_set_new(admin->request, option->name, json_true());
    admin->follow = true; /* the only one without a value */
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
    static const char *const common[] = {"socket", "output", "help", NULL};
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
        if (!option->is_local) {
            admin_take(admin, option, optarg);
        } else if (!admin_take_local(admin, option->name, optarg)) {
            fprintf(stderr, "vgpu-admin: --%s=%s is not %s (%s)\n", option->name, optarg,
                    option->value, option->help);
            return ADMIN_USAGE;
        }
    }
    return -1;
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
    if (strcmp(verb, "help") == 0) {
        const struct command *about = optind + 1 < argc ? command_find(argv[optind + 1]) : NULL;
        if (about)
            command_print_help_of(about, stdout);
        else
            command_print_help(stdout);
        return ADMIN_DONE;
    }
    admin->command = command_find(verb);
    if (!admin->command) {
        fprintf(stderr, "vgpu-admin: there is no command %s; see vgpu-admin --help\n", verb);
        return ADMIN_USAGE;
    }
    json_object_set_new(admin->request, "verb", json_string(verb));
    optind++;
    status = admin_parse(admin, argc, argv);
    if (status < 0 && optind < argc) {
        fprintf(stderr, "vgpu-admin: unexpected \"%s\"; options are --NAME=VALUE\n", argv[optind]);
        status = ADMIN_USAGE;
    }
    return status;
}

static enum admin_status admin_run(struct admin *admin)
{
    json_t *result = NULL, *event;
    FILE *stream = client_connect(admin->socket);
    enum admin_status status;

    if (!stream)
        return ADMIN_UNREACHABLE;
    if (strcmp(admin->command->verb, "top") == 0) {
        status = top_run(stream, admin->form, admin->interval, admin->count);
        fclose(stream);
        return status;
    }
    status = client_ask(stream, json_incref(admin->request), &result);
    if (status == ADMIN_DONE && !admin->follow)
        output_print(admin->form, result, admin->command->columns);
    for (size_t i = 0; admin->follow && i < json_array_size(result); i++)
        output_print_row(admin->form, json_array_get(result, i), admin->command->columns);
    json_decref(result);
    while (status == ADMIN_DONE && admin->follow && (event = client_read(stream))) {
        output_print_row(admin->form, event, admin->command->columns);
        json_decref(event);
    }
    fclose(stream);
    return status;
}

int main(int argc, char **argv)
{
    struct admin admin = {
        .socket = "/run/vgpu/admin.sock", .interval = 1, .request = json_object()};

    if (argc > 1 && strcmp(argv[1], "--complete") == 0) { /* for the shell */
        command_print_words(argc > 2 ? argv[2] : "", stdout);
        json_decref(admin.request);
        return ADMIN_DONE;
    }
    int status = admin_parse_all(&admin, argc, argv);
    if (status < 0)
        status = (int)admin_run(&admin);
    json_decref(admin.request);
    return status;
}
