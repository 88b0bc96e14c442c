# SPDX-License-Identifier: MIT
"""Training steps of a transformer: forward, backward, AdamW, with the loss read now and then."""
from common import SMALL, measure, need_torch

torch = need_torch()
WIDTH, HEADS, LAYERS, WORDS, BATCH, LENGTH = ((64, 4, 2, 128, 2, 16) if SMALL else
                                              (768, 12, 12, 32000, 8, 256))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0,
                                                 batch_first=True, norm_first=True)
        self.words = torch.nn.Embedding(WORDS, WIDTH)
        self.layers = torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.register_buffer("mask", torch.nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, tokens):
        x = self.layers(self.words(tokens), mask=self.mask, is_causal=True)
        return x @ self.words.weight.t()


model = Model().cuda()
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
tokens = torch.randint(0, WORDS, (BATCH, LENGTH + 1), device="cuda")
done = 0


def step():
    global done
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        scores = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    optimiser.step()
    done += 1
    if done % 10 == 0:
        loss.item()


measure("train.transformer", step, torch.cuda.synchronize, 2 if SMALL else 20)
