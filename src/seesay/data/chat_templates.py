"""The chat templates of published families, as data; `seesay.data.chat` renders them.

The original code and the template in the transformers checkpoint may prompt the same weights
differently, so a family has up to two templates, "original" and "hf". If only one is listed, both
agree. Evaluations record which one they used, since answers differ.

Sources: LLaVA and LLaVA-NeXT (llava/conversation.py), InternVL (internvl/conversation.py),
Qwen-VL (eval_mm), Qwen2-VL to Qwen3-VL (chat_template.json), LAVIS (blip2_models), open_flamingo
(README.md), and the conversion scripts of transformers 5.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from seesay.errors import ConfigError
from seesay.text import Text

Source = Literal["original", "hf"]


@dataclass(frozen=True, kw_only=True)
class MediaMarks:
    """How a prompt represents a picture or video: start, repeated placeholder, end."""

    image: str
    """Token repeated for every embedding of a picture."""
    video: str = ""
    """The same for a video; empty for families without video or that repeat `image`."""
    start: str = ""
    end: str = ""
    step: str = ""
    """Text before each part (frame or time step) of a video that is split: `{number}` counts them
    and `{time:.1f}` is a part's time. Empty: not split."""
    between: str = ""
    """Text between two parts."""


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """How to format a conversation as in a model's training."""

    system: str = ""
    """Default system message."""
    system_turn: str = "{}"
    """Format of a system message."""
    system_place: Literal["turn", "user"] = "turn"
    """Whether it is its own turn or part of the first user turn."""
    user: str
    """Format of a user turn."""
    assistant: str
    """Format of an answer."""
    opening: str = ""
    """Text that the model's answer continues."""
    next_user: str = ""
    """Text before each user turn but the first."""
    marks: MediaMarks
    image: str = "{}"
    """Format of a picture."""
    video: str = "{}"
    """Format of a video."""
    media: Literal["inline", "first", "front"] = "inline"
    """Where pictures go: in place, before the message's text, or before the whole prompt and its
    start token."""
    text_end: str = ""
    """Text after each text of a message."""
    counted: bool = False
    """Whether pictures are numbered unless the caller says otherwise ("Picture 1: ")."""
    stops: tuple[str, ...] = field(default=())
    """Texts that end an answer."""


_USER = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
_HUMAN = _USER.replace("user", "human")
_LLAMA_2 = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
)
_MPT = (
    "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and "
    "honest answers."
)
_HELPFUL = "You are a helpful assistant."
_INTERNVL_2 = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, "
    "是一个有用无害的人工智能助手。"
)
_INTERNVL_2_5 = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的"
    "多模态大语言模型。"
)

_LLAVA = MediaMarks(image="<image>")
_LLAVA_VIDEO = MediaMarks(image="<image>", video="<video>")
_INTERN = MediaMarks(
    image="<IMG_CONTEXT>", start="<img>", end="</img>", step="Frame{number}: ", between="\n"
)
_QWEN = MediaMarks(
    image="<|image_pad|>", video="<|video_pad|>", start="<|vision_start|>", end="<|vision_end|>"
)

_CHATML = ChatTemplate(
    system_turn="<|im_start|>system\n{}<|im_end|>\n",
    user="<|im_start|>user\n{}<|im_end|>\n",
    assistant="<|im_start|>assistant\n{}<|im_end|>\n",
    opening="<|im_start|>assistant\n",
    marks=_LLAVA,
    image="{}\n",
    video="{}\n",
    stops=("<|im_end|>",),
)
_TIGHT = replace(  # no line break after a turn
    _CHATML,
    system_turn="<|im_start|>system\n{}<|im_end|>",
    user="<|im_start|>user\n{}<|im_end|>",
    assistant="<|im_start|>assistant\n{}<|im_end|>",
)
_VICUNA = ChatTemplate(
    system=_USER,
    system_turn="{} ",
    user="USER: {} ",
    assistant="ASSISTANT: {}</s>",
    opening="ASSISTANT:",
    marks=_LLAVA,
    image="{}\n",
    media="first",
    stops=("</s>",),
)
_VICUNA_HF = replace(
    _VICUNA, system="", system_turn="{}", user="USER: {}", assistant="ASSISTANT: {}", text_end=" "
)
_LLAMA = ChatTemplate(
    system=_LLAMA_2,
    system_turn="<<SYS>>\n{}\n<</SYS>>\n\n",
    system_place="user",
    user="[INST] {} [/INST]",
    assistant=" {} </s>",
    next_user="<s>",
    marks=_LLAVA,
    image="{}\n",
    media="first",
    stops=("</s>",),
)
_MISTRAL = replace(_LLAMA, system="", next_user="")
_FLAMINGO = ChatTemplate(
    user="{}",
    assistant="{}<|endofchunk|>",
    marks=_LLAVA,
    media="first",
    stops=("<|endofchunk|>",),
)
_QWEN2 = replace(_CHATML, system=_HELPFUL, marks=_QWEN, image="{}", video="{}")

TEMPLATES: dict[str, dict[Source, ChatTemplate]] = {
    "seesay": {  # with a vocabulary of our own (training/tokenizer.py)
        "original": ChatTemplate(
            user="<user>{}",
            assistant="<assistant>{}</s>",
            opening="<assistant>",
            marks=_LLAVA,
            stops=("</s>",),
        )
    },
    "chatml": {"original": _CHATML},  # with a language model of that format
    "llava-v0": {
        "original": ChatTemplate(
            system=_HUMAN,
            system_turn="{}###",
            user="Human: {}###",
            assistant="Assistant: {}###",
            opening="Assistant:",
            marks=_LLAVA,
            image="{}\n",
            media="first",
            stops=("###",),
        )
    },
    "llava-v1": {"original": replace(_VICUNA, system=_HUMAN), "hf": _VICUNA_HF},
    "llava-1.5": {"original": _VICUNA, "hf": _VICUNA_HF},
    "llava-1.6-vicuna": {"original": _VICUNA, "hf": _VICUNA_HF},
    "llava-llama-2": {"original": _LLAMA},
    # transformers' conversion script ends an answer with a backslash and an s.
    "llava-1.6-mistral": {"original": _MISTRAL, "hf": replace(_MISTRAL, assistant=" {}<\\s> ")},
    "llava-1.6-34b": {
        "original": replace(_TIGHT, system="Answer the questions.", media="first"),
        "hf": replace(_TIGHT, media="first"),
    },
    "llava-mpt": {"original": replace(_TIGHT, system=_MPT, media="first")},
    "llava-plain": {  # stage 1: a caption for a picture, and no words of a user
        "original": ChatTemplate(user="{}", assistant="{}\n", marks=_LLAVA, stops=("\n",))
    },
    "llava-onevision": {
        "original": replace(_CHATML, system=_HELPFUL, marks=_LLAVA_VIDEO),
        "hf": replace(_CHATML, marks=_LLAVA_VIDEO, media="first"),
    },
    "internvl-2": {
        "original": replace(_TIGHT, system=_INTERNVL_2, marks=_INTERN),
        "hf": replace(_CHATML, marks=_INTERN),
    },
    "internvl-2-phi3": {
        "original": replace(
            _TIGHT,
            system=_INTERNVL_2,
            system_turn="<|system|>\n{}<|end|>",
            user="<|user|>\n{}<|end|>",
            assistant="<|assistant|>\n{}<|end|>",
            opening="<|assistant|>\n",
            marks=_INTERN,
            stops=("<|end|>",),
        )
    },
    "internvl-2.5": {  # and 3 and 3.5
        "original": replace(_CHATML, system=_INTERNVL_2_5, marks=_INTERN),
        "hf": replace(_CHATML, marks=_INTERN),
    },
    "qwen-vl": {
        "original": replace(
            _CHATML,
            system=_HELPFUL,
            marks=MediaMarks(image="<imgpad>", start="<img>", end="</img>"),
            counted=True,
        )
    },
    "qwen-vl-base": {  # before it was trained to talk; as it is evaluated
        "original": ChatTemplate(
            user="{} Answer:",
            assistant=" {}<|endoftext|>",
            marks=MediaMarks(image="<imgpad>", start="<img>", end="</img>"),
            stops=("<|endoftext|>",),
        )
    },
    "qwen2-vl": {"original": _QWEN2},
    "qwen2.5-vl": {"original": _QWEN2},
    "qwen3-vl": {
        "original": replace(_QWEN2, system="", marks=replace(_QWEN, step="<{time:.1f} seconds>"))
    },
    "blip-2": {
        "original": ChatTemplate(
            user="Question: {} Answer:",
            assistant=" {}. ",
            marks=_LLAVA,
            media="front",
            stops=("</s>", "\n"),
        )
    },
    "blip-2-caption": {
        "original": ChatTemplate(
            user="{}", assistant=" {}", marks=_LLAVA, media="front", stops=("</s>", "\n")
        )
    },
    "instructblip": {
        "original": ChatTemplate(
            user="{}", assistant=" {} ", marks=_LLAVA, media="front", stops=("</s>",)
        )
    },
    "blip": {  # goes on with what is said of a picture, and answers nothing
        "original": ChatTemplate(
            user="{}", assistant=" {}", marks=_LLAVA, media="front", stops=("[SEP]",)
        )
    },
    "flamingo-caption": {"original": replace(_FLAMINGO, user="{}Output:")},
    "flamingo-vqa": {"original": replace(_FLAMINGO, user="{} Short answer:", image="{}Question:")},
}


def chat_template(family: str, source: Source = "original") -> ChatTemplate:
    """The template of a family; its original one where transformers has no other.

    Raises ConfigError for a name that is not in the table.
    """
    if family not in TEMPLATES or source not in ("original", "hf"):
        known = ", ".join(TEMPLATES)
        raise ConfigError(
            Text(
                f"no chat template is called {family!r} with source {source!r}, expected original "
                f"or hf, and one of {known}; choose one.",
                f"没有名为 {family!r}、来源为 {source!r} 的对话模板；来源应为 original 或 hf，名称"
                f"应为 {known} 之一；请选一个",
            )
        )
    templates = TEMPLATES[family]
    return templates.get(source, templates["original"])
