"""Procedural pictures: printed labels, wood, cloth, plaster. All from a seeded generator, RGB in [0, 1]."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Picture = NDArray[np.float32]
"""(H, W, 3) float32 RGB, display-referred (gamma encoded), in [0, 1]."""

_WORDS = ("ALPHA", "NORD", "OAT", "TERRA", "MOLA", "VITA", "RUNO", "KORN", "SOLA", "PIXEL", "ORBIT", "LUMEN")


def noise(height: int, width: int, cells: tuple[int, int], rng: np.random.Generator,
          octaves: int = 4) -> NDArray[np.float32]:
    """Smooth noise (height, width) in about [-1, 1]; cells = coarsest lattice (rows, columns), doubled per octave."""
    out = np.zeros((height, width), np.float32)
    amplitude, total = 1.0, 0.0
    for octave in range(octaves):
        rows, columns = cells[0] << octave, cells[1] << octave
        lattice = rng.uniform(-1, 1, (min(rows + 1, height), min(columns + 1, width))).astype(np.float32)
        out += amplitude * cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC)
        total += amplitude
        amplitude *= 0.5
    return out / np.float32(0.6 * total)


def _mix(a: tuple[float, ...], b: tuple[float, ...], t: NDArray[np.float32]) -> Picture:
    share = np.clip(t, 0, 1)[..., None]
    return ((1 - share) * np.array(a, np.float32) + share * np.array(b, np.float32)).astype(np.float32)


def wood(height: int, width: int, rng: np.random.Generator, boards: int = 7) -> Picture:
    """Planks along x with rings, fibres and dark joints."""
    picture = np.empty((height, width, 3), np.float32)
    edges = np.linspace(0, height, boards + 1).astype(int)
    for top, bottom in zip(edges[:-1], edges[1:], strict=True):
        h = bottom - top
        bend = 1.6 * noise(h, width, (1, 3), rng, 3)
        y = np.linspace(0, 3, h, dtype=np.float32)[:, None] + rng.uniform(0, 9)
        rings = 0.5 + 0.5 * np.sin(2 * np.pi * (1.7 * y + bend))
        fibres = noise(h, width, (h // 2, 6), rng, 1)
        tone = rng.uniform(-0.06, 0.06)
        board = _mix((0.42, 0.27, 0.16), (0.66, 0.47, 0.30), 0.55 * rings + 0.25 + 0.18 * fibres + tone)
        board[:2] *= 0.55
        picture[top:bottom] = board
    return np.clip(picture, 0, 1)


def cloth(height: int, width: int, rng: np.random.Generator) -> Picture:
    """A woven checked cloth."""
    y, x = np.indices((height, width), np.float32)
    check = 0.5 * ((x // 72) % 2) + 0.5 * ((y // 72) % 2)
    weave = 0.02 * np.sin(x * 1.1) + 0.02 * np.sin(y * 1.1) + 0.09 * noise(height, width, (12, 12), rng)
    return np.clip(_mix((0.80, 0.80, 0.76), (0.28, 0.38, 0.52), check + weave), 0, 1)


def plaster(height: int, width: int, rng: np.random.Generator) -> Picture:
    """A painted wall with stains, a socket strip and two framed prints."""
    base = _mix((0.60, 0.62, 0.60), (0.72, 0.73, 0.69), 0.5 + 0.4 * noise(height, width, (4, 6), rng, 6))
    for _ in range(2):
        w, h = int(rng.integers(width // 9, width // 6)), int(rng.integers(height // 6, height // 4))
        x, y = int(rng.integers(0, width - w)), int(rng.integers(height // 8, height // 2))
        base[y:y + h, x:x + w] = (0.16, 0.14, 0.13)
        inner = label(h - 12, w - 12, rng, (0.80, 0.78, 0.70), (0.25, 0.42, 0.46))
        base[y + 6:y + h - 6, x + 6:x + w - 6] = inner
    base[int(0.86 * height):int(0.88 * height)] *= 0.7
    return np.clip(base, 0, 1)


def carpet(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Dark speckled floor."""
    grain = rng.normal(0, 0.5, (height, width)).astype(np.float32)
    return np.clip(_mix((0.16, 0.17, 0.20), (0.30, 0.30, 0.33), 0.4 + 0.35 * grain), 0, 1)


def label(height: int, width: int, rng: np.random.Generator, paper: tuple[float, ...],
          accent: tuple[float, ...]) -> Picture:
    """A printed panel: title, picture patch, text lines, bar code and colour blocks; no two corners look alike."""
    ground = np.broadcast_to(np.array(paper, np.float32), (height, width, 3))
    out = _bytes(ground * (1 + 0.05 * noise(height, width, (3, 3), rng, 3))[..., None])
    band = int(0.26 * height)
    out[:band] = _ink(accent)
    word = str(rng.choice(_WORDS))
    scale = width / 21.0 / max(len(word), 4) * 0.95
    thickness = max(1, int(2.6 * scale))
    (text_w, text_h), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
    cv2.putText(out, word, (max((width - text_w) // 2, 1), (band + text_h) // 2), cv2.FONT_HERSHEY_DUPLEX, scale,
                _ink((0.98, 0.97, 0.92)), thickness, cv2.LINE_AA)
    _picture_patch(out, (int(0.06 * width), int(0.32 * height)), (int(0.52 * width), int(0.36 * height)), rng)
    for row in range(6):
        y = int((0.33 + 0.055 * row) * height)
        x0 = int(0.64 * width)
        x1 = x0 + int(rng.uniform(0.14, 0.30) * width)
        cv2.rectangle(out, (x0, y), (x1, y + max(1, int(0.018 * height))), _ink((0.18, 0.18, 0.22)), -1)
    x = 0.64 * width
    while x < 0.93 * width:
        w = rng.uniform(0.004, 0.018) * width
        cv2.rectangle(out, (int(x), int(0.74 * height)), (int(x + w), int(0.92 * height)), _ink((0.05, 0.05, 0.05)), -1)
        x += w + rng.uniform(0.008, 0.02) * width
    for k in range(4):
        color = _ink(rng.uniform(0.1, 0.95, 3))
        x0 = int((0.06 + 0.135 * k) * width)
        size = int(rng.uniform(0.07, 0.12) * width)
        y0 = int(rng.uniform(0.74, 0.82) * height)
        if rng.random() < 0.5:
            cv2.circle(out, (x0 + size // 2, y0 + size // 2), size // 2, color, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(out, (x0, y0), (x0 + size, y0 + size), color, -1)
    return out.astype(np.float32) / 255


def _ink(color: ArrayLike) -> tuple[int, int, int]:
    r, g, b = (int(round(255 * float(c))) for c in np.asarray(color))
    return r, g, b


def _bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _picture_patch(out: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int],
                   rng: np.random.Generator) -> None:
    """A colourful 'photograph': smooth blobs of two hues with a few dark berries."""
    (x, y), (w, h) = corner, size
    a, b = rng.uniform(0.05, 0.95, 3), rng.uniform(0.05, 0.95, 3)
    patch = _bytes(_mix(tuple(a), tuple(b), 0.5 + 0.8 * noise(h, w, (3, 3), rng, 3)))
    for _ in range(7):
        centre = (int(rng.uniform(0.1, 0.9) * w), int(rng.uniform(0.1, 0.9) * h))
        radius = max(2, int(rng.uniform(0.05, 0.13) * w))
        cv2.circle(patch, centre, radius, _ink(rng.uniform(0.0, 1.0, 3)), -1, cv2.LINE_AA)
    out[y:y + h, x:x + w] = patch


def sample(picture: Picture, u: NDArray[np.floating], v: NDArray[np.floating]) -> NDArray[np.float32]:
    """Bilinear colours (N, 3) at u, v in [0, 1]; u runs right, v runs down."""
    h, w = picture.shape[:2]
    # remap limits its output to 32767 rows; a square-ish layout keeps any number of vertices below that.
    n, columns = len(u), 1024
    rows = max(1, -(-n // columns))  # a print may miss every vertex of a small shape
    grid = np.zeros((2, rows * columns), np.float32)
    grid[0, :n], grid[1, :n] = np.clip(u, 0, 1) * (w - 1), np.clip(v, 0, 1) * (h - 1)
    out = cv2.remap(picture, grid[0].reshape(rows, columns), grid[1].reshape(rows, columns), cv2.INTER_LINEAR)
    return out.reshape(-1, 3)[:n]
