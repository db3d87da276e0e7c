"""B-mode pictures of an anatomy at the poses of a probe.

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
    """A curved array and how well it sees."""

    radius_mm: float
    """Radius of its face."""
    half_angle_rad: float
    lateral_psf: tuple[float, ...]
    """Taps of the lateral point-spread function, in beams: constant in angle, wider with depth."""
    looks: int
    """Pictures compounded into one: less speckle."""
    dynamic_range_db: float
    noise_db: float
    """Electronic noise relative to bone at the skin, before time-gain compensation."""

    @property
    def edge_gap_mm(self) -> float:
        """Distance that the edges of the face stand back from its middle."""
        return self.radius_mm * (1.0 - float(np.cos(self.half_angle_rad)))


PROBES = {
    "console": Probe(
        radius_mm=60.0,
        half_angle_rad=float(np.deg2rad(31.0)),
        lateral_psf=(0.2, 0.6, 0.2),
        looks=3,
        dynamic_range_db=56.0,
        noise_db=-72.0,
    ),
    "handheld": Probe(
        radius_mm=45.0,
        half_angle_rad=float(np.deg2rad(27.0)),
        lateral_psf=(0.12, 0.24, 0.28, 0.24, 0.12),
        looks=1,
        dynamic_range_db=52.0,
        noise_db=-64.0,
    ),
}
AXIAL_PSF = (0.25, 0.5, 0.25)
"""Taps of the axial point-spread function, in samples along a beam."""
INTERFACE_GAIN = 0.55
"""Echo of a step in impedance, relative to scattering at bone's level."""


@dataclass(frozen=True)
class ProbeSettings:
    """Knobs of one exam, drawn without regard to any label."""

    depth_mm: float
    gain_db: float
    tgc_db_per_mm: float
    """Slope of the time-gain compensation."""
    scatter_seed: int


@dataclass(frozen=True)
class Grid:
    """B beams of R samples, and the map from these to the P pixels of the fan."""

    angle: Float
    """(B,), rad."""
    depth: Float
    """(R,), mm below the probe's face."""
    pixel: NDArray[np.int64]
    """Flat place (P,) of each pixel in the picture."""
    corner: NDArray[np.int64]
    """Flat index (P,) of the nearest lower sample: of the beam before it, at the depth above it."""
    beam_part: Float
    """How far (P,) on the way from that beam to the next it lies."""
    depth_part: Float
    """How far (P,) on the way from that depth to the next."""


@lru_cache(maxsize=32)
def image_grid(probe: Probe, depth_mm: float, size_px: int, field_mm: float) -> Grid:
    """Grid of a probe and depth: about one beam per pixel at mid depth, two samples per pixel."""
    mm_per_px = field_mm / size_px
    arc_mm = 2 * probe.half_angle_rad * (probe.radius_mm + 0.45 * depth_mm)
    beams = int(np.ceil(arc_mm / mm_per_px)) + 1
    angle = np.linspace(-probe.half_angle_rad, probe.half_angle_rad, beams)
    step_mm = 0.5 * mm_per_px
    depth = np.arange(0.0, depth_mm + step_mm, step_mm)

    centre = (np.arange(size_px) + 0.5) * mm_per_px
    across, down = np.meshgrid(centre - field_mm / 2.0, centre - 2.0)
    # the face's edges touch the upper rim
    down = down + probe.radius_mm * np.cos(probe.half_angle_rad)
    beam = (np.arctan2(across, down) + probe.half_angle_rad) / (angle[1] - angle[0])
    sample = (np.hypot(across, down) - probe.radius_mm) / step_mm
    between_beams = (beam >= 0) & (beam < beams - 1)
    inside = between_beams & (sample >= 0) & (sample < len(depth) - 1)
    beam = beam[inside]
    sample = sample[inside]
    corner = beam.astype(np.int64) * len(depth) + sample.astype(np.int64)
    return Grid(
        angle=angle.astype(np.float32),
        depth=depth.astype(np.float32),
        pixel=np.flatnonzero(inside),
        corner=corner,
        beam_part=(beam % 1.0).astype(np.float32),
        depth_part=(sample % 1.0).astype(np.float32),
    )


def tissue_along_beams(
    scene: Scene, poses: Poses, probe: Probe, grid: Grid, motion: NDArray[np.float64] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Tissue (F, B, R) at every sample, and the number of the fetus that it belongs to (0: none).

    ``motion`` (K, F, 3) shifts the k-th fetus (mm); without it nobody asks whose a sample is, and
    the number is None.
    """
    frames, beams, depths = len(poses.face), len(grid.angle), len(grid.depth)
    tissue = np.zeros((frames * beams, depths), np.uint8)
    owner = None if motion is None else np.zeros_like(tissue)
    sample = np.arange(depths, dtype=np.int16)
    first, last = _samples_inside(scene, poses, probe, grid, motion)
    hit = last > first
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


def _samples_inside(
    scene: Scene, poses: Poses, probe: Probe, grid: Grid, motion: NDArray[np.float64] | None
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """First sample inside each ellipsoid and first one after it, (N, F * B), along every beam.

    The second is not above the first where a beam misses.
    """
    apex = poses.face - probe.radius_mm * poses.inward
    relative = apex - scene.centre[:, None]
    if motion is not None:
        mother = np.zeros((1, *motion.shape[1:]))
        relative = relative - np.concatenate([mother, motion])[scene.fetus]
    # In the unit ball's frame a point of a beam is u + t (cos a + sin s): its square is a quadratic
    # in t.
    u = np.einsum("nij,nfj->nfi", scene.to_unit, relative)
    a = np.einsum("nij,fj->nfi", scene.to_unit, poses.inward)
    s = np.einsum("nij,fj->nfi", scene.to_unit, poses.lateral)

    def dot(p: NDArray[np.float64], q: NDArray[np.float64]) -> Float:
        return (p * q).sum(-1).astype(np.float32)[..., None]

    cos, sin = np.cos(grid.angle), np.sin(grid.angle)
    square = dot(a, a) * cos**2 + dot(a, s) * (2 * cos * sin) + dot(s, s) * sin**2
    middle = -(dot(u, a) * cos + dot(u, s) * sin) / square
    half = middle**2 - (dot(u, u) - 1.0) / square
    half = np.sqrt(np.maximum(half, 0.0))
    step_mm = grid.depth[1]
    first = np.ceil((middle - half - probe.radius_mm) / step_mm)
    last = np.ceil((middle + half - probe.radius_mm) / step_mm)

    bounded = np.flatnonzero(scene.within != np.arange(len(scene.within)))
    bound = scene.within[bounded]
    first[bounded] = np.maximum(first[bounded], first[bound])
    last[bounded] = np.minimum(last[bounded], last[bound])
    ellipsoids, depths = len(scene.tissue), len(grid.depth)
    first = np.clip(first, 0, depths).astype(np.int16)
    last = np.clip(last, 0, depths).astype(np.int16)
    return first.reshape(ellipsoids, -1), last.reshape(ellipsoids, -1)


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
    """Frames (F, size_px, size_px) uint8; exactly 0 outside the fan.

    Args:
        rng: makes the electronic noise only.
        motion: shift (K, F, 3) of each fetus (mm).
    """
    grid = image_grid(probe, settings.depth_mm, size_px, field_mm)
    tissue, owner = tissue_along_beams(scene, poses, probe, grid, motion)

    passed_db = np.cumsum(LOSS_DB_PER_MM[tissue], axis=2, dtype=np.float32)
    passed_db *= -float(grid.depth[1])
    shift = None if motion is None or owner is None else shift_of(owner, motion)
    cells, patch = _body_coordinates(tissue.shape, poses, probe, grid, settings.scatter_seed, shift)
    level_db = SCATTER_DB[tissue]
    level_db += PATCHINESS_DB[tissue] * patch
    level_db += passed_db
    scattering = _amplitude(level_db)

    interfaces = np.abs(np.diff(IMPEDANCE[tissue], axis=2, append=np.float32(0.0)))
    interfaces[:, :, -1] = 0.0
    interfaces *= INTERFACE_GAIN * _amplitude(passed_db)

    energy = _echo_energy(cells, scattering, interfaces, probe)
    noise = np.float32(10.0 ** (probe.noise_db / 10.0))
    energy += noise * rng.standard_exponential(tissue.shape, dtype=np.float32)
    return _scan_converted(_grey(energy, grid, probe, settings), grid, size_px)


def _echo_energy(
    cells: NDArray[np.uint16], scattering: Float, interfaces: Float, probe: Probe
) -> Float:
    """Energy (F, B, R) of the echo that the probe forms, the mean of its looks.

    Args:
        cells: scatterer at each sample.
        scattering: amplitude there.
        interfaces: amplitude of the echo of an interface there.
    """
    energy = np.zeros(cells.shape, np.float32)
    for look in range(probe.looks):
        for part in range(2):  # real and imaginary
            independent = np.uint16(0x5A5A * look + 0x1234 * part & 0xFFFF)
            echo = _scatterers()[cells ^ independent]
            echo *= scattering
            if part == 0:
                # an interface echoes in one phase all along: flat ones survive the lateral sum
                echo += interfaces
            echo = _filtered(echo, AXIAL_PSF, axis=2)
            echo = _filtered(echo, probe.lateral_psf, axis=1)
            energy += echo * echo
    energy *= 1.0 / probe.looks
    return energy


def _grey(energy: Float, grid: Grid, probe: Probe, settings: ProbeSettings) -> Float:
    """Grey level of an energy, which is overwritten: 255 is bone at the skin."""
    level = np.log10(energy, out=energy)
    level *= 10.0
    level += (settings.tgc_db_per_mm * grid.depth + settings.gain_db).astype(np.float32)
    level *= 255.0 / probe.dynamic_range_db
    level += 255.0
    return np.clip(level, 0.0, 255.0, out=level)


def shift_of(owner: NDArray[np.uint8], motion: NDArray[np.float64]) -> Float:
    """Shift (3, F, B, R) of each sample's tissue with its fetus (mm)."""
    mother = np.zeros((1, *motion.shape[1:]))
    moved = np.concatenate([mother, motion]).astype(np.float32)
    frame = np.arange(len(owner))[:, None, None]
    return np.stack([moved[owner, frame, axis] for axis in range(3)])


def _body_coordinates(
    shape: tuple[int, ...], poses: Poses, probe: Probe, grid: Grid, seed: int, moved: Float | None
) -> tuple[NDArray[np.uint16], Float]:
    """Scatterer (F, B, R) uint16 and slow variation (F, B, R) at every sample.

    Both are fixed in the mother or a fetus. ``moved`` (3, F, B, R) is the fetus's shift (mm).
    """
    apex = (poses.face - probe.radius_mm * poses.inward).astype(np.float32)
    inward = np.cos(grid.angle)[:, None] * poses.inward[:, None]
    sideways = np.sin(grid.angle)[:, None] * poses.lateral[:, None]
    along = inward + sideways
    from_apex_mm = grid.depth + np.float32(probe.radius_mm)
    tables, shift = _cell_tables(seed)
    patches = _patches()
    side = len(patches)
    cells = np.zeros(shape, np.uint16)
    flat = np.zeros(shape, np.int32)
    for axis in range(3):
        place = along[:, :, None, axis].astype(np.float32) * from_apex_mm
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
    return cells, patches.ravel()[flat]


def _cell_tables(seed: int) -> tuple[NDArray[np.uint16], Float]:
    """Three tables (3, 1024) whose XOR names a cell's scatterer, and an offset (3,) mm.

    The offset keeps the cells' numbers positive.
    """
    rng = np.random.default_rng([seed, 0x5CA7])
    tables = rng.integers(0, 1 << 16, (3, 1024), dtype=np.uint16)
    offset_mm = rng.uniform(1000.0, 1400.0, 3)
    return tables, offset_mm.astype(np.float32)


@lru_cache(maxsize=1)
def _scatterers() -> Float:
    """65,536 normal numbers of variance one half: a complex scatterer has mean energy one."""
    normal = np.random.default_rng(20_240).standard_normal(1 << 16)
    return (normal / np.sqrt(2.0)).astype(np.float32)


@lru_cache(maxsize=1)
def _patches() -> Float:
    """A periodic volume (64, 64, 64) of smooth noise, standard deviation one, grain about 12 mm."""
    white = np.random.default_rng(20_241).standard_normal((64, 64, 64))
    f = np.fft.fftfreq(64, PATCH_MM)
    f_half = f[: 64 // 2 + 1]  # a real transform keeps half of the last axis
    frequency2 = f[:, None, None] ** 2 + f[:, None] ** 2 + f_half**2
    low_pass = np.exp(-2.0 * (np.pi * 5.0) ** 2 * frequency2)  # a Gaussian of sigma 5 mm
    smooth = np.fft.irfftn(np.fft.rfftn(white) * low_pass, s=white.shape)
    return (smooth / smooth.std()).astype(np.float32)


def _amplitude(level_db: Float) -> Float:
    return np.exp(level_db * np.float32(np.log(10.0) / 20.0))


def _filtered(values: Float, taps: tuple[float, ...], axis: int) -> Float:
    """Values through a symmetric filter along an axis; beyond the ends there is nothing."""
    half = len(taps) // 2
    filtered = values * np.float32(taps[half])
    target = np.moveaxis(filtered, axis, 0)  # views
    source = np.moveaxis(values, axis, 0)
    for k in range(1, half + 1):
        tap = np.float32(taps[half + k])
        target[k:] += tap * source[:-k]
        target[:-k] += tap * source[k:]
    return filtered


def _scan_converted(level: Float, grid: Grid, size_px: int) -> NDArray[np.uint8]:
    """Pictures (F, S, S) of beams (F, B, R), by bilinear interpolation."""
    frames, depths = len(level), level.shape[2]
    flat = level.reshape(frames, -1)
    left, right = 1.0 - grid.beam_part, grid.beam_part  # weights of the beams on either side
    near, far = 1.0 - grid.depth_part, grid.depth_part
    value = np.take(flat, grid.corner, axis=1) * (left * near)
    value += np.take(flat, grid.corner + 1, axis=1) * (left * far)
    value += np.take(flat, grid.corner + depths, axis=1) * (right * near)
    value += np.take(flat, grid.corner + depths + 1, axis=1) * (right * far)
    picture = np.zeros((frames, size_px * size_px), np.uint8)
    picture[:, grid.pixel] = np.rint(value).astype(np.uint8)
    return picture.reshape(frames, size_px, size_px)
