/* SPDX-License-Identifier: MIT */
/** A kernel whose launches can be counted, as long as they are one after the other. */
#ifndef VGPU_TESTS_ADD_ONE_H
#define VGPU_TESTS_ADD_ONE_H

static const char add_one_ptx[] = ".version 7.0\n"
                                  ".target sm_50\n"
                                  ".address_size 64\n"
                                  ".visible .entry add_one(.param .u64 counter)\n"
                                  "{\n"
                                  "    .reg .u64 %a;\n"
                                  "    .reg .u32 %v;\n"
                                  "    ld.param.u64 %a, [counter];\n"
                                  "    ld.global.u32 %v, [%a];\n"
                                  "    add.u32 %v, %v, 1;\n"
                                  "    st.global.u32 [%a], %v;\n"
                                  "    ret;\n"
                                  "}\n";

#endif
