"""Asks sixty questions about ten sheets, in Chinese and English, and prints how many are answered
exactly. Rows and answers are made from a seed; plain Python computes the answers.

    python benchmarks/tables.py [--seeds 5]

The rules were written with questions of this form in view: the score tells that the road from a
workbook to the answer is exact, not how many questions of other people are understood.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from made_office import file_of
from made_tables import Answer, questions, sheets, workbook
from seesay.rag.plans import Plan, PlanRow, execute
from seesay.rag.table_questions import plan_of
from seesay.search.reading.workbooks import read_workbook


def main() -> None:
    """Print a line for each question that is missed, then the score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    right = asked = 0
    seconds = 0.0
    for seed in range(1, parser.parse_args().seeds + 1):
        rows = sheets(seed)
        content = read_workbook(file_of("sheets.xlsx", workbook(rows)))
        tables = dict(enumerate((one.table for one in content.passages if one.table), start=1))
        for one in questions(rows):
            began = time.perf_counter()
            plan = plan_of(one.text, tables)
            found = execute(plan, tables[plan.table]).rows if isinstance(plan, Plan) else ()
            seconds += time.perf_counter() - began
            asked += 1
            if is_right(one.answer, found):
                right += 1
            else:
                print(f"seed {seed}: {one.text} expected {one.answer}, got {plan} {found}")
    print(f"{right} of {asked} exact, {1000 * seconds / asked:.0f} ms each")


def is_right(answer: Answer, rows: tuple[PlanRow, ...]) -> bool:
    """Whether the rows say exactly this."""
    if isinstance(answer, str):
        return len(rows) == 1 and answer in (rows[0].label, rows[0].value)
    if isinstance(answer, list):
        named = isinstance(answer[0], str)
        return [one.label if named else (one.label, one.value) for one in rows] == answer
    return [one.value for one in rows] == [answer]


if __name__ == "__main__":
    main()
