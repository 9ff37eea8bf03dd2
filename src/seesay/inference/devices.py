"""Where a model runs, in which number format, and in batches of what size."""

import os

import torch

from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoderConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Rows (images x tokens) in the matrix products of one batch, per thread, on a processor. Measured
# with ViT-B/32 and B/16 in float32: at 400 rows the products run at full speed. From 800 on the
# activations are blocks that the allocator gives back to the system after every layer; fetching
# them again (10,000 page faults an image) costs a tenth of the time.
CPU_ROWS = 400
# On a GPU: enough rows for every multiprocessor to have several tiles of a product, few enough for
# the next batches to be decoded meanwhile. Reckoned, not measured.
GPU_ROWS = 16_384
GPU_MEMORY_SHARE = 0.4  # of what is free; the rest is for the allocator and for others
MAX_WORKERS = 16  # beyond this, threads wait for the interpreter more than they decode


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for, else the first of CUDA, Apple's MPS and the processor.

    Raises ConfigError for a name torch does not know and for a device that is not there.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # every kind that any torch was ever built for
            reason = "torch knows no such kind"
        raise ConfigError(
            f"device={str(device)!r} cannot be used ({reason}). Expected cpu, cuda, cuda:1, mps or "
            "another that this torch build supports. Leave it out to have one chosen."
        ) from None
    return chosen


def choose_dtype(device: torch.device, dtype: str | torch.dtype | None = None) -> torch.dtype:
    """The number format asked for, else bfloat16 where the hardware computes in it, else float32.

    Elsewhere bfloat16 works but is emulated, slower than float32 (benchmarks/embed.py shows it).
    Raises ConfigError for any other format.
    """
    if dtype is None:
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise ConfigError(
            f"dtype={str(dtype)!r} is not a format to embed in. Expected {', '.join(DTYPES)}. "
            "Leave it out to have one chosen."
        )
    return chosen


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices itself.

    NVIDIA does from compute capability 8.0 (Ampere), x86 with AVX512-BF16 or AMX, ARM with its
    bf16 extension.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0) or torch.version.hip is not None
    if device.type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.10 and later
        known = torch.cpu.get_capabilities()
        return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a CUDA device; None for others, where batches are small anyway."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def images_per_batch(config: DualEncoderConfig, device: torch.device, dtype: torch.dtype) -> int:
    """Images to encode at once: at least 1, at most 256."""
    # A convolution's last stage counts like tokens. MobileNet: 224 pixels through five halvings.
    tokens = int(getattr(config.image, "grid", 7)) ** 2 + 1
    most = max(1, min(256, round(rows_per_batch(device) / tokens)))
    if (free := free_bytes(device)) is None:
        return most
    # Live at once in a layer: its input, normed input, query, key, value, their product, and the
    # MLP's inner rows before and after the activation.
    width = getattr(config.image, "dim", 1024)
    inner = getattr(config.image, "hidden", 4 * width)
    needed = tokens * (8 * width + 2 * inner) * dtype.itemsize
    return max(1, min(most, int(GPU_MEMORY_SHARE * free / needed)))


def rows_per_batch(device: torch.device) -> int:
    """Tokens of all images or texts of one batch together."""
    return CPU_ROWS if device.type == "cpu" else GPU_ROWS


def worker_count(device: torch.device) -> int:
    """Threads that read and encode: as many as torch may use, so OMP_NUM_THREADS is respected."""
    threads = torch.get_num_threads()
    if device.type != "cpu":  # they only decode; the device does the rest
        threads = max(threads, _processors())
    return max(1, min(threads, MAX_WORKERS))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
