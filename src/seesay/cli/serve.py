"""`seesay serve`: the API, the page and MCP on one port, for this machine or behind a token."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Adapter, Device, Endpoint, Verifier
from seesay.cli.output import say, working
from seesay.text import Text

if TYPE_CHECKING:
    from fastapi import FastAPI

    from seesay.api.config import ServerConfig
    from seesay.api.service import Service
    from seesay.inference.answering import ServedAssistant
    from seesay.search.library import Library

AUTO = "auto"

Served = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help=say(
            "Name of a collection, or the path of its folder; repeatable; else all there are.",
            "资料库的名称，或其文件夹的路径；可重复使用；默认包括全部资料库。",
        ),
    ),
]
Host = Annotated[
    str,
    typer.Option(
        help=say(
            "Address to listen on; 0.0.0.0 for other machines too, which needs a token.",
            "监听地址；0.0.0.0 表示其他机器也能访问，此时必须设令牌。",
        )
    ),
]
Port = Annotated[
    int,
    typer.Option(
        min=0, max=65535, help=say("Port; 0 for any that is free.", "端口；0 表示任选空闲端口。")
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SEESAY_TOKEN",
        help=say(
            "Answer only to those who know it; auto makes one. Better set as SEESAY_TOKEN, which "
            "other users of the machine cannot see.",
            "只回应知道令牌的人；auto 表示自动生成。最好用环境变量 SEESAY_TOKEN 设置，"
            "本机其他用户看不到。",
        ),
    ),
]
ReadOnly = Annotated[
    bool,
    typer.Option(
        "--read-only",
        help=say("Refuse whatever changes a collection.", "拒绝任何修改资料库的请求。"),
    ),
]
ReadToken = Annotated[
    str | None,
    typer.Option(
        "--read-token",
        envvar="SEESAY_READ_TOKEN",
        help=say(
            "Another token, for programs that may search and change nothing.",
            "另设一个令牌，供只检索、不修改的程序使用。",
        ),
    ),
]
AllowFolder = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-folder",
        help=say(
            "Folder that programs may have indexed, beside those that were indexed before; "
            "repeatable.",
            "除已收录的文件夹外，允许程序请求收录的文件夹；可重复使用。",
        ),
    ),
]
ServedModel = Annotated[
    str | None,
    typer.Option(
        "--assistant",
        metavar="NAME",
        help=say(
            "Vision-language model that answers questions: name from `seesay models`, folder, hub "
            "repository, or with --endpoint the endpoint's name of it. Else SEESAY_ASSISTANT, or "
            "the built-in one.",
            "回答问题的视觉语言模型：`seesay models` 里的名称、文件夹、仓库名，或配合 --endpoint "
            "时端点上的模型名。默认取 SEESAY_ASSISTANT，未设置时用内置模型。",
        ),
    ),
]
PictureHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--picture-host",
        metavar="HOST",
        help=say(
            "Host from which questions may have pictures fetched; repeatable; else none is.",
            "允许提问时从这台主机下载图片；可重复使用；默认不下载。",
        ),
    ),
]
ServedReranker = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="NAME",
        help=say(
            "Reranker for requests that ask for it, such as bge-reranker-v2-m3 or colqwen2.",
            "供请求选用的重排模型，例如 bge-reranker-v2-m3 或 colqwen2。",
        ),
    ),
]
NoPage = Annotated[
    bool, typer.Option("--no-page", help=say("API and MCP only.", "只提供 API 和 MCP，不要网页。"))
]


def serve(
    collection: Served = None,
    host: Host = "127.0.0.1",
    port: Port = 8484,
    token: Token = None,
    read_token: ReadToken = None,
    read_only: ReadOnly = False,
    allow_folder: AllowFolder = None,
    assistant: ServedModel = None,
    adapter: Adapter = None,
    endpoint: Endpoint = None,
    picture_host: PictureHosts = None,
    rerank: ServedReranker = None,
    verifier: Verifier = None,
    device: Device = None,
    no_page: NoPage = False,
) -> None:
    import logging
    import sys
    from contextlib import closing
    from dataclasses import replace

    from seesay.cli.inputs import assistant_name
    from seesay.cli.listening import address, listen, run
    from seesay.inference.answering import ServedAssistant

    logging.basicConfig(level=logging.WARNING, format="seesay: %(message)s")  # on stderr
    folders = tuple(str(folder.expanduser().absolute()) for folder in allow_folder or ())
    config = replace(
        configure(host, token, read_only),
        read_token=read_token or None,
        index_folders=folders,
        picture_hosts=tuple(picture_host or ()),
        rerank=rerank,
        verifier=verifier,
    )
    name = assistant_name(assistant, adapter, endpoint)
    served = ServedAssistant(name, endpoint=endpoint, device=device)
    with closing(listen(host, port)) as listener:
        with working(say("opening collections and models", "正在打开资料库和模型")):
            from seesay.search.library import Library

            library = Library.open(collection or (), device=device, read_only=read_only or None)
        with library:
            with working(say("warming up", "正在预热")):
                app = compose(library, config, page=not no_page, assistant=served)
                library.warm_up()
                served.get()
            shown = config.token
            if token != AUTO and not sys.stdout.isatty():
                shown = shown and "TOKEN"  # a log outlives the token, and more people read it
            told = address(host, listener.getsockname()[1], shown)
            run(app, config, listener, say(f"Open {told}", f"请打开 {told}"))


def configure(host: str, token: str | None, read_only: bool) -> "ServerConfig":
    """Raises ConfigError where others could come in without a token."""
    import secrets

    from seesay.api.config import ANY_HOST, LOOPBACK, ServerConfig, needs_token
    from seesay.errors import ConfigError

    if needs_token(host) and not token:
        raise ConfigError(
            Text(
                f"--host {host} lets other machines in, and there is no token; expected one, for "
                "whoever comes in sees every picture; add --token auto, or set SEESAY_TOKEN",
                f"--host {host} 让其他机器也能访问，却没有令牌；应设一个，"
                "因为进来的人看得到所有图片；请加上 --token auto，或设置 SEESAY_TOKEN",
            )
        )
    return ServerConfig(
        token=secrets.token_urlsafe(24) if token == AUTO else token or None,
        read_only=read_only,
        # A page under a name of its own cannot know the token; without one, names are what tells.
        hosts=(ANY_HOST,) if token else LOOPBACK,
    )


def compose(
    library: "Library",
    config: "ServerConfig",
    page: bool = True,
    assistant: "ServedAssistant | None" = None,
) -> "FastAPI":
    """Everything on one port, behind one guard. Raises MissingExtraError where a package for
    serving is missing."""
    from seesay.api.app import create_app
    from seesay.api.mcp import build_mcp, mount_mcp

    def mount(app: "FastAPI", service: "Service") -> "FastAPI":
        app = mount_mcp(app, build_mcp(library, most=config.max_count, service=service))
        if not page:
            return app
        from seesay.web.conversing import PageAnswers
        from seesay.web.page import build_page
        from seesay.web.page import mount as mount_page

        searched = service.metrics.count_search
        jobs = None if config.read_only else service.jobs
        answers = PageAnswers(assistant, service.answers.stream)
        built = build_page(library, jobs=jobs, searched=searched, answers=answers)
        return mount_page(app, built)

    return create_app(library, config, assistant=assistant, mount=mount)


def mcp(
    collection: Served = None,
    assistant: ServedModel = None,
    adapter: Adapter = None,
    endpoint: Endpoint = None,
    device: Device = None,
) -> None:
    """Nothing but the protocol may stand on stdout: the assistant reads it."""
    import logging
    from functools import partial

    logging.basicConfig(level=logging.WARNING, format="seesay: %(message)s")  # on stderr
    from seesay.api.mcp import build_mcp
    from seesay.cli.inputs import assistant_name
    from seesay.inference.answering import ServedAssistant
    from seesay.search.library import Library

    with Library.open(collection or (), device=device, read_only=True) as library:
        warm_up = partial(library.warm_up, only_texts=True)
        name = assistant_name(assistant, adapter, endpoint)
        served = ServedAssistant(name, endpoint=endpoint, device=device)
        build_mcp(library, warm_up=warm_up, assistant=served).run("stdio")
