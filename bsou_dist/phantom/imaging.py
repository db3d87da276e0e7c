"""From anatomy and probe poses to a B-mode picture.

The steps of a scanner, on its own grid of beams and depths: which tissue lies where (a beam cuts an
ellipsoid in closed form), scatterers fixed in the body, echoes of interfaces, loss along the beam
(shadows, enhancement), the point-spread function on the complex echo (so speckle and edges are
those of a coherent picture), time-gain compensation, noise, log compression, scan conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bsou_dist.phantom.ellipsoids import Scene
from bsou_dist.phantom.sweeps import Poses
from bsou_dist.phantom.tissues import IMPEDANCE, LOSS_DB_PER_MM, PATCHINESS_DB, SCATTER_DB, Tissue

Float = NDArray[np.float32]

CELL_MM = 1.5
"""Side of the cell that holds one scatterer."""
PATCH_MM = 3.0
"""Step of the volume of slow variation."""


@dataclass(frozen=True)
class Probe:
    """A curved array: radius of its face (mm), half of its angle (rad), and how well it sees."""

    radius_mm: float
    half_angle_rad: float
    lateral_psf: tuple[float, ...]
    """Taps of the lateral point-spread function, in beams; constant in angle, so wider with
    depth.
    """
    looks: int
    """Pictures compounded into one: less speckle."""
    dynamic_range_db: float
    noise_db: float
    """Electronic noise relative to bone at the skin, before time-gain compensation."""

    @property
    def edge_gap_mm(self) -> float:
        """How far the edges of the face stand back from its middle."""
        return self.radius_mm * (1.0 - float(np.cos(self.half_angle_rad)))


PROBES = {
    "console": Probe(60.0, float(np.deg2rad(31.0)), (0.2, 0.6, 0.2), 3, 56.0, -72.0),
    "handheld": Probe(
        45.0, float(np.deg2rad(27.0)), (0.12, 0.24, 0.28, 0.24, 0.12), 1, 52.0, -64.0
    ),
}
AXIAL_PSF = (0.25, 0.5, 0.25)


@dataclass(frozen=True)
class ProbeSettings:
    """Knobs of one exam, drawn without regard to any label: depth shown (mm), gain (dB), slope of
    the time-gain compensation (dB per mm), seed of the scatterers.
    """

    depth_mm: float
    gain_db: float
    tgc_db_per_mm: float
    scatter_seed: int


@dataclass(frozen=True)
class Grid:
    """Beams, depths, and the map to pixels. ``angle`` (B,), ``depth`` (R,); ``pixel`` (P,) flat
    places of the pixels in the fan; ``corner`` (P,) flat index of the nearest lower sample;
    ``beam_part`` and ``depth_part`` (P,).
    """

    angle: Float
    depth: Float
    pixel: NDArray[np.int64]
    corner: NDArray[np.int64]
    beam_part: Float
    depth_part: Float


@lru_cache(maxsize=32)
def image_grid(probe: Probe, depth_mm: float, size_px: int, field_mm: float) -> Grid:
    """Grid of a probe and depth: about one beam per pixel at mid depth, two samples per pixel along
    a beam.
    """
    mm_per_px = field_mm / size_px
    beams = (
        int(np.ceil(2 * probe.half_angle_rad * (probe.radius_mm + 0.45 * depth_mm) / mm_per_px)) + 1
    )
    angle = np.linspace(-probe.half_angle_rad, probe.half_angle_rad, beams)
    step = 0.5 * mm_per_px
    depth = np.arange(0.0, depth_mm + step, step)

    centre = (np.arange(size_px) + 0.5) * mm_per_px
    across, down = np.meshgrid(centre - field_mm / 2.0, centre - 2.0)
    down = down + probe.radius_mm * np.cos(
        probe.half_angle_rad
    )  # the face's edges touch the upper rim
    beam = (np.arctan2(across, down) + probe.half_angle_rad) / (angle[1] - angle[0])
    sample = (np.hypot(across, down) - probe.radius_mm) / step
    inside = (beam >= 0) & (beam < beams - 1) & (sample >= 0) & (sample < len(depth) - 1)
    beam, sample = beam[inside], sample[inside]
    corner = beam.astype(np.int64) * len(depth) + sample.astype(np.int64)
    return Grid(
        angle.astype(np.float32),
        depth.astype(np.float32),
        np.flatnonzero(inside),
        corner,
        (beam % 1.0).astype(np.float32),
        (sample % 1.0).astype(np.float32),
    )


def tissue_along_beams(
    scene: Scene, poses: Poses, probe: Probe, grid: Grid, motion: NDArray[np.float64] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Tissue (F, B, R) at every sample, and (F, B, R) the number of the fetus it belongs to (0:
    none).

    ``motion`` (K, F, 3) shifts the k-th fetus (mm); without it nobody asks whose a sample is, and
    that is None.
    """
    frames, beams, depths = len(poses.face), len(grid.angle), len(grid.depth)
    apex = poses.face - probe.radius_mm * poses.inward
    relative = apex - scene.centre[:, None]
    if motion is not None:
        still = np.zeros((1, *motion.shape[1:]))
        relative = relative - np.concatenate([still, motion])[scene.fetus]
    # In the unit ball's frame a point of a beam is u + t (cos a + sin l): its square is a quadratic
    # in t.
    u = np.einsum("nij,nfj->nfi", scene.to_unit, relative)
    a = np.einsum("nij,fj->nfi", scene.to_unit, poses.inward)
    s = np.einsum("nij,fj->nfi", scene.to_unit, poses.lateral)

    def dot(p: NDArray[np.float64], q: NDArray[np.float64]) -> Float:
        return (p * q).sum(-1).astype(np.float32)[..., None]

    cos, sin = np.cos(grid.angle), np.sin(grid.angle)
    square = dot(a, a) * cos**2 + dot(a, s) * (2 * cos * sin) + dot(s, s) * sin**2
    middle = -(dot(u, a) * cos + dot(u, s) * sin) / square
    root = middle**2 - (dot(u, u) - 1.0) / square
    root = np.sqrt(np.maximum(root, 0.0))
    first = np.ceil((middle - root - probe.radius_mm) / grid.depth[1])
    last = np.ceil((middle + root - probe.radius_mm) / grid.depth[1])
    bounded = np.flatnonzero(scene.within != np.arange(len(scene.within)))
    first[bounded] = np.maximum(first[bounded], first[scene.within[bounded]])
    last[bounded] = np.minimum(last[bounded], last[scene.within[bounded]])
    hit = (last > first) & (last > 0) & (first < depths)
    first, last = (
        np.clip(first, 0, depths).astype(np.int16),
        np.clip(last, 0, depths).astype(np.int16),
    )

    tissue = np.zeros((frames * beams, depths), np.uint8)
    owner = None if motion is None else np.zeros_like(tissue)
    sample = np.arange(depths, dtype=np.int16)
    hit, first, last = (v.reshape(len(scene.tissue), -1) for v in (hit, first, last))
    for n in np.flatnonzero(scene.tissue != Tissue.AIR).tolist():
        rays = np.flatnonzero(hit[n])
        if not len(rays):
            continue
        near, far = first[n, rays], last[n, rays]
        low, high = int(near.min()), int(far.max())
        here = sample[low:high]
        inside = (here >= near[:, None]) & (here < far[:, None])
        before = tissue[rays, low:high]
        floor = scene.paints_over(n)
        if floor:
            inside &= before >= floor
        tissue[rays, low:high] = np.where(inside, scene.tissue[n], before)
        if owner is not None:
            owner[rays, low:high] = np.where(inside, scene.fetus[n], owner[rays, low:high])
    shape = (frames, beams, depths)
    return tissue.reshape(shape), None if owner is None else owner.reshape(shape)


def render(
    scene: Scene,
    poses: Poses,
    probe: Probe,
    settings: ProbeSettings,
    size_px: int,
    field_mm: float,
    rng: np.random.Generator,
    motion: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Frames (F, size_px, size_px) uint8; exactly 0 outside the fan. ``rng`` makes the electronic
    noise only.
    """
    grid = image_grid(probe, settings.depth_mm, size_px, field_mm)
    tissue, owner = tissue_along_beams(scene, poses, probe, grid, motion)
    step = float(grid.depth[1])

    loss = LOSS_DB_PER_MM[tissue]
    passed = np.cumsum(loss, axis=2, dtype=np.float32)
    passed *= -step
    shift = None if motion is None or owner is None else shift_of(owner, motion)
    cells, patch = _body_coordinates(tissue.shape, poses, probe, grid, settings.scatter_seed, shift)
    level = SCATTER_DB[tissue]
    level += PATCHINESS_DB[tissue] * patch
    level += passed
    amplitude = _amplitude(level)

    jump = np.abs(np.diff(IMPEDANCE[tissue], axis=2, append=np.float32(0.0)))
    jump[:, :, -1] = 0.0
    jump *= 0.55 * _amplitude(passed)
    energy = np.zeros(tissue.shape, np.float32)
    for look in range(probe.looks):
        for part in range(2):
            echo = _scatterers()[cells ^ np.uint16(0x5A5A * look + 0x1234 * part & 0xFFFF)]
            echo *= amplitude
            if part == 0:
                # an interface echoes in one phase all along: flat ones survive the lateral sum
                echo += jump
            echo = _filtered(_filtered(echo, AXIAL_PSF, 2), probe.lateral_psf, 1)
            energy += echo * echo
    energy *= 1.0 / probe.looks

    noise = np.float32(10.0 ** (probe.noise_db / 10.0))
    energy += noise * rng.standard_exponential(tissue.shape, dtype=np.float32)
    level = np.log10(energy, out=energy)
    level *= 10.0
    level += (settings.tgc_db_per_mm * grid.depth + settings.gain_db).astype(np.float32)
    level *= 255.0 / probe.dynamic_range_db
    level += 255.0
    np.clip(level, 0.0, 255.0, out=level)
    return _scan_converted(level, grid, size_px)


def shift_of(owner: NDArray[np.uint8], motion: NDArray[np.float64]) -> Float:
    """How far (3, F, B, R) each sample's tissue has moved with its fetus (mm)."""
    moved = np.concatenate([np.zeros((1, *motion.shape[1:])), motion]).astype(np.float32)
    frame = np.arange(len(owner))[:, None, None]
    return np.stack([moved[owner, frame, axis] for axis in range(3)])


def _body_coordinates(
    shape: tuple[int, ...], poses: Poses, probe: Probe, grid: Grid, seed: int, moved: Float | None
) -> tuple[NDArray[np.uint16], Float]:
    """Scatterer (F, B, R) uint16 and slow variation (F, B, R) at every sample, both fixed in the
    mother or a fetus.
    """
    apex = (poses.face - probe.radius_mm * poses.inward).astype(np.float32)
    along = (
        np.cos(grid.angle)[:, None] * poses.inward[:, None]
        + np.sin(grid.angle)[:, None] * poses.lateral[:, None]
    )
    tables, shift = _cell_tables(seed)
    cells = np.zeros(shape, np.uint16)
    flat = np.zeros(shape, np.int32)
    side = len(_patches())
    for axis in range(3):
        place = along[:, :, None, axis].astype(np.float32) * (
            grid.depth + np.float32(probe.radius_mm)
        )
        place += (apex[:, axis] + shift[axis])[:, None, None]
        if moved is not None:
            place -= moved[axis]
        place *= np.float32(1.0 / CELL_MM)
        cell = place.astype(np.int32)
        cells ^= tables[axis][cell & (len(tables[axis]) - 1)]
        cell >>= 1  # two cells to a step of the slow volume
        cell &= side - 1
        flat *= side
        flat += cell
    return cells, _patches().ravel()[flat]


def _cell_tables(seed: int) -> tuple[NDArray[np.uint16], Float]:
    """Three tables (3, 1024) whose XOR names a cell's scatterer, and an offset (3,) mm that keeps
    cells positive.
    """
    rng = np.random.default_rng([seed, 0x5CA7])
    return rng.integers(0, 1 << 16, (3, 1024), dtype=np.uint16), rng.uniform(
        1000.0, 1400.0, 3
    ).astype(np.float32)


@lru_cache(maxsize=1)
def _scatterers() -> Float:
    """65,536 normal numbers of variance one half, so that real and imaginary part together have
    mean energy one.
    """
    return (np.random.default_rng(20_240).standard_normal(1 << 16) / np.sqrt(2.0)).astype(
        np.float32
    )


@lru_cache(maxsize=1)
def _patches() -> Float:
    """A periodic volume (64, 64, 64) of smooth noise, standard deviation one, grain about 12 mm."""
    white = np.random.default_rng(20_241).standard_normal((64, 64, 64))
    f = np.fft.fftfreq(64, PATCH_MM)
    k2 = f[:, None, None] ** 2 + f[:, None] ** 2 + f[: 64 // 2 + 1] ** 2
    smooth = np.fft.irfftn(
        np.fft.rfftn(white) * np.exp(-2.0 * (np.pi * 5.0) ** 2 * k2), s=white.shape
    )
    return (smooth / smooth.std()).astype(np.float32)


def _amplitude(level_db: Float) -> Float:
    return np.exp(level_db * np.float32(np.log(10.0) / 20.0))


def _filtered(values: Float, taps: tuple[float, ...], axis: int) -> Float:
    """Symmetric filter along an axis; what lies beyond the ends counts as nothing."""
    half = len(taps) // 2
    out = values * np.float32(taps[half])
    moved, still = np.moveaxis(out, axis, 0), np.moveaxis(values, axis, 0)
    for k in range(1, half + 1):
        tap = np.float32(taps[half + k])
        moved[k:] += tap * still[:-k]
        moved[:-k] += tap * still[k:]
    return out


def _scan_converted(level: Float, grid: Grid, size_px: int) -> NDArray[np.uint8]:
    frames, depths = len(level), level.shape[2]
    flat = level.reshape(frames, -1)
    left, right = 1.0 - grid.beam_part, grid.beam_part
    near, far = 1.0 - grid.depth_part, grid.depth_part
    value = np.take(flat, grid.corner, axis=1) * (left * near)
    value += np.take(flat, grid.corner + 1, axis=1) * (left * far)
    value += np.take(flat, grid.corner + depths, axis=1) * (right * near)
    value += np.take(flat, grid.corner + depths + 1, axis=1) * (right * far)
    picture = np.zeros((frames, size_px * size_px), np.uint8)
    picture[:, grid.pixel] = np.rint(value).astype(np.uint8)
    return picture.reshape(frames, size_px, size_px)
