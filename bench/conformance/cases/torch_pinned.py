# SPDX-License-Identifier: MIT
"""Pinned memory, asynchronous copies, and a DataLoader with workers that pin."""
import conformance

torch = conformance.seed()
host = torch.randn(1 << 20).pin_memory()
conformance.require(host.is_pinned(), "pinned memory says so")
device = host.to("cuda", non_blocking=True)
back = torch.empty(1 << 20, pin_memory=True)
back.copy_(device * 2, non_blocking=True)
torch.cuda.synchronize()
conformance.require(bool((back == host * 2).all()), "what comes back is what went")
conformance.require(not torch.randn(10).is_pinned(), "other memory is not pinned")


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.full((257,), float(i)), i


if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=8, num_workers=2, pin_memory=True)
    sums = []
    for batch, index in loader:
        conformance.require(batch.is_pinned(), "batches are pinned")
        sums.append((batch.cuda(non_blocking=True).sum(1) + index.cuda()).sum())
    conformance.save("sums", torch.stack(sums))
    big = torch.empty(96 << 20, dtype=torch.uint8, pin_memory=True).fill_(5)
    conformance.save("big", big.cuda().long().sum())
