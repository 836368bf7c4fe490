"""Small clusters on this machine."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def dask_cluster(workers: int) -> Iterator[str]:
    """Start a Dask scheduler and workers of one thread; yield its address for `--executor`."""
    dask, address = str(Path(sys.executable).parent / "dask"), f"127.0.0.1:{_free_port()}"
    serve = [dask, "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-show"]
    serve += ["--no-dashboard"]
    work = [dask, "worker", f"tcp://{address}", "--nworkers", str(workers), "--nthreads", "1", "--no-dashboard"]
    where = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as scratch:
        work += ["--local-directory", scratch]
        with (
            subprocess.Popen(serve, env=where, stderr=subprocess.DEVNULL) as scheduler,
            subprocess.Popen(work, env=where, stderr=subprocess.DEVNULL) as nannies,
        ):
            try:
                from distributed import Client

                with Client(f"tcp://{address}", set_as_default=False, timeout=60) as client:
                    client.wait_for_workers(workers)
                yield f"dask://{address}"
            finally:
                for process in (nannies, scheduler):
                    process.terminate()


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
