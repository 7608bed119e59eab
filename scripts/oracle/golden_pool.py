"""The manifest that makes a pool of the golden policies, so that a server can open them as they are."""

import hashlib
import json
from pathlib import Path

from golden_lora import BASE_NAME, POLICIES

# The manifest wants each policy to be the pole of a dimension and to have an instruction; noise has neither.
PLACES = {"a": ("first", "P1A"), "b": ("second", "P2A")}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def vocabulary_sha256(document: dict) -> str:
    """Over all tokens by id, each as its length (u32, little endian) and its UTF-8 bytes; a gap has length 0.

    `document`: a parsed tokenizer.json.
    """
    by_id = {id: token for token, id in document["model"]["vocab"].items()}
    by_id.update((token["id"], token["content"]) for token in document["added_tokens"])
    digest = hashlib.sha256()
    for id in range(max(by_id) + 1):
        token = by_id.get(id, "").encode()
        digest.update(len(token).to_bytes(4, "little") + token)
    return digest.hexdigest()


def table(header: str, entries: dict) -> str:
    return "".join([f"{header}\n", *(f"{key} = {json.dumps(value)}\n" for key, value in entries.items())])


def manifest(gguf: Path, document: dict, directory: Path) -> str:
    """pool.toml of the policies in `directory`, for the base `gguf`."""
    facts = {"name": BASE_NAME, "sha256": sha256(gguf), "vocabulary_sha256": vocabulary_sha256(document)}
    parts = ["format = 1\n", table("[base]", facts)]
    for policy in POLICIES:
        parts.append(table("[[dimension]]", {"id": PLACES[policy.name][0], "poles": [policy.name]}))
    for policy in POLICIES:
        dimension, code = PLACES[policy.name]
        entry = {
            "id": policy.name,
            "code": code,
            "dimension": dimension,
            "instruction": "Seeded noise, for tests.",
            "kind": "lora",
            "dir": policy.name,
            "license": "Apache-2.0",
        }
        files = ("adapter_config.json", "adapter_model.safetensors")
        hashes = {f'"{name}"': sha256(directory / policy.name / name) for name in files}
        parts += [table("[[policy]]", entry), table("[policy.files]", hashes)]
    return "\n".join(parts)
