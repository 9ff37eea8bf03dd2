"""Read an ONNX file from a third party, and check it before a runtime opens it.

Only a plain graph passes: standard operators that the caller lists, no loops or branches, a known
version, and all weights inside the file. A runtime would follow paths to weights outside the file,
and run any installed operator.

The format is protocol buffers. The field numbers come from onnx.proto, where they never change
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from seesay.data.files import open_file
from seesay.errors import WeightsError
from seesay.text import Text

MOST_BYTES = 400 * 2**20  # YOLOX-x, the largest of its family, has 396 MB
OPSETS = range(9, 24)  # YOLOX writes 11 unless told otherwise; before 9, operators differ
_STANDARD = ("", "ai.onnx")
_LONGEST_VARINT = 10

# ModelProto: versions, names and texts, and the graph. Other fields hold training steps and
# functions, which are further graphs.
_KNOWN_OF_MODEL = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 14))
_GRAPH, _OPSET = 7, 8
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # GraphProto
_OPERATOR, _ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7  # NodeProto
_TENSORS_OF_ATTRIBUTE, _GRAPHS_OF_ATTRIBUTE, _SPARSE_OF_ATTRIBUTE = (5, 10), (6, 11), (22, 23)
_EXTERNAL = (13, 14)  # TensorProto: location and flag of external values
_DOMAIN, _VERSION = 1, 2  # OperatorSetIdProto

_Value = int | memoryview


def read_onnx(path: str | Path, operators: Collection[str]) -> bytes:
    """Returns the bytes of an ONNX file that has only these operators. Raises WeightsError if the
    file is missing, too large or damaged, or holds anything but such a graph."""
    try:
        with open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise _refused(
            path,
            Text(f"cannot be read ({error.strerror})", f"无法读取（{error.strerror}）"),
            Text("an ONNX file", "ONNX 文件"),
        ) from None
    if len(data) > MOST_BYTES:
        raise _refused(
            path,
            Text(f"is {size:,} bytes long", f"有 {size:,} 字节"),
            Text(f"at most {MOST_BYTES:,}", f"不超过 {MOST_BYTES:,} 字节"),
        )
    try:
        problem = _problem_of_model(memoryview(data), operators)
    except (ValueError, IndexError):
        problem = Text("is damaged, or no ONNX file", "已损坏，或不是 ONNX 文件")
    if problem is not None:
        raise _refused(
            path,
            problem,
            Text(
                "a graph of standard operators with its weights inside",
                "由标准算子组成、权重都在文件内的计算图",
            ),
        )
    return data


def _refused(path: str | Path, problem: Text, expected: Text) -> WeightsError:
    return WeightsError(
        Text(
            f"{path} {problem.en}; expected {expected.en}; export or download it again",
            f"{path} {problem.zh}；应为{expected.zh}；请重新导出或下载",
        )
    )


def _problem_of_model(data: memoryview, operators: Collection[str]) -> Text | None:
    """Returns why the file cannot be used; None if it can. Raises ValueError or IndexError for
    bytes that are not a message."""
    graphs, opsets = [], []
    for number, value in _fields(data):
        if number not in _KNOWN_OF_MODEL:
            return Text("holds functions or training steps", "含有函数或训练步骤")
        if number == _GRAPH:
            graphs.append(_message(value))
        elif number == _OPSET:
            opsets.append(dict(_fields(_message(value))))
    if len(graphs) != 1 or not opsets:
        return Text("holds no graph with its version", "没有计算图或算子集版本")
    problems = [*map(_problem_of_opset, opsets), _problem_of_graph(graphs[0], operators)]
    return next(filter(None, problems), None)


def _problem_of_opset(opset: Mapping[int, _Value]) -> Text | None:
    domain, version = _text(opset.get(_DOMAIN)), opset.get(_VERSION)
    if domain not in _STANDARD:
        return Text(f"needs operators of {domain!r}", f"需要 {domain!r} 的算子")
    if version not in OPSETS:
        return Text(
            f"is of operator set {version}, which is not from {OPSETS[0]} to {OPSETS[-1]}",
            f"的算子集版本是 {version}，不在 {OPSETS[0]} 到 {OPSETS[-1]} 之间",
        )
    return None


def _problem_of_graph(graph: memoryview, operators: Collection[str]) -> Text | None:
    for number, value in _fields(graph):
        problem = None
        if number == _NODE:
            problem = _problem_of_node(_message(value), operators)
        elif number == _INITIALIZER:
            problem = _problem_of_tensor(_message(value))
        elif number == _SPARSE:
            problem = Text("holds sparse weights", "含有稀疏权重")
        if problem is not None:
            return problem
    return None


def _problem_of_node(node: memoryview, operators: Collection[str]) -> Text | None:
    fields = list(_fields(node))
    for number, value in fields:
        if number == _NODE_DOMAIN and _text(value) not in _STANDARD:
            return Text(f"has an operator of {_text(value)!r}", f"含有 {_text(value)!r} 的算子")
        if number == _OPERATOR and _text(value) not in operators:
            return Text(f"has the operator {_text(value)!r}", f"含有算子 {_text(value)!r}")
    for attribute in (_message(value) for number, value in fields if number == _ATTRIBUTE):
        for number, value in _fields(attribute):
            if number in (*_GRAPHS_OF_ATTRIBUTE, *_SPARSE_OF_ATTRIBUTE):
                return Text("holds a graph within the graph", "计算图里还有计算图")
            if number in _TENSORS_OF_ATTRIBUTE and (problem := _problem_of_tensor(_message(value))):
                return problem
    return None


def _problem_of_tensor(tensor: memoryview) -> Text | None:
    if any(number in _EXTERNAL and value != 0 for number, value in _fields(tensor)):
        return Text("keeps weights in another file", "的权重放在别的文件里")
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Yields the fields of a message: the field number, and a number or bytes. Raises ValueError or
    IndexError if it is not a message or ends too early."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:  # the wire type
            case 0:
                value, at = _varint(message, at)
                yield key >> 3, value
                continue
            case 1:
                length = 8
            case 2:
                length, at = _varint(message, at)
            case 5:
                length = 4
            case _:
                raise ValueError
        if at + length > len(message):
            raise ValueError
        yield key >> 3, message[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns a number with seven bits a byte, and where the next field begins."""
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError
    return value


def _text(value: _Value | None) -> str:
    return bytes(_message(value)).decode() if value is not None else ""
