"""A small language for questions about a table, executed by duckdb.

A plan says which cells count and what is computed from them; no language model computes anything.
Values are bound, never part of the SQL, and the connection reaches no file and no network. Numbers
are decimal wherever they have few enough digits, so that 0.1 + 0.2 is 0.3.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from threading import Timer
from typing import TYPE_CHECKING, Any, Literal, get_args

from seesay.data.spelling import fold
from seesay.errors import DataError, MissingExtraError
from seesay.search.catalog.drafts import Cell, TableData, column_letters
from seesay.text import Text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Operation = Literal[
    "value",
    "sum",
    "mean",
    "min",
    "max",
    "count",
    "distinct",
    "difference",
    "ratio",
    "growth",
    "share",
]
Comparison = Literal["=", "!=", "<", "<=", ">", ">=", "contains", "in"]
_TWO_GROUPS = ("difference", "ratio", "growth", "share")
_OF_NUMBERS = ("sum", "mean", *_TWO_GROUPS)
_SQL = {"sum": "sum({0})", "mean": "CAST(sum({0}) AS DOUBLE) / count({0})", "min": "min({0})"}
_SQL |= {"max": "max({0})", "count": "count(*)", "distinct": "count(DISTINCT {0})"}
_MOST_DIGITS, _MOST_PLACES = 15, 12
_SECONDS = 10.0
_MEMORY = "512MB"


@dataclass(frozen=True, kw_only=True)
class PlanFilter:
    """A restriction of the rows that count. Texts are compared without regard to case, width and
    script; dates are ISO text."""

    column: str
    comparison: Comparison
    value: str | int | float | tuple[str | int | float, ...] = ""
    other: str | None = None
    """A column to compare with, in place of a value."""

    def __post_init__(self) -> None:
        if self.comparison not in get_args(Comparison):
            raise _invalid(f"the comparison {self.comparison!r}", ", ".join(get_args(Comparison)))
        if self.other is not None and (self.value or self.comparison in ("contains", "in")):
            raise _invalid(
                f"{self.value!r} and {self.comparison!r} for two columns", "no value, and a sign"
            )
        if isinstance(self.value, tuple) != (self.comparison == "in"):
            raise _invalid(
                f"{self.value!r} for {self.comparison!r}", "a list for 'in', else a value"
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to compute from one table.

    "value" lists cells; "difference", "ratio" (a/b), "growth" ((a-b)/b, in percent) and "share"
    (a/b, in percent) compare the sum over `filters` with that over `against`.
    """

    table: int
    """The number of the table's first passage."""
    operation: Operation
    column: str | None = None
    """The column that is computed with; None to count rows."""
    filters: tuple[PlanFilter, ...] = ()
    against: tuple[PlanFilter, ...] = ()
    group_by: str | None = None
    label: str | None = None
    """The column that names the rows of "value"."""
    order: Literal["ascending", "descending"] | None = None
    limit: int | None = None
    """How many of the first values to keep in this order; ties with the last are kept too."""

    def __post_init__(self) -> None:
        if self.operation not in get_args(Operation):
            raise _invalid(f"the operation {self.operation!r}", ", ".join(get_args(Operation)))
        if self.column is None and self.operation != "count":
            raise _invalid(f"no column for {self.operation!r}", "the name of one")
        if self.against and self.operation not in _TWO_GROUPS:
            raise _invalid(f"two groups for {self.operation!r}", f"one of {', '.join(_TWO_GROUPS)}")
        if self.group_by and self.operation in (*_TWO_GROUPS, "value"):
            raise _invalid(f"groups for {self.operation!r}", "sum, mean, min, max or count")
        if self.limit is not None and (self.limit < 1 or self.order is None):
            raise _invalid(
                f"the limit {self.limit} without an order", "a positive one with an order"
            )

    def to_json(self) -> str:
        """Returns JSON of all fields."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "Plan":
        """Raises DataError for JSON that is no plan."""
        try:
            known: dict[str, Any] = json.loads(text)
            for name in ("filters", "against"):
                known[name] = tuple(_filter_of(one) for one in known.get(name, ()))
            return Plan(**known)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _invalid(f"JSON ({error})", "the fields of a plan") from None


def _filter_of(fields: dict[str, Any]) -> PlanFilter:
    value = fields.get("value", "")
    return PlanFilter(**{**fields, "value": tuple(value) if isinstance(value, list) else value})


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """One value of an answer, with the row or group it belongs to."""

    label: str | None
    value: Cell


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """The result of a plan, and the cells that it was computed from."""

    rows: tuple[PlanRow, ...]
    unit: str
    sheet: str | None
    cells: tuple[str, ...]
    """Ranges of the cells that count, such as "C2:C5"; those of the filters are not among
    them."""

    @property
    def value(self) -> Cell:
        """The only value; None if there is none or there are several."""
        return self.rows[0].value if len(self.rows) == 1 else None


def execute(plan: Plan, data: TableData) -> PlanResult:
    """Returns the result of a plan; values without a number are None. Raises DataError if the plan
    does not fit the table, MissingExtraError without duckdb."""
    with _Query(data) as query:
        return query.result(plan)


@dataclass(eq=False)
class _Query:
    """A table in a connection of its own."""

    data: TableData
    _types: list[str] = field(default_factory=list)

    def __enter__(self) -> "_Query":
        try:
            import duckdb
        except ModuleNotFoundError:
            raise MissingExtraError("duckdb", "tables") from None
        self._connection: DuckDBPyConnection = duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": _MEMORY,
                "threads": "1",
                "lock_configuration": "true",
            },
        )
        self._timer = Timer(_SECONDS, self._connection.interrupt)
        self._timer.daemon = True
        self._timer.start()
        self._load()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._connection.close()

    def result(self, plan: Plan) -> PlanResult:
        """Returns the result of the plan."""
        column = None if plan.column is None else self._column(plan.column)
        if plan.operation in _OF_NUMBERS and column is not None:
            self._require(column, "number")
        elif plan.operation in ("min", "max") and column is not None:
            self._require(column, "number", "date")
        if plan.operation in _TWO_GROUPS:
            rows, used = self._compared(plan)
        elif plan.operation == "value":
            rows, used = self._listed(plan)
        elif plan.group_by is not None:
            rows, used = self._grouped(plan)
        else:
            where, values = self._where(plan.filters)
            sql = f"SELECT {self._sum_of(plan)} FROM t WHERE {where}"
            rows = [PlanRow(label=None, value=_plain(self._rows(sql, values)[0][0]))]
            used = self._used(plan.filters, column)
        known = None if column is None else self.data.columns[column]
        unit = known.unit if known else ""
        if plan.operation in ("growth", "share"):
            unit = "%"
        elif plan.operation in ("count", "distinct", "ratio"):
            unit = ""
        return PlanResult(
            rows=tuple(rows),
            unit=unit,
            sheet=self.data.sheet,
            cells=tuple(_ranges(self.data, used, column)),
        )

    def _load(self) -> None:
        columns = list(zip(*self.data.rows, strict=True))
        names = ["n INTEGER"]
        values: list[list[Any]] = [list(range(len(self.data.rows)))]
        casts = ["unnest(?::INTEGER[])"]
        for at, (known, cells) in enumerate(zip(self.data.columns, columns, strict=True)):
            kind = {"number": _number_type(cells), "date": "TIMESTAMP"}.get(known.type, "VARCHAR")
            self._types.append(kind)
            names.append(f"c{at} {kind}")
            casts.append(f"CAST(unnest(?::VARCHAR[]) AS {kind})")
            values.append([None if one is None else _stored(one) for one in cells])
        self._connection.execute(f"CREATE TABLE t ({', '.join(names)})")
        self._connection.execute(f"INSERT INTO t SELECT {', '.join(casts)}", values)

    def _grouped(self, plan: Plan) -> tuple[list[PlanRow], list[int]]:
        assert plan.group_by is not None
        by = self._column(plan.group_by)
        where, values = self._where(plan.filters)
        inner = (
            f"SELECT min(n) AS n, {self._sum_of(plan)} AS v FROM t WHERE {where}"
            f" AND c{by} IS NOT NULL GROUP BY c{by}"
        )
        found = self._rows(f"SELECT n, v FROM ({inner}) {_ordered(plan)}", values)
        rows = [PlanRow(label=_label(self.data.rows[n][by]), value=_plain(v)) for n, v in found]
        column = None if plan.column is None else self._column(plan.column)
        return rows, self._used(plan.filters, column)

    def _listed(self, plan: Plan) -> tuple[list[PlanRow], list[int]]:
        assert plan.column is not None
        column = self._column(plan.column)
        label = None if plan.label is None else self._column(plan.label)
        where, values = self._where(plan.filters)
        inner = f"SELECT n, c{column} AS v FROM t WHERE {where} AND c{column} IS NOT NULL"
        found = self._rows(f"SELECT n FROM ({inner}) {_ordered(plan)}", values)
        some = [self.data.rows[n] for (n,) in found]
        rows = [
            PlanRow(label=None if label is None else _label(row[label]), value=row[column])
            for row in some
        ]
        return rows, [n for (n,) in found]

    def _compared(self, plan: Plan) -> tuple[list[PlanRow], list[int]]:
        assert plan.column is not None
        column = self._column(plan.column)
        sums: list[Any] = []
        value: Any
        for filters in (plan.filters, plan.against):
            where, values = self._where(filters)
            sums += self._rows(f"SELECT sum(c{column}) FROM t WHERE {where}", values)[0]
        used = [*self._used(plan.filters, column), *self._used(plan.against, column)]
        one, other = sums
        if one is None or other is None:
            return [PlanRow(label=None, value=None)], used
        if plan.operation == "difference":
            value = one - other
        elif not other:
            return [PlanRow(label=None, value=None)], used
        elif plan.operation == "ratio":
            value = float(one) / float(other)
        elif plan.operation == "share":
            value = 100 * float(one) / float(other)
        else:
            value = 100 * float(one - other) / abs(float(other))
        return [PlanRow(label=None, value=_plain(value))], used

    def _used(self, filters: Sequence[PlanFilter], column: int | None) -> list[int]:
        """Returns the rows whose cells count."""
        where, values = self._where(filters)
        there = "" if column is None else f" AND c{column} IS NOT NULL"
        return [
            n for (n,) in self._rows(f"SELECT n FROM t WHERE {where}{there} ORDER BY n", values)
        ]

    def _where(self, filters: Sequence[PlanFilter]) -> tuple[str, list[object]]:
        parts = ["true"]
        values: list[object] = []
        for one in filters:
            at = self._column(one.column)
            if one.other is not None:
                parts.append(f"c{at} {one.comparison} c{self._comparable(at, one.other)}")
                continue
            if one.comparison == "contains":
                parts.append(f"contains(CAST(c{at} AS VARCHAR), ?)")
                values.append(fold(str(one.value)))
                continue
            given = one.value if isinstance(one.value, tuple) else (one.value,)
            marks = ", ".join(f"CAST(? AS {self._compared_as(at)})" for _ in given)
            sign = "IN" if one.comparison == "in" else one.comparison
            parts.append(f"c{at} {sign} ({marks})" if given else "false")
            values += [self._bound(value, at, one) for value in given]
        return " AND ".join(parts), values

    def _comparable(self, at: int, other: str) -> int:
        """Returns the number of a column that is compared with another."""
        self._require(self._column(other), self.data.columns[at].type)
        return self._column(other)

    def _compared_as(self, at: int) -> str:
        """Returns the type of a bound value, which may have more places than the column."""
        is_decimal = self._types[at].startswith("DECIMAL")
        return f"DECIMAL(38, {_MOST_PLACES})" if is_decimal else self._types[at]

    def _bound(self, value: str | int | float, at: int, restriction: PlanFilter) -> str:
        known = self.data.columns[at]
        if isinstance(value, str) == (known.type == "number"):
            raise _invalid(f"{value!r} for the column {restriction.column!r}", known.type)
        return _stored(value)

    def _sum_of(self, plan: Plan) -> str:
        column = "n" if plan.column is None else f"c{self._column(plan.column)}"
        return _SQL[plan.operation].format(column)

    def _column(self, name: str) -> int:
        names = [one.name for one in self.data.columns]
        if name not in names:
            raise _invalid(f"the column {name!r}", f"one of {', '.join(names)[:300]}")
        return names.index(name)

    def _require(self, column: int, *types: str) -> None:
        known = self.data.columns[column]
        if known.type not in types:
            expected = " or ".join(types)
            raise _invalid(f"the column {known.name!r} of {known.type}", f"one of {expected}")

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        import duckdb

        try:
            return self._connection.execute(sql, values).fetchall()
        except duckdb.Error as error:
            raise DataError(
                Text(
                    f"the table could not be queried ({error}), expected a plan that fits it and "
                    f"ends within {_SECONDS:g} s; ask for less at once",
                    f"无法查询这个表格（{error}）；查询应与表格相符，并在 {_SECONDS:g} "
                    "秒内完成；请一次少问一些",
                )
            ) from None


def _ordered(plan: Plan) -> str:
    """Returns SQL for the order and the limit; ties with the last row stay."""
    if plan.order is None:
        return "ORDER BY n"
    way = "DESC" if plan.order == "descending" else "ASC"
    if plan.limit is None:
        return f"ORDER BY v {way}, n"
    return f"QUALIFY rank() OVER (ORDER BY v {way}) <= {plan.limit:d} ORDER BY v {way}, n"


def _number_type(cells: Iterable[Cell]) -> str:
    """Returns a decimal type that holds the numbers; DOUBLE if they have too many digits."""
    places = 0
    for cell in cells:
        if not isinstance(cell, int | float):
            continue
        exponent = Decimal(repr(cell)).normalize().as_tuple().exponent
        if abs(cell) >= 10**_MOST_DIGITS or not isinstance(exponent, int):
            return "DOUBLE"
        places = max(places, -exponent)
    return f"DECIMAL(38, {places})" if places <= _MOST_PLACES else "DOUBLE"


def _stored(value: str | int | float) -> str:
    return fold(value) if isinstance(value, str) else repr(value)


def _plain(value: object) -> Cell:
    if isinstance(value, Decimal):
        return float(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value).replace(" ", "T").removesuffix("T00:00:00")  # a timestamp


def _label(value: Cell) -> str | None:
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _ranges(data: TableData, rows: Iterable[int], column: int | None) -> list[str]:
    """Returns the cell ranges of these rows in a column, or in all columns if it is None."""
    left = data.left if column is None else data.left + column
    right = data.left + len(data.columns) - 1 if column is None else left
    spans: list[list[int]] = []
    for number in sorted({data.numbers[row] for row in rows}):
        if spans and spans[-1][1] + 1 == number:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    one, other = column_letters(left), column_letters(right)
    return [
        f"{one}{top}" if (one, top) == (other, bottom) else f"{one}{top}:{other}{bottom}"
        for top, bottom in spans
    ]


def _invalid(given: str, expected: str) -> DataError:
    return DataError(
        Text(
            f"a plan for a table has {given}, expected {expected}; correct the plan",
            f"表格查询计划中有 {given}；应为 {expected}；请改正",
        )
    )
