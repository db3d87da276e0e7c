#!/bin/sh
# Builds FFmpeg under the LGPL into /opt/ffmpeg, for PyAV from source: without x264 and x265 it reads every video that the
# wheel reads, H.264 and H.265 among them, and writes no H.264. Called by the Dockerfile where GPL=no.
#   docker/ffmpeg_without_gpl.sh VERSION SHA256
set -eu
version=$1
sha256=${2:?give the sha256 of the source: --build-arg FFMPEG_SHA256=...}
apt-get update
apt-get install -y --no-install-recommends curl make nasm pkg-config xz-utils zlib1g-dev
rm -rf /var/lib/apt/lists/*
folder=$(mktemp -d)
cd "$folder"
curl --fail --location --output ffmpeg.tar.xz "https://ffmpeg.org/releases/ffmpeg-$version.tar.xz"
echo "$sha256  ffmpeg.tar.xz" | sha256sum --check
tar -x --strip-components=1 -f ffmpeg.tar.xz
./configure --prefix=/opt/ffmpeg --enable-shared --disable-static --disable-programs --disable-doc --disable-autodetect \
    --enable-zlib
grep -q '^#define CONFIG_GPL 0' config.h
make -j "$(nproc)"
make install
echo /opt/ffmpeg/lib > /etc/ld.so.conf.d/ffmpeg.conf
ldconfig
cd /
rm -rf "$folder"
