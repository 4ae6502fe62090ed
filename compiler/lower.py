"""Lower: from a placed and routed model to the program a wafer is loaded with.

Every block loops for ever over: take the vector in, do the layer, pass the vector on. A PE's tile of
a weight matrix is stored input-major, (k, m), so that a GEMV is one multiply-accumulate of length m per input.
"""

from __future__ import annotations

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.compiler.model import Model, ModelConfig
from wse.compiler.partition import Block, ceil_div, final_sums, layer_sums
from wse.compiler.place import Placement
from wse.compiler.route import FIRST_NET_COLOR, Net, entry_and_exit
from wse.isa import Op, Port, Type
from wse.kernels.gemv import gemv, multiply
from wse.kernels.line import Line, wire
from wse.kernels.reduce import reduce, root_of
from wse.kernels.rmsnorm import rmsnorm
from wse.kernels.transformer import append_cache, attend, rope, swiglu
from wse.link import Label
from wse.operands import Reg, View
from wse.program import Program, Rect
from wse.spec import MachineSpec

BLOCK_COLORS = range(FIRST_NET_COLOR)
TOKENS_IN, RESULTS_OUT = "embedding", "result"


def lower(
    model: Model, spec: MachineSpec, blocks: tuple[Block, ...], placement: Placement, nets: tuple[Net, ...],
    dtype: str, context: int, head: str = "greedy",
) -> Program:  # fmt: skip
    """The linked program. `head`: "greedy" sends one token id per token, "logits" all logits.

    Raises `DoesNotFitError` when a PE's SRAM is too small.
    """
    program = ProgramBuilder(spec, placement.width, placement.height)
    for net in nets:
        for (x, y), (rx, tx) in net.hops.items():
            program.route(Rect(x, y, 1, 1), net.color, rx, tx)
    again = program.label("next token")
    storage = {"f16": Type.F16, "f32": Type.F32}[dtype]
    for i, (block, rect) in enumerate(zip(blocks, placement.rects, strict=True)):
        lowering = _Block(program, model, rect, block, storage, context, nets[i], nets[i + 1])
        (_, _), lowering.exit = entry_and_exit(placement, i)
        if block.layer is None:
            lowering.final(again, head)
        else:
            lowering.layer(again, block.layer)
    (x, y), _ = entry_and_exit(placement, 0)
    program.input(TOKENS_IN, 0, y, nets[0].color, Port.WEST)
    program.output(RESULTS_OUT, placement.width - 1, entry_and_exit(placement, len(blocks) - 1)[1][1], nets[-1].color, Port.EAST)
    return program.link(model=model.name, dtype=dtype, context=str(context), head=head)


class _Block:
    """The state of lowering one block: its PEs, lines, registers, and the arrays shared by its ops."""

    def __init__(
        self, program: ProgramBuilder, model: Model, rect: Rect, block: Block, storage: Type, context: int, into: Net, out: Net
    ):
        self.program, self.model, self.rect, self.block, self.storage = program, model, rect, block, storage
        self.config = config = model.config
        self.into, self.out = into.color, out.color
        self.exit = (rect.x, rect.y)
        self.rows = segments(config.dim, rect.height)  # of the residual stream
        self.context, self.slots = context, ceil_div(context, rect.height)
        self.y_line = Line(rect, "y", BLOCK_COLORS)
        self.x_line = Line(rect, "x", BLOCK_COLORS)
        self.pe: Pes = program.pes(rect)

    # --- layers -----------------------------------------------------------------------------------------------

    def layer(self, again: Label, layer: int) -> None:
        """One transformer layer."""
        config, pe, program, g = self.config, self.pe, self.program, self.block.slices
        w = {name.split(".")[2]: array for name, array in self.model.weights.items() if name.startswith(f"layers.{layer}.")}
        group, part = config.n_heads // config.n_kv_heads, config.head_size // g
        sums = layer_sums(config, program.spec, self.context, self.rect.width, self.rect.height, g)
        head_lines = [self.x_line.part(kv * g, g) for kv in range(config.n_kv_heads)] if g > 1 else []
        q_of, k_of = head_columns(config.n_kv_heads, group, config.head_size, g)
        hidden = segments(config.hidden_dim, self.rect.width)
        x = pe.zeros("x", len(self.rows[0]))
        normed, delta = pe.zeros("normed", x.shape), pe.zeros("delta", x.shape)
        attn_norm = self._norm("attn_norm", w["attn_norm"])
        ffn_norm = self._norm("ffn_norm", w["ffn_norm"])
        n_qkv = (group + 2) * part
        qkv = pe.zeros("qkv", n_qkv)
        stacked = np.concatenate([w["wq"], w["wk"], w["wv"]])
        columns = [np.concatenate([q, config.q_dim + k, config.q_dim + config.kv_dim + k]) for q, k in zip(q_of, k_of, strict=True)]
        wqkv = self._tiles("wqkv", stacked, columns, by_row=False)
        wo = self._tiles("wo", w["wo"], q_of, by_row=True)
        w_gate_up = self._gate_up(w["w_gate"], w["w_up"], hidden)
        w_down = self._tiles("w_down", w["w_down"], hidden, by_row=True)
        gate_up = pe.zeros("gate_up", (2, len(hidden[0])))
        act = pe.zeros("act", len(hidden[0]))
        keys, values = pe.zeros("keys", (part, self.slots)), pe.zeros("values", (self.slots, part))
        scores, top = pe.zeros("scores", (group, self.slots)), pe.zeros("top", group)
        out, scale = pe.zeros("attended", group * part + group), pe.zeros("scale", 1)
        freqs = np.stack([self.model.rope_freqs[part // 2 * (c % g) : part // 2 * (c % g + 1)] for c in range(self.rect.width)])
        freq = pe.array("freqs", np.broadcast_to(freqs, (self.rect.height, *freqs.shape)))
        angles = pe.zeros("angles", (3 + 2 * (group + 1), part // 2))
        row_index = np.broadcast_to(np.arange(self.rect.height)[:, None, None], (self.rect.height, self.rect.width, 1))
        row_of = pe.array("row", row_index, Type.I32)
        pos, row, num = (program.reg(Type.I32) for _ in range(3))
        pe.mov(row, row_of)

        pe.place(again)
        self._take_in(x)
        rmsnorm(program, self.y_line, normed, x, attn_norm, scale, config.dim, config.norm_eps, sums.y)
        gemv(program, self.y_line, qkv, wqkv, normed, sums.y)
        rope(pe, qkv[: (group + 1) * part].reshape(group + 1, part), freq, angles, pos)
        append_cache(pe, keys, values, qkv[-2 * part : -part], qkv[-part:], row, pos, self.rect.height, num)
        q = qkv[: group * part].reshape(group, part)
        attend(program, self.y_line, head_lines, q, keys, values, scores, top, out, num, config.head_size**-0.5, sums.y, sums.heads)
        gemv(program, self.x_line, delta, wo, out[: group * part], sums.x)
        pe.add(x, x, delta)
        rmsnorm(program, self.y_line, normed, x, ffn_norm, scale, config.dim, config.norm_eps, sums.y)
        gemv(program, self.y_line, gate_up.reshape(2 * len(hidden[0])), w_gate_up, normed, sums.y)
        swiglu(pe, gate_up, act)
        gemv(program, self.x_line, delta, w_down, act, sums.x)
        pe.add(x, x, delta)
        self._pass_on(x)
        pe.add(pos, pos, 1)
        pe.jump(again)
        program.release(pos, row, num)

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
        self._take_in(x)
        sum_y = final_sums(config, program.spec, self.rect.width, self.rect.height)
        rmsnorm(program, self.y_line, normed, x, norm, scale, config.dim, config.norm_eps, sum_y)
        multiply(pe, logits, tiles, normed)
        root = self.rect.row(reduce(program, self.y_line, logits, algorithm=sum_y))
        if head == "greedy":
            self._argmax(root, vocab, logits, best, index, other, other_index)
        else:
            self._stream_row(root, [len(segment) for segment in vocab], logits)
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

    def _take_in(self, x: View) -> None:
        """Every PE sees the whole vector pass and keeps its row's segment."""
        total = self.config.dim
        skip = self.program.reg()
        for r, segment in enumerate(self.rows):
            pe = self.program.pes(self.rect.row(r))
            before = int(segment[0]) if len(segment) else total
            for what, n in ((skip, before), (x[: len(segment)], len(segment)), (skip, total - before - len(segment))):
                if n:
                    pe.mov(what, pe.recv(self.into), shape=n)
        self.program.release(skip)

    def _pass_on(self, x: View) -> None:
        """The exit's column gathers its rows' segments northward, in order, and sends them on."""
        column = Line(Rect(self.exit[0], self.rect.y, 1, self.rect.height), "y")
        after, below = 0, 0
        for r in reversed(range(self.rect.height)):
            pe = self.program.pes(column.at(r))
            out = wire(self.program, column.path(r, r - 1), BLOCK_COLORS) if r else self.out
            n = len(self.rows[r])
            if n:
                pe.mov(pe.send(out), x[:n])
            if after:
                pe.mov(pe.send(out), pe.recv(below), shape=after)
            after += n
            below = out


def segments(total: int, parts: int) -> list[np.ndarray]:
    """Indices 0..total-1 cut into `parts` segments of equal length, the last ones shorter or empty."""
    size = ceil_div(total, parts)
    return [np.arange(min(i * size, total), min((i + 1) * size, total)) for i in range(parts)]


def logits_row(spec: MachineSpec, config: ModelConfig, block: Block) -> int:
    """The row of the final block on which the logits are summed."""
    return root_of(final_sums(config, spec, block.width, block.height), block.height)


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
