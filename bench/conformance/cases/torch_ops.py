# SPDX-License-Identifier: MIT
"""A walk through PyTorch's own kernels: sort, scan, index, random numbers, sparse, reductions."""
import conformance

torch = conformance.seed()
x = torch.randn(20_000, device="cuda")
conformance.save("sort", torch.sort(x)[0])
conformance.save("argsort", torch.argsort(x, stable=True))
conformance.save("topk", torch.topk(x, 50)[0])
conformance.save("unique", torch.unique((x * 10).int()))
conformance.save("cumsum", x.double().cumsum(0), 1e-13)
conformance.save("histc", torch.histc(x, 40), 1e-6)
conformance.save("bincount", torch.bincount((x.abs() * 20).int()))
conformance.save("nonzero", torch.nonzero(x > 2))
conformance.save("index", x[torch.randint(0, 20_000, (500,), device="cuda")])
conformance.save("scatter", torch.zeros(64, device="cuda").index_add_(
    0, torch.arange(20_000, device="cuda") % 64, torch.ones(20_000, device="cuda")))
conformance.save("median", x.median())
conformance.save("std", x.std())
conformance.save("random", torch.cat([torch.rand(100, device="cuda"), torch.randn(100, device="cuda"),
                                      torch.randperm(100, device="cuda").float(),
                                      torch.empty(100, device="cuda").exponential_()]))
conformance.save("multinomial", torch.multinomial(x.abs(), 30))
sparse = torch.sparse_coo_tensor(torch.randint(0, 50, (2, 300), device="cuda"),
                                 torch.randn(300, device="cuda"), (50, 50))
conformance.save("sparse", sparse.to_dense(), 1e-6)
conformance.save("spmm", torch.sparse.mm(sparse.to_sparse_csr(), torch.eye(50, device="cuda")), 1e-6)
conformance.save("einsum", torch.einsum("ij,kj->ik", x[:400].view(20, 20), x[400:800].view(20, 20)))
conformance.save("interpolate", torch.nn.functional.interpolate(
    x[:400].view(1, 1, 20, 20), size=(33, 47), mode="bicubic"))
conformance.save("grid_sample", torch.nn.functional.grid_sample(
    x[:400].view(1, 1, 20, 20), torch.rand(1, 9, 9, 2, device="cuda") * 2 - 1,
    align_corners=False))
conformance.save("embedding_bag", torch.nn.EmbeddingBag(50, 16, mode="sum").cuda()(
    torch.arange(48, device="cuda").view(8, 6)))
conformance.save("complex", torch.exp(1j * x[:100]))
conformance.save("special", torch.special.i0(x[:100]) + torch.lgamma(x[:100].abs()))
