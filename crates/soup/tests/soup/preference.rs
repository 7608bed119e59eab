//! What a preference may look like.

use serde_json::json;
use tureen_soup::{MergeOptions, Method, Preference, PreferencePatch};

fn read(text: &str) -> Result<Preference, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

#[test]
fn json_weights_are_f64() {
    let preference = read(r#"{"b": 1e39, "a": 0.25}"#).unwrap();
    assert_eq!(preference.iter().collect::<Vec<_>>(), [("a", 0.25), ("b", 1e39)]);
    assert_eq!(preference.len(), 2);
    assert_eq!(serde_json::to_value(&preference).unwrap(), json!({"a": 0.25, "b": 1e39}));
    assert!(read("{}").unwrap().is_empty());
}

#[test]
fn what_is_no_weight_is_refused() {
    let cases = [
        (r#"{"a": 1e999}"#, "number out of range"),
        (r#"{"a": -1e999}"#, "number out of range"),
        (r#"{"a": -0.1}"#, "at least 0"),
        (r#"{"a": NaN}"#, "expected"),
        (r#"{"a": "1"}"#, "invalid type"),
        (r#"{"a": null}"#, "invalid type"),
        (r#"{"a": true}"#, "invalid type"),
        (r#"{"a": [1]}"#, "invalid type"),
        (r#"{"": 1}"#, "name is empty"),
        (r#"{"a": 1, "a": 1}"#, "twice"),
        (r#"{"a": 1, "b": 2, "\u0061": 3}"#, "twice"),
        (r#"["a"]"#, "a map"),
        (r#""a""#, "a map"),
    ];
    for (text, message) in cases {
        let error = read(text).unwrap_err();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn toml_knows_nan_and_infinity_and_they_are_refused() {
    #[derive(Debug, serde::Deserialize)]
    struct File {
        preference: Preference,
    }
    for weight in ["nan", "inf", "-inf", "+nan"] {
        let error = toml::from_str::<File>(&format!("preference = {{ a = {weight} }}")).unwrap_err();
        assert!(error.to_string().contains("must be finite"), "{error}");
    }
    let file: File = toml::from_str("preference = { a = 1.0 }").unwrap();
    assert_eq!(file.preference, "a=1".parse().unwrap());
}

#[test]
fn text_is_read() {
    let parse = |text: &str| text.parse::<Preference>();
    let preference = parse(" concise = 0.6, friendly=.4").unwrap();
    assert_eq!(preference.iter().collect::<Vec<_>>(), [("concise", 0.6), ("friendly", 0.4)]);
    assert!(parse("").unwrap().is_empty());
    assert!(parse("  ").unwrap().is_empty());
    for (text, message) in [
        ("concise", "NAME=WEIGHT"),
        ("concise=", "no number"),
        ("concise=a lot", "no number"),
        ("concise=1,", "NAME=WEIGHT"),
        ("concise=1,concise=2", "twice"),
        ("=1", "name is empty"),
        ("a=nan", "must be finite"),
        ("a=inf", "must be finite"),
        ("a=1e999", "must be finite"),
        ("a=-1", "at least 0"),
        ("a=1=2", "no number"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.code(), "invalid_preference", "{text}");
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}

#[test]
fn minus_zero_is_zero() {
    let preference = read(r#"{"a": -0.0}"#).unwrap();
    assert!(preference.iter().all(|(_, weight)| weight.to_bits() == 0));
}

#[test]
fn options_have_defaults_and_no_unknown_keys() {
    let read = |value| serde_json::from_value::<MergeOptions>(value);
    assert_eq!(read(json!({})).unwrap(), MergeOptions::default());
    let options = read(json!({"method": "dare_ties", "density": 0.25, "seed": 9})).unwrap();
    assert_eq!((options.method, options.density, options.seed), (Method::DareTies, 0.25, 9));
    assert!(read(json!({"strenght": 1.0})).unwrap_err().to_string().contains("strenght"));
    assert!(read(json!({"method": "Exact"})).is_err());
    assert!(read(json!({"seed": -1})).is_err());
}

#[test]
fn methods_have_one_name_everywhere() {
    for name in ["exact", "factor", "linear", "ties", "dare_linear", "dare_ties", "slerp", "logits"] {
        let method: Method = name.parse().unwrap();
        assert_eq!(method.to_string(), name);
        assert_eq!(serde_json::to_value(method).unwrap(), name);
    }
    assert!("svd".parse::<Method>().unwrap_err().to_string().contains("dare_linear"));
}

#[test]
fn messages_do_not_repeat_a_megabyte() {
    let long = "x".repeat(1 << 20);
    for error in [
        read(&format!("{{\"{long}\": -1}}")).unwrap_err(),
        read(&format!("{{\"{long}\": 1, \"{long}\": 1}}")).unwrap_err(),
        long.parse::<Preference>().unwrap_err().to_string(),
        format!("{long}=1,{long}=1").parse::<Preference>().unwrap_err().to_string(),
    ] {
        assert!(error.len() < 300, "{} bytes", error.len());
    }
}

#[test]
fn a_patch_sets_takes_out_and_keeps() {
    let patched = |patch: &str| {
        let before: Preference = "a=0.5,b=0.25".parse().unwrap();
        let patch: PreferencePatch = serde_json::from_str(patch).map_err(|e| e.to_string())?;
        before.patched(&patch).map(|after| after.to_string()).map_err(|e| e.to_string())
    };
    assert_eq!(patched(r#"{}"#).unwrap(), "a=0.5,b=0.25");
    assert_eq!(patched(r#"{"a": null, "c": 1, "b": 0.75}"#).unwrap(), "b=0.75,c=1.0");
    assert_eq!(patched(r#"{"no-such": null}"#).unwrap(), "a=0.5,b=0.25");
    for (patch, message) in
        [(r#"{"a": -1}"#, "at least 0"), (r#"{"a": 1, "a": null}"#, "twice"), (r#"{"": 1}"#, "name is empty")]
    {
        let error = patched(patch).unwrap_err();
        assert!(error.contains(message), "{patch}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn text_brings_back_every_bit(weights in proptest::collection::btree_map("[a-z]{1,8}", 0.0..f64::MAX, 0..5)) {
        let preference = Preference::from_pairs(weights).unwrap();
        let back: Preference = preference.to_string().parse().unwrap();
        let bits = |p: &Preference| p.iter().map(|(n, w)| (n.to_owned(), w.to_bits())).collect::<Vec<_>>();
        proptest::prop_assert_eq!(bits(&back), bits(&preference));
    }
}
