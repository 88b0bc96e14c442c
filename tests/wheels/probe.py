# SPDX-License-Identifier: MIT
"""Steps of a probe: each is done, and what comes of it is printed."""


def step(name, work):
    """`work` returns whether what it computed is right."""
    try:
        print(f'{name}: ' + ('passed' if work() else 'stops: a wrong result'), flush=True)
    except Exception as error:  # pylint: disable=broad-except
        why = (str(error).splitlines() or [''])[0][:120]
        print(f'{name}: stops: {type(error).__name__}: {why}', flush=True)
