/* SPDX-License-Identifier: MIT */
/**
 * What a device computes, written down and compared. With WRITE_EXPECTED=FILE in the environment
 * tests write and do not judge; with EXPECTED=FILE they fail where exact results are not those of
 * the file. A line: a number for the inputs and one for the outputs, how many outputs are not those
 * of the reference, by how many units in the last place at most, the instruction.
 */
#ifndef VGPU_SOFT_TESTS_RESULTS_H
#define VGPU_SOFT_TESTS_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

struct result {
    uint64_t inputs, outputs;
    unsigned different;
    uint64_t most;
};

bool results_are_written(void);
void result_add_input(struct result *result, uint64_t v);
/** `letter` as in tables of instructions: what is no number counts as one and the same. */
void result_add_output(struct result *result, char letter, uint64_t got, uint64_t want);
/** All inputs and outputs of an instruction have been added: writes, compares, or does nothing. */
void result_finish(const struct result *result, bool exact, const char *name);
/** The device cannot run it. */
void result_absent(const char *name);

#endif
