"""Write licences.md: what each installed package and each library bundled with it is under.

    python docs/list_licences.py > docs/licences.md

Run it in the environment that an image or a wheel house is made from. Licences of packages are
what their own metadata say; those of bundled libraries are looked up in the table below, and a
library that is not in it is said to be unknown.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]

LIBRARIES = {
    "x264": "GPL-2.0-or-later",
    "x265": "GPL-2.0-or-later",
    "avcodec": "GPL-2.0-or-later where it is linked with x264 or x265, else LGPL-2.1-or-later",
    "avdevice": "as avcodec",
    "avfilter": "as avcodec",
    "avformat": "as avcodec",
    "avutil": "as avcodec",
    "swresample": "as avcodec",
    "swscale": "as avcodec",
    "SvtAv1Enc": "BSD-3-Clause-Clear",
    "dav1d": "BSD-2-Clause",
    "vpx": "BSD-3-Clause",
    "vpl": "MIT",
    "opus": "BSD-3-Clause",
    "mp3lame": "LGPL-2.0-or-later",
    "opencore-amrnb": "Apache-2.0",
    "opencore-amrwb": "Apache-2.0",
    "gnutls": "LGPL-2.1-or-later",
    "nettle": "LGPL-3.0-or-later or GPL-2.0-or-later",
    "hogweed": "as nettle",
    "gmp": "LGPL-3.0-or-later or GPL-2.0-or-later",
    "unistring": "LGPL-3.0-or-later or GPL-2.0-or-later",
    "asound": "LGPL-2.1-or-later",
    "drm": "MIT",
    "webp": "BSD-3-Clause",
    "webpmux": "BSD-3-Clause",
    "webpdemux": "BSD-3-Clause",
    "sharpyuv": "BSD-3-Clause",
    "Xau": "MIT",
    "xcb": "MIT",
    "xcb-shape": "MIT",
    "xcb-shm": "MIT",
    "xcb-xfixes": "MIT",
    "openblas": "BSD-3-Clause",
    "scipy_openblas": "BSD-3-Clause",
    "scipy_openblas64_": "BSD-3-Clause",
    "crypto": "Apache-2.0 from OpenSSL 3 on, else OpenSSL and SSLeay",
    "ssl": "as crypto",
    "gfortran": "GPL-3.0-or-later with the GCC runtime exception",
    "quadmath": "LGPL-2.1-or-later",
    "gomp": "GPL-3.0-or-later with the GCC runtime exception",
    "jpeg": "IJG and BSD-3-Clause",
    "png16": "libpng-2.0",
    "z": "Zlib",
    "tiff": "libtiff",
    "openjp2": "BSD-2-Clause",
    "freetype": "FTL or GPL-2.0-or-later",
    "harfbuzz": "MIT",
    "brotlicommon": "MIT",
    "brotlidec": "MIT",
    "lcms2": "MIT",
    "lzma": "0BSD",
    "zstd": "BSD-3-Clause or GPL-2.0-only",
    "avif": "BSD-2-Clause",
    "cudart": "NVIDIA CUDA EULA",
    "nvjpeg": "NVIDIA CUDA EULA",
}
"""Licences by the name of a library, without 'lib' and version, from their own projects."""

_CLASSIFIER = "License :: OSI Approved :: "
_MAX_CHARACTERS = 60


def normalised(name: str) -> str:
    """Name of a package in the one spelling that counts."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(package: Distribution) -> str:
    """What a package's metadata say of its licence, on one line."""
    metadata = package.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [
        text.removeprefix(_CLASSIFIER)
        for text in metadata.get_all("Classifier") or []
        if text.startswith(_CLASSIFIER)
    ]
    if classifiers:
        return ", ".join(sorted(classifiers))
    stated = (metadata.get("License") or "").strip().split("\n")[0]
    return stated[:_MAX_CHARACTERS] if stated else "not stated"


def library_name(file_name: str) -> str:
    """Name of a library: 'x264' of 'libx264-d6533a8d.so.165'."""
    stem = file_name.split(".so")[0].removeprefix("lib")
    return re.sub(r"([-.][0-9a-f]{8})+$", "", stem)


def bundled_libraries(package: Distribution) -> list[str]:
    """Names of the shared libraries that a wheel brings from elsewhere (a folder NAME.libs)."""
    names = set()
    for file in package.files or []:
        parts = Path(str(file)).parts
        if len(parts) > 1 and parts[0].endswith(".libs") and ".so" in parts[-1]:
            names.add(library_name(parts[-1]))
    return sorted(names, key=str.lower)


def packages() -> list[Distribution]:
    """The installed packages that constraints.txt lists, by name."""
    found = []
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name = line.split("==")[0].strip()
        if not name or name.startswith("#"):
            continue
        try:
            found.append(distribution(name))
        except PackageNotFoundError:
            print(f"not installed here, and left out: {name}", file=sys.stderr)
    return sorted(found, key=lambda package: normalised(package.metadata["Name"]))


def page() -> str:
    """The whole page, in Markdown."""
    installed = packages()
    lines = [
        "# Licences of what an installation brings",
        "",
        "Made by `python docs/list_licences.py` from the metadata of the packages of",
        "`constraints.txt`, the development tools among them; bsou-dist itself is Apache-2.0.",
        "This is a list and no legal advice.",
        "",
        "**PyAV's wheel (`av`) bundles x264 and x265, which are GPL**, and an FFmpeg built with",
        "them. Whoever hands on an image or a folder of wheels hands these on, under the GPL's",
        "terms. [docker/README.md](../docker/README.md) tells how to build without.",
        "",
        "| package | version | licence by its metadata |",
        "|---|---|---|",
    ]
    for package in installed:
        name = normalised(package.metadata["Name"])
        licence = licence_of(package).replace("|", "/")
        lines.append(f"| {name} | {package.version} | {licence} |")
    lines += [
        "",
        "## Libraries that wheels bundle",
        "",
        "Those in the folder `NAME.libs` of a wheel. What packages such as torch and DALI compile",
        "in, their own licence files tell.",
        "",
        "| package | library | licence |",
        "|---|---|---|",
    ]
    for package in installed:
        name = normalised(package.metadata["Name"])
        for library in bundled_libraries(package):
            lines.append(f"| {name} | {library} | {LIBRARIES.get(library, 'unknown')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
