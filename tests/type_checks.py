"""Checks the types of every call in the tests, and the shapes of arrays, at less cost.

pytest's option --jaxtyping-packages decorates each function with `jaxtyping.jaxtyped`, which binds
the arguments, records the sizes of their axes and checks them twice: some 30 µs per call. Most
functions have no array in their signature and need beartype alone, which takes a tenth of that.
`tests/conftest.py` imports this module before anything of seesay.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, get_type_hints

import jaxtyping

_with_shapes = jaxtyping.jaxtyped


def jaxtyped(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """What the import hook of jaxtyping decorates functions and classes with."""
    if function is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
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
