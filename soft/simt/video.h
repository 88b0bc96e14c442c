/* SPDX-License-Identifier: MIT */
/** Video instructions: what the front end tells their one handler. */
#ifndef VGPU_SOFT_VIDEO_H
#define VGPU_SOFT_VIDEO_H

#include <stdint.h>

enum vgpu_video_operation {
    VGPU_VIDEO_ADD,
    VGPU_VIDEO_SUB,
    VGPU_VIDEO_DIFFERENCE,
    VGPU_VIDEO_MIN,
    VGPU_VIDEO_MAX,
    VGPU_VIDEO_AVERAGE,
    VGPU_VIDEO_SHL,
    VGPU_VIDEO_SHR,
    VGPU_VIDEO_SET,
    VGPU_VIDEO_MAD,
    VGPU_VIDEO_OPERATIONS,
};

enum vgpu_video_comparison {
    VGPU_VIDEO_EQ,
    VGPU_VIDEO_NE,
    VGPU_VIDEO_LT,
    VGPU_VIDEO_LE,
    VGPU_VIDEO_GT,
    VGPU_VIDEO_GE,
    VGPU_VIDEO_COMPARISONS,
};

/* What is done with the result and the third source. */
enum vgpu_video_second {
    VGPU_VIDEO_ALONE,
    VGPU_VIDEO_THEN_ADD,
    VGPU_VIDEO_THEN_MIN,
    VGPU_VIDEO_THEN_MAX,
    VGPU_VIDEO_MERGE, /* a part of the third source is replaced */
};

/* Part of a scalar operand: all of it, one of its bytes (1 to 4), one of its halves (5, 6). */
#define VGPU_VIDEO_BYTE 1u
#define VGPU_VIDEO_HALF 5u

#define VGPU_VIDEO_D_SIGNED 1u
#define VGPU_VIDEO_A_SIGNED 2u
#define VGPU_VIDEO_B_SIGNED 4u
#define VGPU_VIDEO_SATURATE 8u
#define VGPU_VIDEO_WRAP     16u /* shift amounts */
#define VGPU_VIDEO_PLUS_ONE 32u /* of mad: one more */
#define VGPU_VIDEO_MINUS    64u /* of mad: the product is negated */
#define VGPU_VIDEO_MINUS_C  128u

/** imm of an instruction. x: part of the result, or a bit per lane that is written; y: comparison,
 * or how far the result of mad is shifted. */
struct vgpu_video {
    uint8_t operation, flags, second;
    uint8_t lanes; /* 1, 2 or 4 parts of a register */
    /* With one lane the part of the source; else a nibble per lane, which part of both sources. */
    uint16_t a, b;
};

#endif
