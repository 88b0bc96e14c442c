# SPDX-License-Identifier: MIT
"""Training steps with JAX: a jitted step of a small network, its loss read every tenth time."""
import os
import sys

from common import SMALL, measure, need

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
jax = need("jax")
if jax.default_backend() != "gpu":
    print("JAX finds no GPU", file=sys.stderr)
    sys.exit(77)
jnp = jax.numpy
WIDTH, LAYERS, BATCH = (64, 2, 8) if SMALL else (1024, 8, 256)


def predict(weights, x):
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return x


@jax.jit
def update(weights, x, y):
    loss, slopes = jax.value_and_grad(
        lambda these: jnp.mean((predict(these, x) - y) ** 2))(weights)
    return [weight - 0.01 * slope for weight, slope in zip(weights, slopes)], loss


keys = jax.random.split(jax.random.PRNGKey(1), LAYERS + 2)
state = [jax.random.normal(key, (WIDTH, WIDTH)) / WIDTH ** 0.5 for key in keys[2:]]
x, y = (jax.random.normal(key, (BATCH, WIDTH)) for key in keys[:2])
done = 0


def step():
    global done, state
    state, loss = update(state, x, y)
    done += 1
    if done % 10 == 0:
        float(loss)


measure("train.jax", step, lambda: jax.block_until_ready(state), 5 if SMALL else 200)
