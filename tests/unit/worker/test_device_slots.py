"""GPUs are shared by lock files: between workers, between threads, and with children that outlive their worker."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import Settings
from worker.device_slots import DevicesError, DeviceSlots, visible_gpus


def slots(folder: Path, gpus: tuple[int, ...], cpu_slots: int = 1) -> DeviceSlots:
    return DeviceSlots(gpus=gpus, cpu_slots=cpu_slots, lock_dir=folder / "locks")


def settings_with(gpus: list[int] | None) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql+asyncpg://x"),
        redis_url=SecretStr("redis://x"),
        service_key_file=Path("x"),
        worker_gpus=gpus,
    )


def test_two_workers_on_one_machine_never_share_a_gpu(tmp_path: Path) -> None:
    first, second = slots(tmp_path, (0, 1, 2)), slots(tmp_path, (0, 1, 2))
    pair = first.take(2)
    assert pair is not None
    assert pair.gpus == (0, 1)
    assert second.take(2) is None
    single = second.take(1)
    assert single is not None
    assert single.gpus == (2,)
    assert first.take(1) is None
    pair.release()
    released_pair = second.take(2)
    assert released_pair is not None
    assert released_pair.gpus == (0, 1)
    single.release()
    released_pair.release()


def test_gpus_that_do_not_suffice_for_a_job_are_not_held(tmp_path: Path) -> None:
    first, second = slots(tmp_path, (0, 1)), slots(tmp_path, (0, 1))
    first_gpu = first.take(1)
    assert second.take(2) is None
    second_gpu = first.take(1)
    assert second_gpu is not None
    assert first_gpu is not None
    first_gpu.release()
    second_gpu.release()


def test_a_gpu_belongs_to_the_child_until_the_child_ends_whatever_happens_to_the_worker(tmp_path: Path) -> None:
    worker, other_worker = slots(tmp_path, (0,)), slots(tmp_path, (0,))
    devices = worker.take(1)
    assert devices is not None
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=devices.descriptors) as child:
        devices.hand_over()
        assert other_worker.take(1) is None
        child.kill()
        child.wait()
        taken = other_worker.take(1)
        assert taken is not None
        devices.release()  # handed over before: it must not close descriptors that were opened since
        assert worker.take(1) is None
        taken.release()


def test_cpu_jobs_have_slots(tmp_path: Path) -> None:
    worker = slots(tmp_path, (), cpu_slots=2)
    taken = [worker.take(0) for _ in range(3)]
    assert [devices is not None for devices in taken] == [True, True, False]
    assert taken[0] is not None
    assert taken[0].gpus == ()
    taken[0].release()
    assert worker.take(0) is not None


def test_a_worker_listens_to_the_queue_of_every_gpu_count_that_it_has(tmp_path: Path) -> None:
    assert slots(tmp_path, ()).queues == ["unlearn.cpu"]
    large = slots(tmp_path, (4, 7))
    assert large.queues == ["unlearn.gpu2", "unlearn.gpu1", "unlearn.cpu"]
    assert large.max_jobs == 3


def test_a_lock_file_of_another_user_works_too(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "unlearn-gpu-0.lock").touch(mode=0o444)
    devices = slots(tmp_path, (0,)).take(1)
    assert devices is not None
    devices.release()


def test_a_link_in_place_of_a_lock_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "unlearn-gpu-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        slots(tmp_path, (0,)).take(1)
    assert not (tmp_path / "elsewhere").exists()


def test_the_setting_names_the_gpus_before_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert visible_gpus(settings_with([])) == ()
    assert visible_gpus(settings_with([2, 0, 2])) == (0, 2)
    assert visible_gpus(settings_with(None)) == (1, 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(settings_with(None)) == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937")
    with pytest.raises(DevicesError, match="WORKER_GPUS"):
        visible_gpus(settings_with(None))


def test_the_drivers_tool_counts_the_gpus_without_setting_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: Some (UUID: GPU-1)'\necho '  MIG 1g'\necho 'GPU 1: Some (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(settings_with(None)) == (0, 1)
    tool.write_text("#!/bin/sh\necho 'GPU 0: none, the driver is not loaded'\nexit 9\n")
    assert visible_gpus(settings_with(None)) == ()
