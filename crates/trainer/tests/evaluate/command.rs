//! The command on a pool of random policies.

use std::path::{Path, PathBuf};
use std::process::Command;

use picollama::{PolicySpec, write_pool};
use tureen_trainer::evaluation::{Duel, Evaluation};

use super::stub::{Request, Stub, says};

/// A base, a pool of `policies`, eight prompts, and a configuration with `more` tables.
pub(super) fn prepare(folder: &Path, policies: &[&str], more: &str) -> PathBuf {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    let spec = picollama::Base::llama();
    let written = spec.write(&base);
    let policies: Vec<PolicySpec> = policies.iter().map(|id| PolicySpec::lora(id)).collect();
    write_pool(&folder.join("pool"), &spec, &written, &policies);
    let prompts: String = (0..8).map(|i| format!("What is <b>number</b> {i}?\n")).collect();
    std::fs::write(folder.join("prompts.txt"), prompts).unwrap();
    let config = format!(
        "out = '{out}'\npool = '{pool}'\nmodel = {{ base = '{base}' }}\n\
         prompts = {{ file = '{prompts}', name = 'eight & more', max_prompt_tokens = 64 }}\n\
         generation = {{ max_new_tokens = 24, resamples = 200 }}\n{more}",
        out = folder.join("out").display(),
        pool = folder.join("pool").display(),
        base = base.display(),
        prompts = folder.join("prompts.txt").display(),
    );
    let path = folder.join("evaluation.toml");
    std::fs::write(&path, config).unwrap();
    path
}

pub(super) fn run(config: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tureen-trainer")).args(["evaluate", "--config"]).arg(config).output();
    let output = output.unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[track_caller]
fn evaluated(folder: &Path, config: &Path) -> (Evaluation, String) {
    let (succeeded, text) = run(config);
    assert!(succeeded, "{text}");
    let json = std::fs::read_to_string(folder.join("out/evaluation.json")).unwrap();
    let html = std::fs::read_to_string(folder.join("out/evaluation.html")).unwrap();
    (serde_json::from_str(&json).unwrap(), html)
}

fn all_duels(evaluation: &Evaluation) -> impl Iterator<Item = &Duel> {
    evaluation.alone.iter().chain(&evaluation.pairwise)
}

#[test]
fn policies_that_are_not_mixed_are_evaluated_alone() {
    let folder = tempfile::tempdir().unwrap();
    let poles = ["elementary", "expert", "friendly", "unfriendly"];
    let config = prepare(folder.path(), &poles, "");
    let whole = std::fs::read_to_string(&config).unwrap();
    let mixing = |policies: &str| std::fs::write(&config, format!("mixed = {policies}\n{whole}")).unwrap();
    mixing("['elementary', 'expert', 'friendly']");
    let (evaluation, _) = evaluated(folder.path(), &config);
    assert_eq!(evaluation.combinations, [["elementary", "friendly"], ["expert", "friendly"]]);
    assert_eq!((evaluation.alone.len(), evaluation.control.len(), evaluation.conflict.len()), (4, 2, 1));
    mixing("['friendly']");
    let (evaluation, _) = evaluated(folder.path(), &config);
    assert_eq!((evaluation.combinations, evaluation.alone.len()), (vec![vec!["friendly".to_owned()]], 4));
    mixing("['friend']");
    let (succeeded, text) = run(&config);
    assert!(!succeeded && text.contains("\"friend\""), "{text}");
}

#[test]
fn a_pool_of_two_dimensions_is_studied_whole() {
    let folder = tempfile::tempdir().unwrap();
    let poles = ["elementary", "expert", "friendly", "unfriendly"];
    let config = prepare(folder.path(), &poles, "[cost]\nhours_per_policy = 0.5\n");
    let (evaluation, html) = evaluated(folder.path(), &config);
    assert_eq!(evaluation.combinations.len(), 4);
    assert!(evaluation.combinations.contains(&vec!["expert".into(), "friendly".into()]));
    assert_eq!((evaluation.prompts, evaluation.alone.len(), evaluation.scores.len()), (8, 4, 3 * 4));
    // Three pairs of methods: over all, and for both poles of each combination.
    assert_eq!(evaluation.pairwise.len(), 3 + 3 * 4 * 2);
    // Four pairs across the dimensions, and the two dimensions themselves.
    assert_eq!((evaluation.control.len(), evaluation.conflict.len()), (4, 2));
    for curve in evaluation.control.iter().chain(&evaluation.conflict) {
        let weights: Vec<f64> = curve.points.iter().map(|point| point.weight).collect();
        assert_eq!(weights, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert!(curve.rho.iter().all(|rho| (-1.0..=1.0).contains(rho)));
    }
    for duel in all_duels(&evaluation).filter(|duel| duel.policy.is_some()) {
        assert_eq!(duel.wins + duel.ties + duel.losses, 8, "{duel:?}");
        let rate = (duel.wins as f64 + 0.5 * duel.ties as f64) / 8.0;
        assert!((duel.rate.mean - rate).abs() < 1e-12 && duel.rate.low <= rate && rate <= duel.rate.high, "{duel:?}");
    }
    // The base answers one prompt the same, whatever is wished.
    let base: Vec<f64> = evaluation.scores.iter().filter(|s| s.method == "base").map(|s| s.base_nll).collect();
    assert!(base.iter().all(|nll| *nll == base[0]));
    assert_eq!(evaluation.cost.iter().find(|row| row.preferences == 4).unwrap().soups, 2.0);

    assert_eq!(html.matches("<svg").count(), 4 + 2 + 1);
    for text in ["<h3>expert and friendly</h3>", "What is &lt;b&gt;number&lt;/b&gt; 0?", "eight &amp; more"] {
        assert!(html.contains(text), "{text}");
    }
    for outside in ["<script", "<link", "<img", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn a_pool_of_one_pole_a_dimension_has_one_combination() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[methods.base]\nkind = 'base'\n[methods.soup]\nkind = 'soup'\n[methods.strong]\nkind = 'soup'\nstrength = 2.0\n\
                [methods.other]\nkind = 'policy'\npool = 'POOL'\npolicy = 'friendly'\nprompted = true\n";
    let more = more.replace("POOL", &folder.path().join("pool").display().to_string());
    let config = prepare(folder.path(), &["elementary", "friendly"], &more);
    let (first, _) = evaluated(folder.path(), &config);
    assert_eq!(first.combinations, [["elementary", "friendly"]]);
    assert_eq!((first.control.len(), first.conflict.len(), first.cost.len()), (1, 0, 0));
    let methods: Vec<&str> = first.scores.iter().map(|scores| scores.method.as_str()).collect();
    assert_eq!(methods, ["base", "other", "soup", "strong"]);
    let nlls: std::collections::BTreeSet<u64> = first.scores.iter().map(|s| s.base_nll.to_bits()).collect();
    assert_eq!(nlls.len(), 4, "four methods that answer differently");
    // The same configuration gives the same figures, when every answer is made anew.
    std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    let (second, _) = evaluated(folder.path(), &config);
    assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
}

/// Tables of a judge behind `stub` for two policies.
pub(super) fn judged(stub: &Stub) -> String {
    let judge = |id: &str| {
        format!(
            "[judges.{id}.judge]\nendpoint = '{}'\nmodel = 'j'\ncriterion = 'is {id}'\nrequests_per_minute = 1000000\n",
            stub.endpoint()
        )
    };
    ["elementary", "friendly"].map(judge).concat()
}

#[test]
fn a_judge_that_takes_what_it_sees_first_ties_everything() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|_, _| says("A"));
    let config = prepare(folder.path(), &["elementary", "friendly"], &judged(&stub));
    let (evaluation, _) = evaluated(folder.path(), &config);
    assert!(all_duels(&evaluation).all(|duel| (duel.wins, duel.losses, duel.rate.mean) == (0, 0, 0.5)));
    // What was asked is remembered.
    let asked = stub.requests().len();
    assert!(asked >= 2 * 8, "{asked}");
    evaluated(folder.path(), &config);
    assert_eq!(stub.requests().len(), asked);
}

#[test]
fn a_judge_with_an_opinion_decides() {
    let folder = tempfile::tempdir().unwrap();
    let longer =
        |request: &Request| says(if request.answer("A").len() > request.answer("B").len() { "A" } else { "B" });
    let stub = Stub::start(move |_, request| longer(request));
    let config = prepare(folder.path(), &["elementary", "friendly"], &judged(&stub));
    let (evaluation, _) = evaluated(folder.path(), &config);
    let decided: usize = all_duels(&evaluation).map(|duel| duel.wins + duel.losses).sum();
    assert!(decided > 0);
    assert!(all_duels(&evaluation).filter(|duel| duel.policy.is_some()).all(|duel| duel.judge == "judge j"));
}

#[test]
fn what_trained_a_policy_does_not_judge_it() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "[judges.elementary.rules]\nrule = 'elementary'\n";
    let (succeeded, text) = run(&prepare(folder.path(), &["elementary", "friendly"], rule));
    assert!(!succeeded && text.contains("elementary was trained by the rule elementary"), "{text}");
    let stub = Stub::start(|_, _| says("A"));
    let told = format!("trained_by = {{ friendly = ['judge j'] }}\n{}", judged(&stub));
    let (succeeded, text) = run(&prepare(folder.path(), &["elementary", "friendly"], &told));
    assert!(!succeeded && text.contains("friendly was trained by the judge j"), "{text}");
    assert!(stub.requests().is_empty());
    // Nor does it judge a method that it trained.
    let method = format!(
        "trained_by = {{ rlhf = ['rule concise'] }}\n[methods.rlhf]\nkind = 'policy'\npool = '{}'\npolicy = 'rlhf'\n\
         [judges.friendly.rules]\nrule = 'concise'\n",
        folder.path().join("pool").display()
    );
    let (succeeded, text) = run(&prepare(folder.path(), &["elementary", "friendly"], &method));
    assert!(
        !succeeded && text.contains("rlhf was trained by the rule concise that would judge it for friendly"),
        "{text}"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (policies, more, words) in [
        (vec!["elementary", "salty"], "", "nothing is known of salty"),
        (
            vec!["elementary"],
            "[judges.elementary.measure]\nmeasure = 'words'\nhigher = true\nmargin = -1.0\n",
            "margin",
        ),
        (vec!["elementary"], "[cost]\nhours_per_policy = 0.0\n", "hours_per_policy"),
        (vec!["elementary"], "[methods.x]\nkind = 'dpo'\n", "dpo"),
    ] {
        let (succeeded, text) = run(&prepare(folder.path(), &policies, more));
        assert!(!succeeded && text.contains(words), "{text}");
    }
}

#[test]
fn a_baseline_of_another_base_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spec = picollama::Base { seed: 99, ..picollama::Base::llama() };
    let other = folder.path().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let written = spec.write(&other);
    write_pool(&folder.path().join("baselines"), &spec, &written, &[PolicySpec::lora("rlhf")]);
    let baselines = folder.path().join("baselines").display().to_string();
    let more = format!("[methods.rlhf]\nkind = 'policy'\npool = '{baselines}'\npolicy = 'rlhf'\n");
    let (succeeded, text) = run(&prepare(folder.path(), &["elementary"], &more));
    assert!(!succeeded && text.contains("base"), "{text}");
    assert!(!folder.path().join("out/evaluation.json").exists());
}
