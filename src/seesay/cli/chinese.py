"""What the library says of values that were typed on the command line, in Chinese.

For errors that do not carry their Chinese yet. They are told apart by their words; names in braces
are what stands in their place.
"""

import re
from functools import cache

from seesay.cli.messages import language

# What the library says -> the same in Chinese. The first that fits counts.
CHINESE = (
    (
        "there is no collection yet (expected one in {place}); make it from your pictures and "
        "texts: seesay index FOLDER. There are: {names}",
        "还没有默认的资料库（应在 {place}）；请用图片和文字建立：seesay index 文件夹，或用 "
        "--collection 指定已有的：{names}",
    ),
    (
        "there is no collection yet (expected one in {place}); make it from your pictures and "
        "texts: seesay index FOLDER",
        "还没有资料库（应在 {place}）；请用图片和文字建立：seesay index 文件夹",
    ),
    (
        "there is no collection {name} (expected one in {place}); did you mean {near}? "
        "To make it: seesay index FOLDER --collection {same}. There are: {names}",
        "没有资料库 {name}（应在 {place}）；是不是想用 {near}？要新建请运行：seesay index 文件夹 "
        "--collection {same}。已有的资料库：{names}",
    ),
    (
        "there is no collection {name} (expected one in {place}); to make it: seesay index "
        "FOLDER --collection {same}. There are: {names}",
        "没有资料库 {name}（应在 {place}）；要新建请运行：seesay index 文件夹 --collection {same}。"
        "已有的资料库：{names}",
    ),
    (
        "there is no collection {name} (expected one in {place}); to make it: seesay index "
        "FOLDER --collection {same}",
        "没有资料库 {name}（应在 {place}）；要新建请运行：seesay index 文件夹 --collection {same}",
    ),
    (
        "the collection name {name} cannot be used; expected letters, digits, - _ and . (64 at "
        "most, a letter or digit first), or a path such as ./name; choose another name",
        "资料库名称 {name} 不能用；应由文字、数字、-、_ 和 . 组成（最多 64 个，以文字或数字开头），"
        "或者是 ./name 这样的路径；请换一个名称",
    ),
    (
        "{names}: not there, expected files or folders that are; nothing was made; check the "
        "names, or connect the disk",
        "{names} 不存在；应为已有的文件或文件夹；没有建立资料库；请检查名称，或接上硬盘",
    ),
    (
        "none of {names} is there, expected folders to watch; check the names, or connect the disk",
        "{names} 都不存在；应为要留意的文件夹；请检查名称，或接上硬盘",
    ),
    (
        "no files and folders were named, and {place} knows none of before; expected at least one "
        "path: seesay index FOLDER",
        "没有给出文件或文件夹，{place} 里也没有收录过的；至少应给出一个：seesay index 文件夹",
    ),
    (
        "{place} is empty, expected a collection with something in it; index some pictures and "
        "texts first: seesay index FOLDER",
        "{place} 是空的；应为有内容的资料库；请先收录图片和文字：seesay index 文件夹",
    ),
    (
        "{address} is an address, expected files and folders, since fetching was not allowed; "
        "allow it with --urls, or download it first",
        "{address} 是网址；没有允许下载时，应为文件或文件夹；请加上 --urls，或先自行下载",
    ),
    (
        "{place} was indexed with {model}, and {other} was asked for: vectors of two models "
        "cannot be compared, expected the same one. Leave --model out to go on with it; to bring "
        "everything over to the other one: seesay index --model {same} (without paths)",
        "{place} 是用 {model} 收录的，现在却指定了 {other}：两个模型的向量无法比较，应为同一个。"
        "不写 --model 就沿用原来的；要全部换过去，请运行 seesay index --model {same}（不写路径）",
    ),
    (
        "the query is {query}; expected words or a picture; say what to look for, as in {example}",
        "查询内容是 {query}；应有文字或图片；请写出要找什么，如“草地上的狗”",
    ),
    (
        "the query has no words and no picture; expected at least one, or a filter; say what to "
        "look for, as in {example}",
        "查询里没有文字，也没有图片；至少应有其一，或者一个筛选条件；请写出要找什么，如“草地上的狗”",
    ),
    (
        "the query asks for {count} hits after the first {offset}; expected at least 1, and no "
        "more than {most} in all; ask for fewer, or narrow the search with a filter",
        "要求显示 {count} 条结果；应至少 1 条，总共不超过 {most} 条；请减少数量，或加筛选条件",
    ),
    (
        "{date} is not a date; expected a day, month or year such as {examples}; write it like "
        "that",
        "{date} 不是日期；应为某日、某月或某年；请写成 2024-05-31、2024-05 或 2024",
    ),
    (
        "there is no day from {since} to {until}; expected the earlier one first; exchange them",
        "从 {since} 到 {until} 没有任何一天；起始应不晚于结束；请把两者对调",
    ),
    (
        "the condition {condition} names no key; expected one such as width>=1000, camera=Canon, "
        "name~part, or a key alone; see seesay search --help",
        "条件 {condition} 没有写键名；应如 width>=1000、camera=Canon、name~片段，或只写键名；"
        "参见 seesay search --help",
    ),
    (
        "the condition {condition} compares {field} with {value}; expected one sign of = != > >= "
        "< <= ~ and then a value; correct it, or put the value in quotes",
        "条件 {condition} 用 {value} 与 {field} 比较；应为 = != > >= < <= ~ 之一，后面接一个值；"
        "请改正，或给值加上引号",
    ),
    (
        "the condition {condition} can hold for nothing, since {field} holds texts; expected one "
        "of these; correct the value",
        "条件 {condition} 不可能成立：{field} 的值是文字；应与文字比较；请改正条件里的值",
    ),
    (
        "the condition {condition} can hold for nothing, since {field} holds numbers such as 640; "
        "expected one of these; correct the value",
        "条件 {condition} 不可能成立：{field} 的值是数字；应与 640 这样的数字比较；"
        "请改正条件里的值",
    ),
    (
        "the condition {condition} can hold for nothing, since {field} holds dates such as "
        "2024-05-31; expected one of these; correct the value",
        "条件 {condition} 不可能成立：{field} 的值是日期；应与 2024-05-31 这样的日期比较；"
        "请改正条件里的值",
    ),
    (
        "the filter asks for {keys}, which nothing in the collection has; expected some of "
        "{names}; did you mean {near}?",
        "筛选条件用了 {keys}，资料库里没有这一项；应为以下之一：{names}；是不是想用 {near}？",
    ),
    (
        "the filter asks for {keys}, which nothing in the collection has; expected some of "
        "{names}; correct the name",
        "筛选条件用了 {keys}，资料库里没有这一项；应为以下之一：{names}；请改正名称",
    ),
    (
        "the threshold is {threshold}; expected a similarity above 0 and up to 1; {usual} finds "
        "pictures that were made smaller or saved again",
        "阈值是 {threshold}；应为大于 0、不超过 1 的相似度；{usual} 能找到缩小过或重新保存过的图片",
    ),
    (
        "{file} ends in {ending}; expected one of {endings}; choose a name with one of these "
        "endings",
        "{file} 的扩展名是 {ending}；应为以下之一：{endings}；请换成这样的文件名",
    ),
    (
        "{file} cannot be written: there is no folder {folder}; expected the path of a file in a "
        "folder that exists, with room and the right to write; choose another path, or create the "
        "folder",
        "无法写入 {file}：没有文件夹 {folder}；应为已有文件夹里的文件；请换一个路径，或新建文件夹",
    ),
    (
        "{file} cannot be written: {why}; expected the path of a file in a folder that exists, "
        "with room and the right to write; choose another path, or create the folder",
        "无法写入 {file}：{why}；应为已有文件夹里的文件，且有空间和写入权限；"
        "请换一个路径，或新建文件夹",
    ),
    (
        "{file} cannot be read: {why}; expected a UTF-8 text file with one entry per line; check "
        "the path, or save the file as UTF-8",
        "无法读取 {file}：{why}；应为每行一项的 UTF-8 文本文件；请检查路径，或另存为 UTF-8",
    ),
    (
        "{folder} holds {name}, which no probe has; expected no such folder, or a probe that is to "
        "be replaced; choose another folder",
        "{folder} 里有 {name}，探针的文件夹里不会有它；应为尚不存在的文件夹，"
        "或要替换掉的探针；请换一个文件夹",
    ),
    (
        "there is no engine {name}; expected faiss, chroma, chroma=HOST:PORT or "
        "milvus=http://HOST:PORT (https:// where the server speaks TLS); write it like one of "
        "these",
        "没有引擎 {name}；应为 faiss、chroma、chroma=HOST:PORT 或 milvus=http://HOST:PORT"
        "（服务器用 TLS 时写 https://）；请按这样的格式写",
    ),
    (
        "the engine {name} cannot be used: {why}; expected a server that answers there; start it "
        "or correct the address; nothing was changed",
        "引擎 {name} 无法使用：{why}；那里应有服务器应答；请启动它，或改正地址；没有改动任何内容",
    ),
    (
        "{place} is the {kind} server that the collection names, expected one that you chose, "
        "since a collection that comes from elsewhere may name a server that is to see nothing of "
        "yours; if you trust it, run `{choose}`, or set {variable} to {same}= with its token "
        "behind; else run `{leave}`",
        "资料库指定的 {kind} 服务器是 {place}，但你没有选用过它；别人给的资料库可能指向别人的"
        "服务器，所以不会去连接；信得过的话，请运行 `{choose}`，或把 {variable} 设为 {same}="
        "（后面接它的令牌，没有就空着）；否则请运行 `{leave}`",
    ),
    (
        "{package} is not installed, expected seesay with its extra {extra}. Install it with: "
        "{command}",
        "没有安装 {package}；应装好 seesay 的附加包 {extra}；安装命令：{command}",
    ),
    (
        "{hub} cannot be reached for {name}, or broke off ({reason}); expected an answer from the "
        "hub. Check the connection, set HF_ENDPOINT to a mirror (such as {mirror}), set "
        "SEESAY_HUB=modelscope, or give the folder of a copy instead of the name",
        "连不上 {hub}，或下载 {name} 时中断（{reason}）；应有模型站点的应答。请检查网络，"
        "或用 HF_ENDPOINT 指定镜像（如 {mirror}），或设 SEESAY_HUB=modelscope，"
        "或直接给出已有模型文件夹的路径",
    ),
    (
        "{hub} cannot be reached for {name}, or broke off ({reason}); expected an answer from the "
        "hub. Check the connection{rest}",
        "连不上 {hub}，或下载 {name} 时中断（{reason}）；应有模型站点的应答。请检查网络，"
        "或直接给出已有模型文件夹的路径",
    ),
    (
        "{hub} has no public model {name}",
        "{hub} 上没有公开的模型 {name}；请检查名称，可用的见 seesay models list",
    ),
    (
        "{place} is no folder; expected one with a sub-folder of pictures for each class; check "
        "the path",
        "{place} 不是文件夹；应为每个类别各有一个图片子文件夹的文件夹；请检查路径",
    ),
)


def in_chinese(told: str) -> str:
    """What the library said, in the language of the command line where that is Chinese and the
    words are known; else as it is."""
    if language() != "zh":
        return told
    for known, chinese in _patterns():
        if found := known.fullmatch(told):
            return chinese.format_map(found.groupdict())
    return told


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_pattern(english), chinese) for english, chinese in CHINESE)


def _pattern(english: str) -> re.Pattern[str]:
    """Each name in braces stands for anything."""
    pieces = re.split(r"\{(\w+)\}", english)
    return re.compile(
        "".join(f"(?P<{p}>.+?)" if i % 2 else re.escape(p) for i, p in enumerate(pieces)),
        re.DOTALL,
    )
