"""K members of an ordinary module, which knows nothing of members."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from skrdae._parallel import in_parallel
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace

# What draws random numbers when a module is made, all of which take a generator.
_DRAWS = {
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "kaiming_normal_", "kaiming_uniform_",
    "log_normal_", "multinomial", "normal", "normal_", "orthogonal_", "rand", "randint", "randn",
    "random_", "randperm", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_",
    "xavier_uniform_",
}  # fmt: skip

# What makes tensors that are filled with them.
_MADE = {"empty", "rand", "randn", "zeros", "ones"}


class _DrawFrom(TorchFunctionMode):
    """While it lasts, this thread's modules draw their weights from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in ("rand_like", "randn_like"):  # which take none everywhere
            like = args[0]
            func, args, name = getattr(torch, name.removesuffix("_like")), (like.shape,), "rand"
            options = {"dtype": like.dtype, "device": like.device} | options
            options.pop("memory_format", None)
        if name in _DRAWS and options.get("generator") is None:
            options["generator"] = self._generator
        # Other precisions draw other numbers; torch's default is somebody else's to set.
        if name in _MADE and options.get("dtype") is None:
            options["dtype"] = torch.float32
        return func(*args, **options)


def new_template(make: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Return a new module on the CPU, whose weights are drawn from a generator."""
    with torch.device("cpu"), _DrawFrom(generator):
        return make().float().eval().requires_grad_(False)


def blank(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module whose parameters have no memory, with its buffers on a device."""
    weights = {name: value.to("meta") for name, value in module.named_parameters()}
    return _like(
        _filled(module, weights, keeps=True), torch.empty(0, dtype=torch.float32, device=device)
    )


class _OrdinaryOperations(TorchFunctionMode):
    """While it lasts, this thread's modules do without torch's fused kernels for inference.

    Attention layers take them where nothing watches their operations. They have no gradient, and
    round differently from what a network was trained with.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


class StackedModule(MemberModule):
    """K autoencoders side by side, each of them an ordinary ``nn.Module``.

    The module has two methods: ``encode(rows)``, (n, d) → (n, code_size), and ``decode(codes)``,
    (n, code_size) → (n, d). The result for a row must not depend on other rows, so there is no
    batch normalisation. The module is always in evaluation mode, so dropout does nothing. Its
    buffers are shared by the members and stay as they are made.

    Parameters
    ----------
    make : callable
        Returns a new module. It is called once for each member.
    code_size : int
        Units of a code.
    generators : list of K torch.Generator
        One for each member; the initial weights of its module are drawn from it.
    device : torch.device

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skrdae._random import member_generators
    >>> from skrdae.networks.stacked import StackedModule
    >>> class Linear(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.encode, self.decode = nn.Linear(6, 2), nn.Linear(2, 6)
    >>> network = StackedModule(Linear, 2, member_generators([0, 1, 2]), torch.device("cpu"))
    >>> X = torch.zeros(3, 10, 6)  # ten rows for each of three members
    >>> network.encode(X).shape, network(X).shape
    (torch.Size([3, 10, 2]), torch.Size([3, 10, 6]))
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
        names = [name for name, _ in modules[0].named_parameters()]
        if not names:
            raise ValueError(f"{modules[0]} has no parameters to train.")
        if len(names) < len(list(modules[0].named_parameters(remove_duplicate=False))):
            raise ValueError(
                f"{modules[0]} uses one parameter under two names. Keep it under one, and use it "
                "in both places."
            )
        for name in names:
            stacked = torch.stack([m.get_parameter(name).detach().cpu() for m in modules])
            self.add(name.replace(".", "/"), stacked.to(device))  # nn.Module wants no dots
        # In a list, which nn.Module does not look into: it lends its methods and its buffers.
        self.template = [blank(modules[0], device)]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        # What moves the weights moves the buffers, too, but not those of networks made of this one.
        base: Any = super()
        base._apply(fn, recurse)
        self.template = [_like(copy.deepcopy(self.template[0]), next(self.parameters()))]
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row, if the module has an attribute of that name."""
        template: Any = self.template[0]
        return tuple(template.row_shape)

    @torch.no_grad()
    def check_shapes(self, n_features: int) -> None:
        """Raise a ValueError if the module's methods give other shapes than they should."""
        name = type(self.template[0]).__name__
        rows = torch.zeros(self.n_members, 2, n_features, dtype=torch.float32, device=self.device)
        codes = self.encode(rows)
        for method, found, wanted in (
            ("encode", codes, self.code_size),
            ("decode", self.decode(codes), n_features),
        ):
            if found.shape != (self.n_members, 2, wanted):
                raise ValueError(
                    f"{name}.{method} gives an array of shape {tuple(found.shape[1:])} for "
                    f"2 rows of {n_features} features; it should be (2, {wanted}). The units of "
                    "a code are what _code_size returns."
                )

    def members(self, *, keeps: bool = False) -> list[nn.Module]:
        """Return each member as a module of its own, with copies of its weights.

        Copies, because the last bits of a product depend on how its operands are aligned. With
        `keeps` they are parameters, otherwise plain tensors.
        """
        weights = {name.replace("/", "."): p for name, p in self.named_parameters()}
        return [
            _filled(self.template[0], {n: p[k].clone() for n, p in weights.items()}, keeps=keeps)
            for k in range(self.n_members)
        ]

    def modules_of_members(self) -> list[nn.Module]:
        """Return each member as a module that reconstructs rows: (n, d) → (n, d)."""
        return [_Reconstruction(member) for member in self.members(keeps=True)]

    def map(self, method: str, x: torch.Tensor) -> torch.Tensor:
        """Call a method of each member's module with its rows: (K, n, …) → (K, n, …)."""
        return self._map(lambda member, rows: getattr(member, method)(rows), x)

    def _map(self, function: Callable[[Any, torch.Tensor], Any], x: torch.Tensor) -> torch.Tensor:
        self.check_device(x)
        # Member by member: a batched product may round differently from a single one.
        grad, members = torch.is_grad_enabled(), self.members()

        def work(k: int) -> torch.Tensor:
            with torch.set_grad_enabled(grad), _OrdinaryOperations():
                return function(members[k], x[k])

        places = range(len(members))
        parallel = x.device.type == "cpu" and len(members) > 1
        return torch.stack(in_parallel(work, places) if parallel else list(map(work, places)))

    def encode(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the codes: (K, n, d) → (K, n, units)."""
        return self.map("encode", x)

    def decode(self, code: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the data that codes stand for: (K, n, units) → (K, n, d)."""
        return self.map("decode", code)

    def forward(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return what the members make of rows: (K, n, d) → (K, n, d)."""
        return self._map(lambda member, rows: member.decode(member.encode(rows)), x)


class _Reconstruction(nn.Module):
    def __init__(self, member: Any) -> None:
        super().__init__()
        self.member = member

    def __repr__(self) -> str:  # what messages call it
        return repr(self.member)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.member.decode(self.member.encode(x))


def _filled(
    module: nn.Module,
    weights: Mapping[str, torch.Tensor],
    prefix: str = "",
    *,
    keeps: bool = False,
) -> Any:
    """Return a copy of a module with other weights, by name; all else is shared.

    A copy, because torch's functional calls change the module while they last, and threads share
    it. With `keeps` the weights are parameters again.
    """
    whole: Any = module
    copied = whole._replicate_for_data_parallel()
    for name, parameter in module._parameters.items():
        value = None if parameter is None else weights[prefix + name]
        if keeps:
            copied.register_parameter(name, None)
            value = value if value is None else nn.Parameter(value, requires_grad=False)
        setattr(copied, name, value)
    for name, child in module._modules.items():
        if child is not None:
            copied._modules[name] = _filled(child, weights, f"{prefix}{name}.", keeps=keeps)
    return copied


def _like(template: nn.Module, weights: torch.Tensor) -> nn.Module:
    """Bring the buffers of a module to the device and precision of weights; it has none itself."""
    for module in template.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                kind = weights.dtype if buffer.is_floating_point() else buffer.dtype
                module._buffers[name] = buffer.to(weights.device, kind)
    return template
