"""Writes the golden files of this folder: what other implementations compute.

usage: make.py

Needs the packages `sentencepiece`, `protobuf`, `transformers`, `tokenizers`, `gguf` and `numpy`.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "oracle"))
from corpus import TEXTS  # noqa: E402

# Types of sentencepiece, numbered alike in tokenizer.ggml.token_type.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
BLOCKS = 2
ENCODINGS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "BF16", "F16"]


def write(name: str, value) -> None:
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    (HERE / name).write_text(text + "\n", encoding="ascii")


def train(folder: Path) -> Path:
    """A small vocabulary with llama's settings."""
    text = folder / "text.txt"
    lines = [line for text in TEXTS for line in text.splitlines() if "\x00" not in line]
    prose = [(ROOT / name).read_text(encoding="utf-8") for name in ("LICENSE", "CONTRIBUTING.md", "config.toml")]
    text.write_text("\n".join(lines + prose), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=700,
        character_coverage=0.98, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, add_dummy_prefix=True,
        user_defined_symbols=["<think>"], control_symbols=["<|user|>"], minloglevel=2,
    )  # fmt: skip
    return folder / "tokenizer.model"


def kind(model, id: int) -> int:
    if model.is_unknown(id):
        return UNKNOWN
    if model.is_control(id):
        return CONTROL
    if model.is_byte(id):
        return BYTE
    return USER_DEFINED if model.id_to_piece(id) == "<think>" else NORMAL


def sentencepiece_golden(path: Path) -> dict:
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(len(model))
    special = [model.id_to_piece(id) for id in ids if kind(model, id) in (UNKNOWN, CONTROL)]
    # In a text, sentencepiece takes special tokens for plain text; the server, as transformers, does not.
    texts = [text for text in TEXTS if not any(token in text for token in special)]
    return {
        "tokens": [model.id_to_piece(id) for id in ids],
        "scores": [model.get_score(id) for id in ids],
        "types": [kind(model, id) for id in ids],
        "texts": [{"text": text, "ids": model.encode(text), "decoded": model.decode(model.encode(text))} for text in texts],
    }


def quantised_golden() -> list:
    random.seed(7)
    result = []
    for name in ENCODINGS:
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = [bytes(random.randrange(256) for _ in range(size)) for _ in range(BLOCKS * max(1, 32 // values))]
        data = bytearray(b"".join(blocks))
        tame(name, data, size)
        decoded = gguf.dequantize(np.frombuffer(bytes(data), dtype=np.uint8), kind).astype(np.float32).ravel()
        # Bits, since the last digit matters.
        result.append({"name": name, "code": int(kind), "bytes": data.hex(), "bits": decoded.view(np.uint32).tolist()})
    return result


def tame(name: str, data: bytearray, size: int) -> None:
    """Puts numbers of ordinary size where random bytes would be scales that are infinite or no numbers."""
    places = {
        "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
        "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "BF16": [0], "F16": [0],
    }[name]  # fmt: skip
    for start in range(0, len(data), size):
        for place in places:
            value = np.float32(random.uniform(-2, 2))
            if name == "BF16":
                data[start + place : start + place + 2] = value.tobytes()[2:]
            else:
                data[start + place : start + place + 2] = value.astype(np.float16).tobytes()


SYSTEM = [{"role": "system", "content": " Be \"brief\".\n"}]
QUESTION = [{"role": "user", "content": "  Why <b>is</b> it's & so?\n"}]
ANSWER = [{"role": "assistant", "content": "<think>hm</think>\n\nBecause."}]
CHATS = [QUESTION, SYSTEM + QUESTION, QUESTION + ANSWER + QUESTION, SYSTEM + QUESTION + ANSWER, QUESTION + QUESTION, SYSTEM]

# What the templates of well-known models use, each written anew.
TEMPLATES = {
    "white space": """\
{%- for message in messages %}
    {% if message.role == 'system' %}
  [{{ message.content }}]
    {%- else %}
  <{{ message['content'] | trim }}>
    {%+ endif +%}
{% endfor %}
{# a comment #}
{% if add_generation_prompt %}
end
{% endif %}
""",
    "roles must alternate": """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}\
{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + content.strip() + ' [/INST]' }}{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "namespaces and slices": """\
{%- set ns = namespace(last=-1, seen='') %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.last < 0 and message.role == 'user' %}{%- set ns.last = index %}{%- endif %}
    {%- set ns.seen = ns.seen ~ index ~ ',' %}
{%- endfor %}
{{- ns.last }} {{ ns.seen }}
{%- for message in messages %}
    {%- if message.role == 'assistant' and '</think>' in message.content %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '|' + content + '|' + message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1] }}
    {%- endif %}
{%- endfor %}""",
    "what is not given": """\
{%- if tools is not none %}tools{% endif %}{% if documents %}documents{% endif %}
{%- if not date_string is defined %}{% set date_string = 'none' %}{% endif %}{{ date_string }}
{%- if messages[0].tool_calls is defined or messages[0].tool_calls %}calls{% endif %}{{ missing }}{{ messages[0].missing }}
{%- set enable = enable_thinking if enable_thinking is defined else true %}{{ enable }} {{ none }} {{ false }}""",
    "JSON": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{{ {'a': [1, 2.5, true, none, 'é\\u2028']} | tojson }}",
    "macros and loops": """\
{% macro show(role, content, upper=false) %}{{ role.upper() if upper else role }}={{ content | length }};{% endmacro %}
{% for message in messages %}{% if message.role == 'system' %}{% continue %}{% endif %}\
{{ show(message.role, message.content, upper=loop.last) }}{% if loop.index > 2 %}{% break %}{% endif %}\
{{ loop.first }}{{ loop.revindex }}{{ loop.previtem.role if loop.previtem is defined }}{% endfor %}{% for message in messages[9:] %}x{% else %}empty{% endfor %}\
{{ messages | map(attribute='role') | join('/') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}""",
    "methods": """\
{% for message in messages %}{{ message.content.startswith(' ') }}{{ message.content.endswith('\\n') }}\
{{ message.content.replace('<', '[').upper() }}{{ message.get('name', 'nobody') }}{% for key, value in message.items() %}{{ key }}{% endfor %}\
{{ message.content.find('it') }}{{ message.content.count('s') }}{% endfor %}{{ 'a,b'.split(',') }} {{ [1, 'x', none] }} {{ {'a': 1} }}""",
    "numbers": "{{ 7 // 2 }} {{ 7 / 2 }} {{ 7 % 4 }} {{ 2 ** 5 }} {{ 1.0 }} {{ 3 | string }} {{ '4' | int + 1 }} {{ -7 // 2 }} {{ 'ab' * 2 }}",
    "generation": """\
{% for message in messages %}
{%- if message.role == 'assistant' %}
{% generation %}
{{ message.content }}
{% endgeneration %}
{%- else %}{{ message.content }}{% endif %}
{% endfor %}""",
}


def chat_golden() -> list:
    result = []
    for name, template in TEMPLATES.items():
        for messages in CHATS:
            for prompt in (False, True):
                try:
                    [rendered], _ = render_jinja_template(
                        [messages], chat_template=template, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>"
                    )
                    outcome = {"rendered": rendered}
                except TemplateError as error:
                    outcome = {"refused": str(error)}
                result.append({"name": name, "template": template, "messages": messages, "prompt": prompt, **outcome})
    return result


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write("sentencepiece.json", sentencepiece_golden(train(Path(folder))))
    write("chat.json", chat_golden())
    write("quantised.json", quantised_golden())


if __name__ == "__main__":
    main()
