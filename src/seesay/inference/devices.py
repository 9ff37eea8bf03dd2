"""Where and how a model runs: device, number format, batch size and number of threads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from threading import Barrier
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.inference.cancelling import check_cancelled
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.text import Text

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Rows (images x tokens) in the matrix products of one batch, per thread, on a processor. Measured
# with ViT-B/32 and B/16 in float32: at 400 rows the products run at full speed. From 800 on, the
# allocator returns the activations' blocks to the system after every layer; fetching them again
# (10,000 page faults an image) costs a tenth of the time.
CPU_ROWS = 400
# On a GPU: enough rows for every multiprocessor to have several tiles of a product, few enough for
# the next batches to be decoded meanwhile. Estimated, not measured.
GPU_ROWS = 16_384
GPU_MEMORY_SHARE = 0.4  # of the free memory; the rest is for the allocator and other programs
MAX_WORKERS = 16  # beyond this, threads wait for the interpreter more than they decode
WAITING_PER_WORKER = 1  # finished batches, in addition to those in progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for, else the first of CUDA, Apple's MPS and the processor.

    Raises ConfigError for a name that torch does not know or a device that does not exist.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = Text.of(str(error).splitlines()[0])
        if reason.en.startswith("Expected one of"):  # a list of all device types of any torch
            reason = Text("torch knows no such type", "torch 没有这种设备")
        raise ConfigError(
            Text(
                f"device={str(device)!r} cannot be used ({reason.en}). Expected cpu, cuda, cuda:1, "
                "mps or another that this torch build supports. Leave it out to have one chosen.",
                f"device={str(device)!r} 不能用（{reason.zh}）。应为 cpu、cuda、cuda:1、mps，"
                "或所装 torch 支持的其他设备。不写则自动选择。",
            )
        ) from None
    return chosen


def choose_dtype(device: torch.device, dtype: str | torch.dtype | None = None) -> torch.dtype:
    """The number format asked for, else bfloat16 where the hardware computes in it, else float32;
    "auto" takes the one that is measured to be faster.

    Elsewhere bfloat16 works but is emulated, slower than float32 (benchmarks/embed.py shows it).
    Raises ConfigError for any other format.
    """
    if dtype is None:
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if dtype == "auto":
        return fastest_dtype(device)
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise ConfigError(
            Text(
                f"dtype={str(dtype)!r} is not a format to embed in. Expected {', '.join(DTYPES)}. "
                "Leave it out to have one chosen.",
                f"dtype={str(dtype)!r} 不是可用的数值格式。应为 {'、'.join(DTYPES)}。"
                "不写则自动选择。",
            )
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


@lru_cache(maxsize=8)
def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 if a product as large as those of a prompt takes no longer in it than in float32,
    which is measured once, within 50 ms. For language models: with equally fast products, they
    write faster from half the bytes."""
    if device.type != "cpu":
        return choose_dtype(device)
    rows, weights = torch.randn(64, 1024), torch.randn(1024, 1024)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = rows.to(dtype), weights.to(dtype)
        times = []
        for _ in range(4):  # of which the first prepares the kernel
            start = perf_counter()
            F.linear(x, weight)
            times.append(perf_counter() - start)
        seconds[dtype] = min(times)
    return min(seconds, key=lambda dtype: seconds[dtype])


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a CUDA device; None for other devices, whose batches are small anyway."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def images_per_batch(config: DualEncoderConfig, device: torch.device, dtype: torch.dtype) -> int:
    """How many images to encode at once: at least 1, at most 256."""
    # A convolution's last stage counts like tokens. MobileNet: 224 pixels through five halvings.
    tokens = int(getattr(config.image, "grid", 7)) ** 2 + 1
    most = max(1, min(256, round(rows_per_batch(device) / tokens)))
    if (free := free_bytes(device)) is None:
        return most
    # A layer holds at once: its input, normed input, query, key, value, their product, and the
    # MLP's inner rows before and after the activation.
    width = getattr(config.image, "dim", 1024)
    inner = getattr(config.image, "hidden", 4 * width)
    needed = tokens * (8 * width + 2 * inner) * dtype.itemsize
    return max(1, min(most, int(GPU_MEMORY_SHARE * free / needed)))


def rows_per_batch(device: torch.device) -> int:
    """How many tokens a batch of images or texts has in total."""
    return CPU_ROWS if device.type == "cpu" else GPU_ROWS


def worker_count(device: torch.device) -> int:
    """Threads that read and encode: as many as torch may use, so OMP_NUM_THREADS is respected."""
    threads = torch.get_num_threads()
    if device.type != "cpu":  # the threads only decode; the device does the rest
        threads = max(threads, _processors())
    return max(1, min(threads, MAX_WORKERS))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """A dual encoder that takes batches from several threads at once."""

    model: DualEncoder
    """On `device`, in `dtype`."""
    transform: ImageTransform
    device: torch.device
    dtype: torch.dtype
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext, repr=False)
    """On a GPU, a lock: its memory is planned for one batch. Decoding continues meanwhile."""

    def images(
        self, pixels: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float[np.ndarray, "batch embed"]:
        """Returns unit float32 vectors of squares that the transform produced."""
        squares = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            squares = squares.pin_memory()
        check_cancelled()
        try:
            with torch.inference_mode(), self.turn:
                images = self.transform.normalise(squares.to(self.device, non_blocking=True))
                return _unit(self.model.embed_images(images.to(self.dtype)))
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
        halves = np.array_split(pixels, 2)  # less was free: others use the GPU too
        return np.concatenate([self.images(half) for half in halves])

    def texts(self, ids: Int[np.ndarray, "windows tokens"]) -> Float[np.ndarray, "windows embed"]:
        """Returns unit float32 vectors of rows that the tokenizer produced, in their order."""
        vectors = np.empty((len(ids), self.model.config.embed_dim), dtype=np.float32)
        windows = torch.from_numpy(ids)
        for batch in by_length(windows, rows_per_batch(self.device)):
            check_cancelled()
            rows = self.model.text.trim(windows[batch]).to(self.device)  # type: ignore[operator]
            with torch.inference_mode(), self.turn:
                vectors[batch.numpy()] = _unit(self.model.embed_texts(rows))
        return vectors


def by_length(ids: Int[Tensor, "windows tokens"], rows: int) -> Iterator[Int[Tensor, " batch"]]:
    """Yields indices of windows in batches of about `rows` tokens. Windows of similar length share
    a batch, which saves computing on padding.

    Padding is at the end and has one value: every token that differs from the last one counts.
    """
    lengths, order = (ids != ids[:, -1:]).sum(dim=1).sort(descending=True, stable=True)
    start = 0
    while start < len(order):
        stop = start + max(1, rows // (int(lengths[start]) + 1))
        yield order[start:stop]
        start = stop


def _unit(embeds: Float[Tensor, "batch embed"]) -> Float[np.ndarray, "batch embed"]:
    """Normalise once more in float32: in bfloat16, lengths are off by up to 1/256."""
    return F.normalize(embeds.float(), dim=-1).cpu().numpy()


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Yields work(item) for every item in order, computed by `workers` threads.

    Torch's threads are divided among the workers: on a CPU, several batches with one thread each
    finish sooner than one batch with all threads, because no thread waits for the slowest at every
    layer, and while one worker decodes its pictures the others encode theirs. Items are drawn only
    as results are taken, so endless iterables and slow consumers are fine. The workers run in the
    caller's context and thus notice when it is cancelled.
    """
    if workers == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="seesay-embed")
    try:
        _divide_torch_threads(pool, workers, threads)
        remaining = iter(items)
        first = islice(remaining, workers * (1 + WAITING_PER_WORKER))
        running: deque[Future[Result]] = deque(_submit(pool, work, item) for item in first)
        while running:
            result = running.popleft().result()
            running.extend(_submit(pool, work, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    return pool.submit(copy_context().run, work, item)


def _divide_torch_threads(pool: ThreadPoolExecutor, workers: int, threads: int) -> None:
    """Give every thread of the pool its share without changing the process's setting.

    torch.set_num_threads acts on the calling thread, and on every thread that has not yet asked for
    its number.
    """
    share, all_started = max(1, threads // workers), Barrier(workers)

    def start() -> None:
        torch.get_num_threads()  # else the last line below would set this thread's too
        torch.set_num_threads(share)
        all_started.wait()  # no thread may take two of these tasks

    for started in [pool.submit(start) for _ in range(workers)]:
        started.result()
    torch.set_num_threads(threads)
