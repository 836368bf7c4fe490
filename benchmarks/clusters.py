"""Small clusters on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def dask_cluster(workers: int) -> Iterator[str]:
    """Start a Dask scheduler and workers of one thread; yield its address for `--executor`."""
    from distributed import LocalCluster

    with LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster:
        yield str(cluster.scheduler_address).replace("tcp://", "dask://")


@contextmanager
def ray_cluster(workers: int) -> Iterator[str]:
    """Start a Ray head that runs so many tasks at a time; yield its address for `--executor`."""
    port, server = _free_port(), _free_port()
    call = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--num-cpus={workers}"]
    call += [f"--port={port}", f"--ray-client-server-port={server}", "--include-dashboard=false"]
    call += ["--disable-usage-stats", "--object-store-memory=80000000"]
    where = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(call, env=where, stdout=subprocess.PIPE, text=True) as head:
        try:
            for line in head.stdout or ():
                if "Ray runtime started" in line:
                    break
            yield f"ray://127.0.0.1:{server}"
        finally:
            head.terminate()
            head.communicate()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
