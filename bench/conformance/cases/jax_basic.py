# SPDX-License-Identifier: MIT
"""JAX: jit, grad, vmap, scan, random numbers, linear algebra, convolution."""
import os

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
os.environ["XLA_FLAGS"] = "--xla_gpu_deterministic_ops=true"
import jax
import jax.numpy as jnp

import conformance

key = jax.random.PRNGKey(3)
x = jax.random.normal(key, (256, 256))
conformance.save("random", x)
conformance.save("jit", jax.jit(lambda m: jnp.tanh(m @ m))(x), 1e-6)
conformance.save("grad", jax.jit(jax.grad(lambda m: jnp.tanh(m @ m).sum()))(x), 1e-5)
conformance.save("vmap", jax.vmap(lambda row: row @ x)(x), 1e-6)
conformance.save("scan", jax.lax.scan(lambda c, r: (c * 0.9 + r, c.sum()), x[0], x)[1], 1e-6)
conformance.save("while", jax.lax.while_loop(lambda v: v.sum() < 1e4, lambda v: v * 1.5,
                                             jnp.ones(8)))
conformance.save("cholesky", jnp.linalg.cholesky(x @ x.T + 300 * jnp.eye(256)), 1e-5)
conformance.save("fft", jnp.fft.fft(x), 1e-6)
conformance.save("sort", jnp.sort(x, axis=1))
conformance.save("conv", jax.lax.conv(x.reshape(1, 4, 128, 128), jnp.ones((3, 4, 5, 5)), (1, 1),
                                      "SAME"), 1e-5)
conformance.save("device", str(jax.devices()[0].device_kind))
