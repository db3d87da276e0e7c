"""The cluster is booted once for all tests here, and taken down whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import Cluster

NODES = 3
TOOLS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "ip", "unshare")
PACKAGES = (
    "slurm-wlm slurmdbd slurm-wlm-mysql-plugin munge mariadb-server-core mariadb-client-core "
    "iproute2"
)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if missing := [
        tool
        for tool in TOOLS
        if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    ]:
        pytest.skip(f"no SLURM here ({', '.join(missing)}); on Debian: apt-get install {PACKAGES}")
    if subprocess.run(
        ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "true"],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip(
            "a cluster on one machine needs root and the right to make namespaces (CAP_SYS_ADMIN)"
        )
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")))
    try:
        cluster.control("up", str(NODES))
        yield cluster
    finally:
        cluster.control("down")
        shutil.rmtree(cluster.state)
