"""Conversations of every shape that toolkits know, with their pictures and a video, in LLaVA's JSON
and as ms-swift's rows: for tests, and for benchmarks/peers/finetuning_loaders.py."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = ("red", "green", "blue")
BAD = 4
"""Samples of LLAVA that no toolkit could learn from."""


def talk(*texts: str) -> list[dict[str, str]]:
    """Turns of LLaVA, from the human and the model in turn."""
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


LLAVA: list[dict[str, Any]] = [
    {"id": "text", "conversations": talk("你好，世界 🌍", "Hello — “you” too.")},
    {"id": "one", "image": "red.png", "conversations": talk("<image>\n这是什么颜色？", "红色。")},
    {
        "id": "turns",
        "image": "green.png",
        "conversations": talk("<image>\nWhat is it?", "Green.", "Sure?\nReally?", "Yes."),
    },
    {
        "id": "several",
        "image": ["red.png", "blue.png"],
        "conversations": talk("Left <image> and right <image>: which is red?", "The left one."),
    },
    {
        "id": "system",
        "image": "sub folder\\蓝.png",
        "system": "Be brief. 请简短。",
        "conversations": talk("Which colour?\n<image>", "Blue."),
    },
    {
        "id": "video",
        "video": "clip.mp4",
        "conversations": talk("<image>\nWhat?", "It plays."),
    },
    {"id": "none", "image": "none.png", "conversations": talk("<image>\nWhat?", "Nothing.")},
    {"id": "few", "image": ["red.png", "blue.png"], "conversations": talk("<image>\nBoth?", "No.")},
    {"id": "torn", "image": "torn.png", "conversations": talk("<image>\nWhat?", "Nothing.")},
    {"id": "silent", "image": "red.png", "conversations": talk("<image>\nWhat?")},
    {
        "id": "better",
        "image": "red.png",
        "rejected": "Blue, I think.",
        "conversations": talk("<image>\nHello.", "Hi.", "Which colour is it?", "Red."),
    },
]


def write_samples(folder: Path, video: bytes = b"not looked into") -> Path:
    """Writes the pictures, the video and the samples, with the line ends of Windows; returns the
    file."""
    (folder / "sub folder").mkdir(parents=True)
    for colour in COLOURS:
        Image.new("RGB", (64, 48), colour).save(folder / f"{colour}.png")
    (folder / "blue.png").rename(folder / "sub folder" / "蓝.png")
    Image.new("RGB", (48, 64), "blue").save(folder / "blue.png")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "clip.mp4").write_bytes(video)
    file = folder / "llava.json"
    text = json.dumps(LLAVA, ensure_ascii=False, indent=1).replace("\n", "\r\n")
    file.write_bytes(text.encode("utf-8-sig"))
    return file
