"""The texts of the page in English and Chinese."""

from seesay.text import Text

TITLE = "看图说话 seesay"
ABOUT = Text(
    "Find pictures and texts by what is in them, in Chinese and English.",
    "按内容查找图片和文字，中英文都可以。",
)
ASK = Text("Describe a picture, or drop one here", "描述想找的画面，或把图片拖到这里")
SEARCH = Text("Search", "查找")
MORE = Text("Filters and options", "筛选与选项")
WITHOUT = Text("Leave out", "排除")
WITHOUT_EXAMPLE = Text("what must not be in it", "不要出现的内容")
MIN_MATCH = Text("Show matches of at least (%)", "只显示匹配度不低于（%）")
KIND = Text("Type", "类型")
KINDS = (
    (Text("All", "全部"), ""),
    (Text("Pictures", "图片"), "image"),
    (Text("Videos", "视频"), "moment"),
    (Text("Texts", "文字"), "text"),
)
FOLDERS = Text("Folders", "文件夹")
SINCE = Text("From", "开始日期")
UNTIL = Text("Until", "结束日期")
WHERE = Text("Metadata", "元数据")
WHERE_EXAMPLE = Text("camera=Canon, width>=1000", "camera=Canon, width>=1000")
COLLECTION = Text("Collection", "资料库")
DUPLICATES = Text("Duplicates", "重复文件")
MAP = Text("Map", "地图")
SHOWN = Text("Shown on the map", "地图内容")
PLACES = (KINDS[1], KINDS[3], (Text("Where taken", "拍摄地点"), "place"))
MANAGE = Text("Manage", "管理")
UPDATE = Text("Update", "更新")
UPDATE_TOLD = Text(
    "Look through the folders of this collection: take in new and changed files, and drop those "
    "that are gone.",
    "检查这个资料库的文件夹：收录新增和修改过的文件，去掉已不存在的文件。",
)
ADD_FOLDER = Text("Add folder", "添加文件夹")
FOLDER_PATH = Text("Full path of a folder on the server", "服务器上文件夹的完整路径")
FOLDER_EXAMPLE = Text("/home/me/Pictures", "/home/me/Pictures")
TAG = Text("Tag", "打标签")
TAG_LABELS = Text(
    "Labels, separated by commas; pictures get those that fit, and lose their former tags",
    "标签，用逗号分隔；图片得到相符的标签，原有标签会被替换",
)
TAG_EXAMPLE = Text("cat, beach, birthday", "猫，海边，生日")
CANCEL = Text("Cancel", "取消")
NOT_ALLOWED = Text("This folder cannot be indexed here.", "不能在这里收录这个文件夹。")
WHICH_ALLOWED = Text(
    "Give the full path of a folder in those that the collection has, or that the server was "
    "started with (--allow-folder).",
    "请填写文件夹的完整路径；它须在资料库已有的文件夹内，或在启动服务时用 --allow-folder "
    "允许的文件夹内。",
)
BUSY = Text("Something is running already.", "已有任务在运行。")
BUSY_TOLD = Text("Wait until it has ended, or cancel it.", "请等它完成，或取消它。")
NO_LABELS = Text("There are no labels.", "没有填写标签。")
NO_LABELS_TOLD = Text(
    "Type one or more, separated by commas.", "请填写一个或多个标签，用逗号分隔。"
)
COUNTING = Text("Starting …", "正在开始……")
INDEXING = Text(
    "Indexing: {done} of {total} files, {failed} could not be read",
    "正在收录：{done} / {total} 个文件，{failed} 个无法读取",
)
TAGGING = Text("Tagging: {done} of {total} pictures", "正在打标签：{done} / {total} 张图片")
INDEXED = Text(
    "Up to date: {added} added, {updated} updated, {removed} removed, {unchanged} unchanged, "
    "{failed} could not be read.",
    "已更新：新增 {added} 个，修改 {updated} 个，移除 {removed} 个，未变 {unchanged} 个，"
    "无法读取 {failed} 个。",
)
UNREADABLE = Text("{count} files could not be read", "有 {count} 个文件无法读取")
MORE_UNREADABLE = Text(
    "{count} more: seesay errors lists them all.", "还有 {count} 个：可用 seesay errors 查看全部。"
)
NOT_THERE = Text("Not there: {folders}", "找不到：{folders}")
TAGGED = Text(
    "{tagged} of {pictures} pictures have a tag now.", "{pictures} 张图片中有 {tagged} 张有了标签。"
)
CANCELLED = Text("Cancelled.", "已取消。")
CANCELLED_TOLD = Text("What was done until then is kept.", "此前完成的部分已保留。")
REMOVE = Text("Remove from collection", "移出资料库")
REMOVE_TOLD = Text(
    "It will not be found any more. The file itself stays on the disk.",
    "移出后就查不到它了，文件本身仍留在磁盘上。",
)
REMOVE_NOW = Text("Remove", "移出")
REMOVED = Text("Removed from the collection", "已移出资料库")
STAYS_ON_DISK = Text("The file itself is still on the disk.", "文件本身仍在磁盘上。")
ASK_TAB = Text("Ask about pictures", "图片提问")
ASK_ABOUT = Text("Ask about your pictures.", "就你的图片提问。")
ASK_HOW = Text(
    "Add one picture or several, and ask what is on them. Further questions go on from the answer. "
    "A model answers: it may be wrong.",
    "添加一张或多张图片，问问里面有什么；之后可以接着追问。回答由模型生成，可能有误。",
)
QUESTION = Text("Ask about the pictures", "就图片提一个问题")
ASK_NOW = Text("Ask", "提问")
STOP = Text("Stop", "停止")
NEW_TALK = Text("New conversation", "新对话")
READING = Text("Looking at it …", "正在看图……")
CUT_OFF = Text("Cut off here: it was too long.", "回答过长，到此截断。")
STOPPED = Text("Stopped; this does not count.", "已停止，不计入对话。")
INQUIRY_TAB = Text("Answers", "问答")
INQUIRE_ABOUT = Text(
    "Ask about your documents, tables, videos and pictures.", "就你的文档、表格、视频和图片提问。"
)
INQUIRE_HOW = Text(
    "Each claim of an answer is checked against your files; its number opens the place where it "
    "stands. Further questions may refer to earlier ones.",
    "回答中的每个论断都与你的文件核对过，点击编号可打开出处；之后可以接着追问。",
)
INQUIRY = Text("Ask a question", "提一个问题")
INQUIRY_MODES = (
    (Text("Quote sentences", "引用原句"), "quote"),
    (Text("Let the model write", "由模型作答"), "assistant"),
)
INQUIRY_MODE = Text("How to answer", "回答方式")
LOOKING = Text("Looking for the answer …", "正在查找答案……")
CHECKING = Text("Checking {count} passages …", "正在核对 {count} 处依据……")
VERDICTS = {
    "supported": Text("✓ supported", "✓ 有依据"),
    "contradicted": Text("✗ contradicted", "✗ 与依据矛盾"),
    "not found": Text("? not found", "? 未找到依据"),
}
UNDERSTOOD = Text("Understood as: {question}", "理解为：{question}")
EVIDENCE_OF = Text("Evidence {number}", "依据 {number}")
NOT_FOUND = Text("Not found in this collection", "资料库里没有找到答案")
NEAREST = Text("These places come nearest:", "最接近的内容：")
NOTHING_NEAR = Text("Nothing comes close.", "没有接近的内容。")
LEFT_OUT = Text(
    "Left out, as the evidence does not support it: {count}", "因缺乏依据而略去：{count} 条"
)
OTHERS = Text("Other evidence: {count}", "其他依据：{count} 处")
WRITTEN_BY = Text("Answered by {model}", "由 {model} 作答")
OPEN = Text("Open", "打开")
TEXT = Text("Text", "文字")
MORE_ROWS = Text("… {count} rows are not shown", "……另有 {count} 行未显示")
PLANE_LABELS = {
    "map": Text("Map", "地图"),
    "closer": Text("Zoom in", "放大"),
    "further": Text("Zoom out", "缩小"),
    "all": Text("Show all", "显示全部"),
}

NEWEST = Text("New in this collection", "最近收录")
EXAMPLES = ("a dog on the grass", "一只猫", "stars in the sky", "城市夜景")
TRY = Text("Try", "试试")
NOTHING_ASKED = Text(
    "Nothing was asked for yet. Type a few words, or drop a picture anywhere on this page.",
    "还没有输入要找的内容。请输入几个词，或把图片拖到页面任意位置。",
)
NO_GOOD_MATCH = Text("No good match", "没有足够相符的结果")
ONLY_NEAR = Text(
    "Nothing here is likely to be what you asked for. These come nearest:",
    "这里多半没有你要找的内容，下面只是最接近的：",
)
NOTHING_LIKE = Text(
    "Nothing else here is much like it. These come nearest:",
    "这里没有与它很相似的内容，下面只是最接近的：",
)
NONE_REACHES = Text(
    "Nothing reaches {share}%. Move the slider to the left to see what comes nearest.",
    "没有匹配度达到 {share}% 的结果。把滑块向左移，可以看到最接近的。",
)
NONE_LEFT = Text(
    "Nothing is left with these filters. Take one away, or widen it.",
    "在这些筛选条件下没有结果。请去掉或放宽某个条件。",
)
END = Text("There is no more.", "没有更多了。")
LESS_LIKELY = Text("Less likely", "可能性较低")
BAD_PICTURE = Text("{name} cannot be searched with", "{name} 无法用于查找")
THIS_FILE = Text("This file", "这个文件")
PICTURE_EMPTY = Text(
    "The file is empty. Copy or download it again.", "文件是空的。请重新复制或下载。"
)
PICTURE_IS = Text(
    "It is {kind}, not a picture. Use a JPEG, PNG or WebP, for instance, or a screenshot of it.",
    "文件类型：{kind}，不是图片。请使用 JPEG、PNG 或 WebP 等格式，或截一张图。",
)
PICTURE_IS_HEIC = Text(
    "It is a HEIC picture, and this server has no decoder for these. Save it as JPEG. Whoever runs "
    "the server can add the decoder: pip install 'seesay[heif]'",
    "它是 HEIC 图片，而这台服务器没有相应的解码器。请另存为 JPEG。服务器管理员可以安装解码器："
    "pip install 'seesay[heif]'",
)
PICTURE_DAMAGED = Text(
    "The picture is damaged or incomplete. Copy or download it again, or save it as JPEG or PNG.",
    "图片已损坏或不完整。请重新复制或下载，或另存为 JPEG 或 PNG。",
)
PICTURE_UNKNOWN = Text(
    "It does not begin like any picture that can be read here ({formats}, HEIF). Check that it is "
    "a picture, and save it as JPEG or PNG.",
    "它不是这里能读取的图片格式（{formats}、HEIF）。请确认它是图片，并另存为 JPEG 或 PNG。",
)
PICTURE_TOO_MANY = Text(
    "It has {width} x {height} pixels; at most {most} in all can be read. Save it smaller.",
    "它有 {width} x {height} 像素，最多只能读取共 {most} 像素。请缩小后再试。",
)
PICTURE_TOO_LARGE = Text(
    "It has {size} MB, and your browser cannot make it smaller; at most {most} MB can be sent. "
    "Save it as a smaller JPEG.",
    "它有 {size} MB，而浏览器无法将它缩小；最多只能发送 {most} MB。请另存为较小的 JPEG。",
)
CLEAR = Text("Clear all", "全部清除")
FILTERED = Text("Filters in use", "正在使用的筛选条件")
TAKE_AWAY = Text("remove", "移除")
CHIP_WITHOUT = Text("without “{text}”", "排除“{text}”")
CHIP_SINCE = Text("from {day}", "{day} 起")
CHIP_UNTIL = Text("until {day}", "至 {day}")
CHIP_MIN_MATCH = Text("match of at least {share}%", "匹配度不低于 {share}%")
FAILED = Text("This could not be answered.", "没能完成这次查找。")
EMPTY = Text(
    "This collection is empty. Fill it with: seesay index FOLDER",
    "这个资料库还是空的。请先运行：seesay index 文件夹",
)

SIMILAR = Text("Similar", "相似")
SIMILAR_TO = Text("Similar to", "与它相似：")
BACK = Text("Back to words", "返回")
WHY = Text("Why?", "依据")
MATCH = Text("match {share}%", "匹配度 {share}%")
COPY = Text("+1 copy", "另有 1 个副本")
COPIES = Text("+{count} copies", "另有 {count} 个副本")
PREVIOUS = Text("Previous", "上一页")
NEXT = Text("Next", "下一页")
PAGE = Text("Page {page}", "第 {page} 页")

RETRIEVERS = {
    "image": Text("what pictures show", "画面内容"),
    "text": Text("the meaning of texts", "文字含义"),
    "keyword": Text("the words themselves", "关键词"),
}
CAPTION_RETRIEVERS = {
    "image": RETRIEVERS["image"],
    "text": Text("the meaning of its caption", "图片说明的含义"),
    "keyword": Text("the words of its caption", "图片说明里的关键词"),
}
CAPTION = Text("Caption: ", "图片说明：")
HOW = Text("How this was found", "这些结果是怎样找到的")

KEEP = Text("keep: {reason}", "保留：{reason}")
KEEP_TOO = Text("keep too: {reason}", "也保留：{reason}")
MAY_GO = Text("may go; kept: {reason}", "可删除；保留的那份：{reason}")
TAKEN = Text("Taken", "拍摄时间")
FILE_CHANGED = Text("File changed", "文件修改时间")
CAMERA = Text("Camera", "相机")
PLACE = Text("Place (latitude, longitude)", "位置（纬度、经度）")
TAGS = Text("Tags", "标签")
CAPTION_LABEL = Text("Caption", "图片说明")
AT = Text("In the file", "文件中的位置")
PATH = Text("File", "文件")
DOWNLOAD = Text("Download", "下载")
UNPLAYABLE = Text(
    "This browser cannot play the video. Download it, or convert it to MP4.",
    "浏览器无法播放这个视频。请下载后播放，或转换成 MP4。",
)
PICTURE_GONE = Text(
    "The picture cannot be shown: its file was moved, changed or deleted. Index its folder again.",
    "无法显示这张图片：文件已被移动、修改或删除。请重新收录它所在的文件夹。",
)
NO_DUPLICATES = Text(
    "No file is here twice, and no two pictures show the same.",
    "没有重复的文件，也没有几乎一样的图片。",
)
GROUPS = Text(
    "Files of the same content, and pictures that show the same, in groups: {count}. The best of "
    "each comes first.",
    "内容相同的文件和几乎一样的图片共有 {count} 组。每组中最好的排在最前。",
)
CHANGED = Text(
    "{count} files have changed or gone since they were indexed and are left out. Bring the "
    "collection up to date with: seesay index",
    "有 {count} 个文件在收录后已改变或消失，未列入。请先更新资料库：seesay index",
)
UNCOMPARED = Text(
    "{count} pictures cannot be compared yet. Prepare them with: seesay index",
    "有 {count} 张图片还不能比较。请先运行：seesay index",
)
EXACT = Text("The same content", "内容相同")
NEAR = Text("Nearly the same: {share}% alike", "几乎一样：相似度 {share}%")
MORE_GROUPS = Text(
    "{count} more groups: seesay duplicates lists them all.",
    "还有 {count} 组：可用 seesay duplicates 查看全部。",
)

MAP_TOLD = Text(
    "{shown} of {total}. What is alike lies close together; these two axes show {share}% of what "
    "differs.",
    "共 {total} 个，显示 {shown} 个。相似的内容彼此靠近；两条轴反映了 {share}% 的差异。",
)
CLICK_PICTURES = Text(
    "Click a picture to look at it, a stack to see what is in it.",
    "点击图片可查看，点击一叠图片可展开。",
)
CLICK_TEXTS = Text(
    "Point at a dot to read how its text begins, click it to read on.",
    "指向圆点可看文字开头，点击可看更多。",
)
PLACES_TOLD = Text(
    "{shown} of {total} pictures that say where they were taken.",
    "共 {total} 张图片带有拍摄位置，显示 {shown} 张。",
)
NO_PLACES = Text("No picture here says where it was taken.", "这里的图片都没有拍摄位置信息。")
CAPTIONS_TOLD = Text(
    "{captions} of the dots are captions of pictures, drawn as diamonds.",
    "其中 {captions} 个是图片说明，用菱形表示。",
)
NOTHING_ON_MAP = Text("There is nothing of this type here.", "这里没有这一类内容。")
PICKED = Text("{count} picked", "选中 {count} 个")
CLOSING = Text("pictures: {pictures}, texts: {texts}", "{pictures} 张图片，{texts} 段文字")
READ_ONLY = Text("read only", "只读")
