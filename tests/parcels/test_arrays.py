"""Arrays, tensors and what is built on them: shared memory stays shared."""

from __future__ import annotations

from typing import Any

import pytest

from .notebook import SLOW_TO_LOAD, FarProcess, same_as_local

CASES: dict[str, list[str]] = {
    "views of an array": [
        """
        import numpy as np
        a = np.arange(20.0)
        v = a[2:10:2]
        r = a[::-1]
        h = [a, v]
        """,
        """
        %%remote
        v[:] = -1
        a[0] = 9
        """,
    ],
    "windows on large arrays": [
        """
        import numpy as np
        a = np.arange(4_000_000.0)
        v = a[2:10]
        w = a[20:30:3]
        c = a[::1000]
        k = np.arange(12.0).reshape(3, 4)[:, ::2]
        """,
        """
        %%remote
        v[0] = -1
        """,
        """
        %%remote
        w[1] = -5
        c[2] = 7
        k[1] = 3
        """,
        """
        s = a[:40].tolist()
        t = a[2000]
        """,
        """
        %%remote
        a[3] = 11
        """,
        """
        u = v[1]
        """,
        """
        %%remote
        a[4] = 12
        v[3] = 13
        o = v[2]
        """,
    ],
    "arrays of objects": [
        """
        import numpy as np
        l = [1]
        a = np.array([l, {}, None], object)
        b = a[:2]
        """,
        """
        %%remote
        a[0].append(2)
        a[2] = a[0]
        """,
    ],
    "every dtype": [
        """
        import numpy as np
        A = [np.zeros(3, t) for t in "?bBhHiIlLefdgFDGSUV"] + [
            np.array(["2020", "2021"], "M8[D]"),
            np.array([1], "m8[s]"),
            np.array(3.0),
            np.zeros((0, 3)),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.zeros(2, [("a", "i4"), ("b", "f8", (2,))]),
            np.zeros(2, [("o", object)]),
            np.array(["ab", "c"]),
            np.arange(3).astype(">i4"),
        ]
        B = list(A)
        A[4].flags.writeable = False
        """,
        """
        %%remote
        for x in A:
            if x.flags.writeable and x.dtype.kind in "fiuc" and x.size:
                x[...] = 1
        A[-4]["b"][0] = 3
        """,
    ],
    "masked arrays": [
        """
        import numpy as np
        m = np.ma.array([1, 2, 3.0], mask=[0, 1, 0])
        n = m
        h = {"m": m}
        """,
        """
        %%remote
        m[0] = 5
        m[2] = np.ma.masked
        """,
    ],
    "subclasses of ndarray": [
        """
        import numpy as np
        m = np.matrix([[1, 2], [3, 4]])
        h = [m]
        class A(np.ndarray):
            pass
        a = np.arange(3.0).view(A)
        a.info = "x"
        b = [a]
        """,
        """
        %%remote
        m[0, 0] = 5
        a[1] = 7
        a.info = "y"
        """,
    ],
    "rows of arrays with fields": [
        """
        import numpy as np
        t = np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")])
        row = t[1]
        ages = t["a"]
        lone = t[0].copy()
        rec = t.view(np.recarray)
        """,
        """
        %%remote
        row["b"] = 9
        ages += 1
        lone["a"] = 7
        t[0]["b"] = 5
        rec.a[0] = 70
        """,
        """
        %%remote
        row["a"] = -1
        q = row.item()
        """,
        """
        row["b"] = 1
        z = t.tolist(), row.item(), lone.item()
        """,
    ],
    "strides of every kind": [
        """
        import numpy as np
        a = np.arange(24.0).reshape(2, 3, 4)
        w = np.lib.stride_tricks.sliding_window_view(np.arange(6), 3)
        b = np.broadcast_to(np.arange(3), (4, 3))
        d = np.diagonal(a[0])
        e = a.real
        r = a[::-1, :, ::-2]
        tr = a.transpose(2, 0, 1)
        """,
        """
        %%remote
        a[0, 0, 0] = 100
        r[0, 0, 0] = -5
        tr[1, 1, 1] = 7
        s = int(w.sum()), int(b.sum())
        """,
        """
        x = a.ravel().tolist(), r.tolist(), d.tolist()
        """,
    ],
    "read-only and empty arrays": [
        """
        import numpy as np
        a = np.arange(5)
        v = a[1:]
        v.flags.writeable = False
        z = np.frombuffer(b"12345678", dtype=np.uint8)
        e = np.zeros((0, 3))
        s = np.array(5.0)
        f = np.asfortranarray(np.ones((300, 400)))
        """,
        """
        %%remote
        a[1] = 9
        f[2, 3] = 8
        s[...] = 6
        k = v[0], z.flags.writeable, f.flags.f_contiguous
        """,
    ],
    "arrays on a file": [
        """
        import tempfile
        import numpy as np
        f = tempfile.TemporaryFile()
        m = np.memmap(f, dtype=float, shape=(3,), mode="w+")
        v = m[1:]
        h = [m]
        del f
        """,
        """
        %%remote
        m[0] = 5
        v[1] = 7
        total = float(m.sum())
        """,
    ],
    "buffers and hooks of modules": [
        """
        import torch
        torch.manual_seed(2)
        seen = []
        layer = torch.nn.Linear(2, 2)
        layer.register_buffer("b", torch.ones(2))
        handle = layer.register_forward_hook(lambda module, args, out: seen.append(module is layer))
        buffer = layer.b
        del handle
        """,
        """
        %%remote
        layer(torch.ones(1, 2))
        layer.b.add_(1)
        """,
        """
        %%remote
        layer(torch.ones(1, 2))
        n = len(seen)
        """,
        """
        weights = [t.tolist() for t in layer.state_dict().values()]
        same = layer.b is buffer
        del layer
        """,
    ],
    "learning rate schedulers": [
        """
        import torch
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        opt = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        sched = torch.optim.lr_scheduler.StepLR(opt, 1, 0.5)
        w = model.weight
        x = torch.ones(3, 2)
        """,
        """
        %%remote
        for _ in range(2):
            opt.zero_grad()
            model(x).sum().backward()
            opt.step()
            sched.step()
        rate = opt.param_groups[0]["lr"]
        """,
        """
        opt.zero_grad()
        model(x).sum().backward()
        opt.step()
        sched.step()
        local_rate = opt.param_groups[0]["lr"]
        """,
        """
        %%remote
        model(x).sum().backward()
        opt.step()
        sched.step()
        last = opt.param_groups[0]["lr"], opt.param_groups[0]["params"][0] is w
        """,
    ],
    "data loaders": [
        """
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        data = TensorDataset(torch.arange(6.0), torch.arange(6))
        loader = DataLoader(data, batch_size=2)
        t = data.tensors[0]
        """,
        """
        %%remote
        sums = [float(a.sum()) for a, b in loader]
        t[0] = 10
        """,
    ],
    "views of a tensor": [
        """
        import torch
        t = torch.arange(6.0).reshape(2, 3)
        v = t[0]
        tt = t.T
        h = [t]
        """,
        """
        %%remote
        t += 1
        v.mul_(2)
        """,
    ],
    "tensors and arrays on one memory": [
        """
        import torch, numpy as np
        a = np.arange(6.0)
        t = torch.from_numpy(a)
        b = t.numpy()
        u = torch.ones(3)
        un = u.numpy()
        """,
        """
        %%remote
        a[0] = 5
        t[1] = 6
        u[0] = 9
        """,
    ],
    "modules, optimizers, generators": [
        """
        import torch
        torch.manual_seed(1)
        l1 = torch.nn.Linear(3, 3)
        l2 = torch.nn.Linear(3, 3)
        l2.weight = l1.weight
        m = torch.nn.Sequential(l1, l2)
        w = l1.weight
        opt = torch.optim.Adam(m.parameters())
        g = torch.Generator().manual_seed(4)
        """,
        """
        %%remote
        torch.manual_seed(0)
        loss = m(torch.ones(2, 3)).sum()
        loss.backward()
        opt.step()
        loss = loss.item()
        gr = torch.rand(2, generator=g)
        """,
        """
        %%remote
        opt.zero_grad(set_to_none=True)
        m(torch.ones(2, 3)).sum().backward()
        opt.step()
        """,
        """
        k = [opt.param_groups[0]["params"][0] is w, l2.weight is w]
        """,
    ],
    "sparse matrices": [
        """
        import scipy.sparse as sp, numpy as np
        m = sp.csr_matrix(np.eye(3))
        d = m.data
        c = sp.coo_array(np.eye(2))
        h = [m, c]
        """,
        """
        %%remote
        m.data[0] = 5
        m[1, 1] = 7
        c.data[0] = 3
        """,
        """
        q = m.toarray().tolist(), c.toarray().tolist(), d.tolist()
        """,
    ],
}


def _case(name: str, cells: list[str]) -> Any:
    marks = SLOW_TO_LOAD if any("import torch" in cell for cell in cells) else ()
    return pytest.param(cells, id=name, marks=marks)


@pytest.mark.parametrize("cells", [_case(name, cells) for name, cells in CASES.items()])
def test_arrays_are_as_if_all_had_run_here(far: FarProcess, cells: list[str]) -> None:
    if any("import torch" in cell for cell in cells):
        pytest.importorskip("torch")
    same_as_local(far, *cells)
