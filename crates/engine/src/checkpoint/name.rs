//! Names of base models, for people.

use std::path::Path;

/// The directory's own name, whatever way the path goes there; of the hub's cache (`models--org--name/snapshots/commit`)
/// the model's.
pub(crate) fn of_directory(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let snapshots = path.parent().filter(|parent| parent.ends_with("snapshots"));
    match snapshots.and_then(Path::parent).map(name) {
        Some(model) if model.starts_with("models--") => {
            model.rsplit("--").next().map_or_else(String::new, str::to_owned)
        }
        _ => name(&path),
    }
}

/// The file's name without `.gguf` and, if the last part is one, the quantisation (`.Q4_1`, `-f16`).
pub(crate) fn of_gguf(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match stem.rfind(['.', '-']) {
        Some(at) if at > 0 && is_quantisation(&stem[at + 1..]) => stem[..at].to_owned(),
        _ => stem,
    }
}

fn is_quantisation(part: &str) -> bool {
    let part = part.to_ascii_uppercase();
    let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    matches!(part.as_str(), "F32" | "F16" | "BF16")
        || part.strip_prefix('Q').is_some_and(digit)
        || part.strip_prefix("IQ").is_some_and(digit)
}

#[cfg(test)]
mod tests {
    use super::{of_directory, of_gguf};
    use std::path::Path;

    #[test]
    fn a_quantisation_is_not_part_of_the_name() {
        let name = |file: &str| of_gguf(Path::new(file));
        assert_eq!(name("a/SmolLM2-135M-Instruct.Q4_1.gguf"), "SmolLM2-135M-Instruct");
        assert_eq!(name("llama-3.2-1b-f16.gguf"), "llama-3.2-1b");
        assert_eq!(name("Qwen2.5-0.5B-Instruct-Q4_K_M.gguf"), "Qwen2.5-0.5B-Instruct");
        assert_eq!(name("tiny.gguf"), "tiny");
        assert_eq!(name("Qwen2.5.gguf"), "Qwen2.5");
    }

    #[test]
    fn the_cache_of_the_hub_names_models_by_their_grandparent() {
        let path = Path::new("hub/models--HuggingFaceTB--SmolLM2-135M/snapshots/12fd25f7");
        assert_eq!(of_directory(path), "SmolLM2-135M");
        assert_eq!(of_directory(Path::new("a/b")), "b");
    }
}
