//! The tiny base and its pool: a LLaMA 64 wide with a context of 512 tokens, and two LoRA policies of two dimensions.

use std::path::Path;

use picollama::{Base, PolicySpec, write_pool};

pub(crate) fn write(base: &Path, pool: &Path) {
    let tiny = Base::llama();
    let written = tiny.write(base);
    write_pool(pool, &tiny, &written, &[PolicySpec::lora("concise"), PolicySpec::lora("friendly")]);
}
