"""Defects: which PEs and links of a wafer are dead, as a map that is given in a file or drawn from a seed.

* A **dead PE** has no core: no code, no data, no ramp, no host port. Its router still passes wavelets straight on, from one side to the
  opposite one, in any color; it neither turns nor copies them. (The chip has spare cores, and spare links that lead around those
  that fail: Hot Chips 31; 900,000 of the WSE-3's 970,000 cores are in use: cerebras.ai, "100x Defect Tolerance". How its fabric is
  rewired in detail is not published. This rule is ours, and simpler.)
* A **dead router** is a dead PE that passes nothing.
* A **dead link** is crossed by no wavelet, either way.

Nothing of this is looked at while a program runs: `wse.verify` refuses a program that uses what is dead.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wse.errors import ConfigError
from wse.files import write_text
from wse.frame import Frame
from wse.isa import OPPOSITE, PORT_STEP, Port

SCHEMA = 1
PE = tuple[int, int]
Link = tuple[PE, PE]
_KEYS = ("dead_pes", "dead_routers", "dead_links")


@dataclass(frozen=True)
class Defects:
    """What is dead on a mesh of `width` x `height` PEs: `pes` that still pass wavelets straight on, `routers` that do not, `links`
    between neighbours, the west or north one first. All sorted. `drawn`: the arguments of `random` it came from, or None.

    Raises `ConfigError` for what is outside the mesh, named twice, or no link.
    """

    width: int
    height: int
    pes: tuple[PE, ...] = ()
    routers: tuple[PE, ...] = ()
    links: tuple[Link, ...] = ()
    drawn: Mapping[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        links = [(min(link), max(link)) for link in self.links]
        for x, y in (*self.pes, *self.routers, *(pe for link in links for pe in link)):
            if not (0 <= x < self.width and 0 <= y < self.height):
                raise ConfigError(f"defect at PE ({x},{y}) is outside the mesh of {self.width}x{self.height} PEs")
        for a, b in links:
            if abs(a[0] - b[0]) + abs(a[1] - b[1]) != 1:
                raise ConfigError(f"dead link from PE ({a[0]},{a[1]}) to PE ({b[0]},{b[1]}): they are no neighbours")
        for what, found in (("PE", Counter((*self.pes, *self.routers))), ("link", Counter(links))):
            twice = next((one for one, times in found.items() if times > 1), None)
            if twice is not None:
                raise ConfigError(f"dead {what} {twice} is named twice")
        for name, values in (("pes", self.pes), ("routers", self.routers), ("links", links)):
            object.__setattr__(self, name, tuple(sorted(values)))

    @staticmethod
    def random(width: int, height: int, pe_rate: float = 0.0, link_rate: float = 0.0, seed: int = 0, routers: bool = False) -> Defects:
        """A map with these shares (0 to 1) of all PEs and links dead, wherever the seed puts them; `routers`: the routers of dead PEs too.

        With the same seed a higher rate adds to what a lower one has. Raises `ConfigError` for a rate that is none.
        """
        for what, rate in (("PEs", pe_rate), ("links", link_rate)):
            if not 0 <= rate < 1:
                raise ConfigError(f"a rate of dead {what} is at least 0 and less than 1, got {rate}")
        if seed < 0:
            raise ConfigError(f"a seed is at least 0, got {seed}")
        num_east = (width - 1) * height  # links are numbered: those to the east first, then those to the south
        num_links = num_east + width * (height - 1)
        chosen = [
            np.random.default_rng((seed, stream)).permutation(num)[: round(rate * num)]
            for stream, num, rate in ((0, width * height, pe_rate), (1, num_links, link_rate))
        ]
        pes = tuple((int(pe % width), int(pe // width)) for pe in chosen[0])
        links: list[Link] = []
        for link in chosen[1].tolist():
            south = link >= num_east
            y, x = divmod(link - num_east, width) if south else divmod(link, width - 1)
            links.append(((x, y), (x, y + 1) if south else (x + 1, y)))
        drawn = {"pe_rate": pe_rate, "link_rate": link_rate, "seed": seed, "routers": routers}
        return Defects(width, height, () if routers else pes, pes if routers else (), tuple(links), drawn)

    def on(self, width: int, height: int) -> Defects | None:
        """A random map drawn anew for another mesh; None for a map that was given."""
        if (width, height) == (self.width, self.height):
            return self
        return Defects.random(width, height, **self.drawn) if self.drawn is not None else None

    @cached_property
    def dead(self) -> np.ndarray:
        """bool (height, width): PEs without a core."""
        dead = np.zeros((self.height, self.width), bool)
        for x, y in (*self.pes, *self.routers):
            dead[y, x] = True
        return dead

    @cached_property
    def closed(self) -> np.ndarray:
        """bool (height, width, 4): whether no wavelet can leave a router through each of its four ports to the outside."""
        closed = np.zeros((self.height, self.width, 4), bool)
        for x, y in self.routers:
            closed[y, x] = True
        for (x, y), (x2, y2) in self.links:
            port = Port.EAST if x2 > x else Port.SOUTH
            closed[y, x, port] = closed[y2, x2, OPPOSITE[port]] = True
        for x, y in self.routers:
            for port, (dx, dy) in PORT_STEP.items():
                if 0 <= x + dx < self.width and 0 <= y + dy < self.height:
                    closed[y + dy, x + dx, OPPOSITE[port]] = True
        return closed

    @property
    def num_dead_pes(self) -> int:
        return len(self.pes) + len(self.routers)

    @property
    def digest(self) -> str:
        """A short hash of what is dead."""
        facts = self.facts()
        return hashlib.sha256(json.dumps([facts["mesh"], *(facts[key] for key in _KEYS)]).encode()).hexdigest()[:12]

    def in_the_way(self, frame: Frame) -> str | None:
        """The first defect that code in `frame`, on all its PEs and links, would meet, in words; None when it meets none."""
        rows, columns = np.array(frame.rows), np.array(frame.columns)
        dead = np.argwhere(self.dead[np.ix_(rows, columns)])
        if len(dead):
            return f"PE ({columns[dead[0, 1]]},{rows[dead[0, 0]]}) is dead"
        box = frame.footprint
        for port, ys, xs in (
            (Port.EAST, rows, np.arange(box.x, box.x + box.width - 1)), (Port.SOUTH, np.arange(box.y, box.y + box.height - 1), columns),
        ):  # fmt: skip
            closed = np.argwhere(self.closed[..., port][np.ix_(ys, xs)])
            if len(closed):
                return f"the link {port.name} of PE ({xs[closed[0, 1]]},{ys[closed[0, 0]]}) is dead"
        return None

    def facts(self) -> dict[str, Any]:
        """The map as JSON holds it."""
        lists = {"dead_pes": self.pes, "dead_routers": self.routers, "dead_links": self.links}
        found = {key: json.loads(json.dumps(value)) for key, value in lists.items()}
        return {"schema": SCHEMA, "mesh": [self.width, self.height], "drawn": dict(self.drawn) if self.drawn else None, **found}

    def dump(self) -> str:
        """The map as JSON, as `read_defects` takes it."""
        facts = self.facts()
        lines = [f' "{key}": {json.dumps(value)}' for key, value in facts.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, self.dump())

    def __str__(self) -> str:
        """One line for people."""
        total = self.width * self.height
        parts = [f"{self.num_dead_pes:,} of {total:,} PEs dead ({self.num_dead_pes / total:.2%})"]
        if self.routers:
            parts.append(f"{len(self.routers):,} with their routers")
        num_links = (self.width - 1) * self.height + self.width * (self.height - 1)
        parts.append(f"{len(self.links):,} of {num_links:,} links dead")
        origin = f", seed {self.drawn['seed']}" if self.drawn else ""
        return f"{', '.join(parts)}{origin}, map {self.digest}"


def parse_defects(table: Any, source: str) -> Defects:
    """A map from its JSON form. Raises `ConfigError` naming `source`."""
    if not isinstance(table, dict) or table.get("schema") != SCHEMA:
        found = table.get("schema") if isinstance(table, dict) else type(table).__name__
        raise ConfigError(f"{source}: a map of defects has schema {SCHEMA}, not {found}", help="write one with `wse defects`")
    try:
        width, height = (int(n) for n in table["mesh"])
        pes, routers = (tuple(_pe(pe) for pe in table.get(key, ())) for key in ("dead_pes", "dead_routers"))
        links = tuple((_pe(a), _pe(b)) for a, b in table.get("dead_links", ()))
        unknown = set(table) - {"schema", "mesh", "drawn", *_KEYS}
        if unknown:
            raise ConfigError(f"unknown key '{min(unknown)}'", help=f"known: mesh, {', '.join(_KEYS)}")
        defects = Defects(width, height, pes, routers, links)
        drawn = table.get("drawn")
        if drawn and Defects.random(width, height, **drawn) == defects:  # else it was edited, and is a map of its own
            defects = replace(defects, drawn=drawn)
        return defects
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}", help=error.help) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{source} is not a map of defects: {type(error).__name__} {error}") from None


def read_defects(path: Path) -> Defects:
    """A map file. Raises `ConfigError`."""
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the map of defects {path}: {error}") from None
    return parse_defects(table, str(path))


def _pe(value: Iterable[int]) -> PE:
    x, y = (int(n) for n in value)
    return x, y
