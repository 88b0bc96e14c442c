/* SPDX-License-Identifier: MIT */
/**
 * The state of the PTX front end. Internal to soft/ptx.
 *
 * A parser reads the module scope of one or more texts and notes where the bodies are; it lives as
 * long as the program and reads bodies when they are wanted, with the names of the module at hand.
 *
 * Errors stick: the first one is kept, the text is then at its end, and every function returns
 * something harmless, so that callers need not test after each step.
 */
#ifndef VGPU_SOFT_PTX_PARSER_H
#define VGPU_SOFT_PTX_PARSER_H

#include "soft/ptx/program.h"
#include "soft/ptx/text.h"

#define PTX_MAX_SCOPES   64
#define PTX_MAX_OPERANDS 10
#define PTX_MAX_VECTOR   8
#define PTX_MAX_PARTS    12

enum ptx_kind { PTX_UNTYPED, PTX_UNSIGNED, PTX_SIGNED, PTX_FLOATING, PTX_BRAIN, PTX_PRED };

/** A fundamental type: bits of one element, and how many are packed (f16x2). */
struct ptx_type {
    const char *name;
    uint8_t kind;
    uint8_t bits;
    uint8_t packed;
};

const struct ptx_type *ptx_type_named(struct ptx_slice name);
/** Row class of a register of that type. */
uint32_t ptx_type_width(const struct ptx_type *type);
static inline uint32_t ptx_type_bits(const struct ptx_type *type)
{
    return (uint32_t)type->bits * type->packed;
}

enum ptx_symbol_kind {
    PTX_SYMBOL_REGISTER,  /* ref */
    PTX_SYMBOL_FAMILY,    /* %r<10>: count; registers come into being when they are used */
    PTX_SYMBOL_PARAMETER, /* of a kernel: offset, size */
    PTX_SYMBOL_LOCAL,     /* in the local frame: offset, size */
    PTX_SYMBOL_VARIABLE,  /* index in unit.variables */
    PTX_SYMBOL_FUNCTION,  /* index in unit.functions */
    PTX_SYMBOL_PROTOTYPE, /* index in unit.functions (one without a body) */
    PTX_SYMBOL_LABEL,     /* index: address in code */
    PTX_SYMBOL_TARGETS,   /* index: first of count in unit.targets */
};

struct ptx_symbol {
    struct ptx_slice name;
    struct ptx_symbol *next_in_bucket, *next_in_scope;
    const struct ptx_type *type;
    uint32_t hash;
    uint32_t ref;
    uint32_t index;
    uint32_t count;
    uint32_t offset, size;
    uint32_t owner;    /* of module scope: the text that alone knows it, or 0 if it is linked */
    uint32_t declared; /* the text that declared it last */
    uint8_t kind, scope;
};

/* A register before frames are laid out: class and number; constants are marked. */
#define PTX_REF_CONSTANT      0x80000000u
#define PTX_REF(width, index) ((uint32_t)(width) << 27 | (index))
#define PTX_REF_WIDTH(ref)    ((ref) >> 27 & 15u)
#define PTX_REF_INDEX(ref)    ((ref)&0x07ffffffu)
#define PTX_REF_STACK         PTX_REF(VGPU_ROW_STACK, 0)

enum ptx_operand_kind {
    PTX_OPERAND_REGISTER,
    PTX_OPERAND_SPECIAL, /* special register: name */
    PTX_OPERAND_INTEGER,
    PTX_OPERAND_FLOAT,  /* bits of an f32 */
    PTX_OPERAND_DOUBLE, /* bits of an f64 */
    PTX_OPERAND_SYMBOL, /* a variable, parameter, function or label, or a name not yet known */
    PTX_OPERAND_ADDRESS,
    PTX_OPERAND_VECTOR,
    PTX_OPERAND_LIST, /* ( ... ) of a call */
    PTX_OPERAND_SINK, /* _ */
};

struct ptx_operand {
    uint8_t kind;
    bool negated;                /* !p */
    bool minus;                  /* -%r1, of vmad */
    const struct ptx_type *type; /* of a register */
    uint32_t ref;                /* of a register */
    uint32_t second;             /* q of p|q, or 0 */
    struct ptx_slice name;
    const struct ptx_symbol *symbol; /* of SYMBOL and ADDRESS, or NULL */
    uint64_t bits;                   /* value, or offset of an address */
    bool has_register;               /* of ADDRESS: ref and type are valid */
    /* Elements of a vector or list, or coordinates of an address, in ptx_statement.elements. */
    uint32_t first, count;
};

struct ptx_statement {
    struct ptx_slice opcode;
    struct ptx_slice parts[PTX_MAX_PARTS]; /* of the opcode after its first dot */
    uint32_t part_count;
    uint32_t used; /* bit per part that a decoder has understood */
    struct ptx_operand operands[PTX_MAX_OPERANDS];
    uint32_t operand_count;
    struct ptx_operand elements[64];
    uint32_t element_count;
    uint32_t guard; /* ref, or 0 */
    bool guard_negated;
    uint32_t line;
};

/** An instruction that is being built. */
struct ptx_build {
    struct vgpu_inst inst;
    vgpu_handler line, shaped; /* see struct ptx_info */
    uint8_t rows;              /* bit per operand that is a row */
    uint8_t defs;              /* those written */
    uint8_t list;              /* rows in unit.lists */
    bool varies, atomic;       /* see struct ptx_info */
};

struct ptx_info {
    vgpu_handler line;   /* the operation with a result that may be a line, or NULL */
    vgpu_handler shaped; /* the operation with sources that may be lines, or NULL */
    uint8_t rows, defs, list;
    bool varies; /* a special register that is not the same in all of a launch */
    bool atomic; /* y says whether D is written */
    bool once;   /* D is written here alone, and read in one place */
    bool target; /* branches lead here */
};

struct ptx_fixup {
    struct ptx_slice name;
    uint32_t where; /* index of an instruction, or of a target when is_target */
    uint32_t line;
    uint8_t scope;
    bool is_target;
};

#define PTX_MAX_DIMENSIONS 4
/** What ".align A .type name[..][..]" says. */
struct ptx_declaration {
    struct ptx_slice name;
    const struct ptx_type *type;
    uint32_t align;
    bool managed;
    enum vgpu_opaque opaque;
    uint32_t element; /* bytes of one, vector and all */
    uint64_t size;    /* 0 for name[] */
    uint32_t dimensions;
    uint64_t stride[PTX_MAX_DIMENSIONS + 1]; /* bytes of one element of each level */
};

/* Room for what calls pass in "...", in the local frame of the callee. */
#define PTX_VARIADIC_BYTES 4096u

/** A parameter or return value as it is declared. */
struct ptx_formal {
    struct ptx_formal *next;
    struct ptx_declaration declaration;
    bool is_register, is_return;
    bool is_variadic; /* ".param .align 8 .b8 rest[]" */
    uint32_t ref;     /* of the register */
    uint32_t offset;  /* in the local frame, or the parameter block */
};

/** A function of the module: where its body is. */
struct ptx_head {
    struct ptx_text body; /* from its brace to behind the last one; empty if there is none */
    struct ptx_formal *formals;
    uint32_t owner; /* number of the text */
    bool weak;      /* another body may take its place */
};

struct ptx_source_text {
    char *text;
    size_t length;
};

struct ptx_parser {
    struct ptx_text text;
    struct ptx_token token;
    struct vgpu_unit *unit; /* being made: the module or that of a kernel */
    struct vgpu_program *program;
    struct ptx_source_text *texts;
    uint32_t text_count;
    uint32_t current;       /* number of the text being read, from 1 */
    bool linked;            /* the declaration being read is known to other texts */
    bool weak;              /* and gives way to another one */
    struct ptx_head *heads; /* of the module's functions */
    uint8_t *wanted;        /* by function: decode it into this unit */
    uint32_t *queue;        /* those that are wanted, in order */
    uint32_t queue_count;
    int error;
    char *log;
    size_t log_size;

    struct ptx_block *blocks; /* bump-allocated symbols */
    struct ptx_block *kept;   /* the newest of those that outlive a unit */
    struct ptx_symbol **buckets;
    uint32_t bucket_count, symbol_count;
    struct ptx_symbol *scopes[PTX_MAX_SCOPES];
    uint32_t scope; /* 0: the module */

    struct ptx_info *info; /* parallel to unit.code */
    struct ptx_fixup *fixups;
    uint32_t fixup_count;
    uint32_t *constant_map; /* hash of unit.constants */
    uint32_t constant_map_size;
    uint32_t capacity[12]; /* of the growing arrays, by enum ptx_array */

    uint32_t function; /* being read, or UINT32_MAX */
    uint32_t rows[VGPU_ROW_CLASSES];
    uint32_t local_bytes;
    uint32_t carry;             /* ref of the carry flag, or 0 */
    struct ptx_formal *formals; /* of the function being read */
    struct ptx_shared *shared;  /* .shared variables by function */
    uint32_t shared_count;
};

enum ptx_array {
    PTX_CODE,
    PTX_FUNCTIONS,
    PTX_VARIABLES,
    PTX_RELOCATIONS,
    PTX_CONSTANTS,
    PTX_CALLS,
    PTX_TARGETS,
    PTX_FIXUPS,
    PTX_INFO,
    PTX_SHARED,
    PTX_HEADS,
    PTX_LISTS,
};

/** That `function` uses the .shared `variable`: where, and the constant that stands for it. */
struct ptx_shared {
    uint32_t function, variable, constant;
    uint8_t width;
    uint64_t addend;
};

/* parser.c: errors, memory, tokens */
void ptx_fail(struct ptx_parser *p, int error, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** Room for one more element of *array; false (and an error noted) when there is none. */
bool ptx_grow(struct ptx_parser *p, void *array, enum ptx_array which, uint32_t count, size_t size);
void *ptx_take(struct ptx_parser *p, size_t size);
/** What was taken until now stays; ptx_release() gives back what is taken later. */
void ptx_keep(struct ptx_parser *p);
void ptx_release(struct ptx_parser *p);
void ptx_advance(struct ptx_parser *p);
bool ptx_is(const struct ptx_parser *p, char sign);
bool ptx_is_word(const struct ptx_parser *p, const char *word);
bool ptx_accept(struct ptx_parser *p, char sign);
bool ptx_accept_word(struct ptx_parser *p, const char *word);
void ptx_expect(struct ptx_parser *p, char sign);
struct ptx_slice ptx_expect_word(struct ptx_parser *p);
uint64_t ptx_expect_integer(struct ptx_parser *p, uint64_t most);
char *ptx_copy_name(struct ptx_parser *p, struct ptx_slice name);

/* symbols.c */
void ptx_scope_open(struct ptx_parser *p);
void ptx_scope_close(struct ptx_parser *p);
/** Forgets every scope but the module's, after an error. */
void ptx_scope_abandon(struct ptx_parser *p);
struct ptx_symbol *ptx_symbol_add(struct ptx_parser *p, struct ptx_slice name,
                                  enum ptx_symbol_kind kind);
/** The innermost symbol of that name (a register of a family is made now), or NULL. */
struct ptx_symbol *ptx_symbol_find(struct ptx_parser *p, struct ptx_slice name);
/** A symbol of that name in the current scope, or NULL. */
struct ptx_symbol *ptx_symbol_here(struct ptx_parser *p, struct ptx_slice name);
uint32_t ptx_new_register(struct ptx_parser *p, uint32_t width);

/* module.c and variables.c */
/** Reads the module scope of text number p->current. */
void ptx_read_module(struct ptx_parser *p);
/** At the end of all texts. */
void ptx_check_externals(struct ptx_parser *p);
void ptx_read_variable(struct ptx_parser *p, enum vgpu_space space, bool external);
/** `again`: another name follows a comma; the type is that of the name before. */
void ptx_read_declaration(struct ptx_parser *p, struct ptx_declaration *declaration, bool again);
/** Gives `size` bytes a place after the first *bytes ones, and moves *bytes behind them. */
uint32_t ptx_place(struct ptx_parser *p, uint32_t *bytes, uint64_t size, uint32_t align);

/* function.c */
void ptx_read_function(struct ptx_parser *p, bool entry);
/** Decodes the body of a function of the module into the unit. */
void ptx_read_definition(struct ptx_parser *p, uint32_t index);
uint32_t ptx_read_prototype(struct ptx_parser *p);

/* operands.c */
void ptx_read_operands(struct ptx_parser *p, struct ptx_statement *s);

/* emit.c */
uint32_t ptx_constant(struct ptx_parser *p, uint32_t width, uint64_t value, int32_t variable);
struct ptx_build ptx_begin(struct ptx_parser *p, const struct ptx_statement *s, const char *key);
struct ptx_build ptx_begin_control(const struct ptx_statement *s, enum vgpu_control control);
void ptx_define(struct ptx_build *b, enum vgpu_operand operand, uint32_t ref);
void ptx_use(struct ptx_build *b, enum vgpu_operand operand, uint32_t ref);
/** One more row of the instruction's list; only one instruction has a list under way. */
void ptx_list(struct ptx_parser *p, struct ptx_build *b, uint32_t ref);
void ptx_push(struct ptx_parser *p, const struct ptx_build *b);
/** The row of a source operand, as `type`; immediates become constant rows. */
uint32_t ptx_source(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                    const struct ptx_type *type);
/** The row of a destination operand; `_` gets a row of its own. */
uint32_t ptx_destination(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         const struct ptx_type *type);
/** Moves a special register, or the address of a symbol, to a new row. */
uint32_t ptx_special(struct ptx_parser *p, struct ptx_statement *s, struct ptx_slice name,
                     uint32_t width);
uint32_t ptx_symbol_address(struct ptx_parser *p, struct ptx_statement *s,
                            const struct ptx_operand *o, uint32_t width);
void ptx_emit1(struct ptx_parser *p, struct ptx_statement *s, const char *key, uint32_t d,
               uint32_t a);
void ptx_fixup_add(struct ptx_parser *p, struct ptx_slice label, uint32_t where, bool is_target,
                   uint32_t line);

/* decode*.c */
bool ptx_part(struct ptx_statement *s, const char *word);
const struct ptx_type *ptx_part_type(struct ptx_statement *s);
/** Takes the operand count for granted only after this: notes an error unless there are `n`. */
bool ptx_want(struct ptx_parser *p, struct ptx_statement *s, uint32_t n);
/** Notes an error if a part of the opcode was not understood. */
bool ptx_all_parts(struct ptx_parser *p, struct ptx_statement *s);
void ptx_unsupported(struct ptx_parser *p, const struct ptx_statement *s, const char *why);
void ptx_decode(struct ptx_parser *p, struct ptx_statement *s);

/** Starts an operation with a destination and `sources` operands behind it, all of given types. */
struct ptx_build ptx_form(struct ptx_parser *p, struct ptx_statement *s, const char *key,
                          const struct ptx_type *const types[], uint32_t sources);
/** The type of that kind and size; there must be one. */
const struct ptx_type *ptx_type_of(uint32_t kind, uint32_t bits);
/** Takes a rounding modifier (.rn, .rz, .rm, .rp) if there is one. */
enum vgpu_rounding ptx_part_rounding(struct ptx_statement *s);
/** A predicate operand that may be negated. */
uint32_t ptx_predicate(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                       bool *negated);

/** Where a memory instruction goes. */
struct ptx_place {
    uint32_t ref; /* row of addresses */
    bool narrow;  /* of 32 bits */
    int64_t offset;
};
struct ptx_place ptx_address(struct ptx_parser *p, struct ptx_statement *s,
                             const struct ptx_operand *o, enum vgpu_space space);
/** Row A, imm, x and z of a memory instruction. */
void ptx_set_place(struct ptx_build *b, const struct ptx_place *place, enum vgpu_space space,
                   uint8_t ordering);
/** Takes the state space of the opcode; generic if it has none. */
enum vgpu_space ptx_part_space(struct ptx_statement *s);
/** Takes modifiers of caches, ordering and scope, and the operand of a cache hint; VGPU_ORDERED if
 * the access is one that orders. */
uint8_t ptx_part_ordering(struct ptx_statement *s);
/** Takes .v2, .v4 or .v8: how many elements; 1 if there is none. */
uint32_t ptx_part_vector(struct ptx_statement *s);
/** Counts `bytes` bytes as come at the barrier that an operand is the address of. */
void ptx_emit_completion(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         uint32_t bytes);
/** The generic address of a place, in a row of its own. */
uint32_t ptx_generic_row(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                         enum vgpu_space space);

/* decode_tensor.c */
void ptx_decode_tensor_copy(struct ptx_parser *p, struct ptx_statement *s, uint8_t copy);
void ptx_decode_tensormap(struct ptx_parser *p, struct ptx_statement *s);

/* decode_async.c */
/** st.bulk, after its space. */
void ptx_decode_clear(struct ptx_parser *p, struct ptx_statement *s, enum vgpu_space space);
/** Loads a register from, or stores one to, a place in the local frame. */
void ptx_emit_slot(struct ptx_parser *p, struct ptx_statement *s, bool store, uint32_t ref,
                   const struct ptx_type *type, uint32_t offset);

typedef void (*ptx_decoder)(struct ptx_parser *p, struct ptx_statement *s);
struct ptx_opcode {
    const char *name;
    ptx_decoder decode;
};
ptx_decoder ptx_decode_arithmetic(struct ptx_slice opcode);
ptx_decoder ptx_decode_bits(struct ptx_slice opcode);
ptx_decoder ptx_decode_memory(struct ptx_slice opcode);
ptx_decoder ptx_decode_texture(struct ptx_slice opcode);
ptx_decoder ptx_decode_control(struct ptx_slice opcode);
ptx_decoder ptx_decode_convert(struct ptx_slice opcode);
/** Decodes a cvt with an 8-bit float, tf32 or packed numbers; false if it is none of these. */
bool ptx_decode_narrow(struct ptx_parser *p, struct ptx_statement *s);
ptx_decoder ptx_decode_warp(struct ptx_slice opcode);
ptx_decoder ptx_decode_matrix(struct ptx_slice opcode);
ptx_decoder ptx_decode_async(struct ptx_slice opcode);
ptx_decoder ptx_decode_cluster(struct ptx_slice opcode);
ptx_decoder ptx_decode_atomic(struct ptx_slice opcode);
ptx_decoder ptx_decode_video(struct ptx_slice opcode);
/** True if it was one of the forms that are made of others. */
bool ptx_decode_packed(struct ptx_parser *p, struct ptx_statement *s);
ptx_decoder ptx_decode_select(struct ptx_slice opcode);
ptx_decoder ptx_decoder_in(const struct ptx_opcode *table, size_t count, struct ptx_slice opcode);
void ptx_emit_call_prologue(struct ptx_parser *p);
void ptx_emit_return(struct ptx_parser *p, struct ptx_statement *s);

/* layout.c: turns registers into offsets once every count is known. */
void ptx_layout(struct ptx_parser *p);

/* simplify.c: fewer instructions for the same. */
void ptx_simplify(struct ptx_parser *p);

/* shapes.c: registers that may be lines, and the handlers that know of them. */
void ptx_choose_shapes(struct ptx_parser *p);

/* fuse.c: superinstructions. */
void ptx_fuse(struct ptx_parser *p);

/* compile.c: units. */
/** Says that the unit needs the code of a function of the module; there must be some. */
void ptx_want_function(struct ptx_parser *p, const struct ptx_statement *s, uint32_t index);
void ptx_unit_free(struct vgpu_unit *unit);

#endif
