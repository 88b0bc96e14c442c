/* SPDX-License-Identifier: MIT */
/*
 * Compiled kernels: what is compiled and when, and that they do what interpreted ones do, to the
 * bit. All other tests of the engine run once more with VGPU_SOFT_JIT=always; this one is about
 * what they do not see. Each test is a process of its own, because the setting is read once.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "soft/jit/jit.h"
#include "soft/jit/llvm.h"
#include "soft/ptx/program.h"
#include "soft/tests/harness.h"

/*
 * Each thread mixes `rounds` times what it has with what is at its place in `in`: sums that are no
 * numbers, products, a histogram in shared memory, exchanges between lanes, and a barrier.
 */
static const char text[] = HEADER
    ".visible .entry mix(.param .u64 in, .param .u64 out, .param .u32 rounds)\n{\n"
    ".reg .pred %p<3>;\n.reg .b32 %r<16>;\n.reg .f32 %f<6>;\n.reg .b64 %a<6>;\n"
    ".shared .align 4 .b8 bins[1024];\n"
    "ld.param.u64 %a0, [in];\nld.param.u64 %a1, [out];\nld.param.u32 %r0, [rounds];\n"
    "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\n"
    "mad.lo.s32 %r4, %r2, %r3, %r1;\nmul.wide.s32 %a2, %r4, 4;\nadd.s64 %a3, %a0, %a2;\n"
    "add.s64 %a4, %a1, %a2;\nshl.b32 %r5, %r1, 2;\nmov.u32 %r6, bins;\nadd.s32 %r7, %r6, %r5;\n"
    "mov.u32 %r8, 0;\nst.shared.u32 [%r7], %r8;\nbar.sync 0;\nmov.f32 %f0, 0f3F800000;\n"
    "again:\nld.global.f32 %f1, [%a3];\nfma.rn.f32 %f2, %f0, %f1, %f1;\n"
    "mov.b32 %r9, %f2;\nand.b32 %r10, %r9, 1020;\nadd.s32 %r11, %r6, %r10;\n"
    "atom.shared.add.u32 %r12, [%r11], 3;\n"
    "shfl.sync.bfly.b32 %r13|%p1, %r9, 5, 31, -1;\nmov.b32 %f3, %r13;\n"
    "add.f32 %f0, %f2, %f3;\nadd.s32 %r8, %r8, 1;\nsetp.lt.s32 %p0, %r8, %r0;\n@%p0 bra again;\n"
    "bar.sync 0;\nld.shared.u32 %r14, [%r7];\nmov.b32 %r15, %f0;\nxor.b32 %r14, %r14, %r15;\n"
    "st.global.u32 [%a4], %r14;\nret;\n}\n";

/* Past `limit` words from the start, the store is of memory that is not there. */
static const char walking[] =
    HEADER ".visible .entry walk(.param .u64 to)\n{\n.reg .b32 %r<4>;\n.reg .b64 %a<4>;\n"
           "ld.param.u64 %a0, [to];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %a1, %r0, 4;\n"
           "add.u64 %a2, %a0, %a1;\nmov.u32 %r1, 7;\n"
           "again:\nst.global.u32 [%a2], %r1;\nadd.u64 %a2, %a2, 4096;\nbra again;\n}\n";

#define THREADS 256u
#define BLOCKS  8u
#define WORDS   ((size_t)THREADS * BLOCKS)

struct outcome {
    uint32_t words[WORDS];
    bool compiled;
    struct vgpu_fault fault;
};

static bool is_compiled(const struct rig *rig, const char *kernel)
{
    uint32_t shape[3] = {THREADS, 1, 1};
    const struct vgpu_unit *unit;

    assert_int_equal(vgpu_program_prepare(rig->program,
                                          (uint32_t)vgpu_program_find_kernel(rig->program, kernel),
                                          &unit, NULL),
                     0);
    return vgpu_jit_find(unit->jit, shape, 0) != NULL;
}

static void mix(struct outcome *o, uint32_t rounds)
{
    struct {
        uint64_t in, out;
        uint32_t rounds;
    } parameters = {.rounds = rounds};
    struct rig rig;
    uint32_t *in;

    rig_load(&rig, text);
    in = rig_allocate(&rig, sizeof(o->words));
    parameters.in = (uintptr_t)in;
    parameters.out = (uintptr_t)rig_allocate(&rig, sizeof(o->words));
    /* All kinds of numbers, and what is none. */
    for (size_t i = 0; i < WORDS; i++)
        in[i] = (uint32_t)(i * 2654435761u) ^ (i % 7 == 0 ? 0x7f800000u : 0);
    rig_run(&rig, "mix", (struct geometry){BLOCKS, THREADS, 0}, &parameters);
    memcpy(o->words, (const void *)(uintptr_t)parameters.out, sizeof(o->words));
    o->compiled = is_compiled(&rig, "mix");
    rig_drop(&rig);
}

static void walk(struct outcome *o)
{
    struct rig rig;
    uint64_t to;

    rig_load(&rig, walking);
    to = (uintptr_t)rig_allocate(&rig, 64u << 10);
    assert_true(rig_launch(&rig, "walk", (struct geometry){1, THREADS, 0}, &to, &o->fault) != 0);
    o->fault.address -= to;
    o->compiled = is_compiled(&rig, "walk");
    rig_drop(&rig);
}

/* In a process with these settings: the outcome of mix() with `rounds`, or of walk() with none. */
static void run_with(const char *setting, const char *library, uint32_t rounds, struct outcome *o)
{
    int ends[2], status;
    size_t got = 0;
    ssize_t n;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("VGPU_SOFT_JIT", setting, 1);
        if (library != NULL)
            setenv("VGPU_SOFT_LLVM", library, 1);
        memset(o, 0, sizeof(*o));
        if (rounds > 0)
            mix(o, rounds);
        else
            walk(o);
        while (got < sizeof(*o) &&
               (n = write(ends[1], (const char *)o + got, sizeof(*o) - got)) > 0)
            got += (size_t)n;
        _exit(got == sizeof(*o) ? 0 : 1);
    }
    close(ends[1]);
    while (got < sizeof(*o) && (n = read(ends[0], (char *)o + got, sizeof(*o) - got)) > 0)
        got += (size_t)n;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(got, sizeof(*o));
}

static void test_same_results(void **state)
{
    static struct outcome interpreted, compiled;

    (void)state;
    run_with("0", NULL, 20, &interpreted);
    run_with("always", NULL, 20, &compiled);
    assert_false(interpreted.compiled);
    assert_true(compiled.compiled);
    assert_memory_equal(interpreted.words, compiled.words, sizeof(compiled.words));
}

static void test_short_programs_pay_nothing(void **state)
{
    static struct outcome o;

    (void)state;
    run_with("1", NULL, 1, &o);
    assert_false(o.compiled);
}

static void test_hot_kernels(void **state)
{
    static struct outcome o;

    (void)state;
    /* Seconds of the interpreter, if it were left to it. */
    run_with("1", NULL, 200000, &o);
    assert_true(o.compiled);
}

static void test_without_the_library(void **state)
{
    static struct outcome interpreted, without;

    (void)state;
    run_with("0", NULL, 20, &interpreted);
    run_with("always", "/nonexistent/libLLVM.so", 20, &without);
    assert_false(without.compiled);
    assert_memory_equal(interpreted.words, without.words, sizeof(without.words));
}

static void test_faults_are_the_same(void **state)
{
    static struct outcome interpreted, compiled;

    (void)state;
    run_with("0", NULL, 0, &interpreted);
    run_with("always", NULL, 0, &compiled);
    assert_true(compiled.compiled);
    assert_int_equal(compiled.fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    assert_int_equal(compiled.fault.address, interpreted.fault.address);
    assert_int_equal(compiled.fault.access_bytes, interpreted.fault.access_bytes);
    assert_int_equal(compiled.fault.line, interpreted.fault.line);
    assert_memory_equal(compiled.fault.thread, interpreted.fault.thread,
                        sizeof(compiled.fault.thread));
}

/* Asked in a process of its own: the tests begin with nothing loaded. */
static bool has_library(void)
{
    pid_t child = fork();
    int status = 1;

    if (child == 0)
        _exit(jit_llvm_load() ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_without_the_library),
        cmocka_unit_test(test_short_programs_pay_nothing),
        cmocka_unit_test(test_same_results),
        cmocka_unit_test(test_hot_kernels),
        cmocka_unit_test(test_faults_are_the_same),
    };

    if (!has_library()) {
        fprintf(stderr, "LLVM is not installed: nothing is compiled here\n");
        return 77;
    }
    return cmocka_run_group_tests(all, NULL, NULL);
}
