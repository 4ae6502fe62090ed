"""What README.md shows of the code, made from it: `python tests/readme.py` writes it, a test fails when it is stale."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

from wse import errors
from wse.bench import decode, fidelity
from wse.bench.output import DECODE_COLUMNS, FIDELITY_COLUMNS, Columns, table
from wse.cli import COMMANDS, cli
from wse.compiler.compile import compile_model
from wse.spec import PRESETS, load_spec
from wse.verify import verify

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = Path(__file__).parent / "examples"


def fill(text: str) -> str:
    """`text` with all that is between `<!-- KIND NAME -->` and `<!-- end -->` made anew: tables, examples' code, what they print."""
    return re.sub(r"(<!-- (table|code|output) (\w+) -->\n).*?(<!-- end -->)", _filled, text, flags=re.DOTALL)


def _filled(match: re.Match[str]) -> str:
    makers = {"table": lambda name: TABLES[name](), "code": _code, "output": lambda name: f"```text\n{OUTPUTS[name]()}```\n"}
    return f"{match[1]}{makers[match[2]](match[3])}{match[4]}"


def _code(name: str) -> str:
    return f"```python\n{(EXAMPLES / name).with_suffix('.py').read_text()}```\n"


def run_example(name: str) -> str:
    """What `tests/examples/NAME.py` prints when it is run."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str((EXAMPLES / name).with_suffix(".py")), run_name="__main__")
    return out.getvalue()


def run_verb(*arguments: str) -> str:
    """What a command line prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli(arguments, standalone_mode=False)
    return out.getvalue()


def _results() -> str:
    return "".join(f"{name}.py: {run_example(name).splitlines()[-1]}\n" for name in TUTORIAL)


def _session() -> str:
    return run_verb("debug", str(EXAMPLES / "gemv_streamed.py"), "-x", str(EXAMPLES / "session.txt"), "--print-pes", "0,0")


def _lines() -> str:
    return run_verb("profile", str(EXAMPLES / "gemv_streamed.py"), "--print-pes", "0:1,1")


def _hang() -> str:
    with pytest.raises(errors.DeadlockError) as caught:
        run_verb("profile", str(EXAMPLES / "swap.py"))
    return caught.value.render() + "\n"


def _proof() -> str:
    with pytest.raises(errors.ProgramError) as caught:
        verify(runpy.run_path(str(EXAMPLES / "swap.py"))["swap"](known=True).link())
    return caught.value.render() + "\n"


def _verbs() -> str:
    columns: Columns = (("verb", lambda r: r["verb"]), ("what it does", lambda r: r["help"]))
    rows = []
    for command in COMMANDS:
        for sub in getattr(command, "commands", {}).values() or [None]:
            name = f"{command.name} {sub.name}" if sub else command.name
            rows.append({"verb": f"`wse {name}`", "help": (sub or command).help.split("\n\n")[0].replace("\n", " ")})
    return table(columns, rows)


def _presets() -> str:
    names = ("width", "height", "sram_bytes", "clock_hz", "hop_cycles", "ramp_in_cycles", "ramp_out_cycles", "fma_lanes")
    columns: Columns = (("preset", lambda r: f"`{r['name']}`"), *((n, lambda r, n=n: f"{r[n]:,.0f}") for n in names))
    return table(columns, [load_spec(name).model_dump() for name in PRESETS])


def _exit_codes() -> str:
    columns: Columns = (("code", lambda r: r["code"]), ("error", lambda r: r["kind"]), ("meaning", lambda r: r["meaning"]))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.WseError)]
    rows = [{"code": "0", "kind": "", "meaning": "done"}]
    for kind in sorted(kinds[1:], key=lambda kind: kind.exit_code):
        rows.append({"code": str(kind.exit_code), "kind": f"`{kind.kind}`", "meaning": kind.__doc__.splitlines()[0]})
    return table(columns, [*rows, {"code": str(errors.EXIT_BUG), "kind": "`bug`", "meaning": "A bug of ours, with a traceback."}])


def _bench() -> str:
    compiled = compile_model("kjv", load_spec("wse2"))
    tests = decode.plan([16], [16], [0, 128])
    exact = [column for column in DECODE_COLUMNS if "tok/s" not in column[0] or "clock" in column[0]]
    return table(exact, [decode.measure(compiled, test, "snake", 1, False, lambda runs: None) for test in tests])


def _fidelity() -> str:
    """Of what takes seconds."""
    shown = ("workload", "preset", "published", "measured", "deviation", "by", "role")
    records = [fidelity.measure(workload) for workload in fidelity.plan()]
    return table([column for column in FIDELITY_COLUMNS if column[0] in shown], records) + f"\n{fidelity.summarize(records)}.\n"


TUTORIAL = ("gemv_one", "gemv_row", "gemv_rectangle", "gemv_streamed")
OUTPUTS = {"results": _results, "session": _session, "lines": _lines, "hang": _hang, "proof": _proof}
TABLES = {"verbs": _verbs, "presets": _presets, "exit_codes": _exit_codes, "bench": _bench, "fidelity": _fidelity}

if __name__ == "__main__":
    README.write_text(fill(README.read_text()))
