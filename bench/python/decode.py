# SPDX-License-Identifier: MIT
"""Text generation with a network of GPT-2's shape, one token at a time: eagerly, where launches
count most, and as a CUDA graph. The cache of keys and values has a fixed length, as a graph needs."""
from common import SMALL, measure, need_torch

torch = need_torch()
WIDTH, HEADS, LAYERS, WORDS, LENGTH = (64, 4, 2, 128, 32) if SMALL else (768, 12, 12, 50257, 256)
functional = torch.nn.functional


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.mix, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.Linear(4 * WIDTH, WIDTH)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(1, HEADS, LENGTH, WIDTH // HEADS))

    def forward(self, x, place, mask):
        query, key, value = (part.view(1, 1, HEADS, -1).transpose(1, 2)
                             for part in self.mix(self.before(x)).chunk(3, -1))
        self.keys.index_copy_(2, place, key)
        self.values.index_copy_(2, place, value)
        scores = query @ self.keys.transpose(2, 3) * (WIDTH // HEADS) ** -0.5
        found = (scores + mask).softmax(-1) @ self.values
        x = x + self.out(found.transpose(1, 2).reshape(1, 1, WIDTH))
        return x + self.down(functional.gelu(self.up(self.after(x))))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = torch.nn.Embedding(WORDS, WIDTH), torch.nn.Embedding(LENGTH, WIDTH)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = torch.nn.LayerNorm(WIDTH)
        for name, value in (("token", torch.zeros(1, 1, dtype=torch.long)),
                            ("place", torch.zeros(1, dtype=torch.long)),
                            ("numbers", torch.arange(LENGTH))):
            self.register_buffer(name, value)

    def forward(self):
        """One token: all that it needs and changes is on the device."""
        mask = torch.where(self.numbers <= self.place, 0.0, float("-inf"))
        x = self.words(self.token) + self.places(self.place)
        for block in self.blocks:
            x = block(x, self.place, mask)
        scores = functional.linear(self.last(x), self.words.weight)
        self.token.copy_(scores.argmax(-1))
        self.place.add_(1).remainder_(LENGTH)


model = Model().cuda().eval()
with torch.no_grad():
    def eager():
        model()
        model.token.item()  # the program wants to print it

    steps = 5 if SMALL else 100
    measure("decode.eager", eager, torch.cuda.synchronize, steps)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model()

    def replay():
        graph.replay()
        model.token.item()

    measure("decode.graph", replay, torch.cuda.synchronize, steps)
