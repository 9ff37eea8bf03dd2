"""Positions of multimodal RoPE against transformers, and against the rule where that differs."""

import random
from types import SimpleNamespace

import pytest
import torch

from seesay.errors import ConfigError
from seesay.models.positions import VisionGrid, multimodal_positions


def theirs(model, rows, mask, **options):
    """transformers' positions for rows of 0 (text), ("image", grid) and ("video", grid)."""
    config = SimpleNamespace(
        vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
    )
    stub = SimpleNamespace(config=config)
    stub.get_vision_position_ids = lambda *given, **named: model.get_vision_position_ids(
        stub, *given, **named
    )
    kinds = torch.zeros(mask.shape, dtype=torch.long)
    images, videos = [], []
    for row, parts in enumerate(rows):
        types = []
        for part in parts:
            if isinstance(part, int):
                types += [0] * part
                continue
            name, (time, height, width) = part
            types += [1 if name == "image" else 2] * (time * height * width // 4)
            (images if name == "image" else videos).append((time, height, width))
        kinds[row, mask[row]] = torch.tensor(types)
    return model.get_rope_index(
        stub,
        torch.zeros_like(kinds),
        kinds,
        torch.tensor(images) if images else None,
        torch.tensor(videos) if videos else None,
        attention_mask=mask.long(),
        **options,
    )


def grids(parts, interval=1.0):
    result, at = [], 0
    for part in parts:
        if isinstance(part, int):
            at += part
            continue
        name, (time, height, width) = part
        grid = VisionGrid(
            start=at,
            time=time,
            rows=height // 2,
            columns=width // 2,
            interval=interval if name == "video" else 1.0,
        )
        result.append(grid)
        at += grid.tokens
    return result, at


def masks(lengths, side):
    longest = max(lengths) + 2
    mask = torch.zeros(len(lengths), longest, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, longest - length :] = side == "left"
        mask[row, :length] |= side == "right"
    return mask


def conversations(name: str, longest_time: int, seed: int):
    draw = random.Random(seed)
    rows = []
    for _ in range(4):
        parts = [draw.randint(1, 6)]
        for _ in range(draw.randint(1, 3)):
            height, width = 2 * draw.randint(1, 5), 2 * draw.randint(1, 5)
            time = min(draw.randint(1, longest_time), max(height, width) // 2)
            parts += [(name, (time if name == "video" else 1, height, width)), draw.randint(1, 5)]
        rows.append(parts)
    return rows


def qwen(number: str):
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    return {"2": Qwen2VLModel, "2.5": Qwen2_5_VLModel, "3": Qwen3VLModel}[number]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("number", "name"),
    [("2", "image"), ("2.5", "image"), ("3", "image"), ("2", "video"), ("2.5", "video")],
)
def test_positions_equal_those_of_transformers_where_both_rules_agree(number, name, side):
    rows = conversations(name, 5, seed=3)  # no longer than a side, where the rules agree
    interval, options = 1.0, {}
    if (number, name) == ("2.5", "video"):
        seconds = 0.25  # the 2 tokens a second of the stub: half a position for each step
        interval = 2 * seconds
        options = {"second_per_grid_ts": [seconds] * 20}
    placed = [grids(parts, interval) for parts in rows]
    mask = masks([length for _, length in placed], side)
    expected, deltas = theirs(qwen(number), rows, mask, **options)
    ours, following = multimodal_positions(mask, [of_row for of_row, _ in placed])
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(following, deltas[:, 0] + mask.sum(1))


def test_each_step_of_a_video_of_qwen3_stands_like_a_picture():
    parts = [3, ("video", (1, 4, 6)), 2, ("video", (1, 4, 6)), 2, ("video", (1, 4, 6)), 4]
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    of_row, length = grids(parts)
    mask = torch.ones(1, length, dtype=torch.bool)
    expected, _ = theirs(Qwen3VLModel, [parts], mask)
    torch.testing.assert_close(multimodal_positions(mask, [of_row])[0], expected)


def reference_row(parts, interval):
    """The rule of the paper, token by token."""
    result, position = [], 0
    for part in parts:
        if isinstance(part, int):
            result += [(position + n,) * 3 for n in range(part)]
            position += part
            continue
        _, (time, height, width) = part
        block = [
            (position + int(t * interval), position + y, position + x)
            for t in range(time)
            for y in range(height // 2)
            for x in range(width // 2)
        ]
        result += block
        position = max(max(one) for one in block) + 1
    return torch.tensor(result).T, position


@pytest.mark.parametrize("interval", [1.0, 0.5, 2.0, 4.0])
def test_text_goes_on_behind_the_largest_position_of_a_video(interval):
    parts = [4, ("video", (6, 4, 4)), 3, ("video", (9, 2, 6)), 2]
    of_row, length = grids(parts, interval)
    ours, following = multimodal_positions(torch.ones(1, length, dtype=torch.bool), [of_row])
    expected, position = reference_row(parts, interval)
    torch.testing.assert_close(ours[:, 0], expected)
    assert following.tolist() == [position]


def test_transformers_gives_text_the_positions_of_a_video_that_is_longer_than_its_sides():
    # 4 tokens of text, then 6 steps of 2 x 2 tokens: the video ends at time 9. The weights were
    # trained with text from 10 on (Qwen's repository, vLLM); transformers 5 gives 6, 7, 8.
    parts = [4, ("video", (6, 4, 4)), 3]
    of_row, length = grids(parts)
    mask = torch.ones(1, length, dtype=torch.bool)
    expected, _ = theirs(qwen("2"), [parts], mask)
    ours, following = multimodal_positions(mask, [of_row])
    assert expected[:, 0, -3:].tolist() == [[6, 7, 8]] * 3
    assert ours[0, 0, -4].item() == 9
    assert ours[:, 0, -3:].tolist() == [[10, 11, 12]] * 3
    assert following.tolist() == [13]


def test_a_row_without_pictures_counts_up():
    mask = torch.tensor([[False, True, True, True], [True, True, False, False]])
    ours, following = multimodal_positions(mask, [[], []])
    assert ours.tolist() == [[[0, 0, 1, 2], [0, 1, 0, 0]]] * 3
    assert following.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("starts", "words"),
    [((3, 4), "tokens 4 to 8 of a row of 12, of which 7"), ((9,), "tokens 9 to 13 of a row of 12")],
)
def test_pictures_that_do_not_fit_their_row_are_refused(starts, words):
    of_row = [VisionGrid(start=start, rows=2, columns=2) for start in starts]
    with pytest.raises(ConfigError, match=words):
        multimodal_positions(torch.ones(1, 12, dtype=torch.bool), [of_row])


def test_a_grid_without_tokens_is_refused():
    with pytest.raises(ConfigError, match="1 x 0 x 2 tokens"):
        VisionGrid(start=0, rows=0, columns=2)
