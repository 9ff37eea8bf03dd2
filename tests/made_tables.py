"""Ten sheets of seeded data in a workbook, and sixty questions about them in Chinese and English,
with the answers that plain Python computes."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from io import BytesIO

Row = dict[str, object]
Answer = float | str | None | list[tuple[str, float]] | list[str]


@dataclass(frozen=True, kw_only=True)
class TableQuestion:
    """A question about a sheet, with its answer: a number, a name, names, or numbers by name."""

    sheet: str
    text: str
    answer: Answer


def sheets(seed: int = 1) -> dict[str, list[Row]]:
    """Returns the rows of each sheet."""
    draw = random.Random(seed)
    return _shops(draw) | _stocks(draw) | _orders(draw) | _years(draw)


def _money(draw: random.Random, low: int, high: int) -> float:
    return draw.randint(low * 100, high * 100) / 100


def _shops(draw: random.Random) -> dict[str, list[Row]]:
    stores = ["东门店", "西门店", "南门店", "北门店"]
    regions = dict(zip(stores, ["华东", "华北", "华东", "华南"], strict=True))
    quarters = ["一季度", "二季度", "三季度", "四季度"]
    teams = ["研发部", "市场部", "财务部"]
    people = ["王伟", "李娜", "张敏", "刘洋", "陈静", "杨帆", "赵磊", "黄丽"]
    return {
        "门店销售": [
            {
                "门店": s,
                "地区": regions[s],
                "季度": q,
                "销售额（万元）": _money(draw, 50, 400),
                "客流量": draw.randint(900, 9000),
            }
            for s in stores
            for q in quarters
        ],
        "员工": [
            {
                "姓名": p,
                "部门": teams[i % 3],
                "年龄": 23 + i * 4,
                "工资": w * 100,
                "入职日期": date(2018 + i % 6, draw.randint(1, 12), draw.randint(1, 28)),
            }
            for i, (p, w) in enumerate(zip(people, draw.sample(range(80, 300), 8), strict=True))
        ],
    }


def _stocks(draw: random.Random) -> dict[str, list[Row]]:
    goods = ["苹果", "香蕉", "毛巾", "牙刷", "台灯", "雨伞"]
    kinds = dict(zip(goods, ["水果", "水果", "日用", "日用", "家居", "家居"], strict=True))
    return {
        "年度财务": [
            {"年份": y, "收入（亿元）": _money(draw, 20, 90), "成本（亿元）": _money(draw, 10, 50)}
            for y in range(2018, 2025)
        ],
        "库存": [
            {
                "商品": g,
                "类别": kinds[g],
                "单价": _money(draw, 2, 90),
                "库存量": draw.randint(10, 900),
            }
            for g in goods
        ],
        "预算": [
            {
                "项目": f"{a}改造",
                "负责部门": t,
                "预算": draw.randint(20, 200) * 1000,
                "支出": spent * 1000,
            }
            for a, t, spent in zip(
                ["机房", "食堂", "车库", "大堂", "实验室"],
                ["后勤", "后勤", "后勤", "行政", "行政"],
                draw.sample(range(10, 180), 5),  # no two alike, so that one is the highest
                strict=True,
            )
        ],
    }


def _orders(draw: random.Random) -> dict[str, list[Row]]:
    products = ["laptop", "phone", "tablet"]
    cities = {
        "Paris": "France",
        "Lyon": "France",
        "Rome": "Italy",
        "Milan": "Italy",
        "Porto": "Portugal",
    }
    names = ["Alice", "Bob", "Carol", "David", "Erin", "Frank", "Grace", "Heidi"]
    return {
        "Orders": [
            {
                "Order": f"A-{n:03d}",
                "Region": draw.choice(["East", "West", "North"]),
                "Product": products[n % 3],
                "Date": date(2023 + n % 2, draw.randint(1, 12), draw.randint(1, 28)),
                "Amount": _money(draw, 20, 2000),
                "Quantity": draw.randint(1, 40),
            }
            for n in range(1, 41)
        ],
        "Cities": [
            {
                "City": c,
                "Country": k,
                "Population": draw.randint(200, 3000) * 1000,
                "Area (km2)": _money(draw, 40, 1300),
            }
            for c, k in cities.items()
        ],
        "Scores": [
            {"Student": n, "Class": "Maple" if i % 2 else "Cedar", "Math": m, "English": e}
            for i, (n, m, e) in enumerate(
                zip(
                    names,
                    draw.sample(range(50, 100), 8),
                    draw.sample(range(50, 100), 8),
                    strict=True,
                )
            )
        ],
    }


def _years(draw: random.Random) -> dict[str, list[Row]]:
    books = ["Red Sea", "Blue Hill", "Green Lake", "White Tower", "Black Forest", "Grey Stone"]
    return {
        "Energy": [
            {"Year": y, "Quarter": f"Q{q}", "Plant": p, "Output": _money(draw, 100, 900)}
            for y in (2022, 2023)
            for q in (1, 2, 3, 4)
            for p in ("Riverside", "Hilltop")
        ],
        "Books": [
            {
                "Title": b,
                "Genre": ["novel", "travel"][i % 2],
                "Price": _money(draw, 8, 60),
                "Copies": draw.randint(100, 5000),
                "Year": 2015 + i,
            }
            for i, b in enumerate(books)
        ],
    }


def workbook(rows: dict[str, list[Row]]) -> bytes:
    """Returns an .xlsx file with these sheets, their titles and totals around them."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for at, (name, some) in enumerate(rows.items()):
        sheet = book.create_sheet(name)
        if at % 2:
            sheet.append([f"{name} 2024" if name.isascii() else f"{name}情况"])
            sheet.append([])
        sheet.append(list(some[0]))
        for row in some:
            sheet.append(list(row.values()))
        if at % 3 == 0:
            total = [
                sum(row[key] for row in some) if isinstance(some[0][key], float) else None
                for key in some[0]
            ]
            sheet.append(["Total" if name.isascii() else "合计", *total[1:]])
    data = BytesIO()
    book.save(data)
    return data.getvalue()


def _total(rows: list[Row], key: str) -> float:
    return float(sum(Fraction(repr(row[key])) for row in rows))


def _mean(rows: list[Row], key: str) -> float:
    return _total(rows, key) / len(rows)


def _best(rows: list[Row], label: str, key: str, choose: Callable[..., Row] = max) -> str:
    return str(choose(rows, key=lambda row: row[key])[label])


def _top(rows: list[Row], label: str, key: str, count: int) -> list[str]:
    return [str(row[label]) for row in sorted(rows, key=lambda row: -row[key])[:count]]  # type: ignore[operator]


def _groups(
    rows: list[Row], by: str, key: str, measure: Callable[[list[Row], str], float]
) -> list[tuple[str, float]]:
    return [
        (str(one), measure([r for r in rows if r[by] == one], key))
        for one in dict.fromkeys(r[by] for r in rows)
    ]


def _where(rows: list[Row], **known: object) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in known.items())]


def questions(rows: dict[str, list[Row]]) -> list[TableQuestion]:
    """Returns sixty questions with their answers."""
    return [
        TableQuestion(sheet=s, text=t, answer=a)
        for s, t, a in [*_of_shops(rows), *_of_stocks(rows), *_of_orders(rows), *_of_years(rows)]
    ]


def _of_shops(rows: dict[str, list[Row]]) -> list[tuple[str, str, Answer]]:
    stores, staff = rows["门店销售"], rows["员工"]
    sales = "销售额（万元）"
    q3, q2 = _where(stores, 季度="三季度"), _where(stores, 季度="二季度")
    east = _where(stores, 地区="华东")
    return [
        ("门店销售", "三季度的销售额合计是多少？", _total(q3, sales)),
        ("门店销售", "东门店Q3的销售额是多少？", _total(_where(q3, 门店="东门店"), sales)),
        ("门店销售", "華東地區的總銷售額是多少？", _total(east, sales)),
        ("门店销售", "各地区的平均客流量", _groups(stores, "地区", "客流量", _mean)),
        (
            "门店销售",
            "哪个门店的总销售额最高？",
            max(_groups(stores, "门店", sales, _total), key=lambda one: one[1])[0],
        ),
        (
            "门店销售",
            "三季度比二季度的总销售额多多少？",
            float(
                sum(Fraction(repr(r[sales])) for r in q3)
                - sum(Fraction(repr(r[sales])) for r in q2)
            ),
        ),
        ("门店销售", "华东的销售额占比是多少？", 100 * _total(east, sales) / _total(stores, sales)),
        ("员工", "研发部有多少人？", len(_where(staff, 部门="研发部"))),
        ("员工", "工资最高的员工是谁？", _best(staff, "姓名", "工资")),
        ("员工", "市场部的平均工资是多少？", _mean(_where(staff, 部门="市场部"), "工资")),
        ("员工", "年龄超过30岁的有几个？", sum(row["年龄"] > 30 for row in staff)),
        (
            "员工",
            "工资在1万到2万之间的有多少人？",
            sum(10000 <= row["工资"] <= 20000 for row in staff),
        ),
        ("员工", "2019年入职的有多少人？", sum(row["入职日期"].year == 2019 for row in staff)),
    ]


def _of_stocks(rows: dict[str, list[Row]]) -> list[tuple[str, str, Answer]]:
    years, goods, budget = rows["年度财务"], rows["库存"], rows["预算"]
    income, cost = "收入（亿元）", "成本（亿元）"
    by_year = {row["年份"]: row for row in years}
    return [
        ("年度财务", "2023年的收入是多少？", by_year[2023][income]),
        ("年度财务", "哪一年的收入最高？", _best(years, "年份", income)),
        (
            "年度财务",
            "2023年收入比2022年增长了百分之几？",
            100
            * float(Fraction(repr(by_year[2023][income])) - Fraction(repr(by_year[2022][income])))
            / by_year[2022][income],
        ),
        (
            "年度财务",
            "2020年和2019年的成本相差多少？",
            float(Fraction(repr(by_year[2020][cost])) - Fraction(repr(by_year[2019][cost]))),
        ),
        ("年度财务", "平均成本是多少？", _mean(years, cost)),
        ("年度财务", "收入超过50亿的有几年？", sum(row[income] > 50 for row in years)),
        ("库存", "单价最低的商品是什么？", _best(goods, "商品", "单价", min)),
        ("库存", "水果的库存量一共是多少？", _total(_where(goods, 类别="水果"), "库存量")),
        ("库存", "各类别的库存量合计", _groups(goods, "类别", "库存量", _total)),
        ("库存", "台灯的单价是多少？", _where(goods, 商品="台灯")[0]["单价"]),
        ("库存", "单价最高的三个商品", _top(goods, "商品", "单价", 3)),
        ("库存", "有多少种商品？", len(goods)),
        ("预算", "支出最多的项目是哪个？", _best(budget, "项目", "支出")),
        ("预算", "后勤的预算总额是多少？", _total(_where(budget, 负责部门="后勤"), "预算")),
        ("预算", "机房改造的支出是食堂改造的几倍？", budget[0]["支出"] / budget[1]["支出"]),
        ("预算", "预算不低于10万元的项目有几个？", sum(row["预算"] >= 100_000 for row in budget)),
        ("预算", "行政的平均支出", _mean(_where(budget, 负责部门="行政"), "支出")),
    ]


def _of_orders(rows: dict[str, list[Row]]) -> list[tuple[str, str, Answer]]:
    orders, cities = rows["Orders"], rows["Cities"]
    in_2023 = [row for row in orders if row["Date"].year == 2023]
    third = [row for row in in_2023 if 7 <= row["Date"].month <= 9]
    return [
        (
            "Orders",
            "What is the total amount of laptops?",
            _total(_where(orders, Product="laptop"), "Amount"),
        ),
        (
            "Orders",
            "What is the average quantity in the West region?",
            _mean(_where(orders, Region="West"), "Quantity"),
        ),
        (
            "Orders",
            "How many orders have an amount over 1,000?",
            sum(row["Amount"] > 1000 for row in orders),
        ),
        ("Orders", "Total amount in 2023", _total(in_2023, "Amount")),
        (
            "Orders",
            "Total quantity in the third quarter of 2023",
            _total(third, "Quantity") if third else None,
        ),
        ("Orders", "Total amount by product", _groups(orders, "Product", "Amount", _total)),
        ("Orders", "Which order has the highest amount?", _best(orders, "Order", "Amount")),
        ("Cities", "Which city has the largest population?", _best(cities, "City", "Population")),
        ("Cities", "What is the population of Lyon?", _where(cities, City="Lyon")[0]["Population"]),
        (
            "Cities",
            "How many cities have a population of at least 1 million?",
            sum(row["Population"] >= 10**6 for row in cities),
        ),
        (
            "Cities",
            "Total population of Italy",
            _total(_where(cities, Country="Italy"), "Population"),
        ),
        (
            "Cities",
            "What share of the population is in Paris?",
            100 * cities[0]["Population"] / _total(cities, "Population"),
        ),
        ("Cities", "What is the smallest area?", min(row["Area (km2)"] for row in cities)),
    ]


def _of_years(rows: dict[str, list[Row]]) -> list[tuple[str, str, Answer]]:
    scores, energy, books = rows["Scores"], rows["Energy"], rows["Books"]
    maple, cedar = _where(scores, Class="Maple"), _where(scores, Class="Cedar")
    hill = _where(energy, Plant="Hilltop")
    return [
        ("Scores", "What is the average math score of the Maple class?", _mean(maple, "Math")),
        ("Scores", "Who has the lowest English?", _best(scores, "Student", "English", min)),
        ("Scores", "How many students are in Cedar?", len(cedar)),
        ("Scores", "Average English for each class", _groups(scores, "Class", "English", _mean)),
        (
            "Scores",
            "What is the difference in math between Alice and Bob?",
            scores[0]["Math"] - scores[1]["Math"],
        ),
        ("Scores", "Top 3 students by math", _top(scores, "Student", "Math", 3)),
        (
            "Energy",
            "What was the output of Hilltop in Q2 2023?",
            _where(hill, Year=2023, Quarter="Q2")[0]["Output"],
        ),
        (
            "Energy",
            "Total output of Riverside in 2022",
            _total(_where(energy, Plant="Riverside", Year=2022), "Output"),
        ),
        (
            "Energy",
            "By what percentage did the output of Hilltop grow from 2022 to 2023?",
            100
            * float(
                sum(Fraction(repr(r["Output"])) for r in _where(hill, Year=2023))
                - sum(Fraction(repr(r["Output"])) for r in _where(hill, Year=2022))
            )
            / _total(_where(hill, Year=2022), "Output"),
        ),
        ("Energy", "Average output per plant", _groups(energy, "Plant", "Output", _mean)),
        (
            "Energy",
            "Which plant had the highest total output in 2023?",
            max(
                _groups(_where(energy, Year=2023), "Plant", "Output", _total),
                key=lambda one: one[1],
            )[0],
        ),
        (
            "Books",
            "Which title of the travel genre has the lowest price?",
            _best(_where(books, Genre="travel"), "Title", "Price", min),
        ),
        ("Books", "Which title has the highest price?", _best(books, "Title", "Price")),
        (
            "Books",
            "What is the total copies of travel books?",
            _total(_where(books, Genre="travel"), "Copies"),
        ),
        ("Books", "How many copies of Red Sea?", books[0]["Copies"]),
        ("Books", "Average price of novels", _mean(_where(books, Genre="novel"), "Price")),
        ("Books", "How many books have a price under 30?", sum(row["Price"] < 30 for row in books)),
    ]
