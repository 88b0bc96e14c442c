/* SPDX-License-Identifier: MIT */
/* What the environment says of the devices, and what it should not say. Programs are children. */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver_test.h"

struct answer {
    CUresult result;
    int count, major, multiprocessors;
    size_t bytes;
    char said[1024];
};

static void ask(int to, const char *name, const char *value)
{
    struct answer answer = {.count = -1};
    FILE *said = tmpfile();

    dup2(fileno(said), STDERR_FILENO);
    setenv(name, value, 1);
    answer.result = cuInit(0);
    if (answer.result == CUDA_SUCCESS) {
        cuDeviceGetCount(&answer.count);
        cuDeviceTotalMem(&answer.bytes, answer.count - 1);
        cuDeviceGetAttribute(&answer.major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
        cuDeviceGetAttribute(&answer.multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0);
    }
    fflush(stderr);
    rewind(said);
    answer.said[fread(answer.said, 1, sizeof(answer.said) - 1, said)] = '\0';
    _exit(write(to, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1);
}

/* What a program sees that is started with one variable. */
static struct answer with(const char *name, const char *value)
{
    struct answer answer = {.count = -1};
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        ask(ends[1], name, value);
    close(ends[1]);
    assert_int_equal(read(ends[0], &answer, sizeof(answer)), sizeof(answer));
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return answer;
}

static void sizes_have_suffixes(void **state)
{
    static const struct {
        const char *text;
        size_t bytes;
    } cases[] = {
        {"1M", (size_t)1 << 20}, {"2048K", (size_t)2 << 20}, {"96m", (size_t)96 << 20},
        {"3G", (size_t)3 << 30}, {"1T", (size_t)1 << 40},    {"5000000", 5000000},
        {"4g", (size_t)4 << 30},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = with("VGPU_SOFT_MEMORY", cases[i].text);

        assert_cuda(answer.result);
        assert_int_equal(answer.bytes, cases[i].bytes);
        assert_string_equal(answer.said, "");
    }
}

static void wrong_sizes_are_refused(void **state)
{
    static const char *const texts[] = {
        "", "0", "1K", "lots", "-1G", "1.5G", "4GB", "9T", "99999999999999999999G"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct answer answer = with("VGPU_SOFT_MEMORY", texts[i]);
        char expected[128];

        assert_cuda_error(answer.result, CUDA_ERROR_INVALID_VALUE);
        snprintf(expected, sizeof(expected), "VGPU_SOFT_MEMORY=%s is not a size", texts[i]);
        assert_non_null(strstr(answer.said, expected));
    }
}

static void devices_are_counted(void **state)
{
    (void)state;
    assert_int_equal(with("VGPU_SOFT_DEVICES", "1").count, 1);
    assert_int_equal(with("VGPU_SOFT_DEVICES", "8").count, 8);
    assert_cuda_error(with("VGPU_SOFT_DEVICES", "0").result, CUDA_ERROR_NO_DEVICE);
}

static void wrong_counts_are_refused(void **state)
{
    static const char *const texts[] = {"", "-1", "9", "two", "1 ", "0x1"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct answer answer = with("VGPU_SOFT_DEVICES", texts[i]);

        assert_cuda_error(answer.result, CUDA_ERROR_INVALID_VALUE);
        assert_non_null(strstr(answer.said, " is not a number of devices from 0 to 8"));
    }
}

static void a_capability_is_chosen(void **state)
{
    (void)state;
    assert_int_equal(with("VGPU_SOFT_CAPABILITY", "9.0").major, 9);
    assert_cuda_error(with("VGPU_SOFT_CAPABILITY", "90").result, CUDA_ERROR_INVALID_VALUE);
    assert_non_null(strstr(with("VGPU_SOFT_CAPABILITY", "ten").said, "is not major.minor"));
}

static void processors_have_levels(void **state)
{
    (void)state;
    assert_cuda(with("VGPU_SOFT_LEVEL", "v3").result);
    assert_cuda_error(with("VGPU_SOFT_LEVEL", "v9").result, CUDA_ERROR_INVALID_VALUE);
    assert_non_null(
        strstr(with("VGPU_SOFT_LEVEL", "v9").said, "VGPU_SOFT_LEVEL=v9 is not a processor level"));
}

static void lists_of_processors_are_checked(void **state)
{
    static const char *const texts[] = {"",    "-1",  "1-0",   "0,",     "0-",
                                        "all", "0;1", "99999", "0-99999"};

    (void)state;
    assert_int_equal(with("VGPU_SOFT_PROCESSORS", "0").multiprocessors, 1);
    assert_int_equal(with("VGPU_SOFT_PROCESSORS", "0-0,0").multiprocessors, 1);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct answer answer = with("VGPU_SOFT_PROCESSORS", texts[i]);

        assert_cuda_error(answer.result, CUDA_ERROR_INVALID_VALUE);
        assert_non_null(strstr(answer.said, " is not a list of this machine's processors"));
    }
}

static void look_where_it_runs(void *data)
{
    sched_getaffinity(0, sizeof(cpu_set_t), data);
}

/* The last of the machine's, and nothing of the program's own thread is changed. */
static void streams_run_on_the_processors_that_were_named(void **state)
{
    int status;

    (void)state;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        long last = sysconf(_SC_NPROCESSORS_ONLN) - 1;
        char text[32];
        cpu_set_t before, after, of_stream;
        CUcontext context;

        snprintf(text, sizeof(text), "%ld", last);
        setenv("VGPU_SOFT_PROCESSORS", text, 1);
        sched_getaffinity(0, sizeof(before), &before);
        bool good = cuInit(0) == CUDA_SUCCESS &&
                    cuCtxCreate(&context, NULL, 0, 0) == CUDA_SUCCESS &&
                    cuLaunchHostFunc(NULL, look_where_it_runs, &of_stream) == CUDA_SUCCESS &&
                    cuCtxSynchronize() == CUDA_SUCCESS;
        sched_getaffinity(0, sizeof(after), &after);
        good &= CPU_EQUAL(&before, &after) && CPU_COUNT(&of_stream) == 1 &&
                CPU_ISSET((size_t)last, &of_stream);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_suffixes),
        cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(devices_are_counted),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(a_capability_is_chosen),
        cmocka_unit_test(processors_have_levels),
        cmocka_unit_test(lists_of_processors_are_checked),
        cmocka_unit_test(streams_run_on_the_processors_that_were_named),
    };

    unsetenv("VGPU_SOFT_MEMORY");
    unsetenv("VGPU_SOFT_DEVICES");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
