# SPDX-License-Identifier: MIT
"""Streaming batches from a DataLoader's processes to the GPU, pinned and pageable."""
import time

from common import SMALL, need_torch

torch = need_torch()
COUNT, BATCH, SIZE = (64, 8, 32) if SMALL else (4096, 64, 224)


class Images(torch.utils.data.Dataset):
    """Made once and only copied, so that the processor does not limit what is measured."""

    def __init__(self):
        self.image = torch.randn(3, SIZE, SIZE)

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.image, index


def stream(pinned):
    loader = torch.utils.data.DataLoader(Images(), BATCH, num_workers=2 if SMALL else 8,
                                         pin_memory=pinned, persistent_workers=True,
                                         prefetch_factor=4)
    total = torch.zeros((), device="cuda")
    rates = []
    for _ in range(3):  # the first pass starts the processes
        start, received = time.perf_counter(), 0
        for images, _ in loader:
            images = images.to("cuda", non_blocking=pinned)
            total += images[0, 0, 0, 0]
            received += images.numel() * images.element_size()
        total.item()
        rates.append(received / (time.perf_counter() - start))
    return max(rates[1:])


if __name__ == "__main__":
    for kind in ("pinned", "pageable"):
        print(f"loader.{kind} {stream(kind == 'pinned') / 1e6:.6g} MB/s", flush=True)
