/* SPDX-License-Identifier: MIT */
/** What tests and the fake worker agree on, see fake_worker.c. */
#ifndef VGPU_MEDIATOR_TESTS_FAKE_WORKER_H
#define VGPU_MEDIATOR_TESTS_FAKE_WORKER_H

#define FAKE_MEMORY_TOTAL    (1ull << 30)
#define FAKE_GPU_NANOSECONDS 1000 /* of charge-N */
#define FAKE_EXIT_STALE      9    /* the extent was not zero */

/** First operands of a vector addition that make it special. */
#define FAKE_OPERAND_SLOW    1000.0f /* answers after 0.3 s */
#define FAKE_OPERAND_CRASH   1001.0f
#define FAKE_OPERAND_GARBAGE 1002.0f

#endif
