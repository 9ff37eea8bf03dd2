"""Checks the shapes of arrays in every call of the tests, and all types where tensors are at home.

pytest's option --jaxtyping-packages decorates each function with `jaxtyping.jaxtyped`, which binds
the arguments, records the sizes of their axes and checks them twice: some 30 µs per call. Most
functions have no array in their signature and need beartype alone, which takes a tenth of that.
Above the models strings, rows and requests are passed on, whose types mypy knows: to check those
too doubled the processor time of importing search (3.8 s in place of 2.0), and 300 searches of 600
vectors took 0.35 s in place of 0.27. So there only functions with arrays are checked.
`tests/conftest.py` imports this module before anything of seesay.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, get_type_hints

import jaxtyping

_with_shapes = jaxtyping.jaxtyped
_TENSORS = ("data", "evaluation", "inference", "models", "objectives", "training", "weights")
_CHECKED = tuple(f"seesay.{package}." for package in _TENSORS)


def jaxtyped(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """What the import hook of jaxtyping decorates functions and classes with."""
    if function is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if function.__module__.startswith("seesay.") and not _is_checked(function):
        return function
    if not isinstance(function, types.FunctionType) or _returns_before_it_ends(function):
        return _with_shapes(function, typechecker=typechecker)
    hints = _hints(function)
    if any("jaxtyping" in repr(hint) for hint in hints.values()):
        return _with_shapes(function, typechecker=typechecker)
    try:
        checked = typechecker(_annotated(function, hints))
    except AttributeError:  # beartype 0.23 fails on recursive types, such as those of JSON
        return _with_shapes(function, typechecker=typechecker)
    return functools.update_wrapper(checked, function)


def _is_checked(of: Any) -> bool:
    """Whether it stands where all is checked, or has an array in its signature or fields."""
    hints = getattr(of, "__annotations__", {}).values()
    return of.__module__.startswith(_CHECKED) or any("jaxtyping" in repr(hint) for hint in hints)


def _returns_before_it_ends(function: types.FunctionType) -> bool:
    return (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )


def _hints(function: types.FunctionType) -> dict[str, Any]:
    """The annotations, without those that only a static type checker can resolve."""
    hints: dict[str, Any] = {}
    for name, hint in function.__annotations__.items():
        one = types.SimpleNamespace(__annotations__={name: hint})
        try:
            hints |= get_type_hints(one, function.__globals__, include_extras=True)
        except Exception:  # a name that is imported under TYPE_CHECKING, as a rule
            continue
    return hints


def _annotated(function: types.FunctionType, hints: dict[str, Any]) -> types.FunctionType:
    """The same function with other annotations."""
    same = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    same.__qualname__, same.__module__ = function.__qualname__, function.__module__
    same.__kwdefaults__, same.__annotations__ = function.__kwdefaults__, hints
    return same


jaxtyping.jaxtyped = jaxtyped
