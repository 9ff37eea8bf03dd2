"""The problems that a collection can have, and their remedies."""

from dataclasses import dataclass
from typing import Literal

from seesay.text import Text

FindingType = Literal[
    "pages",
    "changed rows",
    "changed table",
    "orphans",
    "short vectors",
    "unsound vectors",
    "missing vectors",
    "missing captions",
    "metadata",
    "missing annotations",
    "undescribed pictures",
    "wrong descriptions",
    "keyword index",
    "missing keywords",
    "index files",
    "index rows",
    "index vectors",
    "index recall",
    "silent changes",
    "unreadable files",
]
Remedy = Literal["index", "rebuild", "restore", "look"]

_INDEX = "run `seesay index`, which computes them again"
_REBUILD = "run `seesay rebuild`, which builds it again from what is stored"
_BOTH = "run `seesay rebuild`, which takes them out, and then `seesay index`, which replaces them"
_INDEX_ZH = "请运行 `seesay index` 重新计算。"
_REBUILD_ZH = "请运行 `seesay rebuild`，用已存的内容重建。"
_BOTH_ZH = "请先运行 `seesay rebuild` 清除，再运行 `seesay index` 重新计算。"

# Problem, expectation, remedy.
WORDS: dict[FindingType, tuple[Remedy, Text]] = {
    "pages": (
        "restore",
        Text(
            "{where} is damaged: {detail}. Expected what was written. Put back a copy of the "
            "folder, or index your files into a new collection.",
            "{where} 已损坏：{detail}。请换回备份的文件夹，或把文件重新收录到新的资料库。",
        ),
    ),
    "changed rows": (
        "rebuild",
        Text(
            "what is stored of {count} files (the first is {where}) is not what was written: a "
            "disk may be failing. Put back a copy of the folder; or run `seesay rebuild`, "
            "which forgets these files, and then `seesay index`, which reads them again.",
            "有 {count} 个文件（首个为 {where}）的存储内容与写入时不同，"
            "硬盘可能有故障。请换回备份的文件夹；"
            "或先运行 `seesay rebuild` 去掉这些文件的记录，再运行 `seesay index` 重新读取。",
        ),
    ),
    "changed table": (
        "restore",
        Text(
            "rows of the table {where} are not what was written: a disk may be failing. "
            "Expected their checksum. Put back a copy of the folder, or index your files into "
            "a new collection.",
            "表 {where} 的内容与写入时不同，硬盘可能有故障。"
            "请换回备份的文件夹，或把文件重新收录到新的资料库。",
        ),
    ),
    "orphans": (
        "rebuild",
        Text(
            "{count} rows of {where} belong to nothing ({detail}). Expected each to belong to "
            "a file. Run `seesay rebuild`, which takes them out.",
            "表 {where} 中有 {count} 行无所归属（{detail}）。请运行 `seesay rebuild` 清除。",
        ),
    ),
    "short vectors": (
        "rebuild",
        Text(
            "{count} vectors of {where} are cut short. Expected every number of each: "
            f"{_BOTH}.",
            f"模型 {{where}} 有 {{count}} 个向量不完整。{_BOTH_ZH}",
        ),
    ),
    "unsound vectors": (
        "rebuild",
        Text(
            "{count} vectors of {where} are not of length 1, or are no numbers (unit "
            f"{{detail}}). Expected unit vectors: {_BOTH}.",
            "模型 {where} 有 {count} 个向量长度不为 1 或含有非数值"
            "（首个属于条目 {detail}）。"
            f"{_BOTH_ZH}",
        ),
    ),
    "missing vectors": (
        "index",
        Text(
            "{count} pictures and texts have no vector of {where} and are not found by "
            f"what they show (unit {{detail}}). Expected one for each: {_INDEX}.",
            "有 {count} 条图文缺少模型 {where} 的向量，按内容查不到（首条为 {detail}）。"
            f"{_INDEX_ZH}",
        ),
    ),
    "missing captions": (
        "index",
        Text(
            "{count} pictures have captions without a vector of {where} and are not found "
            f"by the meaning of these (unit {{detail}}). Expected one for each: {_INDEX}.",
            "有 {count} 张图片的说明缺少模型 {where} 的向量，按说明的意思查不到（首张为 "
            f"{{detail}}）。{_INDEX_ZH}",
        ),
    ),
    "metadata": (
        "rebuild",
        Text(
            "{count} values of {where} are none of their type and are shown as text (unit "
            "{detail}). Expected numbers, texts, and dates between the years 1 and 9999. Run "
            "`seesay rebuild`, which takes them out.",
            "键 {where} 有 {count} 个值与其类型不符，只能当作文字显示"
            "（首个属于条目 {detail}）。"
            "应为数字、文字，或公元 1 年到 9999 年的日期。请运行 `seesay rebuild` 清除。",
        ),
    ),
    "missing annotations": (
        "index",
        Text(
            "{count} of the {detail} rows of the table {where} are not stored, or not with "
            "their pictures. Expected all: run `seesay index`, which reads the table again.",
            "表格 {where} 的 {detail} 行中有 {count} 行没有存入，或没有对应到图片。请运行 "
            "`seesay index` 重新读取该表格。",
        ),
    ),
    "undescribed pictures": (
        "index",
        Text(
            "{count} pictures (the first is {where}) are not described by what tables say now, "
            "since a run was interrupted or still goes on. Expected all: run `seesay index`, "
            "which does it.",
            "有 {count} 张图片（首张为 {where}）还没有用上表格中的最新说明："
            "收录曾中断，或仍在进行。请运行 `seesay index` 完成。",
        ),
    ),
    "wrong descriptions": (
        "rebuild",
        Text(
            "{count} pictures (the first is {where}) lack a caption or column that a table "
            "gives them. Expected all: run `seesay rebuild`, which notes them, and then "
            "`seesay index`, which describes them again.",
            "有 {count} 张图片（首张为 {where}）缺少表格给出的说明或字段。请先运行 `seesay rebuild`"
            " 作标记，再运行 `seesay index` 补上。",
        ),
    ),
    "keyword index": (
        "rebuild",
        Text(
            "the keyword index of {where} is damaged: {detail}. Expected what was written: "
            f"{_REBUILD}.",
            f"{{where}} 的关键词索引已损坏：{{detail}}。{_REBUILD_ZH}",
        ),
    ),
    "missing keywords": (
        "rebuild",
        Text(
            "{count} texts and captions are not in the keyword index of {where} (unit "
            f"{{detail}}). Expected all: {_REBUILD}.",
            f"有 {{count}} 条文字不在 {{where}} 的关键词索引中（首条为 {{detail}}）。{_REBUILD_ZH}",
        ),
    ),
    "index files": (
        "rebuild",
        Text(
            "{detail}. Expected the index that was written; searching goes on without: "
            f"{_REBUILD}.",
            f"索引文件已损坏：{{detail}}。查找不受影响，只是较慢。{_REBUILD_ZH}",
        ),
    ),
    "index rows": (
        "rebuild",
        Text(
            "the index in {where} holds {count} vectors that are not stored, or lacks some "
            f"that are (unit {{detail}}). Expected the same ones: {_REBUILD}.",
            "{where} 中的索引与已存的向量不一致：多出或缺少 {count} 条（首条为 {detail}）。"
            f"{_REBUILD_ZH}",
        ),
    ),
    "index vectors": (
        "rebuild",
        Text(
            "the index in {where} holds {count} vectors that differ from the stored ones "
            f"(unit {{detail}}). Expected the same: {_REBUILD}.",
            "{where} 中的索引有 {count} 个向量与已存的不同（首个属于条目 {detail}）。"
            f"{_REBUILD_ZH}",
        ),
    ),
    "index recall": (
        "rebuild",
        Text(
            "the index in {where} finds {detail} of the 10 nearest of {count} vectors "
            f"looked for. Expected nearly all: {_REBUILD}.",
            f"试查了 {{count}} 个向量，{{where}} 中的索引只找到应找到的 {{detail}}。{_REBUILD_ZH}",
        ),
    ),
    "silent changes": (
        "look",
        Text(
            "{count} files hold something else than was indexed, though size and time are the "
            "same (the first is {where}). Expected the same content: a disk may be failing. "
            "Put back a copy; or if you changed them, `touch` them and run `seesay index`.",
            "有 {count} 个文件的大小和时间未变，内容却与收录时不同（首个为 {where}），"
            "硬盘可能有故障。请换回备份；"
            "若是你改过的，请先 `touch` 这些文件，再运行 `seesay index`。",
        ),
    ),
    "unreadable files": (
        "look",
        Text(
            "{count} files are there and cannot be read (the first is {where}: {detail}). "
            "Expected to read them. Check the disk and their rights.",
            "有 {count} 个文件存在却读不出来（首个为 {where}：{detail}）。请检查硬盘和文件权限。",
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem in a collection. `str` gives it in English."""

    kind: FindingType
    where: str
    """The file, folder, table or model concerned."""
    count: int = 1
    detail: Text | str = ""
    """The first example, or the library's message."""

    @property
    def remedy(self) -> Remedy:
        """Returns the command that repairs it; "restore" and "look" are left to people."""
        return WORDS[self.kind][0]

    @property
    def message(self) -> Text:
        """What is wrong, what was expected, and what to do."""
        return WORDS[self.kind][1].format(**vars(self))

    def __str__(self) -> str:
        return self.message.en
