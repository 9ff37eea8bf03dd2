"""Chinese-CLIP's layout: `NAME_imgs.tsv` (image id, base64) beside `NAME_texts.jsonl`
({"text_id", "text", "image_ids"})."""

import base64
import binascii
from array import array
from collections.abc import Sequence
from pathlib import Path

from seesay.data.formats.records import Damaged, Record, find_files
from seesay.data.tables import Table
from seesay.errors import DataError
from seesay.text import Text, detect_language

IMAGES, TEXTS = "_imgs.tsv", "_texts.jsonl"


class ChineseClipSource:
    """One record per image that a text belongs to, with all its texts."""

    blocks: Sequence[int] = ()

    def __init__(self, pattern: str) -> None:
        self.files = find_files(pattern, [".tsv"])
        self.damaged: list[Damaged] = []
        self._file, self._start, self._size = array("l"), array("q"), array("q")
        self._texts: list[tuple[str, ...]] = []
        for number, file in enumerate(self.files):
            self._survey(number, file, self._read_texts(file))

    def _read_texts(self, images: Path) -> dict[str, list[str]]:
        file = images.with_name(images.name.removesuffix(IMAGES) + TEXTS)
        if not images.name.endswith(IMAGES) or not file.is_file():
            raise DataError(
                Text(
                    f"{images} has no texts: expected a name that ends in {IMAGES} and, beside "
                    f"it, {file.name}; correct the path, or use the format `table` for another TSV",
                    f"{images} 没有对应的文本；文件名应以 {IMAGES} 结尾，旁边应有 {file.name}；请"
                    "改正路径，其他 TSV 请用 table 格式",
                )
            )
        try:
            table = Table(file, file.name)
        except (DataError, OSError) as error:
            raise DataError(Text(f"{file}: {error}", f"{file}：{Text.of(error).zh}")) from None
        texts: dict[str, list[str]] = {}
        bad: list[tuple[int, str]] = []
        for number, row in table:
            owners, text = row.get("image_ids"), row.get("text")
            if not isinstance(owners, list) or not isinstance(text, str):
                bad.append((number, "it has no list `image_ids`, or no `text`"))
                continue
            for image in owners:
                texts.setdefault(str(image), []).append(text)
        self.damaged += (
            Damaged(f"{file.name} line {number}", f"{why}: correct or remove it")
            for number, why in sorted(bad + table.unusable)
        )
        return texts

    def _survey(self, number: int, file: Path, texts: dict[str, list[str]]) -> None:
        start = 0
        with file.open("rb") as lines:
            for line in lines:
                key, _, _ = line.partition(b"\t")
                of_image = texts.pop(key.decode(errors="replace").strip(), None)
                if of_image:  # images without a text are useless for training
                    self._file.append(number)
                    self._start.append(start)
                    self._size.append(len(line))
                    self._texts.append(tuple(of_image))
                start += len(line)
        for without in texts:
            self.damaged.append(Damaged(f"{file.name} image {without}", "has texts and no image"))

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Record:
        file = self.files[self._file[index]]
        with file.open("rb") as lines:
            lines.seek(self._start[index])
            line = lines.read(self._size[index])
        key, _, encoded = line.strip().partition(b"\t")
        name = key.decode(errors="replace")
        try:
            # Files in the wild use both base64 alphabets.
            image = base64.b64decode(
                encoded.translate(bytes.maketrans(b"-_", b"+/")), validate=True
            )
        except binascii.Error as error:
            raise DataError(
                Text(
                    f"{file.name} image {name} is not base64 ({error}), expected an encoded "
                    "image: write the file again",
                    f"{file.name} 的图片 {name} 不是 base64（{error}）；应为编码后的图片；请重新写"
                    "出该文件",
                )
            ) from None
        captions: dict[str, tuple[str, ...]] = {}
        for text in self._texts[index]:
            language = detect_language(text)
            captions[language] = (*captions.get(language, ()), text)
        return Record(key=name, image=image, captions=captions)
