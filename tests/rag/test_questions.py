import pytest

from rag_notes import Says
from seesay.rag.conversation import rewritten, self_contained
from seesay.rag.questions import Question, stem
from seesay.rag.sentences import addresses_model, sentences

TYPES = [
    ("Who designed it?", "who"),
    ("谁设计了图书馆？", "who"),
    ("When did it open?", "when"),
    ("图书馆是哪一年开放的？", "when"),
    ("Where does it stand?", "where"),
    ("图书馆在哪里？", "where"),
    ("How many people work there?", "count"),
    ("有多少名员工？", "count"),
    ("How much does a ticket cost?", "money"),
    ("How fast is the train?", "amount"),
    ("门票多少钱？", "money"),
    ("收入增长多少？", "amount"),
    ("What percentage did it grow?", "part"),
    ("增长了百分之几？", "part"),
    ("How high is the tower?", "length"),
    ("塔有多高？", "length"),
    ("How long does the tour last?", "time"),
    ("导览要多久？", "time"),
    ("Is the shop open?", "yes/no"),
    ("可以带狗吗？", "yes/no"),
    ("What is a passage?", "definition"),
    ("什么是段落？", "definition"),
    ("Which colour has the door?", "colour"),
    ("大门是什么颜色的？", "colour"),
    ("What is the height of the tower?", "length"),
    ("塔楼的高度是多少？", "length"),
    ("Which architect designed it?", "who"),
    ("What does the door look like?", "any"),
]


@pytest.mark.parametrize("text, expects", TYPES)
def test_a_question_is_known_by_what_it_expects(text, expects):
    assert Question.of(text).expects == expects


def test_words_of_asking_are_not_searched_for():
    assert Question.of("请问公司的收入增长多少？").words == ("公司", "收入", "增长")
    words = Question.of("Could you tell me how many people work in Lisbon?").words
    assert words == ("people", "work", "lisbon")


@pytest.mark.parametrize(
    "text, about", [("照片里有几只狗？", True), ("How many dogs are in the photo?", True),
                    ("How many dogs has Ada?", False)]
)  # fmt: skip
def test_questions_about_pictures_are_told_apart(text, about):
    assert Question.of(text).about_pictures is about


FINDING = [
    ("Which photo shows this: A dog by a lake.", "A dog by a lake.", False),
    ("Which photos show a dog?", "a dog", True),
    ("In which photo is there a red car?", "a red car", False),
    ("Find all photos of dogs on the beach", "dogs on the beach", True),
    ("Is there a picture of a cat?", "a cat", False),
    ("哪张照片的内容是：男人走在小路上。", "男人走在小路上。", False),
    ("哪些照片里有狗？", "狗", True),
    ("找一张有狗的照片", "狗", False),
    ("找出所有海边日落的照片", "海边日落", True),
    ("有没有猫的照片？", "猫", False),
    ("Which photo is the oldest?", "", False),
    ("Which picture has the most visitors?", "", False),
    ("How many dogs are in the photo?", "", False),
    ("照片里有几只狗？", "", False),
    ("照片是谁拍的？", "", False),
]


@pytest.mark.parametrize("text, shown, several", FINDING)
def test_a_question_may_ask_for_pictures_by_what_they_show(text, shown, several):
    read = Question.of(text)
    assert (read.shown, read.several) == (shown, several)
    assert read.about_pictures or not shown


def test_a_question_of_two_parts_is_taken_apart():
    assert len(Question.of("When did the library open, and who designed it?").parts) == 2
    assert len(Question.of("图书馆是哪一年开放的，由谁设计？").parts) == 2
    assert Question.of("Who gave bread and butter?").parts == ()


def test_inflected_words_share_a_stem():
    assert len({stem(one) for one in ("open", "opens", "opened", "opening")}) == 1
    assert stem("built") == stem("build") and stem("cities") == stem("city")
    assert stem("book") != stem("boot")


FOLLOWING = [
    ("Who designed Harwick Library?", "When did it open?", "When did Harwick Library open?"),
    ("When was the library opened?", "Who designed it?", "Who designed the library?"),
    ("What is the top speed?", "Is it allowed?", "Is the top speed allowed?"),
    ("When was Ada Lovelace born?", "Who is her brother?", "Who is Ada Lovelace's brother?"),
    ("How many people work in Lisbon?", "And in Porto?", "How many people work in Porto?"),
    (
        "How many people work in the Lisbon office?",
        "What about the Porto office?",
        "How many people work in the Porto office?",
    ),
    ("城南图书馆是哪一年开放的？", "它有多少名员工？", "城南图书馆有多少名员工？"),
    ("里斯本有多少人上班？", "那波尔图呢？", "波尔图有多少人上班？"),
    ("When did it open?", "Who wrote Emma?", "Who wrote Emma?"),
]


@pytest.mark.parametrize("before, question, understood", FOLLOWING)
def test_a_follow_up_question_is_made_self_contained(before, question, understood):
    assert self_contained(question, [before]) == understood


def test_a_first_question_stays_as_it_is():
    assert self_contained("When did it open?", []) == "When did it open?"


def test_a_model_rewrites_a_question_unless_it_writes_nothing_of_use():
    history = ["Who designed Harwick Library?"]
    good = Says('"When did Harwick Library open?"\nI hope this helps.')
    assert rewritten(good, "When did it open?", history) == "When did Harwick Library open?"
    assert history[0] in good.asked[0][1]
    assert rewritten(Says("..."), "When did it open?", history) == (
        "When did Harwick Library open?"
    )


def test_sentences_have_their_places():
    text = "Dr. Smith paid 3.5 euros. He left!\n第一句。第二句？ end"
    assert [text[a:b] for a, b in sentences(text)] == [
        "Dr. Smith paid 3.5 euros.", "He left!", "第一句。", "第二句？", "end",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    [
        "The library opened in 1931.",
        "You can hear the bells from the river.",
        "The system has two pumps.",
        "She answered the phone.",
        "The company will report its figures in May.",
        "图书馆有36名员工。",
        "他回答得很快。",
        "系统运行正常。",
    ],
)
def test_ordinary_sentences_address_no_model(sentence):
    assert not addresses_model(sentence)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("What is the price of a ticket?", {"ticket"}),
        ("How much did the town pay for the bridge?", {"town", "bridg"}),
        ("Which architect designed the bridge?", {"design", "bridg"}),
        ("大门是什么颜色的？", {"大门"}),
        ("图书馆何时对外开放？", {"图书馆", "对外", "开放"}),
        ("塔楼的高度是多少？", {"塔楼"}),
        ("新林图书馆的票价是多少？", {"新林", "图书馆", "票价"}),
        ("What is the height?", {"height"}),
        ("How much did Harwick Mill cost?", {"harwick", "mill", "cost"}),
    ],
)
def test_words_that_only_say_the_type_of_an_answer_need_not_be_in_it(text, wanted):
    assert Question.of(text).wanted == wanted
