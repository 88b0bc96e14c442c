# SPDX-License-Identifier: MIT
"""JAX: a small network trained for 30 steps in one jitted scan."""
import os

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
os.environ["XLA_FLAGS"] = "--xla_gpu_deterministic_ops=true"
import jax
import jax.numpy as jnp
import optax

import conformance

key = jax.random.PRNGKey(0)
weights = {"a": jax.random.normal(key, (32, 64)) * 0.1, "b": jax.random.normal(key, (64, 1)) * 0.1}
x, y = jax.random.normal(key, (128, 32)), jnp.sin(jnp.arange(128.0))[:, None]
optimiser = optax.adam(1e-2)


def loss_of(w):
    return jnp.mean((jax.nn.gelu(x @ w["a"]) @ w["b"] - y) ** 2)


def step(carry, _):
    w, state = carry
    loss, gradient = jax.value_and_grad(loss_of)(w)
    update, state = optimiser.update(gradient, state)
    return (optax.apply_updates(w, update), state), loss


_, losses = jax.jit(lambda w: jax.lax.scan(step, (w, optimiser.init(w)), None, length=30))(weights)
conformance.require(bool(losses[-1] < losses[0]), "the loss falls")
conformance.save("losses", losses, 1e-5)
