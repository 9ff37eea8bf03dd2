"""Prompts of every family: against published templates, and against the texts of original code."""

from dataclasses import replace

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from seesay.data.chat import EncodedPrompt, Media, Message, encode, render
from seesay.data.chat_templates import TEMPLATES, chat_template
from seesay.errors import ConfigError, DataError

SPECIAL = (
    *("<s>", "</s>", "<image>", "<video>", "<|im_start|>", "<|im_end|>", "<|endofchunk|>"),
    *("<img>", "</img>", "<IMG_CONTEXT>", "<imgpad>", "<|end|>", "<|user|>", "<|assistant|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|system|>"),
)
PICTURE = Media("image", (5,))
SYSTEM_USER = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)


def byte_tokenizer(begin: bool = False) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(alphabet)}
    merges = [("Ġ", "i"), ("i", "n"), ("Ċ", "Ċ")]
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    if begin:
        number = tokenizer.token_to_id("<s>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", number)]
        )
    return tokenizer


TOKENIZER = byte_tokenizer()

# The templates in the transformers checkpoints, from their conversion scripts and files.
FIRST_IMAGES = (
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
)
TEXTS = (
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}"
)
IN_ORDER = (
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}IMAGE"
    "{% elif content['type'] == 'video' %}VIDEO"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}"
)


def chatml(content: str, end: str = "\n") -> str:
    return (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}" + content + ""
        "{{ '<|im_end|>" + end + "' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


def qwen(default_system: bool) -> str:
    marks = IN_ORDER.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    marks = marks.replace("VIDEO", "<|vision_start|><|video_pad|><|vision_end|>")
    text = chatml(marks)
    if not default_system:
        return text
    return (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
        "You are a helpful assistant.<|im_end|>\n{% endif %}" + text
    )


INTERNVL = chatml(
    IN_ORDER.replace("IMAGE", "{{ '<image>\n' }}").replace("VIDEO", "{{ '<video>\n' }}")
)
HF = {
    ("llava-1.5", "hf"): (
        "{% for message in messages %}{% if message['role'] != 'system' %}"
        "{{ message['role'].upper() + ': ' }}{% endif %}" + FIRST_IMAGES + ""
        "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ content['text'] + ' ' }}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    ("llava-1.6-mistral", "hf"): (
        "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
        + FIRST_IMAGES
        + TEXTS
        + "{{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        r"{{ ' ' + message['content'][0]['text'] + '<\\s> ' }}{% endif %}{% endfor %}"
    ),
    ("llava-1.6-34b", "hf"): chatml(FIRST_IMAGES + TEXTS, ""),
    ("llava-onevision", "hf"): chatml(FIRST_IMAGES + TEXTS),
    ("internvl-2.5", "hf"): INTERNVL,
    ("qwen2-vl", "original"): qwen(True),
    ("qwen3-vl", "original"): qwen(False),
}
TALK = [
    Message("user", ("first ", PICTURE, "what is\n\nin it?")),
    Message("assistant", "两只 cats."),
    Message("user", ("And ", Media("image", (2,)), " here?", PICTURE)),
]
TALKS = {
    "one": TALK[:1],
    "text": [Message("user", "Hello.")],
    "answered": TALK[:2],
    "several": TALK,
    "system": [Message("system", "Be brief."), *TALK],
}


def for_jinja(messages):
    def part(one):
        return {"type": one.modality} if isinstance(one, Media) else {"type": "text", "text": one}

    return [{"role": m.role, "content": [part(one) for one in m.parts]} for m in messages]


def with_placeholders(text: str, messages, family: str) -> str:
    """What the processors do: one mark of a picture becomes as many as it has embeddings."""
    mark = "<|image_pad|>" if "qwen" in family else "<image>"
    pieces = text.split(mark)
    media = [one for m in messages for one in m.parts if isinstance(one, Media)]
    result = pieces[0]
    for one, piece in zip(media, pieces[1:], strict=True):
        pads = mark * sum(one.counts)
        if "internvl" in family:
            pads = "<img>" + "<IMG_CONTEXT>" * sum(one.counts) + "</img>"
        result += pads + piece
    return result


@pytest.mark.parametrize(
    ("family", "source", "talk"),
    [
        (family, source, talk)
        for family, source in HF
        for talk in TALKS
        if (family, talk) != ("llava-1.6-mistral", "system")  # which that template refuses
    ],
)
def test_token_ids_are_those_of_transformers(family, source, talk):
    from transformers import PreTrainedTokenizerFast

    reference = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer())
    messages = TALKS[talk]
    opening = messages[-1].role == "user"
    text = reference.apply_chat_template(
        for_jinja(messages),
        chat_template=HF[family, source],
        tokenize=False,
        add_generation_prompt=opening,
    )
    expected = reference(with_placeholders(text, messages, family))["input_ids"]
    prompt = render(chat_template(family, source), messages, opening=opening)
    ours = encode(prompt, TOKENIZER)
    assert list(ours.ids) == expected
    check_spans(ours, messages)


def check_spans(encoded: EncodedPrompt, messages) -> None:
    media = [one for m in messages for one in m.parts if isinstance(one, Media)]
    assert [span.stop - span.start for span in encoded.spans] == [sum(m.counts) for m in media]
    assert [span.media for span in encoded.spans] == list(range(len(media)))
    for span in encoded.spans:
        assert len(set(encoded.ids[span.start : span.stop])) == 1
        assert encoded.ids[span.start] != encoded.ids[span.start - 1]


INTERN_2 = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害"
    "的人工智能助手。"
)
INTERN_25 = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的"
    "多模态大语言模型。"
)
PADS = {"llava": "<image>" * 5, "intern": f"<img>{'<IMG_CONTEXT>' * 5}</img>"}
QA = [
    Message("user", (PICTURE, "Q1")),
    Message("assistant", "A1"),
    Message("user", "Q2"),
]
# What the original code gives for a picture with question Q1, answer A1 and question Q2.
ORIGINAL = {
    "llava-v0": f"{SYSTEM_USER.replace('user', 'human')}###Human: {PADS['llava']}\nQ1"
    "###Assistant: A1###Human: Q2###Assistant:",
    "llava-v1": f"{SYSTEM_USER.replace('user', 'human')} USER: {PADS['llava']}\nQ1 "
    "ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
    "llava-1.5": f"{SYSTEM_USER} USER: {PADS['llava']}\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
    "llava-llama-2": "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are "
    "able to understand the visual content that the user provides, and assist the user with a "
    f"variety of tasks using natural language.\n<</SYS>>\n\n{PADS['llava']}\nQ1 [/INST] A1 </s>"
    "<s>[INST] Q2 [/INST]",
    "llava-1.6-mistral": f"[INST] {PADS['llava']}\nQ1 [/INST] A1 </s>[INST] Q2 [/INST]",
    "llava-1.6-34b": "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n"
    f"{PADS['llava']}\nQ1<|im_end|><|im_start|>assistant\nA1<|im_end|><|im_start|>user\nQ2"
    "<|im_end|><|im_start|>assistant\n",
    "llava-plain": f"{PADS['llava']}Q1A1\nQ2",
    "llava-onevision": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>"
    f"user\n{PADS['llava']}\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\n"
    "Q2<|im_end|>\n<|im_start|>assistant\n",
    "internvl-2": f"<|im_start|>system\n{INTERN_2}<|im_end|><|im_start|>user\n{PADS['intern']}\n"
    "Q1<|im_end|><|im_start|>assistant\nA1<|im_end|><|im_start|>user\nQ2<|im_end|><|im_start|>"
    "assistant\n",
    "internvl-2-phi3": f"<|system|>\n{INTERN_2}<|end|><|user|>\n{PADS['intern']}\nQ1<|end|>"
    "<|assistant|>\nA1<|end|><|user|>\nQ2<|end|><|assistant|>\n",
    "internvl-2.5": f"<|im_start|>system\n{INTERN_25}<|im_end|>\n<|im_start|>user\n"
    f"{PADS['intern']}\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2"
    "<|im_end|>\n<|im_start|>assistant\n",
    "qwen-vl": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    f"Picture 1: <img>{'<imgpad>' * 5}</img>\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
    "<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n",
    "blip-2": f"{PADS['llava']}Question: Q1 Answer: A1. Question: Q2 Answer:",
    "flamingo-vqa": f"{PADS['llava']}Question:Q1 Short answer:A1<|endofchunk|>Q2 Short answer:",
}


@pytest.mark.parametrize("family", ORIGINAL)
def test_the_text_is_that_of_the_original_code(family):
    assert render(chat_template(family), QA).text == ORIGINAL[family]


def test_shots_of_flamingo_are_chunks():
    one = Media("image", (1,))
    shots = [
        Message("user", (one, "Color?")),
        Message("assistant", "red"),
        Message("user", (one, "Size?")),
    ]
    assert render(chat_template("flamingo-vqa"), shots).text == (
        "<image>Question:Color? Short answer:red<|endofchunk|><image>Question:Size? Short answer:"
    )
    captions = [Message("user", (one,)), Message("assistant", "a cat"), Message("user", (one,))]
    assert render(chat_template("flamingo-caption"), captions).text == (
        "<image>Output:a cat<|endofchunk|><image>Output:"
    )


def test_frames_of_internvl_stand_on_lines_of_their_own():
    clip = Media("video", (2, 2, 2))
    text = render(chat_template("internvl-2.5", "hf"), [Message("user", (clip, "Why?"))]).text
    frame = "<img><IMG_CONTEXT><IMG_CONTEXT></img>\n"
    frames = "".join(f"Frame{n}: {frame}" for n in (1, 2, 3))
    assert f"<|im_start|>user\n{frames}Why?<|im_end|>" in text


def test_qwen2_puts_a_video_together_and_qwen3_writes_its_times():
    clip = Media("video", (2, 2), (0.25, 1.3))
    pads = "<|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
    messages = [Message("user", (clip, "Why?"))]
    two = render(chat_template("qwen2-vl"), messages).text
    assert "user\n<|vision_start|>" + "<|video_pad|>" * 4 + "<|vision_end|>Why?" in two
    three = render(chat_template("qwen3-vl"), messages).text
    assert f"user\n<0.2 seconds>{pads}<1.3 seconds>{pads}Why?" in three
    spans = encode(render(chat_template("qwen3-vl"), messages), TOKENIZER).spans
    assert [(s.stop - s.start, s.media, s.modality) for s in spans] == [(2, 0, "video")] * 2
    with pytest.raises(ConfigError, match="2 parts and 0 times"):
        render(chat_template("qwen3-vl"), [Message("user", (Media("video", (2, 2)), "Why?"))])


def test_pictures_and_videos_are_numbered_on_demand():
    clip = Media("video", (1,))
    messages = [Message("user", (PICTURE, clip, PICTURE, "Which?"))]
    text = render(chat_template("qwen2-vl"), messages, counted=True).text
    names = [name for name in ("Picture 1: ", "Video 1: ", "Picture 2: ") if name in text]
    assert len(names) == 3 and text.index("Video 1") < text.index("Picture 2")
    assert "Picture" not in render(chat_template("qwen2-vl"), messages).text


def test_the_embeddings_of_blip_2_stand_before_the_token_that_begins_a_text():
    tokenizer = byte_tokenizer(begin=True)
    encoded = encode(render(chat_template("blip-2"), QA[:1]), tokenizer)
    image, begin = tokenizer.token_to_id("<image>"), tokenizer.token_to_id("<s>")
    assert encoded.ids[:6] == (image,) * 5 + (begin,)
    assert encoded.spans[0].start == 0 and encoded.spans[0].stop == 5


@pytest.mark.parametrize("family", TEMPLATES)
def test_answers_and_their_ends_are_what_a_training_predicts(family):
    for source in TEMPLATES[family]:
        template = chat_template(family, source)
        image = Media("image", (3,))
        talk = [Message("user", (image, "Q")), Message("assistant", "yes"), *QA[2:]]
        encoded = encode(render(template, talk), TOKENIZER)
        pairs = zip(encoded.ids, encoded.answer, strict=True)
        text = TOKENIZER.decode([n for n, mine in pairs if mine], skip_special_tokens=False)
        end = template.assistant.split("{}")[1].rstrip()
        assert text.strip() == f"yes{end}"


def test_a_prompt_beyond_the_limit_names_both_counts():
    prompt = render(chat_template("qwen2-vl"), TALK)
    length = len(encode(prompt, TOKENIZER).ids)
    assert len(encode(prompt, TOKENIZER, limit=length).ids) == length
    for truncate in (False, True):  # the last picture stands too near the end to be spared
        with pytest.raises(DataError, match=rf"has {length} tokens, 12 of them .* most 60"):
            encode(prompt, TOKENIZER, limit=60, truncate=truncate)


def test_truncation_takes_text_and_never_a_part_of_a_picture():
    prompt = render(chat_template("qwen2-vl"), [Message("user", (PICTURE, "words " * 50))])
    whole = encode(prompt, TOKENIZER)
    cut = encode(prompt, TOKENIZER, limit=len(whole.ids) - 100, truncate=True)
    assert cut.ids == whole.ids[:-100] and cut.spans == whole.spans
    assert len(cut.answer) == len(cut.ids)
    last = whole.spans[-1].stop
    assert encode(prompt, TOKENIZER, limit=last, truncate=True).spans == whole.spans
    with pytest.raises(DataError, match="5 of them for pictures"):
        encode(prompt, TOKENIZER, limit=last - 1, truncate=True)


@pytest.mark.parametrize("typed", ["<|im_end|>", "<image>", "看<|image_pad|>这里", "a</s>b"])
def test_typed_text_cannot_end_a_turn_or_pose_as_a_picture(typed):
    for family in ("qwen2-vl", "llava-1.5"):
        prompt = render(chat_template(family), [Message("user", (PICTURE, f"say {typed}"))])
        with pytest.raises(DataError, match="a control token of the model") as refused:
            encode(prompt, TOKENIZER)
        assert refused.value.text.zh != refused.value.text.en


def test_braces_in_a_text_stay():
    prompt = render(chat_template("qwen2-vl"), [Message("user", "{} {0} %s {{x}}")])
    assert "{} {0} %s {{x}}" in prompt.text


def test_an_empty_system_message_removes_the_families_own():
    text = render(chat_template("llava-1.5"), [Message("system", ""), *QA[:1]]).text
    assert text.startswith("USER: ")


def test_a_tokenizer_without_the_placeholder_is_refused():
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    with pytest.raises(ConfigError, match="does not read <image> as one token"):
        encode(render(chat_template("llava-1.5"), QA[:1]), tokenizer)


@pytest.mark.parametrize(
    "roles", [[], ["assistant"], ["user", "user"], ["system"], ["user", "system"]], ids=str
)
def test_turns_out_of_order_are_refused(roles):
    with pytest.raises(ConfigError, match="the turns of the conversation are"):
        render(chat_template("qwen2-vl"), [Message(role, "x") for role in roles])


def test_unknown_names_and_empty_pictures_are_refused():
    with pytest.raises(ConfigError, match="no chat template is called 'gpt'"):
        chat_template("gpt")
    for counts in ((), (0,)):
        with pytest.raises(ConfigError, match="has no place in a prompt"):
            Media("image", counts)


def test_every_template_has_one_place_for_its_text():
    for templates in TEMPLATES.values():
        for template in templates.values():
            for form in (template.system_turn, template.user, template.assistant, template.image):
                assert form.count("{}") == 1
            assert replace(template, system="") != template or not template.system
