"""`seesay leaderboard`: finished runs of one suite as a table, models by tasks."""

from pathlib import Path
from typing import Annotated

import typer

from seesay.cli.options import Json
from seesay.cli.output import say

Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER...",
        help=say(
            "Folders of finished runs of `seesay evaluate`.",
            "`seesay evaluate` 已完成的评测文件夹。",
        ),
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help=say(
            "Folder for leaderboard.html and leaderboard.md.",
            "存放 leaderboard.html 和 leaderboard.md 的文件夹。",
        ),
    ),
]


def leaderboard(folders: Folders, out: Out = Path("evaluations"), json: Json = False) -> None:
    from seesay.cli.output import (
        language,
        localized,
        print_folded,
        print_json,
        print_table,
    )
    from seesay.data.files import write_text
    from seesay.evaluation.leaderboard import (
        board_html,
        board_json,
        board_markdown,
        board_tables,
        read_report,
    )
    from seesay.evaluation.leaderboard import leaderboard as make_board

    runs = {str(folder): read_report(folder) for folder in folders}
    board = make_board(runs)
    out.mkdir(parents=True, exist_ok=True)
    page = out / "leaderboard.html"
    write_text(page, board_html(board, language()))
    write_text(out / "leaderboard.md", board_markdown(board, language()))
    if json:
        print_json(board_json(board))
        return
    for table in board_tables(board, language()):
        head = [name.replace("\n", " ") for name in table.head]
        print_table(head, table.rows, table.title)
    for note in board.notes:
        print_folded(localized(note))
    print(say(f"leaderboard: {page}", f"排行榜：{page}"))
