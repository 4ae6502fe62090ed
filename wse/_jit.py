"""How this project uses Numba: one decorator, one cache folder, and the bit-level conversions kernels need.

Numba's own cache goes stale silently when a constant in another file changes and ignores the
bounds-check flag, so ours lives in a folder named by a hash of all sources and of that flag.
With NUMBA_DISABLE_JIT=1 everything here is plain Python with the same results, bit for bit.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core import ir as numba_ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NopythonRewrites
from numba.extending import intrinsic

JIT = not config.DISABLE_JIT
_KEEP_CACHES = 3


def _source_hash() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {config.BOUNDSCHECK}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_dir() -> Path:
    """Folder of compiled kernels for exactly these sources; `WSE_CACHE_DIR` moves it."""
    root = os.environ.get("WSE_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wse"
    return Path(root) / f"numba-{_source_hash()}"


def is_warm() -> bool:
    """Whether the main loop of exactly these sources has been compiled before; small kernels are by other things too."""
    return not JIT or any(_CACHE.glob("*/run.advance-*.nbi"))


def _prune() -> None:
    """Drop the oldest caches of other source versions."""
    try:
        others = sorted((p for p in _CACHE.parent.glob("numba-*") if p != _CACHE), key=lambda p: p.stat().st_mtime)
        for path in others[:-_KEEP_CACHES]:
            shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass


_CACHE = cache_dir()
_prune()


@register_pass(mutates_CFG=False, analysis_only=False)
class _IndexFromTheStart(FunctionPass):
    """Make the integers that index an array unsigned: what was worked out never counts from the end.

    Numba's test for that, at every index, takes a sixth of the engine's time. With NUMBA_BOUNDSCHECK a negative one is an error.
    """

    _name = "index_from_the_start"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            for expr in (*block.find_exprs("getitem"), *block.find_insts(numba_ir.SetItem)):
                array, index, *rest = state.calltypes[expr].args
                if isinstance(array, types.Array):
                    signature = state.calltypes.pop(expr)  # what is there may not be overwritten
                    state.calltypes[expr] = signature.replace(args=(array, _unsigned(index), *rest))
        return True


def _unsigned(index: types.Type) -> types.Type:
    if isinstance(index, types.BaseTuple):
        return types.Tuple(tuple(map(_unsigned, index)))
    return types.uintp if isinstance(index, types.Integer) else index


class _Compiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_IndexFromTheStart, NopythonRewrites)
        pipeline.finalize()
        return [pipeline]


_njit = functools.partial(numba.njit, nogil=True, error_model="numpy", pipeline_class=_Compiler)


def kernel(function: Callable[..., Any] | None = None, *, sources: Sequence[str] = ()) -> Any:
    """Compile `function`, cached on disk: an entry point called from Python.

    `sources`: for a kernel outside this package, its file and those of the leaves it calls; they too name the cache.
    """
    if function is None:
        return functools.partial(kernel, sources=sources)
    folder = _CACHE / hashlib.sha256(b"".join(Path(path).read_bytes() for path in sources)).hexdigest()[:16] if sources else _CACHE
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        compiled = _njit(cache=True, _nrt=False)(function)
        if JIT:
            save = compiled._cache.save_overload
            compiled._cache.save_overload = lambda *signature_and_code: _unless_disk_is_full(save, signature_and_code)
        return compiled
    except RuntimeError:  # no folder to cache in: compile every time
        return _njit()(function)
    finally:
        config.CACHE_DIR = previous


def _unless_disk_is_full(save: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Save to the cache; where that cannot be done, go on with what was compiled."""
    with contextlib.suppress(OSError):
        save(*arguments)


leaf = _njit(_nrt=False)
"""Compile a helper that other kernels call; it lives in their cache entries."""

inline = _njit(forceinline=True, _nrt=False)
"""Like `leaf`, for small helpers on the hottest paths."""

if JIT:

    @intrinsic
    def bits_to_f32(typingctx, bits):
        """The float32 with these 32 bits (any integer; the low half counts)."""

        def codegen(context, builder, signature, args):
            word = builder.trunc(args[0], ir.IntType(32)) if args[0].type.width > 32 else args[0]
            return builder.bitcast(word, ir.FloatType())

        return types.float32(bits), codegen

    @intrinsic
    def f32_to_bits(typingctx, value):
        """The 32 bits of a float32, as a non-negative int64."""

        def codegen(context, builder, signature, args):
            return builder.zext(builder.bitcast(args[0], ir.IntType(32)), ir.IntType(64))

        return types.int64(types.float32), codegen

    @intrinsic
    def f16_to_f32(typingctx, half):
        """The float32 equal to a half given as uint16; vectorises."""

        def codegen(context, builder, signature, args):
            return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

        return types.float32(types.uint16), codegen

    @intrinsic
    def f32_to_f16(typingctx, value):
        """A float32 rounded to the nearest half, ties to even, as uint16."""

        def codegen(context, builder, signature, args):
            return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

        return types.uint16(types.float32), codegen

else:

    def bits_to_f32(bits):
        return np.uint32(int(bits) & 0xFFFFFFFF).view(np.float32)

    def f32_to_bits(value):
        return int(np.float32(value).view(np.uint32))

    def f16_to_f32(half):
        return np.float32(np.uint16(half).view(np.float16))

    def f32_to_f16(value):
        with np.errstate(over="ignore"):
            return np.float32(value).astype(np.float16).view(np.uint16)
