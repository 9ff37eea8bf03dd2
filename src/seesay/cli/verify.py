"""`seesay verify`: is everything as it was written?"""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.messages import language, say
from seesay.cli.options import Collection, Json

if TYPE_CHECKING:
    from seesay.search.checking.findings import Finding

Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help=say(
            "Read every page and vector, compare the indexes with them, and try the indexes out.",
            "检查每一页和每个向量，将索引与向量比对，并试查索引。",
        ),
    ),
]
Files = Annotated[
    bool,
    typer.Option(
        "--files",
        help=say(
            "Read every file again, too, and compare it with what was indexed.",
            "另外重新读取每个文件，与收录时的内容比对。",
        ),
    ),
]

# What the library says in English, by kind.
_FILL = "请运行 `seesay index` 重新计算。"
_BUILD = "请运行 `seesay rebuild`，用已存的内容重建。"
_BOTH = "请先运行 `seesay rebuild` 清除，再运行 `seesay index` 重新计算。"
CHINESE = {
    "pages": "{where} 已损坏：{detail}。请换回备份的文件夹，或把文件重新收录到新的资料库。",
    "changed rows": "有 {count} 个文件（首个为 {where}）的存储内容与写入时不同，硬盘可能有故障。"
    "请换回备份的文件夹；或先运行 `seesay rebuild` 去掉这些文件的记录，"
    "再运行 `seesay index` 重新读取。",
    "changed table": "表 {where} 的内容与写入时不同，硬盘可能有故障。"
    "请换回备份的文件夹，或把文件重新收录到新的资料库。",
    "orphans": "表 {where} 中有 {count} 行无所归属（{detail}）。请运行 `seesay rebuild` 清除。",
    "short vectors": f"模型 {{where}} 有 {{count}} 个向量不完整。{_BOTH}",
    "unsound vectors": "模型 {where} 有 {count} 个向量长度不为 1 或含有非数值"
    f"（首个属于条目 {{detail}}）。{_BOTH}",
    "missing vectors": "有 {count} 条图文缺少模型 {where} 的向量，按内容查不到"
    f"（首条为 {{detail}}）。{_FILL}",
    "missing captions": "有 {count} 张图片的说明缺少模型 {where} 的向量，按说明的意思查不到"
    f"（首张为 {{detail}}）。{_FILL}",
    "metadata": "键 {where} 有 {count} 个值与其类型不符，只能当作文字显示"
    "（首个属于条目 {detail}）。应为数字、文字，或公元 1 年到 9999 年的日期。"
    "请运行 `seesay rebuild` 清除。",
    "missing annotations": "表格 {where} 的 {detail} 行中有 {count} 行没有存入，或没有对应到图片。"
    "请运行 `seesay index` 重新读取该表格。",
    "undescribed pictures": "有 {count} 张图片（首张为 {where}）还没有用上表格中的最新说明："
    "收录曾中断，或仍在进行。请运行 `seesay index` 完成。",
    "wrong descriptions": "有 {count} 张图片（首张为 {where}）缺少表格给出的说明或字段。"
    "请先运行 `seesay rebuild` 作标记，再运行 `seesay index` 补上。",
    "keyword index": f"{{where}} 的关键词索引已损坏：{{detail}}。{_BUILD}",
    "missing keywords": "有 {count} 条文字不在 {where} 的关键词索引中"
    f"（首条为 {{detail}}）。{_BUILD}",
    "index files": f"索引文件已损坏：{{detail}}。查找不受影响，只是较慢。{_BUILD}",
    "index rows": "{where} 中的索引与已存的向量不一致：多出或缺少 {count} 条"
    f"（首条为 {{detail}}）。{_BUILD}",
    "index vectors": "{where} 中的索引有 {count} 个向量与已存的不同"
    f"（首个属于条目 {{detail}}）。{_BUILD}",
    "index recall": "试查了 {count} 个向量，{where} 中的索引只找到应找到的 {detail}。" + _BUILD,
    "silent changes": "有 {count} 个文件的大小和时间未变，内容却与收录时不同（首个为 {where}），"
    "硬盘可能有故障。请换回备份；若是你改过的，请先 `touch` 这些文件，再运行 `seesay index`。",
    "unreadable files": "有 {count} 个文件存在却读不出来（首个为 {where}：{detail}）。"
    "请检查硬盘和文件权限。",
}


def verify(
    deep: Deep = False, files: Files = False, collection: Collection = None, json: Json = False
) -> None:
    from seesay.cli.opening import opened
    from seesay.cli.output import print_json, warn, working

    with opened(collection) as here, working(say("checking", "正在检查")):
        found = here.verify(deep=deep, files=files)
    if json:
        print_json({"problems": [_as_json(finding) for finding in found]})
    elif not found:
        print(say("all is well", "一切正常"))
    else:
        for finding in found:
            warn(_told(finding))
    if found:
        raise typer.Exit(1)


def _told(finding: "Finding") -> str:
    if language() != "zh":
        return str(finding)
    return CHINESE[finding.kind].format(**vars(finding))


def _as_json(finding: "Finding") -> dict[str, object]:
    return {**vars(finding), "remedy": finding.remedy, "message": str(finding)}
