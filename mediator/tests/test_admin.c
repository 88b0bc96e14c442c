/* SPDX-License-Identifier: MIT */
/** The admin socket: what it answers, what it changes for VMs that run, and what stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/tests/client.h"
#include "mediator/tests/fake_worker.h"
#include "protocol/mailbox.h"

static struct test_mediator mediator;
static struct test_client client;
static FILE *admin;

static FILE *connect_admin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", mediator.admin);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fdopen(fd, "r+");
}

static json_t *read_line(FILE *stream)
{
    static char line[1 << 20];

    return fgets(line, sizeof(line), stream) ? json_loads(line, 0, NULL) : NULL;
}

/** Sends a line; the answer, for the caller to put. */
static json_t *ask_raw(FILE *stream, const char *line)
{
    fprintf(stream, "%s\n", line);
    fflush(stream);
    return read_line(stream);
}

/** Asks something that must be done; its result. */
static json_t *ask(const char *line)
{
    json_t *answer = ask_raw(admin, line);

    if (!json_is_true(json_object_get(answer, "ok")))
        fail_msg("%s: %s", line, answer ? json_dumps(answer, 0) : "hung up");
    json_t *result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return result;
}

static void must(const char *line)
{
    json_decref(ask(line));
}

/** Asks something that must be refused with this code. */
static void refused(const char *line, const char *code)
{
    json_t *answer = ask_raw(admin, line);
    const char *got = NULL, *message = NULL;

    assert_int_equal(
        json_unpack(answer, "{s:{s:s, s:s}}", "error", "code", &got, "message", &message), 0);
    if (strcmp(got, code) != 0)
        fail_msg("%s: %s: %s", line, got, message);
    json_decref(answer);
}

static void start(bool with_store)
{
    test_mediator_create(&mediator, ""); /* for its folder */
    if (with_store) {
        assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
        FILE *config = fopen(mediator.config, "a");
        fprintf(config, "store=%s/vgpu.db\n", mediator.folder);
        fclose(config);
        test_mediator_start(&mediator);
    }
    admin = connect_admin();
}

static int start_with_store(void **state)
{
    (void)state;
    start(true);
    test_client_create(&client);
    return 0;
}

static int start_without_store(void **state)
{
    (void)state;
    start(false);
    test_client_create(&client);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fclose(admin);
    test_client_destroy(&client);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
    return 0;
}

static uint64_t quota_of_client(void)
{
    const struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_STATUS};
    union {
        uint8_t bytes[VGPU_MAILBOX_BYTES];
        struct vgpu_mailbox_vm_status status;
    } answer;

    test_client_mailbox(&client, &request, sizeof(request), answer.bytes);
    return answer.status.memory_quota;
}

static void a_quota_holds_for_a_vm_that_runs(void **state)
{
    (void)state;
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(quota_of_client(), FAKE_MEMORY_TOTAL);
    must("{\"verb\": \"register-vm\", \"vm-name\": \"web\"}");
    must("{\"verb\": \"set-memory\", \"vm-name\": \"web\", \"memory\": \"25%\"}");
    assert_int_equal(quota_of_client(), FAKE_MEMORY_TOTAL / 4);
    must("{\"verb\": \"set-memory\", \"vm-name\": \"web\", \"memory\": \"1000T\"}");
    assert_int_equal(quota_of_client(), FAKE_MEMORY_TOTAL);
    must("{\"verb\": \"set-memory\", \"vm-name\": \"web\", \"memory\": 4096}");
    assert_int_equal(quota_of_client(), 4096);
    must("{\"verb\": \"unregister-vm\", \"vm-name\": \"web\"}");
    assert_int_equal(quota_of_client(), FAKE_MEMORY_TOTAL);
}

static void what_is_registered_holds_when_a_vm_connects(void **state)
{
    (void)state;
    must("{\"verb\": \"create-pool\", \"pool\": \"C\"}");
    must("{\"verb\": \"register-vm\", \"vm-name\": \"web\", \"pool\": \"C\", \"priority\": "
         "\"high\", \"memory\": \"1M\", \"weight\": 80}");
    struct vgpu_control_welcome welcome = test_client_attach(&client, mediator.device, "web");
    assert_int_equal(welcome.pool, 'C');
    assert_int_equal(welcome.priority, VGPU_PRIORITY_HIGH);
    assert_int_equal(quota_of_client(), 1 << 20);
    json_t *row = ask("{\"verb\": \"show-vm\", \"vm-name\": \"web\"}");
    assert_string_equal(json_string_value(json_object_get(row, "state")), "connected");
    assert_int_equal(json_integer_value(json_object_get(row, "weight")), 80);
    json_decref(row);
}

static void registration_holds_over_configuration_and_device(void **state)
{
    (void)state;
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    FILE *config = fopen(mediator.config, "a");
    fputs("[vm web]\npriority=low\nweight=30\n", config);
    fclose(config);
    test_mediator_start(&mediator);
    fclose(admin);
    admin = connect_admin();
    must("{\"verb\": \"create-pool\", \"pool\": \"C\"}");
    must("{\"verb\": \"register-vm\", \"vm-name\": \"web\", \"pool\": \"C\", \"priority\": "
         "\"high\", \"weight\": 80}");
    struct vgpu_control_welcome welcome = test_client_attach(&client, mediator.device, "web");
    assert_int_equal(welcome.pool, 'C');
    assert_int_equal(welcome.priority, VGPU_PRIORITY_HIGH);
    must("{\"verb\": \"unregister-vm\", \"vm-name\": \"web\"}");
    const struct vgpu_control_hello hello = test_client_hello(&client, "web");
    const char pool[] = {(char)hello.pool, '\0'};
    const char *of[2] = {"", ""};
    int weight = 0;
    json_t *row = ask("{\"verb\": \"show-vm\", \"vm-name\": \"web\"}");
    assert_int_equal(
        json_unpack(row, "{s:s, s:s, s:i}", "pool", &of[0], "priority", &of[1], "weight", &weight),
        0);
    assert_string_equal(of[0], pool);
    assert_string_equal(of[1], "low");
    assert_int_equal(weight, 30);
    json_decref(row);
}

static void a_quarantined_vm_loses_its_channels_and_gets_none(void **state)
{
    struct vgpu_mailbox_channel channels[2];

    (void)state;
    test_client_attach(&client, mediator.device, "web");
    for (int i = 0; i < 2; i++)
        assert_int_equal(test_client_open(&client, "hang", &channels[i]), VGPU_MAILBOX_OK);
    must("{\"verb\": \"quarantine\", \"vm-name\": \"web\", \"reason\": \"it mines\"}");
    for (int i = 0; i < 2; i++)
        test_client_await_state(&client, channels[i].channel, VGPU_CHANNEL_LOST);
    assert_int_equal(test_mediator_workers(&mediator), 0);
    test_client_close(&client, channels[0].channel, channels[0].key);
    assert_int_equal(test_client_open(&client, "wait", &channels[0]), VGPU_MAILBOX_REFUSED);
    test_mediator_logged(&mediator, "VM web is quarantined (it mines)");
    refused("{\"verb\": \"quarantine\", \"vm-name\": \"web\"}", "conflict");
    refused("{\"verb\": \"unregister-vm\", \"vm-name\": \"web\"}", "conflict");
    /* It is no fault of the VM that its channels were taken. */
    assert_int_equal(test_mediator_field(&mediator, "web", "channels_failed"), 0);
    assert_int_equal(test_mediator_stop(&mediator, SIGKILL), 128 + SIGKILL);
    test_mediator_start(&mediator); /* and it stays so */
    fclose(admin);
    admin = connect_admin();
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(test_client_open(&client, "wait", &channels[0]), VGPU_MAILBOX_REFUSED);
    must("{\"verb\": \"clear-quarantine\", \"vm-name\": \"web\"}");
    assert_int_equal(test_client_open(&client, "wait", &channels[0]), VGPU_MAILBOX_OK);
}

static void what_is_wrong_changes_nothing(void **state)
{
    static const struct {
        const char *line, *code;
    } wrong[] = {
        {"{\"verb\": \"set-weight\", \"vm-name\": \"web\", \"weight\": 0}", "invalid"},
        {"{\"verb\": \"set-weight\", \"vm-name\": \"web\", \"weight\": 101}", "invalid"},
        {"{\"verb\": \"set-weight\", \"vm-name\": \"web\", \"weight\": \"1e1\"}", "invalid"},
        {"{\"verb\": \"set-weight\", \"vm-name\": \"web\"}", "invalid"},
        {"{\"verb\": \"set-weight\", \"weight\": 1}", "invalid"},
        {"{\"verb\": \"set-weight\", \"vm-name\": \"web\", \"weight\": 1, \"rate\": 1}", "invalid"},
        {"{\"verb\": \"set-weight\", \"vm-name\": \"web\", \"weight\": [1]}", "invalid"},
        {"{\"verb\": \"set-rate-limit\", \"vm-name\": \"web\", \"rate\": -1}", "invalid"},
        {"{\"verb\": \"set-memory\", \"vm-name\": \"web\", \"memory\": \"101%\"}", "invalid"},
        {"{\"verb\": \"set-watchdog\", \"vm-name\": \"web\", \"watchdog\": 0}", "invalid"},
        {"{\"verb\": \"set-priority\", \"vm-name\": \"web\", \"priority\": \"top\"}", "invalid"},
        {"{\"verb\": \"set-pool\", \"vm-name\": \"web\", \"pool\": \"Q\"}", "not-found"},
        {"{\"verb\": \"set-pool\", \"vm-name\": \"web\", \"pool\": \"AB\"}", "invalid"},
        {"{\"verb\": \"set-weight\", \"vm-name\": \"db\", \"weight\": 1}", "not-found"},
        {"{\"verb\": \"register-vm\", \"vm-name\": \"web\"}", "conflict"},
        {"{\"verb\": \"register-vm\", \"vm-name\": \"../x\"}", "invalid"},
        {"{\"verb\": \"register-vm\", \"vm-name\": \"db\", \"vm-uuid\": \"6f1d\"}", "invalid"},
        {"{\"verb\": \"register-vm\", \"vm-name\": \"db\", \"vm-uuid\": "
         "\"6f1d2c3e-8f4a-5b6c-9d7e-0a1b2c3d4e5f\"}",
         "conflict"},
        {"{\"verb\": \"clear-quarantine\", \"vm-name\": \"web\"}", "conflict"},
        {"{\"verb\": \"delete-pool\", \"pool\": \"B\"}", "conflict"},
        {"{\"verb\": \"delete-pool\", \"pool\": \"A\"}", "conflict"},
        {"{\"verb\": \"create-pool\", \"pool\": \"B\"}", "conflict"},
        {"{\"verb\": \"create-pool\", \"pool\": \"D\", \"weight\": 0}", "invalid"},
        {"{\"verb\": \"frobnicate\"}", "invalid"},
        {"{\"verb\": 7}", "invalid"},
        {"{\"verb\": \"list-vms\", \"verb\": \"list-vms\"}", "invalid"},
        {"[]", "invalid"},
        {"", "invalid"},
        {"{", "invalid"},
    };
    json_t *before, *after;

    (void)state;
    must("{\"verb\": \"create-pool\", \"pool\": \"B\"}");
    must("{\"verb\": \"register-vm\", \"vm-name\": \"web\", \"pool\": \"B\", \"vm-uuid\": "
         "\"6F1D2C3E-8f4a-5b6c-9d7e-0a1b2c3d4e5f\"}");
    before =
        json_pack("[o, o]", ask("{\"verb\": \"list-vms\"}"), ask("{\"verb\": \"list-pools\"}"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        refused(wrong[i].line, wrong[i].code);
    after = json_pack("[o, o]", ask("{\"verb\": \"list-vms\"}"), ask("{\"verb\": \"list-pools\"}"));
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    json_t *audit = ask("{\"verb\": \"show-audit\"}");
    assert_true(json_array_size(audit) > 20); /* those that were refused, too */
    json_decref(audit);
}

static void without_a_store_all_can_be_seen_and_nothing_set(void **state)
{
    json_t *vms;

    (void)state;
    test_client_attach(&client, mediator.device, "web");
    refused("{\"verb\": \"register-vm\", \"vm-name\": \"web\"}", "no-store");
    refused("{\"verb\": \"show-audit\"}", "no-store");
    vms = ask("{\"verb\": \"list-vms\"}");
    assert_int_equal(json_array_size(vms), 1);
    json_decref(vms);
    must("{\"verb\": \"show-vm\", \"vm-name\": \"web\"}");
    must("{\"verb\": \"list-pools\"}");
}

static void channels_and_connections_are_shown(void **state)
{
    struct vgpu_mailbox_channel channel;
    json_t *rows;

    (void)state;
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(test_client_open(&client, "charge-4096", &channel), VGPU_MAILBOX_OK);
    test_await(test_mediator_field(&mediator, "web", "memory_used") == 4096, 5);
    rows = ask("{\"verb\": \"show-queue\", \"vm-name\": \"web\"}");
    assert_int_equal(json_array_size(rows), 1);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(rows, 0), "memory_used_bytes")), 4096);
    json_decref(rows);
    rows = ask("{\"verb\": \"show-connections\"}");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "process")),
                     getpid());
    json_decref(rows);
    test_await(test_mediator_field(&mediator, "web", "gpu_ns") == FAKE_GPU_NANOSECONDS, 5);
    rows = ask("{\"verb\": \"show-metrics\"}");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "gpu_ns")),
                     FAKE_GPU_NANOSECONDS);
    json_decref(rows);
    refused("{\"verb\": \"show-queue\", \"vm-name\": \"db\"}", "not-found");
    must("{\"verb\": \"show-health\"}");
}

static json_int_t field_of_first(const char *line, const char *field)
{
    json_t *rows = ask(line);
    json_int_t value = json_integer_value(json_object_get(json_array_get(rows, 0), field));

    json_decref(rows);
    return value;
}

static void usage_and_faults_outlast_the_mediator(void **state)
{
    struct vgpu_mailbox_channel channel;

    (void)state;
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(test_client_open(&client, "charge-4096", &channel), VGPU_MAILBOX_OK);
    test_await(field_of_first("{\"verb\": \"show-usage\"}", "calls") == 7, 5);
    assert_int_equal(test_client_open(&client, "crash", &channel), VGPU_MAILBOX_OK);
    test_client_await_state(&client, channel.channel, VGPU_CHANNEL_LOST);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0); /* it writes what is left */
    test_mediator_start(&mediator);
    fclose(admin);
    admin = connect_admin();
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(field_of_first("{\"verb\": \"show-usage\", \"vm-name\": \"web\"}", "gpu_ns"),
                     1000);
    assert_int_equal(field_of_first("{\"verb\": \"show-faults\"}", "count"), 1);
    refused("{\"verb\": \"show-usage\", \"vm-name\": \"db\"}", "not-found");
    refused("{\"verb\": \"show-usage\", \"hours\": 0}", "invalid");
}

static void expect_event(FILE *follower, const char *kind, const char *vm, const char *text)
{
    const char *got[3] = {"", "", ""};
    json_t *event = read_line(follower);

    assert_int_equal(
        json_unpack(event, "{s:s, s:s, s:s}", "kind", &got[0], "vm", &got[1], "text", &got[2]), 0);
    assert_string_equal(got[0], kind);
    assert_string_equal(got[1], vm);
    if (!strstr(got[2], text))
        fail_msg("%s is not in %s", text, got[2]);
    json_decref(event);
}

static void followers_are_told_at_once(void **state)
{
    struct vgpu_mailbox_channel channel;
    FILE *follower = connect_admin();
    json_t *event;

    (void)state;
    event = ask_raw(follower, "{\"verb\": \"events\", \"follow\": true}");
    assert_true(json_is_true(json_object_get(event, "ok")));
    json_decref(event);
    test_client_attach(&client, mediator.device, "web");
    expect_event(follower, "connected", "web", "");
    must("{\"verb\": \"create-pool\", \"pool\": \"B\"}");
    expect_event(follower, "pool", "", "create-pool pool=B by user");
    must("{\"verb\": \"register-vm\", \"vm-name\": \"web\"}");
    expect_event(follower, "registered", "web", "by user");
    must("{\"verb\": \"set-weight\", \"vm-name\": \"web\", \"weight\": 70}");
    expect_event(follower, "changed", "web", "set-weight weight=70 by user");
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    expect_event(follower, "opened", "web", "of wait");
    test_client_close(&client, channel.channel, channel.key);
    expect_event(follower, "closed", "web", "of wait");
    assert_int_equal(test_client_open(&client, "crash", &channel), VGPU_MAILBOX_OK);
    expect_event(follower, "opened", "web", "of crash");
    expect_event(follower, "lost", "web", "of crash");
    must("{\"verb\": \"quarantine\", \"vm-name\": \"web\", \"reason\": \"it mines\"}");
    expect_event(follower, "quarantined", "web", "reason=it mines");
    must("{\"verb\": \"clear-quarantine\", \"vm-name\": \"web\"}");
    expect_event(follower, "cleared", "web", "by user");
    fclose(follower);
    must("{\"verb\": \"unregister-vm\", \"vm-name\": \"web\"}"); /* one less to tell */
    json_t *events = ask("{\"verb\": \"events\"}");
    for (size_t i = 0; i < json_array_size(events); i++) /* of both rings, in order */
        assert_int_equal(json_integer_value(json_object_get(json_array_get(events, i), "event")),
                         i + 1);
    assert_int_equal(json_array_size(events), 11);
    json_decref(events);
}

/** What programs do all the time does not push out what administrators did. */
static void traffic_does_not_push_out_what_matters(void **state)
{
    struct vgpu_mailbox_channel channel;

    (void)state;
    must("{\"verb\": \"register-vm\", \"vm-name\": \"db\"}");
    test_client_attach(&client, mediator.device, "web");
    for (int i = 0; i < 150; i++) { /* the last one may not have been reaped yet */
        test_await(test_client_open(&client, "wait", &channel) == VGPU_MAILBOX_OK, 5);
        test_client_close(&client, channel.channel, channel.key);
    }
    json_t *events = ask("{\"verb\": \"events\"}");
    assert_int_equal(json_array_size(events), 257);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 0), "kind")),
                        "registered");
    json_decref(events);
}

/** Sets rates, each one higher than the last, until the mediator is killed; the last acknowledged.
 */
static int set_rates_until_killed(int rate)
{
    char line[128];
    json_t *answer;
    bool done = true;
    pid_t killer = fork();

    if (killer == 0) {
        usleep((useconds_t)rand() % 20000);
        kill(mediator.pid, SIGKILL);
        _exit(0);
    }
    while (done) {
        snprintf(line, sizeof(line),
                 "{\"verb\": \"set-rate-limit\", \"vm-name\": \"web\", \"rate\": %d}", rate + 1);
        answer = ask_raw(admin, line);
        done = json_is_true(json_object_get(answer, "ok"));
        json_decref(answer);
        rate += done;
    }
    waitpid(killer, NULL, 0);
    return rate;
}

static void a_killed_mediator_keeps_what_it_acknowledged(void **state)
{
    unsigned seed = (unsigned)test_now();
    char line[512];
    int rate = 0;

    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    must("{\"verb\": \"register-vm\", \"vm-name\": \"web\"}");
    for (int round = 0; round < 10; round++) {
        rate = set_rates_until_killed(rate);
        assert_int_equal(test_mediator_stop(&mediator, SIGKILL), 128 + SIGKILL);
        fclose(admin);
        test_mediator_start(&mediator);
        admin = connect_admin();
        json_t *row = ask("{\"verb\": \"show-vm\", \"vm-name\": \"web\"}");
        int kept = (int)json_integer_value(json_object_get(row, "rate"));
        assert_true(kept == rate || kept == rate + 1); /* the answer may have been under way */
        rate = kept;
        json_decref(row);
    }
    assert_true(rate > 0);
    snprintf(line, sizeof(line), "%s --config %s --check-store >/dev/null", getenv("VGPU_MEDIATOR"),
             mediator.config);
    assert_int_equal(system(line), 0); /* while it is in use */
}

#define WITH_STORE(test)    cmocka_unit_test_setup_teardown(test, start_with_store, stop)
#define WITHOUT_STORE(test) cmocka_unit_test_setup_teardown(test, start_without_store, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_quota_holds_for_a_vm_that_runs),
        WITH_STORE(what_is_registered_holds_when_a_vm_connects),
        WITH_STORE(registration_holds_over_configuration_and_device),
        WITH_STORE(a_quarantined_vm_loses_its_channels_and_gets_none),
        WITH_STORE(what_is_wrong_changes_nothing),
        WITHOUT_STORE(without_a_store_all_can_be_seen_and_nothing_set),
        WITHOUT_STORE(channels_and_connections_are_shown),
        WITH_STORE(usage_and_faults_outlast_the_mediator),
        WITH_STORE(followers_are_told_at_once),
        WITH_STORE(traffic_does_not_push_out_what_matters),
        WITH_STORE(a_killed_mediator_keeps_what_it_acknowledged),
    };

    signal(SIGPIPE, SIG_IGN); /* some are hung up on */
    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
