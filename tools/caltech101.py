"""Write tables of Caltech-101 with names in both languages, as `recipes/seesay-base.toml` reads it.

    python tools/caltech101.py FOLDER OUT

FOLDER holds a folder of photographs for each category (Fei-Fei, Fergus and Perona, 2004; CC BY 4.0,
data.caltech.edu/records/mzrjq-6wc02). OUT gets `train.csv` and `held-out.csv`, with the path and
the number of the category of each photograph, and the names of each in `train.json` and
`held-out.json`. Every third category is held out: its photographs are only measured on. People's
faces and the background are left out.
"""

import argparse
import csv
import json
import os
from pathlib import Path

HELD_OUT = 3  # every third category
MOST = 40  # photographs of a category: some have 800, most fewer than 60
NAMES = """\
Leopards:leopard:豹子
Motorbikes:motorbike:摩托车
accordion:accordion:手风琴
airplanes:airplane:飞机
anchor:anchor:船锚
ant:ant:蚂蚁
barrel:barrel:木桶
bass:bass fish:鲈鱼
beaver:beaver:海狸
binocular:binoculars:双筒望远镜
bonsai:bonsai:盆景
brain:brain:大脑
brontosaurus:brontosaurus:雷龙
buddha:buddha:佛像
butterfly:butterfly:蝴蝶
camera:camera:照相机
cannon:cannon:大炮
car_side:car from the side:汽车侧面
ceiling_fan:ceiling fan:吊扇
cellphone:cellphone:手机
chair:chair:椅子
chandelier:chandelier:枝形吊灯
cougar_body:cougar:美洲狮
cougar_face:face of a cougar:美洲狮的脸
crab:crab:螃蟹
crayfish:crayfish:小龙虾
crocodile:crocodile:鳄鱼
crocodile_head:head of a crocodile:鳄鱼头
cup:cup:杯子
dalmatian:dalmatian:斑点狗
dollar_bill:dollar bill:美元钞票
dolphin:dolphin:海豚
dragonfly:dragonfly:蜻蜓
electric_guitar:electric guitar:电吉他
elephant:elephant:大象
emu:emu:鸸鹋
euphonium:euphonium:次中音号
ewer:ewer:大口水壶
ferry:ferry:渡轮
flamingo:flamingo:火烈鸟
flamingo_head:head of a flamingo:火烈鸟的头
garfield:Garfield the cartoon cat:加菲猫
gerenuk:gerenuk:长颈羚
gramophone:gramophone:留声机
grand_piano:grand piano:三角钢琴
hawksbill:hawksbill turtle:玳瑁海龟
headphone:headphones:耳机
hedgehog:hedgehog:刺猬
helicopter:helicopter:直升机
ibis:ibis:朱鹭
inline_skate:inline skate:直排轮滑鞋
joshua_tree:Joshua tree:约书亚树
kangaroo:kangaroo:袋鼠
ketch:ketch sailboat:双桅帆船
lamp:lamp:台灯
laptop:laptop:笔记本电脑
llama:llama:羊驼
lobster:lobster:龙虾
lotus:lotus:荷花
mandolin:mandolin:曼陀林
mayfly:mayfly:蜉蝣
menorah:menorah:犹太烛台
metronome:metronome:节拍器
minaret:minaret:宣礼塔
nautilus:nautilus:鹦鹉螺
octopus:octopus:章鱼
okapi:okapi:霍加狓
pagoda:pagoda:宝塔
panda:panda:熊猫
pigeon:pigeon:鸽子
pizza:pizza:披萨
platypus:platypus:鸭嘴兽
pyramid:pyramid:金字塔
revolver:revolver:左轮手枪
rhino:rhinoceros:犀牛
rooster:rooster:公鸡
saxophone:saxophone:萨克斯管
schooner:schooner:纵帆船
scissors:scissors:剪刀
scorpion:scorpion:蝎子
sea_horse:seahorse:海马
snoopy:Snoopy the cartoon dog:史努比
soccer_ball:soccer ball:足球
stapler:stapler:订书机
starfish:starfish:海星
stegosaurus:stegosaurus:剑龙
stop_sign:stop sign:停车标志
strawberry:strawberry:草莓
sunflower:sunflower:向日葵
tick:tick:蜱虫
trilobite:trilobite fossil:三叶虫化石
umbrella:umbrella:雨伞
watch:watch:手表
water_lilly:water lily:睡莲
wheelchair:wheelchair:轮椅
wild_cat:wild cat:野猫
windsor_chair:Windsor chair:温莎椅
wrench:wrench:扳手
yin_yang:yin and yang symbol:太极图
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    names = [line.split(":") for line in NAMES.splitlines()]
    if missing := [name for name, _, _ in names if not (args.folder / name).is_dir()]:
        raise SystemExit(
            f"{args.folder} has no folder {', '.join(missing[:3])}; expected the categories of "
            "Caltech-101, a folder each: unpack 101_ObjectCategories.tar.gz and name it"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    splits = {
        "train": [names[number] for number in range(len(names)) if number % HELD_OUT],
        "held-out": names[::HELD_OUT],
    }
    for split, categories in splits.items():
        with (args.out / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(("image", "label"))
            for number, (name, _, _) in enumerate(categories):
                photographs = sorted((args.folder / name).glob("*.jpg"))[:MOST]
                table.writerows((os.path.relpath(one, args.out), number) for one in photographs)
        classes = [{"en": en, "zh": zh} for _, en, zh in categories]
        text = json.dumps(classes, ensure_ascii=False, indent=0)
        (args.out / f"{split}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
