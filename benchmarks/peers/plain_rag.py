"""A plain LangChain pipeline with Chroma and seesay-text, for benchmarks/rag.py.

Reads questions as a JSON list from stdin, indexes the folder in memory, and prints for each
question the five nearest chunks with their scores. It reads what plain loaders read: PDF with text,
DOCX, Markdown, tables as rows of text, and subtitles; scans, photographs and films have no text.
"""

import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter

import seesay

CHUNK, OVERLAP, COUNT = 400, 50, 5
SEPARATORS = ["\n\n", "\n", "。", "！", "？", ". ", "，", " ", ""]  # Chinese marks


class SeesayEmbeddings(Embeddings):
    """The same text embedder as this package's collections have."""

    def __init__(self) -> None:
        self._embedder = seesay.load("seesay-text")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.embed_texts(texts, role="passage").vectors.tolist()

    def embed_query(self, text: str) -> list[float]:
        return self._embedder.embed_texts([text], role="query").vectors[0].tolist()


def documents(folder: Path) -> Iterator[Document]:
    """Yields the texts of files with their places."""
    for file in sorted(folder.iterdir()):
        for page, text in _texts(file):
            if text.strip():
                yield Document(page_content=text, metadata={"path": str(file), "page": page})


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    if file.suffix == ".pdf":
        pdf = pypdfium2.PdfDocument(file)
        for number, page in enumerate(pdf, 1):
            yield number, page.get_textpage().get_text_range()
    elif file.suffix == ".docx":
        from docx import Document as Word

        yield 0, "\n\n".join(one.text for one in Word(str(file)).paragraphs)
    elif file.suffix == ".xlsx":
        from openpyxl import load_workbook

        rows = load_workbook(file).active.iter_rows(values_only=True)
        yield 0, _rows([[str(cell) for cell in row] for row in rows])
    elif file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as stream:
            yield 0, _rows([*csv.reader(stream)])
    elif file.suffix in (".md", ".srt"):
        yield 0, file.read_text(encoding="utf-8")


def _rows(rows: list[list[str]]) -> str:
    """As LangChain's CSVLoader writes rows: "column: value" below each other."""
    head, *body = rows
    return "\n\n".join(
        "\n".join(f"{name}: {cell}" for name, cell in zip(head, row, strict=True)) for row in body
    )


def main() -> None:
    questions = json.load(sys.stdin)
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=CHUNK, chunk_overlap=OVERLAP, separators=SEPARATORS
    )
    chunks = splitter.split_documents([*documents(Path(sys.argv[1]))])
    store = Chroma.from_documents(
        chunks, SeesayEmbeddings(), collection_metadata={"hnsw:space": "cosine"}
    )
    answers = []
    for question in questions:
        start = time.perf_counter()
        found = store.similarity_search_with_relevance_scores(question, k=COUNT)
        places = [
            {
                "path": one.metadata["path"],
                "page": one.metadata["page"] or None,
                "text": one.page_content,
            }
            for one, _ in found
        ]
        seconds = time.perf_counter() - start
        scores = [score for _, score in found]
        answers.append({"places": places, "score": scores, "seconds": seconds})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
