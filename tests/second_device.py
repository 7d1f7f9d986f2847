"""A second device on any machine: its tensors compute on the CPU, and refuse, as CUDA's do, to meet the CPU's.

torch has no such device without a GPU: its fake CUDA tensors have no gradients in a build without CUDA, and backends
written in Python have no streams, which backward asks for. So tensors here are wrapped, and call themselves "meta": to
torch a device like any other, which backward treats as the CPU. What goes on inside is real arithmetic, layouts and
numbers included, so that results can be compared with the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest import mock

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.plugins.precision import Precision
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")

_BETWEEN_DEVICES = {"aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense"}
_INDEXING = {"aten::index", "aten::index_put_"}
_CONVOLUTIONS = {"aten::convolution", "aten::conv3d"}  # without gradients torch calls the second
_IN_16_BITS: frozenset[Any] = frozenset(
    {functional.conv3d, functional.linear, functional.scaled_dot_product_attention, torch.matmul, Tensor.__matmul__}
)
"""Of those that CUDA's autocast computes in 16 bits, the ones that networks here use."""


@dataclass
class Seen:
    """The convolutions that the device computed: (type, channels last). `inputs` says it of what they were given, which
    behind the first one is up to the kernels of a device, `weights` of their own.
    """

    inputs: list[tuple[torch.dtype, bool]] = field(default_factory=list)
    weights: list[tuple[torch.dtype, bool]] = field(default_factory=list)


class _Tensor(Tensor):
    """A tensor on the device; `inner` holds its numbers."""

    inner: Tensor
    seen: ClassVar[Seen] = Seen()

    @staticmethod
    def __new__(cls, inner: Tensor) -> _Tensor:
        made: _Tensor = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.inner = inner.detach()
        return made

    def __repr__(self) -> str:
        return f"on the second device: {self.inner!r}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As a checkpoint that is read with map_location="cpu" gives it back."""
        return self.inner.__reduce_ex__(protocol)

    def tolist(self) -> Any:
        """torch has none for tensors of a class of their own."""
        return self.inner.tolist()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):  # torch makes an empty tensor of a list on "meta"
            args = (args[0], _without_lists(args[1]), *args[2:])
        with torch._C.DisableTorchFunctionSubclass():  # else every result would be made one of this class
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _without_lists(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_without_lists, index))
    return torch.tensor(index, dtype=None if index else torch.int64) if isinstance(index, list) else index


class _Factories(TorchDispatchMode):
    """What makes tensors from nothing has no tensor to dispatch by."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, _Tensor)]
    assert all(isinstance(tensor, _Tensor) or not tensor.is_meta for tensor in tensors), f"{name}: values were lost"
    # CUDA, too, takes from the CPU what is a number, as a tensor of no dimension is, and lists of places.
    strangers = [tensor for tensor in tensors if not isinstance(tensor, _Tensor) and tensor.dim()]
    if name in _INDEXING:
        strangers = [tensor for tensor in strangers if tensor.dtype not in (torch.int64, torch.bool)]
    if there and strangers and name not in _BETWEEN_DEVICES:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found {DEVICE} and cpu")
    stays = bool(there)
    asked = kwargs.get("device")
    if asked is not None:
        stays = torch.device(asked).type == DEVICE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    elif name == "aten::copy_":
        stays = isinstance(args[0], _Tensor)
    if name in _CONVOLUTIONS:
        for noted, tensor in zip((_Tensor.seen.inputs, _Tensor.seen.weights), args[:2], strict=True):
            noted.append((tensor.dtype, tensor.is_contiguous(memory_format=torch.channels_last_3d)))
    result = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if not stays:
        return result
    known = {id(tensor.inner): tensor for tensor in there}  # what works in place returns what it was given
    return tree_map(lambda leaf: known.get(id(leaf), _Tensor(leaf)) if type(leaf) is Tensor else leaf, result)


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, _Tensor) else leaf


class _Autocast(TorchFunctionMode):
    """torch.autocast for the device, which torch knows none for; the innermost one decides."""

    stack: ClassVar[list[torch.dtype | None]] = []

    def __init__(self, dtype: torch.dtype | None, enabled: bool) -> None:
        super().__init__()
        self._own = (dtype or torch.float16) if enabled else None

    def __enter__(self) -> Any:
        self.stack.append(self._own)
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        self.stack.pop()
        super().__exit__(*exception)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        lower = self.stack[-1]
        if lower is not None and func in _IN_16_BITS:

            def rounded(leaf: Any) -> Any:
                return leaf.to(lower) if isinstance(leaf, Tensor) and leaf.dtype == torch.float32 else leaf

            args, kwargs = tree_map(rounded, args), tree_map(rounded, kwargs)
        return func(*args, **kwargs)


def _autocast_with(usual: Callable[..., Any]) -> Callable[..., Any]:
    def autocast(device_type: str, dtype: torch.dtype | None = None, enabled: bool = True, **more: Any) -> Any:
        if device_type == DEVICE.type:
            return _Autocast(dtype, enabled)
        return usual(device_type, dtype=dtype, enabled=enabled, **more)

    return autocast


def _generator_with(usual: Callable[..., Any]) -> Callable[..., Any]:
    def generator(device: Any = "cpu") -> Any:
        return usual("cpu" if torch.device(device).type == DEVICE.type else device)

    return generator


@contextmanager
def second_device() -> Iterator[Seen]:
    """The device is there; what it computes is noted."""
    _Tensor.seen = Seen()
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(
        True
    )  # as on CUDA an optimiser's parameters move with a network
    with (
        mock.patch.object(torch, "autocast", _autocast_with(torch.autocast)),
        mock.patch.object(torch, "Generator", _generator_with(torch.Generator)),
        _Factories(),
    ):
        try:
            yield _Tensor.seen
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """There is nothing to set up."""


def fabric_there(precision: Precision) -> Fabric:
    """Lightning Fabric with one process on the device."""
    strategy = SingleDeviceStrategy(device=DEVICE, accelerator=_Accelerator(), precision=precision)
    return Fabric(strategy=strategy)
