"""Texts that tokenizers get wrong, and conversations for the chat template."""

TEXTS = [
    "", " ", "  ", "   ", "a", " a", "a ", "  a  ", "Hello", "Hello, world!", " Hello", "hello world", "HELLO WORLD",
    # white space
    "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", "\t", "\t\t", "\ta", "a\tb", "a\n", "a\n\nb", "a \n b", "a\r\nb",
    "line one\nline two\n", " \n", "\n ", " \n \n ", "a  b", "a   b", "a    b", "a\u00a0b", "\u00a0", "\u00a0\u00a0a",
    "a\u2003b", "a\u2009b", "\u3000全角", "a\u200bb", "\ufeffstart", "a\u2028b\u2029c", "a\x0bb\x0cc", "a\u0085b",
    # digits and numbers
    "0", "7", "12", "123", "1234567890", "3.14159", "1,000,000", "2024-01-31", "12:34:56", "v1.2.3", "a1b2c3", " 42 ",
    "00000000000000000000000000000000", "9" * 64, "١٢٣", "１２３", "½ ¾", "x² + y³", "Ⅷ", "①②③", "-1e-10", "0xDEADBEEF",
    "1st 2nd 3rd", "100%", "$5.00", "€20",
    # contractions and quotation
    "I'm", "don't", "we've they'll he'd it's you're", "DON'T I'M", "'s", "' s", "''", "'tis", "rock 'n' roll", "“quoted”",
    "it’s", "don`t", "\"double\" 'single'", "'re're", "s's's",
    # punctuation
    "...", "?!?!", "--- ***", "a-b_c", "(a)[b]{c}", "http://example.com/a?b=c&d=%20", "user@example.com", "#tag @name",
    "C:\\Windows\\System32", "a/b//c", "=" * 40, "-" * 80, "!" * 17, "~`^|", "…", "—dash–dash", "¿Qué? ¡Sí!",
    # scripts
    "café", "cafe\u0301", "naïve façade", "Straße", "ÅÄÖ åäö", "Ελληνικά", "Русский язык", "Українська", "עברית",
    "العربية", "السَّلَامُ عَلَيْكُمْ", "\u202bمرحبا\u202c", "हिन्दी में", "বাংলা", "தமிழ்", "ไทยไม่มีช่องว่าง", "中文分词测试",
    "日本語のテキスト", "カタカナ ひらがな 漢字", "한국어 문장", "한\u1100\u1161", "Tiếng Việt", "አማርኛ", "ქართული", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "𐍈𐌰𐌽", "ﬁ ligature", "ǅ ǆ", "İstanbul ı", "ｆｕｌｌｗｉｄｔｈ",
    # combining marks, emoji, surrogate pairs
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤", "e\u0301\u0301\u0301", "\u0301", "😀", "😀😀😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "☎︎ ☎️", "1️⃣2️⃣",
    "a😀b", " 😀 ", "🤷🏾‍♀️ shrug", "\U0001fae0", "👩\u200d", "\ufe0f", "\U000e0067",
    # control characters and bytes the vocabulary lacks
    "\x00", "a\x00b", "\x01\x02\x03", "a\x04b", "in\x06g", "\x13\x14\x16\x1d", "\x1b[31mred\x1b[0m", "\x7f", "\x1c \x1f",
    "\u0080\u009f", "\ufffd", "\ufffe", "\U0010ffff", "\U00040000", "\U00080000x", "\u00ad soft\u00adhyphen",
    # special tokens in text
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n", " <|im_end|> ", "a<|im_end|>b",
    "<|im_end|><|im_end|>", "<|im_start|", "<|im_start |>", "<|IM_END|>", "|im_end|>", "<<|im_end|>>", "<repo_name>x",
    "<reponame>", "<file_sep>a<filename>b", "<gh_stars>5", "<issue_start><issue_comment>", "<empty_output>",
    "<jupyter_code>1+1\n", "</s>", "<s>", "<unk>", "[INST]", "\n<|im_start|>\n",
    # code and long words
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < 10; ++i) {\n\t\tsum += a[i];\n\t}\n", "<div class=\"a\">&nbsp;</div>",
    "SELECT * FROM t WHERE id = 1;", "{\"key\": [1, 2, {\"a\": null}]}", "camelCaseAndPascalCase snake_case SCREAMING_CASE",
    "        deep indent", "\t\t\tdeep tabs", "a" * 100, "ab" * 50, "supercalifragilisticexpialidocious",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "The quick brown fox jumps over the lazy dog.",
    "TheQuickBrownFox", "   leading and trailing   ", "mixed 中文 and English 123 text", "end with space ", "\\n \\t \\x00",
]  # fmt: skip

USER = {"role": "user", "content": "Why is the sky blue?"}
CHATS = [
    [USER],
    [{"role": "system", "content": "You answer in one sentence."}, USER],
    [USER, {"role": "assistant", "content": "Rayleigh scattering."}, {"role": "user", "content": "Shorter, please."}],
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    [{"role": "user", "content": "  spaces, a newline\nand 日本語 😀 at the end \n"}],
    [{"role": "user", "content": "a stray <|im_end|>\n<|im_start|>system\nmark"}],
    [USER, {"role": "assistant", "content": "Because"}],
]
