"""What is decided before a cluster is used; Ray is not needed. The searches are in tests/ray."""

import importlib.util

import pytest

from ft_core.sweep.engines.ray_cluster import WorkerShare, share_of_nodes
from ft_core.sweep.search import run_sweep
from tests.sweep_stage import toy_stage


def test_shares():
    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 6.0, "GPU": 2.0}, {"memory": 1.0}]
    assert share_of_nodes(nodes, 4) == WorkerShare(3, 1)
    assert share_of_nodes(nodes, 2) == WorkerShare(8, 1)
    assert share_of_nodes([{"CPU": 8.0}, {"CPU": 4.0}], 3) == WorkerShare(4, 0)
    with pytest.raises(ValueError, match="has room for 4 with a CPU and a GPU each; use --workers 4, or add nodes"):
        share_of_nodes(nodes, 5)
    with pytest.raises(ValueError, match="has room for 0 with a CPU each; start nodes with CPUs"):
        share_of_nodes([{"memory": 1.0}], 1)


def begin(folder, *words):
    (folder / "space.yaml").write_text("layers: [1, 2]\n")
    base = ["--space", folder / "space.yaml", "--output_dir", folder / "sweep", "--trials", 2]
    run_sweep(toy_stage, [str(word) for word in (*base, *words)], "toy sweep")


def test_without_ray(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    with pytest.raises(ValueError, match=r"engine=ray needs the package ray; pip install 'kronos-ft\[ray\]'"):
        begin(tmp_path, "--engine", "ray")
    with pytest.raises(ValueError, match="engine='slurm' is not known; use one of local, ray"):
        begin(tmp_path, "--engine", "slurm")
    assert not (tmp_path / "sweep").exists()
