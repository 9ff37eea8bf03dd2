"""Contenders in processes of their own, kept alive so that runs can be interleaved."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Contender:
    """One contender's process, ready when the constructor's caller has called `wait`."""

    def __init__(self, script: Path, name: str, *arguments: str) -> None:
        self.name = name
        quiet = {
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TRANSFORMERS_VERBOSITY": "error",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(script), name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | quiet,
        )

    def wait(self) -> None:
        self._answer()

    def run(self, files: Sequence[str], vectors: Path | None = None) -> dict[str, float]:
        """Seconds, processor seconds and peak memory of one run over `files`."""
        request = {"files": list(files), "vectors": str(vectors) if vectors else None}
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None and self._process.stderr is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"{self.name} ended early:\n{self._process.stderr.read()}")
        return json.loads(line)
