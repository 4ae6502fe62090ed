"""MachineSpec: every number the machine is made of, loaded from TOML presets that name their sources.

A preset gives each number as `key = { value = …, source = "…" }`; a user's own file or `--set`
may give a bare value. Units are part of the key.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wse.errors import ConfigError, nearest

PRESETS = ("toy", "wse2", "wse3", "wse3-hw")


class MachineSpec(BaseModel):
    """The numbers of one machine (design section 2). Frozen; `sources` says where each number comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(description="preset or file this spec was read from")
    width: int = Field(ge=1, le=4096, description="usable PEs along x (east)")
    height: int = Field(ge=1, le=4096, description="usable PEs along y (south)")
    clock_hz: float = Field(gt=0, description="clock, used only to turn cycles into seconds")
    sram_bytes: int = Field(ge=256, le=1 << 24, description="SRAM of one PE")
    sram_reserved_bytes: int = Field(ge=0, description="SRAM kept for the runtime; code and data get the rest")
    instruction_bytes: int = Field(ge=0, description="SRAM taken by one instruction with its descriptors")
    num_colors: int = Field(ge=1, le=32, description="routable colors")
    num_registers: int = Field(ge=4, le=256, description="32-bit scalar registers of a core")
    num_microthreads: int = Field(ge=0, le=15, description="asynchronous vector operations a core can have under way")
    num_tasks: int = Field(ge=1, le=62, description="local tasks of a core")
    hop_cycles: int = Field(ge=1, description="router to neighbouring router")
    ramp_in_cycles: int = Field(ge=1, description="router to core")
    ramp_out_cycles: int = Field(ge=0, description="core to its own router, beyond the executing cycle")
    router_queue_depth: int = Field(ge=1, description="wavelets a router holds per color")
    input_queue_depth: int = Field(ge=1, description="wavelets a core holds per color on its way in")
    output_queue_depth: int = Field(ge=0, description="wavelets a core holds per color on its way out")
    issue_cycles: int = Field(ge=1, description="vector operation: issue to first beat, 1 = the same cycle")
    map_step_cycles: int = Field(ge=0, description="added per outer step of a mapped operation")
    control_cycles: int = Field(ge=1, description="activate, block, unblock")
    branch_taken_cycles: int = Field(ge=1, description="a jump, or a branch that is taken")
    branch_not_taken_cycles: int = Field(ge=1, description="a branch that falls through")
    task_start_cycles: int = Field(ge=0, description="from picking a task to its first instruction")
    move_lanes: int = Field(ge=1, description="elements per beat of a copy, 32-bit")
    add_lanes: int = Field(ge=1, description="elements per beat of add, multiply, compare, 32-bit")
    fma_lanes: int = Field(ge=1, description="elements per beat of multiply-accumulate, f32")
    move_cycles: int = Field(ge=1, description="cycles one beat of a copy takes")
    add_cycles: int = Field(ge=1, description="cycles one beat of add, multiply, compare takes")
    fma_cycles: int = Field(ge=1, description="cycles one beat of multiply-accumulate takes")
    move_f16_lanes: int = Field(ge=1, description="elements per beat of a copy, f16")
    add_f16_lanes: int = Field(ge=1, description="elements per beat of add, multiply, compare, f16")
    fma_f16_lanes: int = Field(ge=1, description="elements per beat of multiply-accumulate, f16")
    fma_mixed_lanes: int = Field(ge=1, description="elements per beat of multiply-accumulate, f16 factors and f32 sum")
    move_f16_cycles: int = Field(ge=1, description="cycles one beat of a copy takes, f16")
    add_f16_cycles: int = Field(ge=1, description="cycles one beat of add, multiply, compare takes, f16")
    fma_f16_cycles: int = Field(ge=1, description="cycles one beat of multiply-accumulate takes, f16")
    fma_mixed_cycles: int = Field(ge=1, description="cycles one beat of multiply-accumulate takes, f16 factors and f32 sum")
    special_cycles: int = Field(ge=1, description="cycles per element of exp, rsqrt, sin, cos, SiLU, divide")
    bank_conflicts: int = Field(ge=0, le=1, description="1: a beat whose operands meet in a bank of the SRAM takes a cycle more")
    sources: dict[str, str] = Field(default_factory=dict, description="where each number comes from")

    @property
    def data_bytes(self) -> int:
        """SRAM of one PE that code and data can use, in bytes."""
        return self.sram_bytes - self.sram_reserved_bytes

    @property
    def ramp_fifo_room(self) -> int:
        """Wavelets a core may have on their way out per color (design 2.2, ramp out)."""
        return self.router_queue_depth + self.output_queue_depth + 1 + self.ramp_out_cycles

    @property
    def link_fifo_room(self) -> int:
        """Wavelets a router may have queued or under way per color arriving over a link."""
        return self.router_queue_depth + self.hop_cycles

    @property
    def core_queue_room(self) -> int:
        """Wavelets a core may have queued or under way per color arriving over the ramp."""
        return self.input_queue_depth + self.ramp_in_cycles

    def replace(self, source: str = "set by the user", **changes: Any) -> MachineSpec:
        """A copy with `changes`, checked like a file; unknown keys raise `ConfigError`."""
        return _build({**self.model_dump(), **changes}, source, changed=changes)

    def dump(self) -> str:
        """The spec as TOML that `load_spec` reads back, each number with its source."""
        lines = [f'name = "{self.name}"']
        for key in _numbers():
            source = self.sources.get(key, "assumed").replace('"', "'")
            lines.append(f'{key} = {{ value = {getattr(self, key)!r}, source = "{source}" }}')
        return "\n".join(lines) + "\n"


def load_spec(arch: str = "wse2", **changes: Any) -> MachineSpec:
    """The preset `arch`, or the TOML file at that path, with `changes` on top.

    A file may say `base = "wse2"` and give only what differs. Raises `ConfigError` for an unknown
    preset or key, a wrong type or a value out of range.
    """
    spec = _read(arch)
    return spec.replace(**changes) if changes else spec


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """`("hop_cycles=2", …)` as typed changes for `MachineSpec.replace`. Raises `ConfigError`."""
    changes: dict[str, Any] = {}
    for setting in settings:
        key, sep, text = setting.partition("=")
        if not sep:
            raise ConfigError(f"--set wants key=value, got '{setting}'")
        _check_key(key.strip(), "--set")
        kind = MachineSpec.model_fields[key.strip()].annotation
        try:
            changes[key.strip()] = float(text) if kind is float else int(text)
        except ValueError:
            raise ConfigError(f"--set {key}: '{text}' is not a number") from None
    return changes


def _numbers() -> list[str]:
    return [key for key in MachineSpec.model_fields if key not in ("name", "sources")]


def _check_key(key: str, where: str) -> None:
    if key not in _numbers():
        raise ConfigError(f"unknown key '{key}' in {where}", help=nearest(key, _numbers()))


def _read(arch: str) -> MachineSpec:
    if arch in PRESETS:
        text = (resources.files("wse") / "presets" / f"{arch}.toml").read_text()
        where = f"preset {arch}"
    else:
        path = Path(arch)
        if path.suffix != ".toml":
            raise ConfigError(f"unknown architecture '{arch}'", help=nearest(arch, [*PRESETS, "a .toml file"]))
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read machine file {path}: {error}") from None
        where = str(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from None
    base = table.pop("base", None)
    values: dict[str, Any] = {} if base is None else _read(str(base)).model_dump()
    values["name"] = str(table.pop("name", Path(arch).stem))
    sources = dict(values.get("sources", {}))
    for key, entry in table.items():
        _check_key(key, where)
        if isinstance(entry, dict):
            if not set(entry) <= {"value", "source"} or "value" not in entry:
                raise ConfigError(f"{where}: '{key}' must be a number or {{ value = …, source = … }}")
            values[key], sources[key] = entry["value"], str(entry.get("source", "assumed"))
        else:
            values[key], sources[key] = entry, f"set in {where}"
    values["sources"] = sources
    return _build(values, where)


def _build(values: dict[str, Any], where: str, changed: dict[str, Any] | None = None) -> MachineSpec:
    if changed:
        for key in changed:
            _check_key(key, "machine settings")
        values["sources"] = {**values["sources"], **dict.fromkeys(changed, where)}
    for key in _numbers():
        if key not in values:
            raise ConfigError(f"{where}: missing key '{key}'", help='start from a preset with base = "wse2"')
    if isinstance(values["clock_hz"], int):
        values["clock_hz"] = float(values["clock_hz"])
    try:
        spec = MachineSpec(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key} = {first['input']!r}: {first['msg'].lower()}") from None
    if spec.data_bytes <= 0:
        raise ConfigError(f"{where}: sram_reserved_bytes leaves nothing of the {spec.sram_bytes} B of SRAM")
    return spec
