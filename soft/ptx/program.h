/* SPDX-License-Identifier: MIT */
/**
 * Decoded PTX: what the front end (soft/ptx) makes and the interpreter (soft/simt) runs.
 *
 * Reading a text finds its variables, functions and kernels (struct vgpu_program). The bodies are
 * decoded when a kernel is first used: each kernel is a unit of its own (struct vgpu_unit), with
 * the functions that it reaches, so that what cannot be decoded is lost to those who use it only.
 *
 * A register is a row of 32 lanes. Rows live in a frame, one frame per call depth and warp; rows of
 * one width are together, so that lanes of one warp that are in different functions at the same
 * depth never share bytes. An operand is the byte offset of its row; offsets are even, and bit 0
 * says that the row is in the image's constant rows instead of the frame.
 */
#ifndef VGPU_SOFT_PROGRAM_H
#define VGPU_SOFT_PROGRAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VGPU_LANES     32
#define VGPU_ALL_LANES UINT32_MAX

struct vgpu_warp;
struct vgpu_inst;
struct vgpu_jit;

/**
 * Runs one instruction for the lanes in `mask`; negative when a fault is noted in the warp. A
 * handler for several instructions returns how many behind this one are done, too.
 */
typedef int (*vgpu_handler)(struct vgpu_warp *warp, const struct vgpu_inst *inst, uint32_t mask);

enum vgpu_row_class {
    VGPU_ROW_PREDICATE, /* one 32-bit mask */
    VGPU_ROW_16,
    VGPU_ROW_32,
    VGPU_ROW_64,
    VGPU_ROW_128,
    VGPU_ROW_CLASSES,
    VGPU_ROW_STACK = VGPU_ROW_CLASSES, /* frame header: start of the lane's local frame, 32 bits */
};

/* In front of every row of 32-bit and 64-bit lanes is room for its shape (soft/simt/shape.h). */
#define VGPU_SHAPE_BYTES 64u

/* The head of every frame: per lane where to return to, where the local frame starts, and how much
   alloca has added to it. */
#define VGPU_FRAME_RETURN 0u
#define VGPU_FRAME_STACK  128u
#define VGPU_FRAME_ADDED  256u
#define VGPU_FRAME_HEADER 384u

enum vgpu_operand { VGPU_D, VGPU_A, VGPU_B, VGPU_C, VGPU_E, VGPU_F, VGPU_OPERANDS };

/** What the scheduler itself does; everything else is a handler. */
enum vgpu_control {
    VGPU_CONTROL_NONE,
    VGPU_CONTROL_BRANCH,       /* imm: target */
    VGPU_CONTROL_BRANCH_TABLE, /* A: index row; imm: count << 32, first in unit.targets */
    VGPU_CONTROL_CALL,         /* imm: index in unit.calls; A: address row if indirect */
    VGPU_CONTROL_RETURN,
    VGPU_CONTROL_EXIT,
    VGPU_CONTROL_TRAP,
    VGPU_CONTROL_BARRIER,    /* A: id row, B: thread count row or 0; x: enum vgpu_barrier_kind */
    VGPU_CONTROL_WARP_SYNC,  /* F: member mask row */
    VGPU_CONTROL_COLLECTIVE, /* handler that needs all lanes of the member mask row F */
    VGPU_CONTROL_SLEEP,
    VGPU_CONTROL_CLUSTER_ARRIVE,
    VGPU_CONTROL_CLUSTER_WAIT,
    VGPU_CONTROL_STACK, /* x: enum vgpu_stack_operation */
};

/* Of what alloca may be asked for. */
#define VGPU_MAX_STACK_ALIGN 4096u

/* imm: index in unit.calls, for the size of the local frame; z: lanes have 32 bits. */
enum vgpu_stack_operation {
    VGPU_STACK_ALLOCATE, /* D: address row, A: size row; y: logarithm of the alignment */
    VGPU_STACK_SAVE,     /* D: state row */
    VGPU_STACK_RESTORE,  /* A: state row */
};

enum vgpu_barrier_kind {
    VGPU_BARRIER_SYNC,
    VGPU_BARRIER_ARRIVE,
    VGPU_BARRIER_POPC, /* D: result row, C: predicate row, y: predicate is negated */
    VGPU_BARRIER_AND,
    VGPU_BARRIER_OR,
};

/* An instruction with many operands has their rows in unit.lists, from row[VGPU_LIST] on. */
#define VGPU_LIST VGPU_E

struct vgpu_inst {
    vgpu_handler run;
    vgpu_handler plain; /* what `run` leaves to another handler, once all sources have lanes */
    uint32_t guard;     /* predicate row, bit 0: negated; 0: no guard */
    uint32_t row[VGPU_OPERANDS];
    uint32_t line;
    int64_t imm;
    uint8_t control;     /* enum vgpu_control */
    uint8_t x, y, z;     /* meaning is the handler's: rounding, flags, space, count */
    uint8_t shaped;      /* bit per operand: a source whose row has a shape */
    uint8_t bytes;       /* what a lane reads or writes in global memory, for profiles */
    uint16_t run_length; /* from here on, so many have neither guard nor control */
};

/**
 * Which operands of an instruction are rows, and of which class: interpreting needs only the
 * offsets, compiling (soft/jit) the rest.
 */
struct vgpu_operands {
    uint8_t rows;                 /* bit per operand */
    uint8_t defs;                 /* those that are written */
    uint8_t list;                 /* how many there are in unit.lists, read and written */
    uint8_t width[VGPU_OPERANDS]; /* enum vgpu_row_class */
};

/* Operands of texture and surface instructions that are handed over by instructions before. */
enum vgpu_texture_argument {
    VGPU_ARGUMENT_LAYER,
    VGPU_ARGUMENT_X, /* to Z */
    VGPU_ARGUMENT_LEVEL = VGPU_ARGUMENT_X + 3,
    VGPU_ARGUMENT_DX,                            /* three */
    VGPU_ARGUMENT_DY = VGPU_ARGUMENT_DX + 3,     /* three */
    VGPU_ARGUMENT_OFFSET = VGPU_ARGUMENT_DY + 3, /* three */
    VGPU_ARGUMENTS = VGPU_ARGUMENT_OFFSET + 3,
};

/* y of texture handlers: which arguments there are, and what coordinates are. */
#define VGPU_TEXTURE_INTEGERS 1u
#define VGPU_TEXTURE_OFFSETS  2u
#define VGPU_TEXTURE_HALVES   4u

/* y of sured. */
#define VGPU_SURFACE_SIGNED    1u
#define VGPU_SURFACE_FORMATTED 2u /* signed or not as the surface's elements are */

/* What a query asks for. */
enum vgpu_texture_query {
    VGPU_QUERY_WIDTH,
    VGPU_QUERY_HEIGHT,
    VGPU_QUERY_DEPTH,
    VGPU_QUERY_LAYERS,
    VGPU_QUERY_LEVELS,
    VGPU_QUERY_SAMPLES,
    VGPU_QUERY_NORMALIZED,
};

/* z of surface handlers: what an access beyond the surface does. */
enum vgpu_surface_bounds { VGPU_BOUNDS_TRAP, VGPU_BOUNDS_CLAMP, VGPU_BOUNDS_ZERO };

/* What reductions of whole ranges do, and to what. */
enum vgpu_reduction {
    VGPU_REDUCE_ADD,
    VGPU_REDUCE_MIN,
    VGPU_REDUCE_MAX,
    VGPU_REDUCE_INC,
    VGPU_REDUCE_DEC,
    VGPU_REDUCE_AND,
    VGPU_REDUCE_OR,
    VGPU_REDUCE_XOR,
};
enum vgpu_reduction_type {
    VGPU_REDUCE_U32, /* and bits */
    VGPU_REDUCE_S32,
    VGPU_REDUCE_U64,
    VGPU_REDUCE_S64,
    VGPU_REDUCE_F16,
    VGPU_REDUCE_BF16,
    VGPU_REDUCE_F32,
    VGPU_REDUCE_F64,
};

/* x of floating-point handlers: rounding. y: flags. */
enum vgpu_rounding { VGPU_RN, VGPU_RZ, VGPU_RM, VGPU_RP };
#define VGPU_FTZ    1u
#define VGPU_SAT    2u
#define VGPU_RELU   4u
#define VGPU_NAN    8u
#define VGPU_FINITE 16u /* the largest number instead of infinity */

enum vgpu_space {
    VGPU_SPACE_GLOBAL, /* and .const: both are plain addresses */
    VGPU_SPACE_GENERIC,
    VGPU_SPACE_SHARED,
    VGPU_SPACE_LOCAL,
    VGPU_SPACE_PARAM,
    VGPU_SPACE_CONST, /* of variables only */
};

/* z of memory instructions: bits of the address row and the order of the access. */
#define VGPU_ADDRESS_32 1u /* the address row has 32-bit lanes */
#define VGPU_ORDERED    2u /* volatile, relaxed, acquire, release: one lane, one access */

/* Generic addresses of what is not global memory: bases no user address of a process has. */
#define VGPU_WINDOW_SHARED   (UINT64_C(1) << 47)
#define VGPU_WINDOW_LOCAL    (VGPU_WINDOW_SHARED + (UINT64_C(1) << 32))
#define VGPU_WINDOW_PARAM    (VGPU_WINDOW_SHARED + (UINT64_C(2) << 32))
#define VGPU_WINDOW_FUNCTION (VGPU_WINDOW_SHARED + (UINT64_C(3) << 32))
#define VGPU_WINDOW_BYTES    (UINT64_C(1) << 32)
#define VGPU_FUNCTION_STRIDE 16u

/** A variable of module scope, or a .shared one of a function. */
/* Variables of opaque types hold a handle, and what belongs to the driver. */
enum vgpu_opaque { VGPU_OPAQUE_NOT, VGPU_OPAQUE_TEXTURE, VGPU_OPAQUE_SURFACE, VGPU_OPAQUE_SAMPLER };

struct vgpu_variable {
    char *name;
    uint8_t space;    /* VGPU_SPACE_GLOBAL, _SHARED or _CONST */
    bool dynamic;     /* .extern .shared: after the static shared variables of a launch */
    bool external;    /* declared here, defined nowhere */
    bool managed;     /* .attribute(.managed): the host uses it, too */
    uint8_t opaque;   /* enum vgpu_opaque */
    bool in_function; /* .shared and used by a .func: same offset in every kernel */
    bool placed;      /* has an offset */
    bool weak;        /* gives way to another definition */
    uint32_t align;
    uint64_t size;
    uint32_t offset; /* of .shared, in the block's shared memory */
    uint8_t *bytes;  /* initial value of the first `byte_count` bytes; the rest is zero */
    uint32_t byte_count;
};

/** Adds an address to an initial value. */
struct vgpu_relocation {
    uint32_t variable; /* in which */
    uint32_t offset;   /* where */
    uint8_t bytes;     /* how many are stored */
    uint8_t shift;     /* how far the address is shifted right before */
    bool is_function;  /* what `target` is an index of */
    uint32_t target;
    int64_t addend;
};

/** A row of the constant rows: `value`, plus the address of `variable` unless that is negative. */
struct vgpu_constant {
    uint64_t value;
    int32_t variable;
    uint8_t width; /* enum vgpu_row_class */
};

struct vgpu_formal {
    uint32_t offset; /* in the local frame of the callee, or the parameter block of a kernel */
    uint32_t size;
    uint32_t align;
    uint32_t variadic; /* an array without a size, the last one: calls give it up to `size` bytes */
};

enum vgpu_builtin {
    VGPU_BUILTIN_NONE,
    VGPU_BUILTIN_PRINTF,
    VGPU_BUILTIN_ASSERT,
    VGPU_BUILTIN_MALLOC,
    VGPU_BUILTIN_FREE,
    VGPU_BUILTIN_SET_CONDITION,
};

struct vgpu_function {
    char *name;
    bool entry;
    bool defined; /* it is in unit.code */
    uint8_t builtin;
    bool indirect_calls;
    bool allocates;        /* has alloca */
    uint32_t start, count; /* in unit.code */
    uint32_t rows[VGPU_ROW_CLASSES];
    uint32_t frame_bytes;
    uint32_t local_bytes;                /* of its own local frame */
    uint32_t stack_bytes;                /* of its frame and those of what it calls */
    uint32_t return_count, formal_count; /* formals: return values first */
    struct vgpu_formal *formals;
    uint32_t *parameter_offset, *parameter_size; /* the formals of an entry once more */
    uint32_t parameter_bytes;
    uint32_t shared_bytes;
    uint32_t dynamic_shared; /* where dynamic shared memory starts */
    uint32_t max_threads;
    uint32_t cluster[3]; /* blocks of a cluster, or 0 */
    uint32_t max_cluster;
    bool explicit_cluster;
};

struct vgpu_argument {
    uint32_t source; /* offset in the local frame of the caller */
    uint32_t target; /* offset in the local frame of the callee */
    uint32_t size;
};

struct vgpu_call {
    int32_t callee;        /* index in unit.functions, negative if indirect */
    uint32_t caller_bytes; /* of the caller's local frame, aligned */
    uint32_t return_count, argument_count;
    struct vgpu_argument *arguments; /* return values first */
};

/** A chain of products of words in shared memory: loads of two factors and a sum, several times. */
struct vgpu_products {
    uint32_t count;
    int64_t range[2][2]; /* least and greatest offset from each factor's address */
};

/**
 * One kernel and what it calls. Its functions and variables start with those of the module, under
 * the same indices: an address of a function is the same in every unit of a program.
 */
struct vgpu_unit {
    struct vgpu_inst *code;
    struct vgpu_operands *operands; /* parallel to code */
    struct vgpu_function *functions;
    struct vgpu_variable *variables;
    struct vgpu_relocation *relocations; /* in its own variables' initial values */
    struct vgpu_constant *constants;
    struct vgpu_call *calls;
    struct vgpu_products *products; /* the index is imm of the first sum */
    uint32_t *targets;              /* of branch tables */
    uint32_t *lists;                /* rows of instructions that have more than fit in them */
    uint32_t code_count, function_count, variable_count, relocation_count;
    uint32_t constant_count, call_count, target_count, list_count, product_count;
    uint32_t prologue_start, prologue_count; /* in code: what each frame of a launch starts with */
    uint32_t module_functions, module_variables; /* how many belong to the module */
    uint32_t constant_rows[VGPU_ROW_CLASSES];
    uint32_t call_frame_bytes; /* of every frame deeper than a kernel's */
    uint32_t stack_align;      /* of local frames */
    uint32_t kernel;           /* index in functions */
    bool allocates;            /* any of its functions does */
    bool reserved_shared;      /* the code uses the system's part of shared memory */
    struct vgpu_jit *jit;      /* the kernel as machine code, if it comes to that (soft/jit) */
};

struct vgpu_kernel {
    uint32_t function;              /* index in the module's functions */
    struct vgpu_unit *_Atomic unit; /* once it is decoded */
    int error;                      /* why it cannot be; under the lock */
    char *message;                  /* the same for people */
};

struct ptx_parser;

/** One text, or several that were linked. */
struct vgpu_program {
    struct vgpu_unit *module; /* functions without code, variables, relocations */
    struct vgpu_kernel *kernels;
    uint32_t kernel_count;
    uint32_t constant_bytes;
    uint32_t ptx_version, target; /* the highest of the texts */
    pthread_mutex_t lock;         /* of the parser and of what it makes */
    struct ptx_parser *parser;    /* knows the names of the module and where bodies are */
};

/** Where the lanes of row `index` of a class are in a frame or in the constant rows. */
uint64_t vgpu_row_offset(const uint32_t rows[VGPU_ROW_CLASSES], uint32_t width, uint32_t index,
                         uint32_t header);
/** Where the rows end, rounded up to a cache line. */
uint64_t vgpu_rows_end(const uint32_t rows[VGPU_ROW_CLASSES], uint32_t header);

/**
 * Copies the line of PTX that an instruction of a function of the module is on, as far as it fits
 * with a NUL, without what it is indented by. Returns its length; 0 if there is no such line.
 */
size_t vgpu_program_source(const struct vgpu_program *program, uint32_t function, uint32_t line,
                           char *out, size_t size);

#endif
