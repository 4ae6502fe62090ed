"""Emulated tokens per second beside the NumPy reference's, in the same run.

    python benchmarks/decode.py [MODEL] [--tokens 32]
"""

from __future__ import annotations

import os
import resource
import time

import click

from wse.compiler.check import new_reference
from wse.compiler.compile import compile_model
from wse.runner import Session
from wse.spec import load_spec


@click.command()
@click.argument("model", default="kjv")
@click.option("--tokens", default=32, show_default=True)
@click.option("--prompt", default="And the LORD spake", show_default=True)
def main(model: str, tokens: int, prompt: str) -> None:
    """Print the figures; fails when the tokens differ."""
    start = time.perf_counter()
    compiled = compile_model(model, load_spec("wse2"))
    print(f"{os.cpu_count()} cores; {model}: compiled in {time.perf_counter() - start:.1f} s")
    ids = compiled.model.tokenizer.encode(prompt)  # type: ignore[union-attr]
    session = Session(compiled)
    ours = [token.id for token in session.generate(ids, 1)]
    start = time.perf_counter()
    ours += [token.id for token in session.generate(ours, tokens)]
    emulated = tokens / (time.perf_counter() - start)
    reference = new_reference(compiled)
    theirs = list(reference.generate(ids, 1))
    start = time.perf_counter()
    theirs += list(reference.generate(theirs, tokens))
    numpy_rate = tokens / (time.perf_counter() - start)
    assert ours == theirs, (ours, theirs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"emulated {emulated:.2f} tokens/s, NumPy {numpy_rate:.2f} tokens/s: {numpy_rate / emulated:.1f} x; peak {peak:.1f} GB")


if __name__ == "__main__":
    main()
