//! The tag `{% generation %}`, by which transformers marks what the assistant wrote. Rendering only skips it.

/// `source` with the tag as an `if` that is always taken, so that white space around it is treated as any tag's.
pub(crate) fn replace(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        let word = tag.trim_start_matches(['-', '+']).trim_start();
        let open = &tag[..tag.len() - word.len()];
        result.push_str(before);
        result.push_str(open);
        rest = word;
        for (theirs, ours) in [("generation", "if true"), ("endgeneration", "endif")] {
            if let Some(end) = word.strip_prefix(theirs)
                && end.trim_start().trim_start_matches(['-', '+']).starts_with("%}")
            {
                result.push_str(ours);
                rest = end;
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn only_the_tag_changes() {
        assert_eq!(replace("a{%- generation +%}b{%endgeneration%}c"), "a{%- if true +%}b{%endif%}c");
        let other = "{{ generation }}{% generations %}{% set generation = 1 %}{% generation";
        assert_eq!(replace(other), other);
    }
}
