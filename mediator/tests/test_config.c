/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/config.h"

#define GIB (1ull << 30)

/** Reads `text` as the file "test.ini"; *errors is what was complained about, to be freed. */
static int read_text(struct vgpu_config *config, const char *text, char **errors)
{
    size_t size;
    FILE *out = open_memstream(errors, &size);
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

    assert_non_null(out);
    assert_non_null(file);
    vgpu_config_init(config);
    int result = vgpu_config_read(config, file, "test.ini", out);
    fclose(file);
    fclose(out);
    return result;
}

static void defaults_serve(void **state)
{
    struct vgpu_config config;

    (void)state;
    vgpu_config_init(&config);
    assert_string_equal(config.device_socket, "/run/vgpu/device.sock");
    assert_string_equal(config.process_socket, "/run/vgpu/process.sock");
    assert_string_equal(config.admin_socket, "/run/vgpu/admin.sock");
    assert_int_equal(config.driver, VGPU_DRIVER_AUTO);
    assert_string_equal(config.image_cache, "/var/cache/vgpu");
    assert_int_equal(config.image_cache_size, 8 * GIB);
    assert_string_equal(config.cuda_library, "libcuda.so.1");
    assert_non_null(strstr(config.worker, "vgpu-worker"));
    assert_non_null(strstr(config.soft_library, "libvgpu-soft.so"));
    assert_int_equal(vgpu_config_memory_quota(&config, "any", 3 * GIB), 3 * GIB);
    assert_int_equal(vgpu_config_max_channels(&config, "any"), 64);
    assert_int_equal(config.spare_workers, 2);
    assert_int_equal(config.metrics.ss_family, AF_INET);
    vgpu_config_destroy(&config);
}

static const char good_file[] =
    "; our cluster\n"
    "# as well\n"
    "\n"
    "[mediator]\n"
    "device-socket = /tmp/d.sock\n"
    "process-socket=/tmp/p.sock ; a comment\n"
    "driver=soft\n"
    "worker=/opt/worker\n"
    "soft-library=/opt/soft.so\n"
    "cuda-library=libcuda.so.2\n"
    "memory-quota=25%\n"
    "max-channels-per-vm=8\n"
    "spare-workers=16\n"
    "log-level=warning\n"
    "image-cache=/srv/images\n"
    "image-cache-size=512M\n"
    "scheduler=deadline\n"
    "metrics=[::1]:80\n"
    "[vm web-1.example]\n"
    "memory-quota=2G\n"
    "weight=80\n"
    "share-cap=25\n"
    "reservation=8/33\n"
    "rate=1000\n"
    "queue-depth=16\n"
    "priority=high\n"
    "[vm 0b6ae4a2-0d2c-4a53-8d4b-1f1d5cf3a0ff-and-then-some-more-text-x]\n"
    "max-channels=256\n"
    "[vm bare]\n"
    "[vm all]\n"
    "memory-quota=8g\n";

static void good_files_are_taken(void **state)
{
    struct vgpu_config config;
    char *errors;

    (void)state;
    assert_int_equal(read_text(&config, good_file, &errors), 0);
    assert_string_equal(errors, "");
    assert_string_equal(config.device_socket, "/tmp/d.sock");
    assert_string_equal(config.process_socket, "/tmp/p.sock");
    assert_string_equal(config.admin_socket, "/run/vgpu/admin.sock");
    assert_int_equal(config.driver, VGPU_DRIVER_SOFT);
    assert_string_equal(config.worker, "/opt/worker");
    assert_string_equal(config.soft_library, "/opt/soft.so");
    assert_string_equal(config.cuda_library, "libcuda.so.2");
    assert_int_equal(config.log_level, VGPU_LOG_WARNING);
    assert_string_equal(config.image_cache, "/srv/images");
    assert_int_equal(config.image_cache_size, 512 << 20);
    assert_int_equal(config.spare_workers, 16);
    assert_ptr_equal(config.scheduler, &vgpu_policy_deadline);
    struct vgpu_vm_limits limits;
    assert_int_equal(config.metrics.ss_family, AF_INET6);
    assert_int_equal(ntohs(((struct sockaddr_in6 *)&config.metrics)->sin6_port), 80);
    vgpu_config_limits(&config, "web-1.example", &limits);
    assert_int_equal(limits.weight, 80);
    assert_int_equal(limits.share_cap, 25);
    assert_int_equal(limits.rate, 1000);
    assert_int_equal(limits.queue_depth, 16);
    assert_int_equal(vgpu_config_reservation(&config, "web-1.example").budget, 8);
    assert_int_equal(vgpu_config_reservation(&config, "web-1.example").period, 33);
    assert_int_equal(vgpu_config_reservation(&config, "other").period, 0);
    vgpu_config_limits(&config, "other", &limits);
    assert_int_equal(limits.weight, 50);
    assert_int_equal(limits.share_cap, 100);
    assert_int_equal(limits.rate, 0);
    enum vgpu_priority priority = VGPU_PRIORITY_LOW;
    assert_true(vgpu_config_priority(&config, "web-1.example", &priority));
    assert_int_equal(priority, VGPU_PRIORITY_HIGH);
    assert_false(vgpu_config_priority(&config, "bare", &priority));
    assert_int_equal(vgpu_config_memory_quota(&config, "other", 4 * GIB), GIB);
    assert_int_equal(vgpu_config_memory_quota(&config, "bare", 4 * GIB), GIB);
    assert_int_equal(vgpu_config_memory_quota(&config, "web-1.example", 4 * GIB), 2 * GIB);
    assert_int_equal(vgpu_config_memory_quota(&config, "all", 4 * GIB), 4 * GIB); /* no more */
    assert_int_equal(vgpu_config_max_channels(&config, "web-1.example"), 8);
    assert_int_equal(vgpu_config_max_channels(
                         &config, "0b6ae4a2-0d2c-4a53-8d4b-1f1d5cf3a0ff-and-then-some-more-text-x"),
                     256);
    free(errors);
    vgpu_config_destroy(&config);
}

static const struct {
    const char *text;
    const char *complaint; /* must be in what is said */
} bad_files[] = {
    {"[mediator]\nsocket=/x\n", "test.ini:2: unknown key \"socket\"; allowed are device-socket,"},
    {"[vm a]\ndriver=soft\n", "test.ini:2: unknown key \"driver\"; allowed are memory-quota, "
                              "max-channels"},
    {"[mediators]\ndriver=soft\n", "test.ini:1: unknown section [mediators]; allowed are "
                                   "[mediator] and [vm NAME]"},
    {"driver=soft\n", "test.ini:1: \"driver\" is outside of a section"},
    {"[mediator]\nscheduler=fair\n", "test.ini:2: scheduler: \"fair\" is not wfq, urgency,"},
    {"[mediator]\nslice=0\n", "test.ini:2: slice: \"0\" is not milliseconds from 1 to 100"},
    {"[vm a]\nreservation=34/33\n",
     "test.ini:2: reservation: \"34/33\" is not BUDGET/PERIOD in milliseconds"},
    {"[vm a]\nreservation=8\n",
     "test.ini:2: reservation: \"8\" is not BUDGET/PERIOD in milliseconds"},
    {"[vm a]\nshare-cap=101\n",
     "test.ini:2: share-cap: \"101\" is not per cent from 1 to 100; 100 is no cap"},
    {"[vm a]\nrate=-1\n",
     "test.ini:2: rate: \"-1\" is not calls a second from 1 to 1000000000, or 0 for no limit"},
    {"[vm a]\nqueue-depth=65537\n",
     "test.ini:2: queue-depth: \"65537\" is not calls from 1 to 65536, or 0 for no limit"},
    {"[vm a]\nweight=0\n", "test.ini:2: weight: \"0\" is not a number from 1 to 100"},
    {"[vm a]\npriority=2\n", "test.ini:2: priority: \"2\" is not low, medium or high"},
    {"[mediator]\n\ndriver=nvidia\n", "test.ini:3: driver: \"nvidia\" is not auto, cuda or soft"},
    {"[mediator]\ndriver=soft\ndriver=soft\n", "test.ini:3: \"driver\" is there twice"},
    {"[mediator]\n[mediator]\n", "test.ini:2: a second section [mediator]"},
    {"[vm a]\n[vm b]\n[vm a]\n", "test.ini:3: a second section [vm a]"},
    {"[vm ]\n", "test.ini:1: \"\" cannot be the name of a VM"},
    {"[vm a b]\n", "test.ini:1: \"a b\" cannot be the name of a VM"},
    {"[vm xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\n",
     "cannot be the name"},
    {"[mediator]\nspare-workers=17\n", "\"17\" is not a number from 0 to 16"},
    {"[mediator]\nmemory-quota=0\n", "test.ini:2: memory-quota: \"0\" is not bytes with"},
    {"[mediator]\nmemory-quota=101%\n", "\"101%\" is not bytes"},
    {"[mediator]\nmemory-quota=-1\n", "\"-1\" is not bytes"},
    {"[mediator]\nmemory-quota=2GB\n", "\"2GB\" is not bytes"},
    {"[mediator]\nmemory-quota=2X\n", "\"2X\" is not bytes"},
    {"[mediator]\nmemory-quota=99999999999999999999\n", "is not bytes"},
    {"[mediator]\nmemory-quota=17000000T\n", "is not bytes"},
    {"[mediator]\nmemory-quota=\n", "is not bytes"},
    {"[mediator]\nmax-channels-per-vm=0\n", "\"0\" is not a number from 1 to 256"},
    {"[mediator]\nmax-channels-per-vm=257\n", "\"257\" is not a number from 1 to 256"},
    {"[mediator]\nmax-channels-per-vm=8 or so\n", "is not a number from 1 to 256"},
    {"[mediator]\nworker=vgpu-worker\n", "\"vgpu-worker\" is not an absolute path"},
    {"[mediator]\nsoft-library=\n", "\"\" is not an absolute path"},
    {"[mediator]\nimage-cache=here\n", "\"here\" is not an absolute path, or none"},
    {"[mediator]\nimage-cache-size=10%\n", "\"10%\" is not bytes with"},
    {"[mediator]\nmetrics=9841\n", "metrics: \"9841\" is not none, or an address and a port"},
    {"[mediator]\nmetrics=localhost:9841\n", "is not none, or an address"},
    {"[mediator]\nmetrics=127.0.0.1:65536\n", "is not none, or an address"},
    {"[mediator]\nmetrics=127.0.0.1:\n", "is not none, or an address"},
    {"[mediator]\nmetrics=::1:9841\n", "is not none, or an address"},
    {"[mediator]\nmetrics=[::1:9841\n", "is not none, or an address"},
    {"[mediator]\nlog-level=debug\n", "\"debug\" is not error, warning or info"},
    {"[mediator]\ndevice-socket=/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
     "is not a path of at most 107 bytes"},
    {"[mediator]\ndevice-socket=/a\nprocess-socket=/a\n", "must differ"},
    {"[mediator]\nnonsense\n", "test.ini:2: neither [section], key=value nor ;comment"},
    {"[mediator\n", "test.ini:1: neither"},
    {"[mediator]\ndriver=soft\n  cuda\n", "test.ini:3: neither"}, /* no continuation lines */
};

static void bad_files_are_explained(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(*bad_files); i++) {
        struct vgpu_config config;
        char *errors;

        if (read_text(&config, bad_files[i].text, &errors) != -EINVAL ||
            !strstr(errors, bad_files[i].complaint))
            fail_msg("for:\n%sexpected: %s\ngot: %s", bad_files[i].text, bad_files[i].complaint,
                     errors);
        free(errors);
        vgpu_config_destroy(&config);
    }
}

static void all_errors_are_told_at_once(void **state)
{
    struct vgpu_config config;
    char *errors;

    (void)state;
    assert_int_equal(
        read_text(&config, "[mediator]\nx=1\ndriver=y\n[z]\nkey=ignored\n[vm a]\nq=1\n", &errors),
        -EINVAL);
    assert_non_null(strstr(errors, "test.ini:2: "));
    assert_non_null(strstr(errors, "test.ini:3: "));
    assert_non_null(strstr(errors, "test.ini:4: "));
    assert_null(strstr(errors, "test.ini:5: "));
    assert_non_null(strstr(errors, "test.ini:7: "));
    free(errors);
    vgpu_config_destroy(&config);
}

static void long_lines_are_errors(void **state)
{
    char text[1024] = "[mediator]\nworker=/";
    struct vgpu_config config;
    char *errors;

    (void)state;
    memset(text + strlen(text), 'x', 400);
    strcat(text, "\ndriver=bad\n");
    assert_int_equal(read_text(&config, text, &errors), -EINVAL);
    assert_non_null(strstr(errors, "test.ini:2: the line is too long"));
    assert_non_null(strstr(errors, "test.ini:3: driver"));
    free(errors);
    vgpu_config_destroy(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_serve),          cmocka_unit_test(good_files_are_taken),
        cmocka_unit_test(bad_files_are_explained), cmocka_unit_test(all_errors_are_told_at_once),
        cmocka_unit_test(long_lines_are_errors),
    };

    return cmocka_run_group_tests_name("configuration", tests, NULL, NULL);
}
