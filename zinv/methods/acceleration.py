"""Steps replayed as a CUDA graph or compiled, on request; whatever does not work is done plainly, with one line why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Literal

import torch
from torch import Tensor

Terms = Mapping[str, Tensor]
Step = Callable[[], Terms]
"""Each term's values, after which the variables have their gradients."""

How = Literal["plain", "graph", "compile"]
WARM_UP: Final = 3

_chosen: ContextVar[How] = ContextVar("how", default="plain")
_told: set[str] = set()


@contextmanager
def accelerated(how: How) -> Iterator[None]:
    """Inside, descents make their steps so."""
    token = _chosen.set(how)
    try:
        yield
    finally:
        _chosen.reset(token)


def make_step(variables: Sequence[Tensor], terms: Step, total: Callable[[Terms], Tensor], steady: bool) -> Step:
    """One evaluation, forward and backward, as it was chosen.

    Args:
        variables: leaves that require a gradient.
        terms: each term's values `(N,)` at the present variables.
        total: the sum that is descended on, of such values.
        steady: the terms draw nothing, so that what is captured once can be replayed, and a step to try it is none.
    """
    how = _chosen.get()
    if how == "graph" and variables[0].device.type != "cuda":
        return _plainly(variables, terms, total, how, f"a {variables[0].device.type} device has no CUDA graphs")
    if how != "plain" and not steady:
        return _plainly(variables, terms, total, how, "each step draws anew")
    try:
        if how == "graph":
            return _graph(variables, plain_step(variables, terms, total))
        if how == "compile":
            return _compiled(variables, terms, total)
    except Exception as error:  # of many kinds: compilers, drivers, operators that cannot be captured
        return _plainly(variables, terms, total, how, str(error) or type(error).__name__)
    return plain_step(variables, terms, total)


def plain_step(variables: Sequence[Tensor], terms: Step, total: Callable[[Terms], Tensor]) -> Step:
    """Operator by operator."""

    def step() -> Terms:
        for variable in variables:
            variable.grad = None
        values = terms()
        total(values).backward()
        return values

    return step


def _plainly(variables: Sequence[Tensor], terms: Step, total: Callable[[Terms], Tensor], how: How, why: str) -> Step:
    line = f"trainer.step={how}: {' '.join(why.split())[:200]}; steps are made plainly."
    if line not in _told:
        _told.add(line)
        print(line, file=sys.stderr)
    return plain_step(variables, terms, total)


def _graph(variables: Sequence[Tensor], step: Step) -> Step:
    """The step captured once (PyTorch's whole-network capture); values and gradients lie where the capture put them."""
    aside = torch.cuda.Stream(variables[0].device)
    aside.wait_stream(torch.cuda.current_stream(variables[0].device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream(variables[0].device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        values = step()
    gradients = [variable.grad for variable in variables]

    def replay() -> Terms:
        graph.replay()
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = gradient
        return values

    return replay


def _compiled(variables: Sequence[Tensor], terms: Step, total: Callable[[Terms], Tensor]) -> Step:
    """With torch's compiler; the first step is made here, so that what cannot be compiled shows at once."""
    step = plain_step(variables, torch.compile(terms, dynamic=False), total)
    step()
    return step
