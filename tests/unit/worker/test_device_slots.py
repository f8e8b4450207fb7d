"""GPUs are shared by lock files: between workers, between threads, and with children that outlive whoever took them."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import Settings
from worker.device_slots import DevicesError, DeviceSlots, visible_gpus


def machine(folder: Path, gpus: tuple[int, ...], cpu_slots: int = 1) -> DeviceSlots:
    return DeviceSlots(gpus=gpus, cpu_slots=cpu_slots, lock_dir=folder / "locks")


def configured(gpus: list[int] | None) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql+asyncpg://x"),
        redis_url=SecretStr("redis://x"),
        service_key_file=Path("x"),
        worker_gpus=gpus,
    )


def test_two_workers_on_one_machine_never_share_a_gpu(tmp_path: Path) -> None:
    first, second = machine(tmp_path, (0, 1, 2)), machine(tmp_path, (0, 1, 2))
    two = first.take(2)
    assert two is not None
    assert two.gpus == (0, 1)
    assert second.take(2) is None
    one = second.take(1)
    assert one is not None
    assert one.gpus == (2,)
    assert first.take(1) is None
    two.release()
    again = second.take(2)
    assert again is not None
    assert again.gpus == (0, 1)
    one.release()
    again.release()


def test_what_could_not_be_taken_whole_is_not_held_in_part(tmp_path: Path) -> None:
    first, second = machine(tmp_path, (0, 1)), machine(tmp_path, (0, 1))
    one = first.take(1)
    assert second.take(2) is None
    other = first.take(1)
    assert other is not None
    assert one is not None
    one.release()
    other.release()


def test_a_gpu_is_its_childs_until_that_ends_however_its_worker_fares(tmp_path: Path) -> None:
    here, elsewhere = machine(tmp_path, (0,)), machine(tmp_path, (0,))
    devices = here.take(1)
    assert devices is not None
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=devices.descriptors) as child:
        devices.let_go()
        assert elsewhere.take(1) is None
        child.kill()
        child.wait()
        taken = elsewhere.take(1)
        assert taken is not None
        devices.release()  # long let go: it must not close what others have opened since
        assert here.take(1) is None
        taken.release()


def test_cpu_jobs_have_slots(tmp_path: Path) -> None:
    here = machine(tmp_path, (), cpu_slots=2)
    taken = [here.take(0) for _ in range(3)]
    assert [one is not None for one in taken] == [True, True, False]
    assert taken[0] is not None
    assert taken[0].gpus == ()
    taken[0].release()
    assert here.take(0) is not None


def test_a_worker_listens_for_every_class_that_it_can_hold(tmp_path: Path) -> None:
    assert machine(tmp_path, ()).queues == ["unlearn.cpu"]
    large = machine(tmp_path, (4, 7))
    assert large.queues == ["unlearn.gpu2", "unlearn.gpu1", "unlearn.cpu"]
    assert large.slots == 3


def test_a_lock_file_of_another_user_serves_as_well(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "unlearn-gpu-0.lock").touch(mode=0o444)
    devices = machine(tmp_path, (0,)).take(1)
    assert devices is not None
    devices.release()


def test_a_link_in_place_of_a_lock_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "unlearn-gpu-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        machine(tmp_path, (0,)).take(1)
    assert not (tmp_path / "elsewhere").exists()


def test_the_settings_name_the_gpus_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert visible_gpus(configured([])) == ()
    assert visible_gpus(configured([2, 0, 2])) == (0, 2)
    assert visible_gpus(configured(None)) == (1, 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(configured(None)) == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937")
    with pytest.raises(DevicesError, match="WORKER_GPUS"):
        visible_gpus(configured(None))


def test_the_drivers_tool_counts_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: Some (UUID: GPU-1)'\necho '  MIG 1g'\necho 'GPU 1: Some (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(configured(None)) == (0, 1)
    tool.write_text("#!/bin/sh\necho 'GPU 0: none, the driver is not loaded'\nexit 9\n")
    assert visible_gpus(configured(None)) == ()
