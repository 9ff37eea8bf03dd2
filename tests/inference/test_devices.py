import pytest
import torch

from seesay.errors import ConfigError
from seesay.inference import devices
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.vit import VitConfig

CPU = torch.device("cpu")
GPU = torch.device("cuda")


def test_the_processor_is_chosen_where_there_is_nothing_faster(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.choose_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.choose_device() == GPU


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta:x"])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"device='{name}'"):
        devices.choose_device(name)


def test_a_kind_of_device_that_torch_does_not_know_is_refused_without_a_list_of_all():
    with pytest.raises(ConfigError, match=r"torch knows no such type\)\. Expected cpu, cuda"):
        devices.choose_device("tpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"bf16": True, "neon": True}, torch.bfloat16),
    ],
)
def test_bfloat16_is_chosen_only_where_the_processor_computes_in_it(
    monkeypatch, capabilities, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert devices.choose_dtype(CPU) is expected
    assert devices.choose_dtype(CPU, "float32") is torch.float32
    assert devices.choose_dtype(CPU, torch.bfloat16) is torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)]
)
def test_bfloat16_is_chosen_only_where_the_gpu_computes_in_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.choose_dtype(GPU) is expected


@pytest.mark.parametrize("dtype", ["int8", torch.float64, "bf16"])
def test_other_formats_are_refused(dtype):
    with pytest.raises(ConfigError, match="Expected float32, bfloat16, float16"):
        devices.choose_dtype(CPU, dtype)


def batch(image, device=CPU) -> int:
    return devices.images_per_batch(DualEncoderConfig(image=image), device, torch.float32)


def test_batches_shrink_as_images_have_more_tokens():
    sizes = [batch(VitConfig(patch_size=patch)) for patch in (32, 16, 14)]
    assert sizes == sorted(sizes, reverse=True)
    assert batch(VitConfig(image_size=1024, patch_size=8)) == 1
    assert batch(MobileNetConfig()) == sizes[0]


def test_batches_shrink_with_the_memory_that_is_free(monkeypatch):
    image = VitConfig(image_size=336, patch_size=14, dim=1024, depth=24, heads=16, hidden=4096)
    sizes = []
    for free in (80e9, 0.2e9, 1e6):
        monkeypatch.setattr(devices, "free_bytes", lambda device, free=free: int(free))
        sizes.append(batch(image, GPU))
    assert sizes[0] > sizes[1] > sizes[2] == 1


def test_workers_keep_to_torchs_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert devices.worker_count(CPU) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert devices.worker_count(CPU) == devices.MAX_WORKERS


def test_a_language_model_computes_in_what_is_measured_to_be_faster(monkeypatch):
    seconds = {torch.float32: 2.0, torch.bfloat16: 1.0}
    now = [0.0]

    def product(x: torch.Tensor, weight: torch.Tensor) -> None:
        now[0] += seconds[x.dtype]

    monkeypatch.setattr(devices, "perf_counter", lambda: now[0])
    monkeypatch.setattr(devices.F, "linear", product)
    for quick, expected in ((1.0, torch.bfloat16), (8.0, torch.float32)):
        seconds[torch.bfloat16] = quick
        devices.fastest_dtype.cache_clear()
        assert devices.choose_dtype(CPU, "auto") is expected
    monkeypatch.undo()
    devices.fastest_dtype.cache_clear()
    assert devices.choose_dtype(CPU, "auto") in (torch.float32, torch.bfloat16)
