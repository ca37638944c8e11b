"""Workers that Slurm's stand-in, Dask and Ray start; each where it is installed."""

import os
import time

import pytest
from study_bits import bits, check_tidy, study_file, to_the_end

from hunch.errors import HunchError, MissingDependencyError
from hunch.studies import Study
from hunch.studies.executors import EXECUTORS, on_dask, on_ray, on_slurm

pytest.importorskip("fcntl")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of other people's clusters
]
KNOWN = {"own": [], "imports": [], "trust": False}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("studies")
    study_file(place, seeds=6, steps=1500, lease=3)
    to_the_end("small.toml", "--out=one", "--workers=1", cwd=place)
    return place


@pytest.fixture
def begun(place, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_bytes((place / "one" / "study.json").read_bytes())
    return Study.open(tmp_path / "study")


def test_submitit_runs_workers(place, begun):
    pytest.importorskip("submitit")
    told = []
    status = on_slurm(
        begun, 2, KNOWN, {"timeout_min": 10}, progress=False, tell=told.append, cluster="local"
    )
    assert status.done == 6
    assert told[0].startswith("2 workers are Slurm's jobs")
    assert bits(begun.folder) == bits(place / "one")


def test_a_machine_without_slurm_is_named(begun):
    pytest.importorskip("submitit")
    with pytest.raises(HunchError, match="Slurm takes no workers"):
        on_slurm(begun, 1, KNOWN, {}, progress=False, tell=lambda line: None)


def test_dask_runs_workers(place, begun):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        address = {"address": cluster.scheduler_address}
        status = on_dask(begun, None, KNOWN, address, progress=False, tell=lambda line: None)
    assert status.done == 6
    assert bits(begun.folder) == bits(place / "one")
    check_tidy(begun.folder)


def test_two_nodes_of_ray_of_which_one_is_killed(place, begun):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    try:
        told = []

        def kill_the_node_soon(line):
            told.append(line)
            import threading

            def kill():
                while len(list(begun.folder.glob("jobs/*/*/attempt-*/checkpoints/step-*"))) < 2:
                    time.sleep(0.01)
                cluster.remove_node(node, allow_graceful=False)

            threading.Thread(target=kill).start()

        status = on_ray(
            begun, 2, KNOWN, {"address": cluster.address}, progress=False, tell=kill_the_node_soon
        )
    finally:
        cluster.shutdown()
    assert status.done == 6
    assert bits(begun.folder) == bits(place / "one")
    check_tidy(begun.folder)


def test_each_executor_says_what_to_install(begun, monkeypatch):
    import sys

    for name, module in (("slurm", "submitit"), ("ray", "ray"), ("dask", "distributed")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingDependencyError, match=rf"torch-hunch\[{name}\]"):
            EXECUTORS[name](begun, 1, KNOWN, {"address": "x"})
    assert os.listdir(begun.folder) == ["study.json"]
