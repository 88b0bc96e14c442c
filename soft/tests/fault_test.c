/* SPDX-License-Identifier: MIT */
/* What a kernel does wrong ends the kernel, with a report that says what and where. */
#include "soft/simt/tensor_map.h"
#include "soft/tests/harness.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static void expect(struct rig *rig, const char *kernel, struct geometry g, const void *parameters,
                   enum vgpu_fault_kind kind, struct vgpu_fault *fault)
{
    assert_int_equal(rig_launch(rig, kernel, g, parameters, fault), -EFAULT);
    if (fault->kind != kind)
        fail_msg("%s", fault->text);
    assert_non_null(strstr(fault->text, kernel));
}

static void said(const struct vgpu_fault *fault, const char *what)
{
    if (strstr(fault->text, what) == NULL)
        fail_msg("'%s' is not in: %s", what, fault->text);
}

static void illegal_addresses(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    struct {
        int *to;
        int index;
    } p = {NULL, 1};
    uint64_t gone;

    (void)state;
    rig_load_file(&rig, "output.ptx");
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    assert_int_equal(fault.address, 0);
    assert_int_equal(fault.access_bytes, 4);
    /* The first lanes are inside, a later one is far out. */
    p.to = rig_allocate(&rig, 64);
    p.index = 1 << 20;
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    assert_int_equal(fault.thread[0], 1);
    assert_int_equal(fault.address, (uint64_t)(uintptr_t)p.to + ((uint64_t)1 << 22));
    assert_true(fault.line > 0);
    /* Wild pointers: not canonical, of this process, of the windows, freed. */
    p.index = 1;
    p.to = (int *)(uintptr_t)UINT64_C(0xffff800000000000);
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    p.to = &p.index;
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    p.to = (int *)(uintptr_t)(UINT64_MAX & ~UINT64_C(3));
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    assert_int_equal(vgpu_memory_allocate(rig.memory, 1 << 20, &gone), 0);
    assert_int_equal(vgpu_memory_free(rig.memory, gone), 0);
    p.to = (int *)(uintptr_t)gone;
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    rig_drop(&rig);
}

static void shared_memory_has_an_end(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    struct {
        int *out;
        int index;
    } p = {NULL, 31};

    (void)state;
    rig_load_file(&rig, "output.ptx");
    p.out = rig_allocate(&rig, 32 * sizeof(int));
    rig_run(&rig, "beyond_shared", (struct geometry){1, 32, 0}, &p);
    assert_int_equal(p.out[5], 31);
    p.index = 32;
    expect(&rig, "beyond_shared", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS,
           &fault);
    p.index = -1;
    expect(&rig, "beyond_shared", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS,
           &fault);
    rig_drop(&rig);
}

static void misaligned_addresses(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    char *to;

    (void)state;
    rig_load_file(&rig, "output.ptx");
    to = rig_allocate(&rig, 256);
    expect(&rig, "misaligned", (struct geometry){1, 8, 0}, &to, VGPU_FAULT_MISALIGNED_ADDRESS,
           &fault);
    assert_int_equal(fault.thread[0], 1);
    assert_int_equal(fault.address, (uint64_t)(uintptr_t)to + 1);
    rig_drop(&rig);
}

static void traps_and_assertions(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    int *in;

    (void)state;
    rig_load_file(&rig, "output.ptx");
    in = rig_allocate(&rig, 64 * sizeof(*in));
    rig_run(&rig, "check", (struct geometry){1, 64, 0}, &in);
    rig_run(&rig, "stop", (struct geometry){1, 64, 0}, &in);
    in[37] = 13;
    expect(&rig, "stop", (struct geometry){1, 64, 0}, &in, VGPU_FAULT_TRAP, &fault);
    assert_int_equal(fault.thread[0], 37);
    expect(&rig, "check", (struct geometry){1, 64, 0}, &in, VGPU_FAULT_ASSERT, &fault);
    assert_int_equal(fault.thread[0], 37);
    assert_non_null(
        strstr(rig.output, "thread: [37,0,0] Assertion `in[threadIdx.x] != 13` failed."));
    rig_drop(&rig);
}

/* There are no multicast objects: kernels that use them are loaded, and no address is good. */
static void multicast_addresses_are_none(void **state)
{
    static const char text[] =
        HEADER ".visible .entry k(.param .u64 p)\n{\n.reg .b64 a;\n.reg .b32 r;\n"
               "ld.param.u64 a, [p];\nmultimem.ld_reduce.relaxed.gpu.global.add.u32 r, [a];\n"
               "st.global.u32 [a], r;\nret;\n}\n";
    struct rig rig;
    struct vgpu_fault fault;
    void *to;

    (void)state;
    rig_load(&rig, text);
    to = rig_allocate(&rig, 256);
    expect(&rig, "k", (struct geometry){1, 32, 0}, &to, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    assert_int_equal(fault.address, (uint64_t)(uintptr_t)to);
    rig_drop(&rig);
}

static void recursion_has_an_end(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    int *out;

    (void)state;
    rig_load_file(&rig, "flow.ptx");
    out = rig_allocate(&rig, 32 * sizeof(*out));
    expect(&rig, "endless_recursion", (struct geometry){1, 32, 0}, &out, VGPU_FAULT_STACK, &fault);
    rig_drop(&rig);
}

static void *cancel_later(void *context)
{
    struct rig *rig = context;

    usleep(50000);
    rig->cancel = 1;
    return NULL;
}

static void endless_loops_can_be_cancelled(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    pthread_t thread;
    int *flag;

    (void)state;
    rig_load_file(&rig, "flow.ptx");
    flag = rig_allocate(&rig, sizeof(*flag));
    pthread_create(&thread, NULL, cancel_later, &rig);
    assert_int_equal(rig_launch(&rig, "endless_loop", (struct geometry){8, 64, 0}, &flag, &fault),
                     -EFAULT);
    pthread_join(thread, NULL);
    assert_int_equal(fault.kind, VGPU_FAULT_CANCELLED);
    /* The engine is as good as new. */
    rig.cancel = 0;
    *flag = 1;
    rig_run(&rig, "endless_loop", (struct geometry){8, 64, 0}, &flag);
    rig_drop(&rig);
}

/* A loop that never has its whole turn, because it waits in between. */
static void endless_waiting_can_be_cancelled(void **state)
{
    static const char text[] =
        HEADER ".visible .entry wait()\n{\nagain: bar.sync 0;\nbra again;\n}\n";
    struct rig rig;
    struct vgpu_fault fault;
    pthread_t thread;

    (void)state;
    rig_load(&rig, text);
    pthread_create(&thread, NULL, cancel_later, &rig);
    assert_int_equal(rig_launch(&rig, "wait", (struct geometry){3, 64, 0}, NULL, &fault), -EFAULT);
    pthread_join(thread, NULL);
    assert_int_equal(fault.kind, VGPU_FAULT_CANCELLED);
    rig_drop(&rig);
}

static void deadlocks_are_found(void **state)
{
    static const char text[] =
        HEADER ".visible .entry lonely_barrier()\n"
               "{\n.reg .pred p;\n.reg .u32 t;\nmov.u32 t, %tid.x;\nsetp.lt.u32 p, t, 32;\n"
               "@p bar.sync 1, 64;\nbar.sync 2, 64;\nret;\n}\n"
               ".visible .entry gone()\n"
               "{\n.reg .pred p;\n.reg .u32 t;\nmov.u32 t, %tid.x;\nsetp.ge.u32 p, t, 32;\n"
               "@p exit;\nbar.sync 3, 96;\nret;\n}\n"
               ".visible .entry lonely_shuffle()\n"
               "{\n.reg .pred p;\n.reg .u32 t;\nmov.u32 t, %tid.x;\nsetp.lt.u32 p, t, 16;\n"
               "@p bra other;\nshfl.sync.idx.b32 t, t, 0, 31, -1;\nret;\n"
               "other: bar.warp.sync -1;\nret;\n}\n";
    struct rig rig;
    struct vgpu_fault fault;

    (void)state;
    rig_load(&rig, text);
    expect(&rig, "lonely_barrier", (struct geometry){1, 64, 0}, NULL, VGPU_FAULT_DEADLOCK, &fault);
    said(&fault, "of 64 threads, 32 wait at barrier 1 that 32 of 64 have reached, 32 wait at "
                 "barrier 2 that 32 of 64 have reached");
    said(&fault, "@p bar.sync 1, 64;");
    expect(&rig, "gone", (struct geometry){1, 96, 0}, NULL, VGPU_FAULT_DEADLOCK, &fault);
    said(&fault, "of 96 threads, 32 wait at barrier 3 that 32 of 96 have reached, 64 have exited");
    expect(&rig, "lonely_shuffle", (struct geometry){1, 32, 0}, NULL, VGPU_FAULT_DEADLOCK, &fault);
    said(&fault, "of 32 threads, 32 wait for other lanes of their warps");
    rig_drop(&rig);
}

/* The barrier of a grid as the library of device code makes it: of a word that all blocks add to,
   the first one so much that its highest bit changes with the last. */
#define GRID_BARRIER                                                                               \
    ".reg .b64 %w<5>;\n.reg .b32 %b<9>;\n.reg .pred %q<4>;\nbar.sync 0;\n"                         \
    "mov.u32 %b1, %envreg1;\nmov.u32 %b2, %envreg2;\ncvt.u64.u32 %w1, %b1;\nshl.b64 %w1, %w1, "    \
    "32;\n"                                                                                        \
    "cvt.u64.u32 %w2, %b2;\nor.b64 %w1, %w1, %w2;\nadd.u64 %w1, %w1, 4;\n"                         \
    "mov.u32 %b3, %tid.x;\nsetp.ne.u32 %q1, %b3, 0;\n@%q1 bra others;\n"                           \
    "mov.u32 %b4, %ctaid.x;\nsetp.eq.u32 %q2, %b4, 0;\nmov.u32 %b5, %nctaid.x;\n"                  \
    "sub.u32 %b5, 0x80000001, %b5;\nselp.u32 %b5, %b5, 1, %q2;\n"                                  \
    "atom.add.release.gpu.u32 %b6, [%w1], %b5;\n"                                                  \
    "again:\nld.acquire.gpu.u32 %b7, [%w1];\nxor.b32 %b8, %b7, %b6;\n"                             \
    "setp.ge.s32 %q3, %b8, 0;\n@%q3 bra again;\nothers:\nbar.sync 0;\n"

static void deadlocks_of_a_grid_are_found(void **state)
{
    static const char text[] =
        HEADER ".visible .entry meet(.param .u32 without)\n{\n.reg .b32 %r<3>;\n.reg .pred %p;\n"
               "ld.param.u32 %r1, [without];\nmov.u32 %r2, %ctaid.x;\n"
               "setp.eq.u32 %p, %r1, %r2;\n@%p exit;\n" GRID_BARRIER "ret;\n}\n";
    uint32_t nobody = 99, without;
    struct vgpu_fault fault;
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    rig.cooperative = true;
    for (int n = 0; n < 20; n++)
        rig_run(&rig, "meet", (struct geometry){12, 64, 0}, &nobody);
    for (without = 0; without < 5; without++) {
        expect(&rig, "meet", (struct geometry){5, 64, 0}, &without, VGPU_FAULT_DEADLOCK, &fault);
        said(&fault, "blocks wait at the grid's barrier for 1 that have ended without it");
    }
    rig_drop(&rig);
}

/* Checked to the byte: reads and writes of each size, at the edges of what there is. */
static void exact_checks_see_every_byte(void **state)
{
    static const char text[] =
        HEADER ".visible .entry bytes(.param .u64 at)\n"
               "{\n.reg .b64 a;\n.reg .b32 t;\n.reg .b64 l;\nld.param.u64 a, [at];\n"
               "mov.u32 t, %tid.x;\ncvt.u64.u32 l, t;\nadd.u64 a, a, l;\nst.u8 [a], 1;\nret;\n}\n"
               ".visible .entry words(.param .u64 at)\n"
               "{\n.reg .b64 a;\n.reg .b32 t;\n.reg .b64 l;\nld.param.u64 a, [at];\n"
               "mov.u32 t, %tid.x;\nmul.wide.u32 l, t, 4;\nadd.u64 a, a, l;\n"
               "ld.global.u32 t, [a];\nred.global.add.u32 [a], t;\nret;\n}\n";
    struct rig rig;
    struct vgpu_fault fault;
    char *first, *second, what[64];
    uint64_t at;

    (void)state;
    rig_load(&rig, text);
    first = rig_allocate(&rig, 100);
    /* By pages there is no difference. */
    rig_run(&rig, "bytes", (struct geometry){1, 101, 0}, &first);
    assert_int_equal(vgpu_memory_be_exact(rig.memory), 0);
    rig_run(&rig, "bytes", (struct geometry){1, 100, 0}, &first);
    rig_run(&rig, "words", (struct geometry){1, 25, 0}, &first);
    expect(&rig, "bytes", (struct geometry){1, 101, 0}, &first, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    assert_int_equal(fault.thread[0], 100);
    assert_int_equal(fault.address, (uint64_t)(uintptr_t)first + 100);
    snprintf(what, sizeof(what), "(1 bytes; 0 behind the end of 100 bytes at %p)", (void *)first);
    said(&fault, what);
    said(&fault, ": st.u8 [a], 1;");
    expect(&rig, "words", (struct geometry){2, 32, 0}, &first, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    assert_int_equal(fault.thread[0], 25);
    said(&fault, ": ld.global.u32 t, [a];");
    /* What follows directly is not reached by going on too far. */
    first = rig_allocate(&rig, 512);
    second = rig_allocate(&rig, 512);
    rig_run(&rig, "words", (struct geometry){1, 128, 0}, &first);
    rig_run(&rig, "words", (struct geometry){1, 128, 0}, &second);
    expect(&rig, "words", (struct geometry){1, 129, 0}, &first, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    at = (uint64_t)(uintptr_t)second - 4;
    expect(&rig, "words", (struct geometry){1, 32, 0}, &at, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    snprintf(what, sizeof(what), "4 before 512 bytes at %p", (void *)second);
    said(&fault, what);
    rig_drop(&rig);
}

static void exact_checks_see_what_was_freed(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    struct {
        int *to;
        int index;
    } p = {NULL, 1};
    size_t before, after, total;
    char what[64];
    int *other;

    (void)state;
    rig_load_file(&rig, "output.ptx");
    assert_int_equal(vgpu_memory_be_exact(rig.memory), 0);
    vgpu_memory_info(rig.memory, &before, &total);
    p.to = rig_allocate(&rig, 1 << 20);
    rig_run(&rig, "store", (struct geometry){1, 32, 0}, &p);
    assert_int_equal(vgpu_memory_free(rig.memory, (uint64_t)(uintptr_t)p.to), 0);
    assert_int_equal(vgpu_memory_free(rig.memory, (uint64_t)(uintptr_t)p.to), -EINVAL);
    /* Nobody else gets it at once. */
    other = rig_allocate(&rig, 1 << 20);
    assert_ptr_not_equal(other, p.to);
    expect(&rig, "store", (struct geometry){1, 32, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    snprintf(what, sizeof(what), "in freed 1048576 bytes at %p", (void *)p.to);
    said(&fault, what);
    assert_int_equal(vgpu_memory_free(rig.memory, (uint64_t)(uintptr_t)other), 0);
    vgpu_memory_info(rig.memory, &after, &total);
    assert_int_equal(after, before);
    /* Until there is no other room. */
    for (int n = 0; n < 64; n++) {
        p.to = rig_allocate(&rig, total / 4 * 3);
        assert_int_equal(vgpu_memory_free(rig.memory, (uint64_t)(uintptr_t)p.to), 0);
    }
    rig_drop(&rig);
}

static void wrong_calls_are_found(void **state)
{
    static const char text[] =
        HEADER ".func (.param .b32 r) one(.param .b32 a)\n{\nret;\n}\n"
               ".visible .entry k(.param .u64 f)\n"
               "{\n.reg .b64 f1;\n.param .b64 x;\n.param .b32 y;\nld.param.u64 f1, [f];\n"
               "st.param.b64 [x], f1;\n"
               "shape: .callprototype (.param .b32 _) _ (.param .b64 _);\n"
               "call (y), f1, (x), shape;\nret;\n}\n"
               ".visible .entry address(.param .u64 to)\n"
               "{\n.reg .b64 a, b;\nld.param.u64 a, [to];\nmov.u64 b, one;\nst.global.u64 [a], "
               "b;\nret;\n}\n";
    struct rig rig;
    struct vgpu_fault fault;
    uint64_t target = 0x1234, *to;

    (void)state;
    rig_load(&rig, text);
    expect(&rig, "k", (struct geometry){1, 32, 0}, &target, VGPU_FAULT_ILLEGAL_INSTRUCTION, &fault);
    /* A real function, but with other parameters than the caller thinks. */
    to = rig_allocate(&rig, sizeof(*to));
    rig_run(&rig, "address", (struct geometry){1, 1, 0}, &to);
    expect(&rig, "k", (struct geometry){1, 32, 0}, to, VGPU_FAULT_ILLEGAL_INSTRUCTION, &fault);
    rig_drop(&rig);
}

static const char boxes[] =
    ".version 8.6\n.target sm_90\n.address_size 64\n"
    ".visible .entry boxes(.param .align 64 .b8 map[128], .param .s32 x)\n{\n"
    ".reg .b32 %r<4>;\n.reg .b64 %d<3>;\n.shared .align 128 .b8 box[4096];\n"
    "mov.u32 %r1, box;\nmov.b64 %d1, map;\ncvta.param.u64 %d2, %d1;\nld.param.s32 %r2, [x];\n"
    "cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%d2, {%r2}], [%r1];\nret;\n}\n"
    ".visible .entry planes(.param .align 64 .b8 map[128])\n{\n"
    ".reg .b32 %r<2>;\n.reg .b64 %d<3>;\n.shared .align 128 .b8 box[4096];\n"
    "mov.u32 %r1, box;\nmov.b64 %d1, map;\ncvta.param.u64 %d2, %d1;\n"
    "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%d2, {0, 0}], [%r1];\nret;\n}\n";

static void boxes_begin_at_pieces_of_16_bytes(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    struct {
        struct vgpu_tensor_map map;
        uint8_t rest[VGPU_TENSOR_MAP_BYTES - sizeof(struct vgpu_tensor_map)];
        int x;
    } p = {.map = {.magic = VGPU_TENSOR_MAP_MAGIC,
                   .rank = 1,
                   .element = 4,
                   .type = VGPU_TENSOR_PLAIN,
                   .last = {63},
                   .box = {4},
                   .step = {1}}};

    (void)state;
    rig_load(&rig, boxes);
    p.map.address = (uintptr_t)rig_allocate(&rig, 256);
    for (p.x = 0; p.x < 100; p.x += 4) /* the tensor has 64 */
        rig_run(&rig, "boxes", (struct geometry){1, 1, 0}, &p);
    for (p.x = 1; p.x < 100; p.x += 33) {
        expect(&rig, "boxes", (struct geometry){1, 1, 0}, &p, VGPU_FAULT_ILLEGAL_INSTRUCTION,
               &fault);
        said(&fault, "is no multiple of 16 bytes (4 elements)");
        said(&fault, "line 13: cp.async.bulk.tensor.1d.global");
    }
    p.x = -4;
    expect(&rig, "boxes", (struct geometry){1, 1, 0}, &p, VGPU_FAULT_ILLEGAL_INSTRUCTION, &fault);
    said(&fault, "a store has a negative coordinate, -4 (dimension 0)");
    rig_drop(&rig);
}

/* Rows that are shorter than what 16 bytes are exchanged within take as much shared memory as it.
 */
static void rows_of_boxes_take_their_span(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    union {
        struct vgpu_tensor_map map;
        uint8_t bytes[VGPU_TENSOR_MAP_BYTES];
    } p = {.map = {.magic = VGPU_TENSOR_MAP_MAGIC,
                   .rank = 2,
                   .element = 4,
                   .type = VGPU_TENSOR_PLAIN,
                   .swizzle = VGPU_SWIZZLE_128,
                   .stride = {16},
                   .last = {3, 63},
                   .box = {4, 32},
                   .step = {1, 1}}};

    (void)state;
    rig_load(&rig, boxes);
    p.map.address = (uintptr_t)rig_allocate(&rig, 1024);
    rig_run(&rig, "planes", (struct geometry){1, 1, 0}, &p);
    p.map.box[1] = 33;
    expect(&rig, "planes", (struct geometry){1, 1, 0}, &p, VGPU_FAULT_ILLEGAL_ADDRESS, &fault);
    p.map.box[1] = 32;
    p.map.box[0] = 36; /* which the driver would not have made */
    expect(&rig, "planes", (struct geometry){1, 1, 0}, &p, VGPU_FAULT_ILLEGAL_INSTRUCTION, &fault);
    rig_drop(&rig);
}

static void geometry_is_checked(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    int *flag;

    (void)state;
    rig_load_file(&rig, "flow.ptx");
    flag = rig_allocate(&rig, sizeof(*flag));
    assert_int_equal(rig_launch(&rig, "endless_loop", (struct geometry){0, 1, 0}, &flag, &fault),
                     -EINVAL);
    assert_int_equal(rig_launch(&rig, "endless_loop", (struct geometry){1, 1025, 0}, &flag, &fault),
                     -EINVAL);
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(illegal_addresses),
        cmocka_unit_test(shared_memory_has_an_end),
        cmocka_unit_test(misaligned_addresses),
        cmocka_unit_test(traps_and_assertions),
        cmocka_unit_test(multicast_addresses_are_none),
        cmocka_unit_test(recursion_has_an_end),
        cmocka_unit_test(endless_loops_can_be_cancelled),
        cmocka_unit_test(endless_waiting_can_be_cancelled),
        cmocka_unit_test(deadlocks_are_found),
        cmocka_unit_test(deadlocks_of_a_grid_are_found),
        cmocka_unit_test(exact_checks_see_every_byte),
        cmocka_unit_test(exact_checks_see_what_was_freed),
        cmocka_unit_test(wrong_calls_are_found),
        cmocka_unit_test(boxes_begin_at_pieces_of_16_bytes),
        cmocka_unit_test(rows_of_boxes_take_their_span),
        cmocka_unit_test(geometry_is_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
