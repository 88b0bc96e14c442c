/* SPDX-License-Identifier: MIT */
/** What libFuzzer calls in a fuzzer, and what it offers to one. */
#ifndef VGPU_FUZZ_FUZZ_H
#define VGPU_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_ENTRY __attribute__((visibility("default")))

FUZZ_ENTRY int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
FUZZ_ENTRY size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

#endif
