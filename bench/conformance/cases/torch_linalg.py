# SPDX-License-Identifier: MIT
"""Decompositions and solvers (cuSOLVER, MAGMA)."""
import conformance

torch = conformance.seed()
a = torch.randn(96, 96, device="cuda", dtype=torch.float64)
spd = a @ a.t() + 96 * torch.eye(96, device="cuda", dtype=torch.float64)
b = torch.randn(96, 5, device="cuda", dtype=torch.float64)
conformance.save("singular", torch.linalg.svdvals(a), 1e-12)
conformance.save("cholesky", torch.linalg.cholesky(spd), 1e-13)
conformance.save("solve", torch.linalg.solve(a, b), 1e-11)
conformance.save("eigh", torch.linalg.eigvalsh(spd), 1e-12)
q, r = torch.linalg.qr(a)
conformance.save("qr", q @ r, 1e-12)
conformance.save("lu", torch.linalg.lu_factor(a)[0], 1e-12)
conformance.save("inverse", torch.linalg.inv(spd), 1e-12)
conformance.save("lstsq", torch.linalg.lstsq(a, b).solution, 1e-10)
