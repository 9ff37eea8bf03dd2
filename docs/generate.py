"""Write the reference pages: the command line from the Typer app, the checkpoints and the
vision-language models from the catalogue, scorers from their table, Python from the docstrings.

`make docs` and `python docs/generate.py` write them; tests/test_docs.py fails when they are stale.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scorer_tables import scorers_page

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "seesay"
LANGUAGES = ("en", "zh")

WORDS = {
    "cli": ("Command line", "命令行"),
    "python": ("Python", "Python 接口"),
    "note": (
        "This page is generated from the source by `docs/generate.py`.",
        "本页由 `docs/generate.py` 从源代码生成；说明文字取自英文文档字符串。",
    ),
    "checkpoints": ("Checkpoints", "全部权重"),
    "checkpoints_note": (
        "Every line is one that `seesay models list` knows, by its name or its repository. The "
        "figure is the published zero-shot accuracy on ImageNet-1K in percent (zh: with Chinese "
        "prompts) and comes from the source named; none is measured here. This page is generated "
        "from the catalogue by `docs/generate.py`.",
        "每一行都是 `seesay models list` 认得的权重，用名字或仓库名都可以。数字是公布的 "
        "ImageNet-1K 零样本准确率（百分比；zh 表示用中文提示），来自所列出处，并非在此测得。"
        "本页由 `docs/generate.py` 从目录生成。",
    ),
    "assistants": ("Vision-language models", "视觉语言模型"),
    "assistants_note": (
        "Every line is one that `seesay models list` knows, by its name or its repository; "
        "`seesay models recommend` chooses among them. Figures are published ones, from the source "
        "named, and none is measured here; a model without a line in a table has no figure that "
        "could be read again. This page is generated from the catalogue by `docs/generate.py`.",
        "每一行都是 `seesay models list` 认得的模型，用名字或仓库名都可以；"
        "`seesay models recommend` 从中挑选。成绩来自所列出处，并非在此测得；表中没有的模型，"
        "是因为没有能再次查证的成绩。本页由 `docs/generate.py` 从目录生成。",
    ),
    "built_in": ("built in", "内置"),
    "parts": ("Parts", "组成"),
    "needs": ("Needs", "需求"),
    "needs_note": (
        "Tokens of a photograph of 1024 x 768 pixels, and of an A4 page at 150 dpi. Memory is that "
        "of the weights and of the cache of {tokens:,} tokens, or of the context if that is "
        "shorter; what computing takes on top is not in it. In int8 and int4, the language model's "
        "layers are that small, on processors alone.",
        "词元数分别为 1024 x 768 像素的照片与 150 dpi 的 A4 页。内存为权重加 {tokens:,} 个词元的"
        "缓存（上下文更短则按上下文），不含计算时的额外占用。int8 与 int4 只压缩语言模型的各层，"
        "仅限处理器。",
    ),
    "licences": ("Licences", "许可证"),
    "caption": ("Captions", "图片描述"),
    "vqa": ("Questions about pictures", "图片问答"),
    "ocr": ("Reading text", "文字识别"),
    "documents": ("Documents", "文档"),
    "video": ("Videos", "视频"),
    "pictures": ("Several pictures", "多张图片"),
    "chinese": ("Questions in Chinese", "中文提问"),
    "cli_note": (
        "This page is generated from the commands themselves by `docs/generate.py`.",
        "本页由 `docs/generate.py` 从命令本身生成。",
    ),
    "option": ("Option", "选项"),
    "meaning": ("Meaning", "含义"),
    "default": ("Default", "默认值"),
    "raises": ("Raises", "抛出"),
}


def word(name: str, language: str) -> str:
    return WORDS[name][LANGUAGES.index(language)]


def plain(text: str) -> str:
    """`text` so that Markdown shows it as it is; what stands in backticks stays code."""
    parts = re.split(r"(`[^`\n]+`)", text)
    escaped = (re.sub(r"([\\*_{}\[\]<>#$|~])", r"\\\1", part) for part in parts[::2])
    kept = [*parts[1::2], ""]
    return "".join(a + b for a, b in zip(escaped, kept, strict=True))


# The command line


def command_line_page(language: str) -> str:
    """The app is asked in a process of its own: it settles on a language when it is imported."""
    chosen = {"SEESAY_LANG": language, "PYTHONPATH": str(SOURCE.parent)}
    environment = {**os.environ, "SEESAY_MODEL": "", **chosen}
    command = [sys.executable, __file__, "--command-line", language]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, encoding="utf-8"
    ).stdout


def print_command_line(language: str) -> None:
    from typer.main import get_command

    from seesay.cli.main import app

    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print(f"# {word('cli', language)}\n\n{word('cli_note', language)}")
    for lines in commands(get_command(app), ["seesay"], language):
        print("\n" + "\n".join(lines))


def commands(command: Any, names: list[str], language: str) -> Iterator[list[str]]:
    """One section for `command` and one for each command below it."""
    heading = "#" * min(len(names) + 1, 4)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.opts and p.param_type_name == "option"]
    below = getattr(command, "commands", {})
    usage = " ".join([*names, *(shown(a) for a in arguments), *(["COMMAND"] if below else [])])
    yield [
        f"{heading} `{' '.join(names)}`",
        "",
        plain(" ".join((command.help or "").split())),
        "",
        f"```text\n{usage} [OPTIONS]\n```",
        *table([*arguments, *options], language),
    ]
    for name, child in below.items():
        if not child.hidden:
            yield from commands(child, [*names, name], language)


def shown(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def table(parameters: list[Any], language: str) -> Iterator[str]:
    if not parameters:
        return
    yield from (
        "",
        "| " + " | ".join(word(w, language) for w in ("option", "meaning", "default")) + " |",
    )
    yield "|---|---|---|"
    for parameter in parameters:
        if getattr(parameter, "hidden", False):
            continue
        is_option = parameter.param_type_name == "option"
        names = [*parameter.opts, *parameter.secondary_opts] if is_option else [shown(parameter)]
        default = parameter.default
        given = f"`{default}`" if default not in (None, (), [], False, ...) else ""
        meaning = plain(" ".join((parameter.help or "").split()))
        yield f"| {', '.join(f'`{name}`' for name in names)} | {meaning} | {given} |"


# The catalogue

CHECKPOINT_COLUMNS = (
    ("Name", "Repository", "MB", "Pixels", "Languages", "Top-1", "Source", "Licence"),
    ("名字", "仓库", "MB", "像素", "语言", "Top-1", "出处", "许可证"),
)


def checkpoints_page(language: str) -> str:
    """One table per family."""
    from seesay.weights.catalog import published_models

    lines = [f"# {word('checkpoints', language)}", "", word("checkpoints_note", language)]
    columns = CHECKPOINT_COLUMNS[LANGUAGES.index(language)]
    for family in dict.fromkeys(entry.family for entry in published_models().values()):
        lines += ["", f"## {family}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        of_family = [entry for entry in published_models().values() if entry.family == family]
        lines += [checkpoint_row(entry, language) for entry in of_family]
    return "\n".join(lines) + "\n"


def checkpoint_row(entry: Any, language: str) -> str:
    figure = "" if entry.top1 is None else f"{entry.top1}{' zh' * (entry.prompts == 'zh')}"
    cells = (
        f"`{entry.alias}`",
        f"`{entry.repo}`" if entry.repo else "",
        f"{entry.megabytes:,}",
        entry.image_size or "",
        ", ".join(entry.languages),
        figure,
        plain(entry.source),
        plain(licence_of(entry, language)),
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


PART_COLUMNS = (
    ("Name", "Repository", "Files", "Image tower", "Connector", "Language model", "Languages"),
    ("名字", "仓库", "文件", "图像塔", "连接器", "语言模型", "语言"),
)
NEED_COLUMNS = (
    ("Name", "Millions of parameters", "Download, GB", "Photo", "Page", "Context", "Licence"),
    ("名字", "参数（百万）", "下载，GB", "照片", "页", "上下文", "许可证"),
)
LICENCE_COLUMNS = (("Licence", "Commercial use", "Terms"), ("许可证", "商用", "条件"))
COMMERCIAL = {
    "yes": ("yes", "允许"),
    "conditions": ("under conditions", "有条件"),
    "no": ("no", "禁止"),
    "unknown": ("unclear", "不明"),
}


def assistants_page(language: str) -> str:
    """What the vision-language models are made of, what they need, and what was published."""
    from seesay.weights.catalog import BYTES, CONTEXT, TASKS, published_assistants

    at, entries = LANGUAGES.index(language), list(published_assistants().values())
    memory = list(BYTES)[1:]
    parts = [part_cells(entry, language) for entry in entries]
    needs = [
        [
            *need_cells(entry, language),
            *(f"{entry.memory(n) / 1e9:.1f}" if n in entry.number_types else "" for n in memory),
        ]
        for entry in entries
    ]
    lines = [f"# {word('assistants', language)}", "", word("assistants_note", language)]
    lines += ["", f"## {word('parts', language)}", "", *markdown_table(PART_COLUMNS[at], parts)]
    lines += ["", f"## {word('needs', language)}", ""]
    lines += [word("needs_note", language).format(tokens=CONTEXT), ""]
    lines += markdown_table((*NEED_COLUMNS[at], *(f"{n}, GB" for n in memory)), needs)
    for task in TASKS:
        lines += ["", f"## {word(task, language)}", "", *figures_table(entries, task, at)]
    return "\n".join([*lines, "", *licences_table(entries, language)]) + "\n"


def part_cells(entry: Any, language: str) -> list[str]:
    names = [f"`{entry.alias}`", word("built_in", language), ""]
    if entry.repo:
        names[1:] = [f"`{entry.repo}`", entry.files]
    parts = [entry.tower, entry.connector, entry.language_model]
    return [*names, *parts, ", ".join(entry.languages)]


def need_cells(entry: Any, language: str) -> list[str]:
    sizes = [f"{entry.parameters_m:,}", f"{entry.megabytes / 1000:.1f}"]
    tokens = (entry.photo_tokens, entry.page_tokens, entry.context)
    cells = [f"`{entry.alias}`", *sizes, *(f"{number:,}" for number in tokens)]
    return [*cells, plain(licence_of(entry, language))]


def figures_table(entries: Sequence[Any], task: str, at: int) -> list[str]:
    """The figures for a task: a column for each benchmark."""
    figures = {e.alias: [f for f in e.figures if f.task == task] for e in entries}
    names = list(dict.fromkeys(f.benchmark for some in figures.values() for f in some))
    rows = []
    for alias, some in figures.items():
        if some:
            scores = {f.benchmark: f"{f.score:.1f}" for f in some}
            sources = dict.fromkeys(f.source for f in some)
            cells = (scores.get(name, "") for name in names)
            rows.append((f"`{alias}`", *cells, plain("; ".join(sources))))
    return markdown_table((("Name", "名字")[at], *names, ("Source", "出处")[at]), rows)


def licences_table(entries: Sequence[Any], language: str) -> list[str]:
    at = LANGUAGES.index(language)
    rows = {
        e.licence: (
            plain(licence_of(e, language)),
            COMMERCIAL[e.commercial][at],
            plain((e.terms_en, e.terms_zh)[at]),
        )
        for e in entries
    }
    table = markdown_table(LICENCE_COLUMNS[at], list(rows.values()))
    return [f"## {word('licences', language)}", "", *table]


def licence_of(entry: Any, language: str) -> str:
    return (language == "zh" and entry.licence_zh) or entry.licence


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, *rows)]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:]]


# Python


def python_page(folder: Path, language: str) -> str:
    """All public names of the modules in `folder` (or of one top-level module)."""
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    lines = [f"# `{dotted(folder)}`", "", word("note", language)]
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        members = [member for node in tree.body for member in public(node)]
        about = ast.get_docstring(tree)
        if not members and not about:
            continue
        lines += ["", f"## `{dotted(file)}`", "", *described(about)]
        for node in members:
            lines += [
                "",
                f"### `{node.name}`",
                "",
                *signature(node),
                *described(ast.get_docstring(node)),
            ]
            if isinstance(node, ast.ClassDef):
                lines += class_members(node)
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def public(node: ast.stmt) -> list[Any]:
    """`node` if it is something that others may use: named without an underscore, and described."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    if not isinstance(node, kinds) or node.name.startswith("_"):
        return []
    return [node] if ast.get_docstring(node) else []


def described(text: str | None) -> list[str]:
    """A docstring as paragraphs; what is drawn in it (trees, tables) keeps its lines."""
    if not text:
        return []
    drawn = re.compile(r"[├└│]|^ {4}", re.MULTILINE)
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if drawn.search(paragraph):
            paragraphs += [f"```text\n{paragraph}\n```", ""]
        else:
            paragraphs += [plain(" ".join(paragraph.split())), ""]
    return paragraphs


def signature(node: Any) -> list[str]:
    if isinstance(node, ast.ClassDef):
        start = [m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"]
        if not start:
            return []
        return ["```python", f"class {node.name}({parameters(start[0].args)})", "```", ""]
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return ["```python", f"def {node.name}({parameters(node.args)}){gives}", "```", ""]


def parameters(arguments: ast.arguments) -> str:
    """The parameters but for self, one a line where they would not fit on one."""
    listed = [text for text in split_arguments(arguments) if text not in ("self", "cls")]
    line = ", ".join(listed)
    return line if len(line) <= 70 else "\n    " + ",\n    ".join(listed) + ",\n"


def split_arguments(arguments: ast.arguments) -> list[str]:
    """One text per parameter: the commas inside an annotation are not between parameters."""
    texts, depth, current = [], 0, ""
    for character in ast.unparse(arguments):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            texts.append(current.strip())
            current = ""
        else:
            current += character
    return [*texts, current.strip()]


def class_members(node: ast.ClassDef) -> list[str]:
    """The fields of a config with what is said below each, and the public methods."""
    lines = []
    for index, member in enumerate(node.body):
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member).startswith("_"):
            below = node.body[index + 1] if index + 1 < len(node.body) else None
            lines += [f"- `{ast.unparse(member)}`{field_note(below)}"]
    for member in node.body:
        for method in public(member):
            lines += ["", *signature(method), *described(ast.get_docstring(method))]
    return lines


def field_note(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " – " + plain(" ".join(str(node.value.value).split()))
    return ""


# All pages


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold now."""
    rooms = [SOURCE / "__init__.py", SOURCE / "errors.py"]
    rooms += sorted(p.parent for p in SOURCE.glob("*/__init__.py") if p.parent.name != "cli")
    written = {}
    for language in LANGUAGES:
        folder = DOCS / language / "reference"
        written[folder / "cli.md"] = command_line_page(language)
        written[folder / "checkpoints.md"] = checkpoints_page(language)
        written[folder / "assistants.md"] = assistants_page(language)
        written[folder / "scorers.md"] = scorers_page(language)
        names = {room: "seesay" if room.stem == "__init__" else room.stem for room in rooms}
        for room, name in names.items():
            written[folder / f"{name}.md"] = python_page(room, language)
        listed = "\n".join(["cli", "checkpoints", "assistants", "scorers", *names.values()])
        title = {"en": "Reference", "zh": "参考"}[language]
        written[folder / "index.md"] = f"# {title}\n\n```{{toctree}}\n{listed}\n```\n"
    return written


def stale() -> dict[Path, str | None]:
    """Pages that are not what the source says -> what it says, or None where it says nothing."""
    wanted = pages()
    there = {
        page for language in LANGUAGES for page in (DOCS / language / "reference").glob("*.md")
    }
    changed = {p: t for p, t in wanted.items() if p not in there or p.read_text("utf-8") != t}
    return {**changed, **dict.fromkeys(there - wanted.keys())}


def main() -> None:
    if "--command-line" in sys.argv:
        print_command_line(sys.argv[-1])
        return
    for page, text in sorted(stale().items()):
        if text is None:
            page.unlink()
        else:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        print(f"{'removed' if text is None else 'wrote'} {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
