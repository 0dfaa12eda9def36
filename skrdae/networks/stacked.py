"""K copies of an ordinary module: how a network that knows nothing of members becomes a stack."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from skrdae._parallel import in_parallel
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace

# What draws random numbers when a module is made, all of which take a generator.
_DRAWS = {
    "bernoulli_", "exponential_", "kaiming_normal_", "kaiming_uniform_", "normal", "normal_",
    "orthogonal_", "rand", "randint", "randn", "randperm", "sparse_", "trunc_normal_", "uniform_",
    "xavier_normal_", "xavier_uniform_",
}  # fmt: skip


class _DrawFrom(TorchFunctionMode):
    """While it lasts, this thread's modules are initialised from a generator, not torch's own."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if getattr(func, "__name__", "") in _DRAWS and options.get("generator") is None:
            options["generator"] = self._generator
        return func(*args, **options)


def new_template(make: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Return a new module on the CPU, whose weights are drawn from a generator."""
    with torch.device("cpu"), _DrawFrom(generator):
        return make().float().eval().requires_grad_(False)


class StackedModule(MemberModule):
    """K autoencoders of one module's shape side by side.

    The module is one member: an ``nn.Module`` with ``encode(rows)``, (n, d) → (n, units), and
    ``decode(codes)``, (n, units) → (n, d), which treat rows alike and apart: no batch
    normalisation. It is always in evaluation mode, so dropout does nothing. Buffers are shared by
    the members and stay as they are made.

    Parameters
    ----------
    make : callable
        Returns a new module.
    code_size : int
        The units of a code.
    generators : list of K torch.Generator
        One a member; its module's initial weights are drawn from it.
    device : torch.device
    """

    def __init__(
        self,
        make: Callable[[], nn.Module],
        code_size: int,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.code_size = code_size
        modules = [new_template(make, generator) for generator in generators]
        # In a list, which nn.Module does not look into: it lends its forward pass and its buffers.
        self.template = [modules[0].to(device)]
        for name, _ in modules[0].named_parameters():
            stacked = torch.stack([m.get_parameter(name).detach().cpu() for m in modules])
            self.add(name.replace(".", "/"), stacked.to(device))  # nn.Module wants no dots

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        # What moves the weights moves the buffers, too, but not those of networks made of this one.
        template: Any = copy.deepcopy(self.template[0])
        self.template = [template._apply(fn)]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _call(self, method: str, weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> Any:
        return functional_call(_Method(_own(self.template[0]), method), dict(weights), (x,))

    def _map(self, method: str, x: torch.Tensor) -> torch.Tensor:
        self.check_device(x)
        weights = {f"module.{k.replace('/', '.')}": v for k, v in self.named_parameters()}
        if x.device.type != "cpu":
            call = _Method(_own(self.template[0]), method)
            return vmap(lambda w, rows: functional_call(call, w, (rows,)))(weights, x)
        # Member by member: a batched product may round differently from a single one.
        grad = torch.is_grad_enabled()

        def work(k: int) -> torch.Tensor:
            with torch.set_grad_enabled(grad):
                return self._call(method, {name: v[k] for name, v in weights.items()}, x[k])

        members = range(self.n_members)
        return torch.stack([work(0)] if len(members) == 1 else in_parallel(work, members))

    def modules_of_members(self) -> list[nn.Module]:
        """Return copies of the members, whose forward pass is decode(encode(rows)), (n, d)."""
        members: list[nn.Module] = []
        for k in range(self.n_members):
            module = copy.deepcopy(self.template[0])
            for name, stacked in self.named_parameters():
                module.get_parameter(name.replace("/", ".")).data = stacked.detach()[k].clone()
            members.append(_Reconstruction(module))
        return members

    def encode(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the codes: (K, n, d) → (K, n, units)."""
        return self._map("encode", x)

    def decode(self, code: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the data that codes stand for: (K, n, units) → (K, n, d)."""
        return self._map("decode", code)

    def forward(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return what the members make of rows: (K, n, d) → (K, n, d)."""
        return self.decode(self.encode(x))


# Of each thread: a functional call puts the weights into the module for as long as it lasts.
_COPIES = threading.local()


def _own(module: nn.Module) -> nn.Module:
    """Return this thread's copy of a module."""
    copies = vars(_COPIES).setdefault("of", WeakKeyDictionary())
    if module not in copies:
        copies[module] = copy.deepcopy(module)
    return copies[module]


class _Reconstruction(nn.Module):
    """What a module makes of rows by its two methods."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def __repr__(self) -> str:  # what messages call it
        return repr(self.module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        module: Any = self.module
        return module.decode(module.encode(x))


class _Method(nn.Module):
    """A method of a module as a module, for torch's functional call."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self._method = module, method

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.module, self._method)(x)
