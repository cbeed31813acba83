"""Checks in several processes that run together: real ones, over gloo and a store in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import bnlint
from bnlint.live import ranks
from bnlint.live.errors import CheckError
from bnlint.rules import find_rule
from bnlint.settings import Settings

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")

WORLD = 2
OPT_IN = Settings(extend_select=("BNL305",))

Task = Callable[[int], Any]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD)
    results = {}
    for task in TASKS:
        torch.manual_seed(0)
        ranks.PATIENCE = 30.0
        results[task.__name__] = task(rank)
        dist.barrier()
    dist.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every task gives in each of two processes."""
    folder = tmp_path_factory.mktemp("ranks")
    other = mp.get_context("spawn").Process(target=work, args=(1, str(folder)))
    other.start()
    work(0, str(folder))  # this process is one of them, so that its coverage is measured
    other.join()
    assert other.exitcode == 0
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


@pytest.fixture
def together(results: list[dict[str, Any]]) -> Callable[[Task], list[Any]]:
    return lambda task: [of_rank[task.__name__] for of_rank in results]


def net(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(3, channels), nn.BatchNorm1d(channels), nn.Linear(channels, 2))


def compared(rank: int) -> dict[str, Any]:
    model = net()
    with torch.no_grad():
        model[1].running_mean += 0.5 * rank
    report = bnlint.check(model, torch.randn(8 + 4 * rank, 3))
    text = str(report)
    assert report.layers[0].numbers["rank_divergence"] == report.output["rank_divergence"]
    return {**report.to_dict()["ranks"], "text": text}


def test_processes_are_compared(together: Callable) -> None:
    first, second = together(compared)
    assert (first["rank"], second["rank"]) == (0, 1)
    assert first["batches"] == second["batches"] == [8, 12]
    assert first["global_batch"] == 20
    # a shift of 0.5 under a variance of 1
    assert first["divergence"] == {"1": pytest.approx(0.5, abs=1e-4)}
    assert "process 0 of 2; their batches: 8, 12 (20 together)" in first["text"]
    assert "differ by d = 0.500 at most ('1')" in second["text"]


def different(rank: int) -> str:
    model = net() if rank == 0 else nn.Sequential(*net(), nn.BatchNorm1d(2))
    begin = time.monotonic()
    try:
        bnlint.check(model, torch.randn(8, 3))
    except CheckError as error:
        assert time.monotonic() - begin < 30
        return str(error)
    return "no error"


def test_different_layers_are_an_error_everywhere(together: Callable) -> None:
    for message in together(different):
        assert "different BatchNorm layers (1 in process 0, 2 in process 1)" in message
        assert "process 0 has none; process 1 has '3' with 2 channels" in message


def other_width(rank: int) -> str:
    with pytest.raises(CheckError) as caught:
        bnlint.check(net(4 + rank), torch.randn(8, 3))
    return str(caught.value)


def test_different_widths_are_an_error(together: Callable) -> None:
    for message in together(other_width):
        assert "process 0 has '1' with 4 channels; process 1 has '1' with 5 channels" in message


def alone(rank: int) -> list[str]:
    """Only one process checks; then both do; then each by itself."""
    ranks.PATIENCE = 0.5
    found = []
    if rank == 0:
        report = bnlint.check(net(), torch.randn(8, 3))
        found += [part.reason for part in report.uninspected]
    dist.barrier()
    ranks.PATIENCE = 30.0
    report = bnlint.check(net(), torch.randn(8, 3))
    assert report.ranks is not None
    found.append(str(report.ranks.world))
    if rank == 1:
        report = bnlint.check(net(), torch.randn(8, 3), distributed=False)
        assert report.ranks is None
    return found


def test_one_process_alone_waits_and_goes_on(together: Callable) -> None:
    first, second = together(alone)
    assert "not every process checked within 0.5 s" in first[0]
    assert first[1:] == second == ["2"]


def late(rank: int) -> list[str]:
    """The second process comes when the first has given up."""
    ranks.PATIENCE = 0.3
    if rank == 1:
        time.sleep(1.5)
    report = bnlint.check(net(), torch.randn(8, 3))
    return [part.reason for part in report.uninspected]


def test_a_late_process_does_not_hang(together: Callable) -> None:
    for reasons in together(late):
        assert len(reasons) == 1
        assert "nothing is compared" in reasons[0]


def synchronised(rank: int) -> dict[str, Any]:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(net())
    forward = nn.SyncBatchNorm.forward
    x = torch.randn(8, 3)
    report = bnlint.check(model, x, settings=OPT_IN, phase="training")
    plain = bnlint.check(net_of(model), x, distributed=False)
    assert nn.SyncBatchNorm.forward is forward
    return {
        "codes": [finding.code for finding in report.findings],
        "d": [report.layers[0].d, plain.layers[0].d],
    }


def net_of(model: nn.Module) -> nn.Module:
    """The same weights with local BatchNorm."""
    local = net()
    local.load_state_dict(model.state_dict())
    return local


def test_synchronised_batchnorm_is_measured_on_the_cpu(together: Callable) -> None:
    for found in together(synchronised):
        assert "BNL305" not in found["codes"]
        assert found["d"][0] == pytest.approx(found["d"][1])


def wrapped(rank: int) -> list[Any]:
    model = DistributedDataParallel(net())
    report = bnlint.check(model, torch.randn(4, 3), settings=OPT_IN)
    return [(f.code, f.message) for f in report.findings if f.code == "BNL305"]


def test_local_batchnorm_under_ddp(together: Callable) -> None:
    for (finding,) in together(wrapped):
        assert "by itself (4 of 8 samples), their running statistics differ by" in finding[1]


def trained(rank: int) -> float:
    """Skewed data, and buffers that are not broadcast."""
    model = DistributedDataParallel(net(), broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.manual_seed(rank)
    with bnlint.watch(model) as watching:
        for _ in range(20):
            loss = model(torch.randn(16, 3) + rank).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert watching.findings == ()
    assert watching.uninspected == ()
    report = bnlint.check(model, torch.randn(16, 3))
    return float(report.output["rank_divergence"])


def test_buffers_that_are_not_broadcast_diverge(together: Callable) -> None:
    first, second = together(trained)
    assert first == second > 0.2


TASKS = (compared, different, other_width, alone, late, synchronised, wrapped, trained)


def test_a_single_process_is_not_compared() -> None:
    assert not ranks.several_processes()
    report = bnlint.check(net(), torch.randn(8, 3))
    assert report.ranks is None
    assert report.to_dict()["ranks"] is None


def test_the_rule_has_a_live_half() -> None:
    rule = find_rule("BNL305")
    assert rule is not None
    assert rule.live
