/* SPDX-License-Identifier: MIT */
/** All that programs without a C library use of this header. */
#define static_assert _Static_assert
