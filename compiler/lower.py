"""Lower: from a placed and routed model to the program a wafer is loaded with.

Every block loops for ever over: take the vector in, do the layer (or half of it), pass the vector on. A PE's tile of
a weight matrix is stored input-major, (k, m), so that a GEMV is one multiply-accumulate of length m per input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.compiler.cost import TAKE_IN, Part, Shape, ceil_div
from wse.compiler.model import Model, ModelConfig
from wse.compiler.partition import CODE_BYTES, Block
from wse.compiler.passing import BLOCK_COLORS, pass_on, take_in
from wse.compiler.place import Placement
from wse.compiler.route import Net
from wse.isa import Op, Port, Type
from wse.kernels.gemv import gemv, multiply
from wse.kernels.line import Line, wire
from wse.kernels.reduce import reduce, root_of
from wse.kernels.rmsnorm import rmsnorm
from wse.kernels.transformer import append_cache, attend, rope, swiglu
from wse.operands import Label, Reg, View
from wse.program import Program, Rect
from wse.spec import MachineSpec

TOKENS_IN, RESULTS_OUT = "embedding", "result"

WEIGHT_ARRAYS = {
    "attn_norm": "attn_norm", "qkv": "wqkv", "attn_out": "wo", "ffn_norm": "ffn_norm", "gate_up": "w_gate_up", "down": "w_down",
    "final_norm": "final_norm", "logits": "w_logits",
}  # fmt: skip
"""The array that holds an op's weights."""

TABLE_ARRAYS = ("freqs", "row")
"""Arrays a layer reads and never writes, besides weights."""

CACHE_ARRAYS = ("keys", "values")

REUSED = ("attn_residual", "attn_out", "attn_norm", "qkv")
"""Ops of a layer whose output is overwritten before the token is done."""


def lower(
    model: Model, spec: MachineSpec, blocks: tuple[Block, ...], placement: Placement, nets: tuple[Net, ...],
    dtype: str, context: int, head: str = "greedy", kept: tuple[str, ...] = (),
) -> Program:  # fmt: skip
    """The linked program. `head`: "greedy" sends one token id per token, "logits" all logits.

    `kept`: ops of `REUSED` whose outputs are also copied to arrays of their own (`kept_array`), for verification.

    Raises `DoesNotFitError` when a PE's SRAM is too small.
    """
    program = ProgramBuilder(spec, placement.width, placement.height, placement.defects)
    for lane in (lane for net in nets for lane in net.lanes):
        for (x, y), (rx, tx) in lane.hops.items():
            program.route(Rect(x, y, 1, 1), lane.color, rx, tx)
    again = program.label("next token")
    storage = {"f16": Type.F16, "f32": Type.F32}[dtype]
    for i, (block, frame) in enumerate(zip(blocks, placement.frames, strict=True)):
        into = replace(nets[i], entries=tuple(found for pe in nets[i].entries if (found := frame.logical(*pe))))
        out = replace(nets[i + 1], exits=tuple(found for pe in nets[i + 1].exits if (found := frame.logical(*pe))))
        with program.frame(frame):
            lowering = _Block(program, model, frame.rect, block, storage, context, into, out, kept)
            if block.part is Part.FINAL:
                lowering.final(again, head)
            else:
                lowering.layer(again)
    program.input(TOKENS_IN, *nets[0].exits[0], nets[0].lanes[0].color, Port.WEST)
    program.output(RESULTS_OUT, *nets[-1].entries[0], nets[-1].lanes[0].color, Port.EAST)
    return program.link(model=model.name, dtype=dtype, context=str(context), head=head)


class _Block:
    """The state of lowering one block: its PEs, lines, registers, and the arrays shared by its ops."""

    def __init__(
        self, program: ProgramBuilder, model: Model, rect: Rect, block: Block, storage: Type, context: int, into: Net, out: Net,
        kept: tuple[str, ...],
    ):  # fmt: skip
        self.program, self.model, self.rect, self.block, self.storage = program, model, rect, block, storage
        self.config = config = model.config
        self.into, self.net_out = into, out
        self.exit, self.out = out.exits[0], out.lanes[0].color  # of the final block, which has one of each
        self.rows = segments(config.dim, rect.height)  # of the residual stream
        self.slots = ceil_div(context, rect.height)
        self.sums = Shape(config, block.part, rect.width, rect.height, block.slices, context).sums(program.spec)
        self.y_line, self.x_line = Line(rect, "y", BLOCK_COLORS), Line(rect, "x", BLOCK_COLORS)
        self.pe: Pes = program.pes(rect)
        self.kept = kept

    @contextmanager
    def _op(self, name: str, output: View | None = None) -> Iterator[None]:
        """Code of one op of the graph. `output` is reused later within the token, so a copy is kept when that was asked for."""
        with self.program.op(name):
            yield
        if output is not None and name in self.kept:
            with self.program.op("kept"):
                self.pe.mov(self.pe.zeros(kept_array(name), output.shape), output)

    # --- layers -----------------------------------------------------------------------------------------------

    def layer(self, again: Label) -> None:
        """One transformer layer, or half of it."""
        pe, program, part = self.pe, self.program, self.block.part
        prefix = f"layers.{self.block.layer}."
        weights = {name.removeprefix(prefix): array for name, array in self.model.weights.items() if name.startswith(prefix)}
        x = pe.zeros("x", len(self.rows[0]))
        normed, delta, scale = pe.zeros("normed", x.shape), pe.zeros("delta", x.shape), pe.zeros("scale", 1)
        pos = program.reg(Type.I32)
        steps = []
        if part is not Part.FEED_FORWARD:
            steps.append(self._attention(weights, x, normed, delta, scale, pos))
        if part is not Part.ATTENTION:
            steps.append(self._feed_forward(weights, x, normed, delta, scale))
        pe.place(again)
        with self._op(TAKE_IN):
            take_in(program, self.rect, self.rows, self.into, x)
        for step in steps:
            step()
        with self._op("pass_on"):
            pass_on(program, self.rect, self.rows, self.net_out, x)
        with self._op("next_token"):
            pe.add(pos, pos, 1)
            pe.jump(again)
        program.release(pos)

    def _attention(
        self, w: dict[str, np.ndarray], x: View, normed: View, delta: View, scale: View, pos: Reg
    ) -> Callable[[], None]:
        """Allocate what attention needs; the function returned writes its code, once."""
        config, pe, program, g = self.config, self.pe, self.program, self.block.slices
        group, part = config.n_heads // config.n_kv_heads, config.head_size // g
        sums = self.sums
        head_lines = [self.x_line.part(kv * g, g) for kv in range(config.n_kv_heads)] if g > 1 else []
        q_of, k_of = head_columns(config.n_kv_heads, group, config.head_size, g)
        norm = self._norm("attn_norm", w["attn_norm"])
        qkv = pe.zeros("qkv", (group + 2) * part)
        stacked = np.concatenate([w["wq"], w["wk"], w["wv"]])
        columns = [np.concatenate([q, config.q_dim + k, config.q_dim + config.kv_dim + k]) for q, k in zip(q_of, k_of, strict=True)]
        wqkv = self._tiles("wqkv", stacked, columns, by_row=False)
        wo = self._tiles("wo", w["wo"], q_of, by_row=True)
        keys, values = pe.zeros("keys", (part, self.slots)), pe.zeros("values", (self.slots, part))
        scores, top = pe.zeros("scores", (group, self.slots)), pe.zeros("top", group)
        out = pe.zeros("attended", group * part + group)
        freqs = np.stack([self.model.rope_freqs[part // 2 * (c % g) : part // 2 * (c % g + 1)] for c in range(self.rect.width)])
        freq = pe.array("freqs", np.broadcast_to(freqs, (self.rect.height, *freqs.shape)))
        angles = pe.zeros("angles", (3 + 2 * (group + 1), part // 2))
        row_index = np.broadcast_to(np.arange(self.rect.height)[:, None, None], (self.rect.height, self.rect.width, 1))
        row_of = pe.array("row", row_index, Type.I32)
        row, num = program.reg(Type.I32), program.reg(Type.I32)
        pe.mov(row, row_of)

        def write() -> None:
            with self._op("attn_norm", normed):
                rmsnorm(program, self.y_line, normed, x, norm, scale, config.dim, config.norm_eps, sums.y)
            with self._op("qkv", qkv):
                gemv(program, self.y_line, qkv, wqkv, normed, sums.y)
            with self._op("rope"):
                rope(pe, qkv[: (group + 1) * part].reshape(group + 1, part), freq, angles, pos)
            with self._op("cache"):
                append_cache(pe, keys, values, qkv[-2 * part : -part], qkv[-part:], row, pos, self.rect.height, num)
            with self._op("attention"):
                q = qkv[: group * part].reshape(group, part)
                attend(
                    program, self.y_line, head_lines, q, keys, values, scores, top, out, num, config.head_size**-0.5, sums.y, sums.heads,
                )  # fmt: skip
            with self._op("attn_out", delta):
                gemv(program, self.x_line, delta, wo, out[: group * part], sums.x)
            with self._op("attn_residual", x):
                pe.add(x, x, delta)
            program.release(row, num)

        return write

    def _feed_forward(self, w: dict[str, np.ndarray], x: View, normed: View, delta: View, scale: View) -> Callable[[], None]:
        """Allocate what the feed-forward half needs; the function returned writes its code, once."""
        config, pe, program, sums = self.config, self.pe, self.program, self.sums
        hidden = segments(config.hidden_dim, self.rect.width)
        norm = self._norm("ffn_norm", w["ffn_norm"])
        w_gate_up = self._gate_up(w["w_gate"], w["w_up"], hidden)
        w_down = self._tiles("w_down", w["w_down"], hidden, by_row=True)
        gate_up = pe.zeros("gate_up", (2, len(hidden[0])))
        act = pe.zeros("act", len(hidden[0]))

        def write() -> None:
            with self._op("ffn_norm"):
                rmsnorm(program, self.y_line, normed, x, norm, scale, config.dim, config.norm_eps, sums.y)
            with self._op("gate_up"):
                gemv(program, self.y_line, gate_up.reshape(2 * len(hidden[0])), w_gate_up, normed, sums.y)
            with self._op("swiglu"):
                swiglu(pe, gate_up, act)
            with self._op("down"):
                gemv(program, self.x_line, delta, w_down, act, sums.x)
            with self._op("ffn_residual"):
                pe.add(x, x, delta)

        return write

    def final(self, again: Label, head: str) -> None:
        """Final norm, logits, and argmax (or the logits themselves) to the host."""
        config, pe, program = self.config, self.pe, self.program
        vocab = segments(config.vocab_size, self.rect.width)
        x = pe.zeros("x", len(self.rows[0]))
        normed, scale = pe.zeros("normed", x.shape), pe.zeros("scale", 1)
        norm = self._norm("final_norm", self.model.weights["final_norm"])
        tiles = self._tiles("w_logits", self.model.weights["output"], vocab, by_row=False)
        logits = pe.zeros("logits", len(vocab[0]))
        best, index, other, other_index = (program.reg(t) for t in (Type.F32, Type.I32, Type.F32, Type.I32))
        pe.place(again)
        with self._op(TAKE_IN):
            take_in(program, self.rect, self.rows, self.into, x)
        with self._op("final_norm"):
            rmsnorm(program, self.y_line, normed, x, norm, scale, config.dim, config.norm_eps, self.sums.y)
        with self._op("logits"):
            multiply(pe, logits, tiles, normed)
            root = self.rect.row(reduce(program, self.y_line, logits, algorithm=self.sums.y))
        if head == "greedy":
            with self._op("argmax"):
                self._argmax(root, vocab, logits, best, index, other, other_index)
        else:
            with self._op("logits_out"):
                self._stream_row(root, [len(segment) for segment in vocab], logits)
        with self._op("next_token"):
            pe.jump(again)
        program.release(best, index, other, other_index)

    def _argmax(
        self, root: Rect, vocab: list[np.ndarray], logits: View, best: Reg, index: Reg, other: Reg, other_index: Reg
    ) -> None:
        """Each PE of the root row finds its best logit; the row passes the best so far along to the exit, lowest index on ties."""
        eastward = self.exit[0] != self.rect.x or root.width == 1
        order = list(range(root.width)) if eastward else list(range(root.width))[::-1]
        into = 0
        for step, c in enumerate(order):
            here = self.program.pes(root.column(c))
            here.mov(best, -np.inf)
            here.argmax(best, logits[: len(vocab[c])], int(vocab[c][0]))
            if step:
                here.mov(other, here.recv(into))
                here.mov(other_index, here.recv(into))
                keep = self.program.label("keep")
                # coming from lower indices the other wins ties, coming from higher ones it loses them
                here.branch(Op.BLT if eastward else Op.BGE, *((other, best) if eastward else (best, other)), keep)
                here.mov(best, other)
                here.mov(index, other_index)
                here.place(keep)
            if step < root.width - 1:
                into = wire(self.program, Line(root, "x").path(c, order[step + 1]), BLOCK_COLORS)
                here.mov(here.send(into), best)
                here.mov(here.send(into), index)
        up = self._wire_to_exit(root.y)
        last = self.program.pes(root.column(order[-1]))
        last.mov(last.send(up), index)
        self._relay(up, 1)

    def _stream_row(self, root: Rect, counts: list[int], logits: View) -> None:
        """All logits of the root row, in order, along the row to the exit's column and out."""
        eastward = self.exit[0] != self.rect.x or root.width == 1
        order = list(range(root.width)) if eastward else list(range(root.width))[::-1]
        passed, into = 0, 0
        for step, c in enumerate(order):
            here = self.program.pes(root.column(c))
            last = step == root.width - 1
            out = self._wire_to_exit(root.y) if last else wire(self.program, Line(root, "x").path(c, order[step + 1]), BLOCK_COLORS)
            if not eastward:  # the host puts segments that come last first back in order
                here.mov(here.send(out), logits[: counts[c]])
            if step:
                here.mov(here.send(out), here.recv(into), shape=passed)
            if eastward:
                here.mov(here.send(out), logits[: counts[c]])
            passed += counts[c]
            into = out
        self._relay(into, passed)

    def _wire_to_exit(self, y: int) -> int:
        """The color in which the PE of the exit's column in mesh row y sends to the exit, or out when it is the exit."""
        column = Line(Rect(self.exit[0], self.rect.y, 1, self.rect.height), "y")
        start, end = y - self.rect.y, self.exit[1] - self.rect.y
        return self.out if start == end else wire(self.program, column.path(start, end), BLOCK_COLORS)

    def _relay(self, color: int, num: int) -> None:
        """The exit PE passes `num` wavelets that come to it in `color` on to the next net."""
        if color != self.out:
            top = self.program.pes(Rect(*self.exit, 1, 1))
            top.mov(top.send(self.out), top.recv(color), shape=num)

    # --- data and moving vectors --------------------------------------------------------------------------------

    def _norm(self, name: str, weights: np.ndarray) -> View:
        """A norm's weights in y-layout, f32, zero where padded."""
        padded = _pad(np.asarray(weights, np.float32), self.rows)  # (rows, segment)
        return self.pe.array(name, np.broadcast_to(padded[:, None], (self.rect.height, self.rect.width, padded.shape[1])))

    def _tiles(self, name: str, matrix: np.ndarray, columns: list[np.ndarray], by_row: bool) -> View:
        """Tiles (k, m) of a (d_out, d_in) matrix on every PE.

        `by_row` False: inputs are the row's segment of the residual stream, outputs the column's; True: the other way round.
        """
        rows, cols = _index(self.rows), _index(columns)
        padded = np.zeros((matrix.shape[0] + 1, matrix.shape[1] + 1), matrix.dtype)  # index -1 reads a zero
        padded[:-1, :-1] = matrix
        if by_row:
            data = padded[rows[:, None, None, :], cols[None, :, :, None]]
        else:
            data = padded[cols[None, :, None, :], rows[:, None, :, None]]
        return self.pe.array(name, data, self.storage)

    def _gate_up(self, gate: np.ndarray, up: np.ndarray, hidden: list[np.ndarray]) -> View:
        """Gate and up side by side: one GEMV gives (gate | up), each padded to the segment length."""
        n = gate.shape[0]
        index = _index(hidden)
        both = np.concatenate([index, np.where(index < 0, -1, index + n)], axis=1)
        return self._tiles("w_gate_up", np.concatenate([gate, up]), list(both), by_row=False)


def segments(total: int, parts: int) -> list[np.ndarray]:
    """Indices 0..total-1 cut into `parts` segments of equal length, the last ones shorter or empty."""
    size = ceil_div(total, parts)
    return [np.arange(min(i * size, total), min((i + 1) * size, total)) for i in range(parts)]


def kept_array(op: str) -> str:
    """The array that holds the copy of an op's output."""
    return f"kept_{op}"


def fitting_copies(config: ModelConfig, spec: MachineSpec, blocks: tuple[Block, ...]) -> tuple[str, ...]:
    """As many ops of `REUSED` as every block that has them has SRAM for copies of, by the partition's estimate."""
    mine = [block for block in blocks if block.part in (Part.LAYER, Part.ATTENTION)]
    free = spec.data_bytes - CODE_BYTES - max(block.sram_bytes for block in mine)
    segment = max(ceil_div(config.dim, block.height) for block in mine)
    n_qkv = (config.n_heads // config.n_kv_heads + 2) * config.head_size // min(block.slices for block in mine)
    fitting = []
    for op in REUSED:
        need = 4 * (n_qkv if op == "qkv" else segment) + spec.instruction_bytes
        if need <= free:
            fitting.append(op)
            free -= need
    return tuple(fitting)


def logits_row(spec: MachineSpec, config: ModelConfig, block: Block) -> int:
    """The row of the final block on which the logits are summed."""
    return root_of(Shape(config, block.part, block.width, block.height, block.slices, 1).sums(spec).y, block.height)


def _index(parts: list[np.ndarray]) -> np.ndarray:
    """Segments as a matrix (parts, longest), -1 where padded."""
    size = max(len(part) for part in parts)
    return np.stack([np.pad(part, (0, size - len(part)), constant_values=-1) for part in parts])


def _pad(vector: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    return np.append(vector, np.zeros(1, vector.dtype))[_index(parts)]


def head_columns(n_kv: int, group: int, head_size: int, g: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Per column: indices of its q elements (group x part) and of its k (or v) elements (part)."""
    part = head_size // g
    q_of, k_of = [], []
    for kv in range(n_kv):
        for s in range(g):
            inside = np.arange(s * part, (s + 1) * part)
            q_of.append(np.concatenate([(kv * group + h) * head_size + inside for h in range(group)]))
            k_of.append(kv * head_size + inside)
    return q_of, k_of
