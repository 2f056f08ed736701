"""The hooks on one network that denoises. Pipelines that share the network share them too."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import sites
from .sites import FEED

OWN = "_mapfield_denoiser"
"""Key of a network's ``__dict__`` under which its `NetworkHooks` lie."""
REMEMBERED = 4
"""Calls whose rows are known again without a look at them: a step has one or two, and hands over the same tensors."""
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def unwrapped(net: nn.Module) -> nn.Module:
    """The network itself, where `torch.compile` or data parallelism has wrapped it."""
    for name in ("_orig_mod", "module"):
        net = getattr(net, name, net)
    return net


def is_compiled(net: nn.Module) -> bool:
    """Whether `torch.compile` has wrapped the network or a part of it.

    Args:
        net: the network as the pipeline calls it.
    """
    parts = unwrapped(net).modules()
    return hasattr(net, "_orig_mod") or any(m.__dict__.get("_compiled_call_impl") for m in parts)


class Joined(Protocol):
    """What the hooks of a network ask a socket for."""

    @property
    def records(self) -> Sequence[Any]:
        """Rows of prompts that hold its words."""
        ...


S = TypeVar("S", bound=Joined)


class NetworkHooks(ABC, Generic[S]):
    """Feeds the projections of one network that read text, at each of its calls.

    Args:
        net: the network.
    """

    def __init__(self, net: nn.Module):
        self.net = unwrapped(net)
        self.sockets: list[S] = []
        self.names = list(inspect.signature(type(self.net).forward).parameters)[1:]
        self.hooked: dict[int, tuple[nn.Module, RemovableHandle]] = {}
        self.holder: nn.Module | None = None
        self.root: RemovableHandle | None = None
        self.seen: list[tuple[tuple[Tensor, ...], tuple[int, ...], list[tuple[Any, S] | None]]] = []
        self.net.__dict__[OWN] = self

    @abstractmethod
    def _projections(self) -> Iterator[tuple[str, nn.Module]]:
        """The projections that read text, each with its name in its attention."""

    @abstractmethod
    def _feed(self, args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]) -> Arguments | None:
        """Recognize rows with words among those that the network is called with, and lay out what the sites read.

        Args:
            args, kwargs: of the call.
            given: the same by name.

        Returns:
            Other arguments for the call; None leaves them.
        """

    def forget(self) -> None:
        """Look at the rows of the next call anew."""
        self.seen = []

    def _recorded(
        self, texts: tuple[Tensor, ...], find: Callable[[list[Any]], Sequence[Any | None]]
    ) -> list[tuple[Any, S] | None]:
        """For each row of the batch its record and the socket that has it; None for prompts without words.

        Args:
            texts: what the network is called with; the steps of a pipeline hand over the same tensors.
            find: all records to that of each row.
        """
        versions = tuple(-1 if text.is_inference() else text._version for text in texts)
        for tensors, before, rows in self.seen:
            same = len(tensors) == len(texts) and all(a is b for a, b in zip(tensors, texts, strict=True))
            if same and before == versions and -1 not in versions:
                return rows
        owners = {id(record): socket for socket in self.sockets for record in socket.records}
        every = [record for socket in self.sockets for record in socket.records]
        rows = [None if record is None else (record, owners[id(record)]) for record in find(every)]
        self.seen = [*self.seen, (texts, versions, rows)][-REMEMBERED:]
        return rows

    def join(self, socket: S) -> None:
        """Draw ``socket``'s words too."""
        if not any(own is socket for own in self.sockets):
            self.sockets.append(socket)

    def leave(self, socket: S) -> None:
        """Forget ``socket``; with the last one all hooks go."""
        self.sockets = [own for own in self.sockets if own is not socket]
        self.forget()
        if not self.sockets:
            self._detach()

    def _detach(self) -> None:
        self.net.__dict__.pop(OWN, None)
        for module, handle in self.hooked.values():
            handle.remove()
            module.__dict__.pop(FEED, None)
        self.hooked.clear()
        if self.root is not None:
            self.root.remove()
        compiled = self.net.__dict__.get("_compiled_call_impl")
        if isinstance(compiled, _Compiled):
            self.net.__dict__["_compiled_call_impl"] = compiled.inner

    def attach(self, holder: nn.Module) -> None:
        """Put hooks where they are missing: adapters exchange projections, `torch.compile` wraps the network.

        Args:
            holder: the network as the pipeline calls it.
        """
        self._attach_sites()
        if self.holder is not holder:
            if self.root is not None:
                self.root.remove()
            self.root, self.holder = holder.register_forward_pre_hook(self.before, with_kwargs=True), holder
        compiled = self.net.__dict__.get("_compiled_call_impl")
        if compiled is not None and not isinstance(compiled, _Compiled):
            self.net.__dict__["_compiled_call_impl"] = _Compiled(compiled, self)

    def _attach_sites(self) -> None:
        now = {id(module): (leaf, module) for leaf, module in self._projections()}
        for gone in [key for key in self.hooked if key not in now]:
            module, handle = self.hooked.pop(gone)
            handle.remove()
            module.__dict__.pop(FEED, None)
        for key, (leaf, module) in now.items():
            if key not in self.hooked:
                self.hooked[key] = module, self._hook(leaf, module)

    def _hook(self, leaf: str, module: nn.Module) -> RemovableHandle:
        """Put the hook on a projection."""
        if leaf == "to_kv":
            return module.register_forward_hook(sites.feed_fused)
        return module.register_forward_pre_hook(sites.feed)

    def before(self, _module: nn.Module | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """Pre-hook of the network."""
        if torch.compiler.is_compiling():
            return None  # The wrapper's hook, or `_Compiled`, has done it outside the graph.
        self._attach_sites()
        return self._feed(args, kwargs, dict(zip(self.names, args, strict=False)) | kwargs)


class _Compiled:
    """The compiled call of a network: its hooks are traced with it, so sites are fed before, outside the graph."""

    def __init__(self, inner: Any, hooks: NetworkHooks[Any]):
        self.inner, self.hooks = inner, hooks

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self.hooks.before(None, args, kwargs) or (args, kwargs)
        return self.inner(*args, **kwargs)
