"""Makes Triton's interpreter, which runs kernels on CPU tensors with a NumPy call per operation, less slow."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any


class _Nothing:
    """What `_patch_lang` returns if there is nothing to restore."""

    def restore(self) -> None:
        pass


def hurry() -> None:
    """Skip two of the things that the interpreter spends its time on.

    These are overflow checks of integers, which compiled kernels do not have either, and patching triton.language
    again for every function that a kernel calls: once per launch is enough.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    patch: Callable[..., Any] = interpreter._patch_lang
    launch: Callable[..., Any] = interpreter.GridExecutor.__call__
    patched: set[int] = set()

    def patch_once(function: Any) -> Any:
        modules = {id(m) for m in function.__globals__.values() if inspect.ismodule(m) and m in (tl, tl.core)}
        if modules <= patched:
            return _Nothing()
        patched.update(modules)
        return patch(function)

    def launch_patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        patched.clear()
        try:
            return launch(self, *args, **kwargs)
        finally:
            patched.clear()

    interpreter._patch_lang = patch_once
    interpreter.GridExecutor.__call__ = launch_patched
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
