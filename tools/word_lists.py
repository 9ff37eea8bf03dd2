"""Write the frequencies of English and Chinese words from wordfreq's large lists, for
`seesay_text.py`.

python tools/word_lists.py FOLDER    # words-en.tsv and words-zh.tsv
"""

import sys
from pathlib import Path

from wordfreq import get_frequency_dict


def main() -> None:
    for language in ("en", "zh"):
        words = get_frequency_dict(language, wordlist="large")
        lines = [f"{w}\t{1e9 * f:.3f}\n" for w, f in words.items() if not any(map(str.isspace, w))]
        Path(sys.argv[1], f"words-{language}.tsv").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
