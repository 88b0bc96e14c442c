/* SPDX-License-Identifier: MIT */
/** The keyed digest that NVIDIA's runtime compares at start-up (export_tables.c says of what). */
#ifndef VGPU_INTEROP_HMAC_MD2_H
#define VGPU_INTEROP_HMAC_MD2_H

#include <stddef.h>
#include <stdint.h>

enum { VGPU_MD2_BYTES = 16 };

void vgpu_md2(const void *data, size_t size, uint8_t digest[VGPU_MD2_BYTES]);
void vgpu_hmac_md2(const void *key, size_t key_size, const void *data, size_t size,
                   uint8_t digest[VGPU_MD2_BYTES]);

#endif
