"""Searches over HTTP, side by side: seesay serve, and Chroma's server behind a plain FastAPI route.

    python benchmarks/serve.py                        # about four minutes
    python benchmarks/serve.py --size 10000 --seconds 10 --json figures.json

Both embed the words with the built-in model and search the same vectors (made as those of
benchmarks/search.py are). One side at a time is asked by `--clients` clients, which keep their
connections and ask again as soon as they are answered. They run in this one process and share the
processors with the servers. In the end a few clients that pause between questions ask seesay, with
nothing else to do and while it indexes photographs.
"""

import argparse
import asyncio
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from clip_folder import save_photographs
from serve_contenders import CONTENDERS, Running, start

from search import make_vectors

SCRIPT = Path(__file__).parent / "peers" / "serve_contenders.py"
DIM, COUNT = 384, 10
WARM_UP_S = 15  # until the caches of the database are full
GOAL, GOAL_WHILE_INDEXING = 2.0, 2.0
FEW, PAUSE_S = 4, 0.1

WHO = (
    *("a dog", "a cat", "two children", "an old man", "a woman in red", "a cyclist", "a horse"),
    *("a small boat", "a yellow bus", "a street musician", "three birds", "a waiter"),
    *("一只狗", "一只猫", "两个孩子", "一位老人", "穿红衣服的女人", "骑车的人", "一匹马"),
    *("一条小船", "一辆黄色公交车", "街头艺人", "三只鸟", "一名服务员"),
)
HOW = (
    "running",
    "resting",
    "waiting",
    "turning away",
    "in the rain",
    "奔跑",
    "休息",
    "等待",
    "雨中",
)
WHERE = (
    *("on the grass", "by the sea", "in a kitchen", "under a bridge", "in front of a church"),
    *("at night", "in deep snow", "on a market", "草地上", "海边", "厨房里", "桥下", "教堂前"),
    *("夜里", "雪地里", "集市上"),
)
LIKE = (
    *("in black and white", "seen from above", "blurred", "in bright light", "half hidden"),
    *("painted", "on an old photograph", "黑白", "俯视", "模糊", "阳光明媚", "半遮", "画的"),
)


@dataclass
class Heard:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    asked: set[str] = field(default_factory=set)
    lasted_s: float = 0.0

    def figures(self) -> dict[str, float]:
        p50, p95, p99 = np.percentile(self.seconds or [float("nan")], [50, 95, 99]) * 1e3
        return {
            "requests": len(self.seconds),
            "requests_per_s": len(self.seconds) / self.lasted_s,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "errors": self.errors,
            "repeated": 1 - len(self.asked) / max(1, len(self.seconds)),
        }


def main() -> None:
    options = parse_arguments()
    queries = [" ".join(words) for words in itertools.product(WHO, HOW, WHERE, LIKE)]
    random.Random(0).shuffle(queries)
    print(f"{options.size:,} x {DIM}, {options.clients} clients, {len(queries):,} queries")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make_vectors(folder, options.size, DIM)
        for contender in CONTENDERS:
            subprocess.run([sys.executable, SCRIPT, "build", contender, folder], check=True)
        print(f"{'':22} {'requests/s':>10} {'p50':>7} {'p95':>7} {'p99 ms':>7}", end="")
        print(f" {'errors':>6} {'MB at start':>12} {'at the end':>10} {'repeated':>8}")
        for contender in CONTENDERS:
            figures[contender] = loaded(contender, folder, queries, options)
            report(contender, figures[contender])
        figures["while indexing"] = while_indexing(folder, queries, options)
    conclude(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searches over HTTP, side by side.")
    parser.add_argument("--size", type=int, default=100_000, help="vectors")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="for each side")
    parser.add_argument("--images", type=int, default=2000, help="to index in the second part")
    parser.add_argument("--folder", type=Path, help="where files go, else the system's place")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def loaded(
    name: str, folder: Path, queries: list[str], options: argparse.Namespace
) -> dict[str, float]:
    """One side under the whole load."""
    rest = itertools.cycle(queries)
    with start(name, folder) as server:
        asyncio.run(ask(server, rest, options.clients, WARM_UP_S))
        before = server.megabytes()
        heard = asyncio.run(ask(server, rest, options.clients, options.seconds))
        return {**heard.figures(), "start_mb": before, "end_mb": server.megabytes()}


def while_indexing(
    folder: Path, queries: list[str], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """A few clients that pause, first alone and then beside indexing."""
    save_photographs(folder / "new", options.images, (500, 375))
    (folder / "new").rename(folder / "photographs" / "new")
    rest = itertools.cycle(queries)
    with start("seesay", folder) as server:
        asyncio.run(ask(server, rest, FEW, WARM_UP_S, pause_s=PAUSE_S))
        alone = asyncio.run(ask(server, rest, FEW, options.seconds / 3, pause_s=PAUSE_S))
        server.index()
        time.sleep(1)  # until it reads pictures
        beside = Heard()
        while server.is_indexing() and beside.lasted_s < options.seconds / 3:
            asyncio.run(ask(server, rest, FEW, 2, pause_s=PAUSE_S, heard=beside))
    return {"alone": alone.figures(), "beside": beside.figures()}


async def ask(
    server: Running,
    queries: Iterator[str],
    clients: int,
    seconds: float,
    *,
    pause_s: float = 0,
    heard: Heard | None = None,
) -> Heard:
    """Each client takes the next query."""
    heard = Heard() if heard is None else heard
    begin = time.perf_counter()
    jobs = [client(server, queries, begin + seconds, pause_s, heard) for _ in range(clients)]
    await asyncio.gather(*jobs)
    heard.lasted_s += time.perf_counter() - begin
    return heard


async def client(
    server: Running, queries: Iterator[str], until: float, pause_s: float, heard: Heard
) -> None:
    """Plain sockets: a whole HTTP library would take more of the processors than the servers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while time.perf_counter() < until:
        words = next(queries)
        body = json.dumps({"query": words, "count": COUNT}).encode()
        head = (
            f"POST {server.route} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        begin = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        fields = answer.lower().split(b"content-length:")[1]
        content = await reader.readexactly(int(fields.split(b"\r\n")[0]))
        heard.seconds.append(time.perf_counter() - begin)
        heard.asked.add(words)
        heard.errors += not (answer.startswith(b"HTTP/1.1 200") and server.is_whole(content, COUNT))
        if pause_s:
            await asyncio.sleep(pause_s)
    writer.close()
    await writer.wait_closed()


def report(name: str, of: dict[str, float]) -> None:
    print(f"{name:22} {of['requests_per_s']:10.1f} {of['p50_ms']:7.1f} {of['p95_ms']:7.1f}", end="")
    print(f" {of['p99_ms']:7.1f} {of['errors']:6.0f} {of['start_mb']:12.0f}", end="")
    print(f" {of['end_mb']:10.0f} {of['repeated']:8.0%}", flush=True)


def conclude(figures: dict[str, Any]) -> None:
    """Ratios, and which goals are met."""
    ours, theirs = (figures[name] for name in CONTENDERS)
    ratio = ours["requests_per_s"] / theirs["requests_per_s"]
    alone, beside = (figures["while indexing"][when] for when in ("alone", "beside"))
    slower = beside["p95_ms"] / alone["p95_ms"]
    growth = ours["end_mb"] / ours["start_mb"]
    print(f"{FEW} clients with pauses: p95 {alone['p95_ms']:.1f} ms alone,", end=" ")
    print(f"{beside['p95_ms']:.1f} ms beside indexing ({beside['requests']:.0f} requests)")
    goals = {
        f"{ratio:.2f} times the requests/s of the peer (goal {GOAL:.0f})": ratio >= GOAL,
        f"{ours['errors']:.0f} errors (goal 0)": not ours["errors"],
        f"memory at the end {growth:.2f} of that at the start (goal 1.1)": growth <= 1.1,
        f"p95 beside indexing {slower:.2f} times that alone (goal {GOAL_WHILE_INDEXING:.0f})": (
            slower <= GOAL_WHILE_INDEXING
        ),
    }
    for goal, met in goals.items():
        print(f"{'reached' if met else 'MISSED '} {goal}")


if __name__ == "__main__":
    main()
