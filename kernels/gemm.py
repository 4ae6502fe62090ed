"""GEMM on P x P PEs: SUMMA, Cannon, and the cyclic shift with two-hop interleaving ("MeshGEMM", WaferLLM, OSDI'25).

Each takes A (M x K) and B (K x N) as `cut_tiles` cuts them and leaves C's tiles (n, m), transposed, in the array "C" of each PE
(`read_product` joins them). Contract: `gemm_reference` to within K 2^-24 |A| |B|: products and sums rounded to f32 (K 2^-10 in f16,
where sums neither overflow nor vanish), one order for each element of C: k rising in SUMMA, rising from a block that depends on the PE
in the others. In f16 tiles are sent two elements to a wavelet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Op, Type
from wse.kernels.cost import issue_wait, pass_cycles, vector_cycles, wavelets
from wse.kernels.line import Line, join, ring_wires, stage_wires
from wse.kernels.product import MAPPED, Product, join_tiles
from wse.machine import Machine
from wse.operands import Reg, View
from wse.program import Rect
from wse.spec import MachineSpec
from wse.where import kernel_line

SEND_A, SEND_B, TAKE_A, TAKE_B = 1, 2, 3, 4  # microthreads of a shift


def summa(
    program: ProgramBuilder, rect: Rect, a: np.ndarray, b: np.ndarray, product: Product = MAPPED, type: Type = Type.F32
) -> View:
    """C = A B in P steps: in step s, column s sends its tiles of A along the rows, row s its tiles of B along the columns.

    Routes are fixed, so a tile goes from core to core, stored and passed on; the next step's tiles may be on their way by then.
    """
    tiles_a, tiles_b, c = gemm_arrays(program, rect, a, b, type)
    pe = program.pes(rect)
    x, y, from_a, from_b = (program.reg(Type.I32) for _ in range(4))
    where = np.stack(np.meshgrid(np.arange(rect.width), np.arange(rect.height)), axis=-1)
    place = pe.array("place", where, Type.I32)
    pe.mov(x, place[0])
    pe.mov(y, place[1])
    with pe.loop(rect.width) as step:
        _pass_tile(program, Line(rect, "x"), step, x, tiles_a, from_a)
        _pass_tile(program, Line(rect, "y"), step, y, tiles_b, from_b)
        product.emit(pe, c, tiles_a[0], tiles_b[0], from_a, from_b)
    program.release(x, y, from_a, from_b)
    return c


def _pass_tile(program: ProgramBuilder, line: Line, step: Reg, index: Reg, tiles: View, start: Reg) -> None:
    """The PE at index `step` of each line sends tiles[0] both ways; the others take it into tiles[1] and pass it on."""
    size = tiles.strides[0]
    out, back = (stage_wires(program, line, outward) for outward in (True, False))
    own, from_lower, done = (program.label(name) for name in ("own tile", "from a lower index", "tile is here"))
    for i in range(line.length):
        pe, last = program.pes(line.at(i)), i == line.length - 1
        pe.branch(Op.BEQ, step, index, own)
        pe.mov(start, size)
        pe.branch(Op.BLT, step, index, from_lower)
        if not last:
            pe.mov(tiles[1], pe.recv(back[i]), type=tiles.type)
            if i:
                pe.mov(pe.send(back[i - 1]), tiles[1], type=tiles.type)
        pe.jump(done)
        pe.place(from_lower)
        if i:
            pe.mov(tiles[1], pe.recv(out[i - 1]), type=tiles.type)
            if not last:
                pe.mov(pe.send(out[i]), tiles[1], type=tiles.type)
        pe.jump(done)
        pe.place(own)
        pe.mov(start, 0)
        if not last:
            pe.mov(pe.send(out[i]), tiles[0], type=tiles.type)
        if i:
            pe.mov(pe.send(back[i - 1]), tiles[0], type=tiles.type)
        pe.place(done)


def summa_cycles(
    spec: MachineSpec, side: int, m: int, k: int, n: int, product: Product = MAPPED, type: Type = Type.F32
) -> int:
    """Predicted cycles of `summa` with tiles of m x k and k x n: when each PE is done with each step, by the rules of design 2.2."""
    move, add = vector_cycles(spec, Op.MOV, 1), vector_cycles(spec, Op.ADD, 1)
    now = np.full((side, side), 3 * move)  # (y, x); x and y loaded, the counter cleared
    for step in range(side):
        now = _pass_times(spec, now, step, wavelets(k * m, type))
        now = _pass_times(spec, now.T, step, wavelets(k * n, type)).T
        again = step < side - 1
        now = now + product.cycles(spec, m, k, n, type) + add + (spec.branch_taken_cycles if again else spec.branch_not_taken_cycles)
    return int(now.max())


def _pass_times(spec: MachineSpec, now: np.ndarray, root: int, num: int) -> np.ndarray:
    """When the PEs (lines, length) that began `_pass_tile` at `now` are done with it, for tiles of `num` elements."""
    wait, move, hop = issue_wait(spec), vector_cycles(spec, Op.MOV, 1), pass_cycles(spec, 1)
    room = spec.ramp_fifo_room + spec.link_fifo_room + spec.core_queue_room  # wavelets that can leave before the next PE takes any
    done = now.copy()
    free = now[:, root] + spec.branch_taken_cycles + move  # when the root can send, first to higher indices
    length = now.shape[1]
    for side, branch in ((range(root + 1, length), spec.branch_taken_cycles), (range(root - 1, -1, -1), spec.branch_not_taken_cycles)):
        sent, sender = free + wait, root  # first beat of the send at hand
        for i in side:
            ready = now[:, i] + spec.branch_not_taken_cycles + move + branch
            first = np.maximum(ready + wait, sent + hop)
            end = np.maximum(sent + num, first + num - room)  # of the send
            if sender == root:
                free = end
            else:
                done[:, sender] = end + spec.branch_taken_cycles
            sent, sender = first + num + wait, i
        if sender != root:
            done[:, sender] = sent - wait + spec.branch_taken_cycles
    done[:, root] = free
    return done


def summa_hops(side: int, m: int, k: int, n: int, type: Type = Type.F32) -> int:
    """Wavelet-hops of `summa`: every tile crosses all links of its row or column."""
    return side * side * (side - 1) * (wavelets(k * m, type) + wavelets(k * n, type))


# --- cyclic shifts ----------------------------------------------------------------------------------------------


def cannon_order(side: int) -> list[int]:
    """The ring in the order of the line: neighbours one hop apart, the way back as long as the line."""
    return list(range(side))


def interleaved_order(side: int) -> list[int]:
    """The ring out over the even PEs and back over the odd ones: no neighbours further than two hops apart."""
    return [*range(0, side, 2), *reversed(range(1, side, 2))]


def cannon(
    program: ProgramBuilder, rect: Rect, a: np.ndarray, b: np.ndarray, product: Product = MAPPED, type: Type = Type.F32
) -> View:
    """C = A B: align A along rows and B along columns, then P times multiply and shift both by one (Cannon 1969)."""
    return _shifted_product(program, rect, a, b, cannon_order(rect.width), product, type)


def mesh_gemm(
    program: ProgramBuilder, rect: Rect, a: np.ndarray, b: np.ndarray, product: Product = MAPPED, type: Type = Type.F32,
    loaded: bool = False,
) -> View:  # fmt: skip
    """As `cannon`, on rings that are interleaved so that no shift goes further than two hops; `loaded`: B is aligned as it is loaded."""
    return _shifted_product(program, rect, a, b, interleaved_order(rect.width), product, type, loaded)


def _shifted_product(
    program: ProgramBuilder, rect: Rect, a: np.ndarray, b: np.ndarray, order: Sequence[int], product: Product, type: Type,
    loaded: bool = False,
) -> View:  # fmt: skip
    """Tiles shift while they are multiplied, into the other of two buffers. The rings' logical order is `order` along both axes."""
    place = np.argsort(order)  # of each index in the ring: k runs along the rings, the rows and columns of C do not
    turned = (place[:, None] + place) % len(order) if loaded else place[:, None]
    a, b = a[:, place], b[turned, np.arange(len(order))]
    tiles_a, tiles_b, c = gemm_arrays(program, rect, a, b, type)
    pe, side = program.pes(rect), rect.width
    now_a, now_b, next_a, next_b = (program.reg(Type.I32) for _ in range(4))
    for now, following, tiles in ((now_a, next_a, tiles_a), (now_b, next_b, tiles_b)):
        pe.mov(now, 0)
        pe.mov(following, tiles.strides[0])
    shift_a = _Shift(program, Line(rect, "x"), order, tiles_a, now_a, next_a, (SEND_A, TAKE_A))
    shift_b = _Shift(program, Line(rect, "y"), order, tiles_b, now_b, next_b, (SEND_B, TAKE_B))
    if side > 1:
        shift_a.align("turns_a", np.broadcast_to(place[:, None], (side, side)))
        if not loaded:
            shift_b.align("turns_b", np.broadcast_to(place[None, :], (side, side)))
    with pe.loop(side):
        shift_a.start(forward=True)
        shift_b.start(forward=True)
        product.emit(pe, c, tiles_a[0], tiles_b[0], now_a, now_b)
        shift_a.finish()
        shift_b.finish()
    program.release(now_a, now_b, next_a, next_b)
    return c


class _Shift:
    """Shifts of tiles (2, k, m) along the rings of `line`: out of the buffer at `now`, into the one at `following`."""

    def __init__(
        self, program: ProgramBuilder, line: Line, order: Sequence[int], tiles: View, now: Reg, following: Reg, threads: tuple[int, int]
    ):
        self.program, self.line, self.tiles, self.now, self.following, self.threads = program, line, tiles, now, following, threads
        self.wires = {forward: (ring, ring_wires(program, line, ring)) for forward, ring in ((True, order[::-1]), (False, order))}

    def start(self, forward: bool) -> None:
        """Begin a shift by one, forward being from logical index j to j - 1."""
        ring, colors = self.wires[forward]
        for j, i in enumerate(ring if colors else ()):
            pe = self.program.pes(self.line.at(i))
            send, take, type = pe.send(colors[i]), pe.recv(colors[ring[j - 1]]), self.tiles.type
            pe.mov(send, self.tiles[0].shifted(self.now), thread=self.threads[0], type=type)
            pe.mov(self.tiles[0].shifted(self.following), take, thread=self.threads[1], type=type)

    def finish(self) -> None:
        """Wait for the end of a shift and change buffers."""
        pe: Pes = self.program.pes(self.line.rect)
        if self.line.length > 1:
            join(pe, self.tiles[0], *self.threads)
            for offset in (self.now, self.following):
                pe.sub(offset, self.tiles.strides[0], offset)

    def align(self, name: str, turns: np.ndarray) -> None:
        """Shift each line as often as `turns` (height, width) says, the shorter way round."""
        program, pe = self.program, self.program.pes(self.line.rect)
        side = self.line.length
        left = program.reg(Type.I32)
        pe.mov(left, pe.array(name, np.where(turns <= side // 2, turns, turns - side)[..., None], Type.I32))
        done, backward = program.label("aligned"), program.label("backward")
        pe.branch(Op.BEQ, left, 0, done)
        pe.branch(Op.BLT, left, 0, backward)
        for forward, step in ((True, -1), (False, 1)):
            again = program.label("shift again") if forward else backward
            pe.place(again)
            self.start(forward)
            self.finish()
            pe.add(left, left, step)
            pe.branch(Op.BNE, left, 0, again)
            if forward:
                pe.jump(done)
        pe.place(done)
        program.release(left)


def cyclic_cycles(
    spec: MachineSpec, side: int, m: int, k: int, n: int, order: Sequence[int], product: Product = MAPPED, type: Type = Type.F32
) -> int:
    """Predicted cycles of `cannon` or `mesh_gemm`, an estimate: the alignment's turns of the busiest line, then P steps.

    A step is the product and the shifts' beats on one datapath, or the way to the farthest neighbour and a tile's beats,
    whichever is more.
    """
    move, add = vector_cycles(spec, Op.MOV, 1), vector_cycles(spec, Op.ADD, 1)
    if side == 1:
        return 5 * move + product.cycles(spec, m, k, n, type) + add + spec.branch_not_taken_cycles
    far = max(abs(i - order[j - 1]) for j, i in enumerate(order))
    control = 2 * spec.issue_cycles + 4 * add
    turn = control + add + spec.branch_taken_cycles
    sizes = wavelets(k * m, type), wavelets(k * n, type)
    align = sum((side // 2) * (turn + pass_cycles(spec, far) + size) for size in sizes)
    work = product.cycles(spec, m, k, n, type) + 2 * sum(sizes)
    step = max(work, pass_cycles(spec, far) + max(sizes)) + 2 * control + add + spec.branch_taken_cycles
    return 5 * move + align + side * step


def cyclic_hops(side: int, m: int, k: int, n: int, order: Sequence[int], type: Type = Type.F32) -> int:
    """Wavelet-hops of `cannon` or `mesh_gemm`: a ring's links for every shift, of all lines."""
    ring = sum(abs(i - order[j - 1]) for j, i in enumerate(order))
    turns = sum(min(j, side - j) for j in range(side)) + side * side
    return ring * turns * (wavelets(k * m, type) + wavelets(k * n, type))


def read_product(machine: Machine, rect: Rect, shape: tuple[int, int]) -> np.ndarray:
    """C (M x N) out of the PEs of `rect`, after any of the three."""
    tiles = [[machine.read(rect.x + x, rect.y + y, "C").T for x in range(rect.width)] for y in range(rect.height)]
    return join_tiles(np.array(tiles), shape)


def gemm_reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A B in f64."""
    return a.astype(np.float64) @ b.astype(np.float64)


def gemm_arrays(program: ProgramBuilder, rect: Rect, a: np.ndarray, b: np.ndarray, type: Type) -> tuple[View, View, View]:
    """Arrays "A" (2, k, m), "B" (2, k, n), the second of each a buffer, and "C" (n, m), zero."""
    side = rect.width
    if rect.height != side or a.shape[:2] != (side, side) or b.shape[:2] != (side, side) or a.shape[3] != b.shape[2]:
        raise ProgramError(
            f"a GEMM wants P x P PEs and P x P tiles (m, k) and (k, n), got {rect}, {a.shape} and {b.shape}", notes=[kernel_line()]
        )
    pe = program.pes(rect)
    both = [np.stack([tiles, np.zeros_like(tiles)], axis=2) for tiles in (a.swapaxes(2, 3), b)]
    return pe.array("A", both[0], type), pe.array("B", both[1], type), pe.zeros("C", (b.shape[3], a.shape[2]), type)
