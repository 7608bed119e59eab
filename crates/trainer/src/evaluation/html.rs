//! The report: one page that needs nothing else.

use std::fmt::Write;

use super::{CostRow, Curve, Duel, Estimate, Evaluation, MethodScores, Sample, charts};
use crate::error::TrainError;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}\
th{background:#f4f4f4}td.n{text-align:right;font-variant-numeric:tabular-nums}\
.bar{display:flex;width:11rem;height:1rem}.w{background:#4c8}.t{background:#ddd}.l{background:#d66}\
.charts{display:flex;flex-wrap:wrap;gap:1rem}blockquote{margin:.3rem 0 .8rem;padding-left:.8rem;border-left:3px solid #ccc;\
white-space:pre-wrap}";

/// The report as HTML, its charts inside.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn page(evaluation: &Evaluation) -> Result<String, TrainError> {
    let Evaluation { base, revision, prompt_set, prompts, answers_per_prompt, max_new_tokens, .. } = evaluation;
    let (base, prompt_set) = (escape(base), escape(prompt_set));
    let answers = match answers_per_prompt {
        1 => "one answer each".into(),
        several => format!("{several} answers each"),
    };
    let mut text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Evaluation of {base}</title><style>{STYLE}</style>\
         <h1>Soups on held-out prompts</h1><p>{base}, pool {revision}; {prompts} prompts ({prompt_set}), {answers} of at \
         most {max_new_tokens} tokens at temperature 1, with the same draws for every method. Intervals are 95 %, by \
         bootstrap over the prompts.</p>"
    );
    text += "<h2>Each policy against the base, on its own preference</h2>";
    text += &duels(evaluation.alone.iter());
    text += "<h2>Methods against each other</h2><p>Each answer is shown first and second; who does not win both is tied. A \
             rate is the share of wins, a tie being half of one.</p><h3>Over all combinations</h3>";
    text += &duels(evaluation.pairwise.iter().filter(|duel| duel.policy.is_none()));
    for combination in &evaluation.combinations {
        let _ = write!(text, "<h3>{}</h3>", escape(&combination.join(" and ")));
        let own = |duel: &&Duel| duel.policy.is_some() && duel.combination == *combination;
        text += &duels(evaluation.pairwise.iter().filter(own));
        let scores = evaluation.scores.iter().filter(|scores| scores.combination == *combination);
        text += &table_of_scores(&scores.collect::<Vec<_>>());
    }
    text += "<h2>Control: policies of two dimensions, mixed</h2>";
    text += &curves(&evaluation.control)?;
    text += "<h2>Conflict: opposite poles, mixed</h2>";
    text += &curves(&evaluation.conflict)?;
    text += &costs(evaluation.hours_per_policy, &evaluation.cost)?;
    text += &samples(&evaluation.samples);
    Ok(text + "</html>\n")
}

fn duels<'a>(duels: impl Iterator<Item = &'a Duel>) -> String {
    let mut text = String::from(
        "<table><tr><th>first<th>second<th>preference<th>judge<th>win<th>tie<th>lose<th><th>rate of the first</tr>",
    );
    for Duel { first, second, combination: _, policy, judge, wins, ties, losses, rate } in duels {
        let all = (wins + ties + losses).max(1) as f64;
        let share = |count: &usize| 100.0 * *count as f64 / all;
        let policy = policy.as_deref().unwrap_or("all");
        let _ = write!(
            text,
            "<tr><td>{}<td>{}<td>{}<td>{}<td class=n>{wins}<td class=n>{ties}<td class=n>{losses}<td><div class=bar>\
             <div class=w style=\"width:{:.1}%\"></div><div class=t style=\"width:{:.1}%\"></div>\
             <div class=l style=\"width:{:.1}%\"></div></div><td class=n>{}</tr>",
            escape(first),
            escape(second),
            escape(policy),
            escape(judge),
            share(wins),
            share(ties),
            share(losses),
            estimate(rate, 2),
        );
    }
    text + "</table>"
}

fn table_of_scores(rows: &[&MethodScores]) -> String {
    let mut text = String::from("<table><tr><th>method");
    for score in rows.first().map(|row| row.measures.as_slice()).unwrap_or_default() {
        let better = if score.higher { "more" } else { "less" };
        let _ = write!(text, "<th>{}: {}, {better} is better", escape(&score.policy), escape(&score.measure));
    }
    text += "<th>content gate<th>perplexity under the base</tr>";
    for MethodScores { method, combination: _, measures, gate, base_nll } in rows {
        let _ = write!(text, "<tr><td>{}", escape(method));
        measures.iter().for_each(|score| text += &format!("<td class=n>{}", estimate(&score.score, 2)));
        let _ = write!(text, "<td class=n>{gate:.2}<td class=n>{:.1}</tr>", base_nll.exp());
    }
    text + "</table>"
}

fn curves(curves: &[Curve]) -> Result<String, TrainError> {
    if curves.is_empty() {
        return Ok("<p>The pool has no such policies.</p>".into());
    }
    let (mut table, mut drawn) = (String::new(), String::from("<div class=charts>"));
    for curve in curves {
        let [first, second] = curve.policies.each_ref().map(|policy| escape(policy));
        let _ = write!(
            table,
            "<table><tr><th>{first}<th>{second}<th>{}<th>{}<th>content gate</tr>",
            curve.points.first().map_or_else(String::new, |point| escape(&point.scores[0].measure)),
            curve.points.first().map_or_else(String::new, |point| escape(&point.scores[1].measure)),
        );
        for point in &curve.points {
            let [one, two] = point.scores.each_ref().map(|score| estimate(&score.score, 2));
            let (weight, rest, gate) = (point.weight, 1.0 - point.weight, point.gate);
            let _ = write!(
                table,
                "<tr><td class=n>{weight:.2}<td class=n>{rest:.2}<td class=n>{one}<td class=n>{two}<td class=n>{gate:.2}</tr>"
            );
        }
        let [one, two] = curve.rho;
        let _ = write!(table, "</table><p>Spearman's rho: {first} {one:.2}, {second} {two:.2}.</p>");
        drawn += &charts::curve(curve)?;
    }
    Ok(drawn + "</div>" + &table)
}

fn costs(hours: Option<f64>, rows: &[CostRow]) -> Result<String, TrainError> {
    let mut text = String::from("<h2>Cost</h2>");
    let Some(hours) = hours else {
        return Ok(text + "<p>The policies do not tell how long they were trained.</p>");
    };
    let _ = write!(
        text,
        "<p>CPU-hours of training when one policy takes {hours:.2}: a new preference is one more policy for soups, all of \
         them again for one policy that knows them all, and twice the models for one per combination.</p>{}<table><tr>\
         <th>preferences<th>combinations<th>soups<th>one for all<th>one per combination</tr>",
        charts::cost(rows)?
    );
    for CostRow { preferences, combinations, soups, one_for_all, one_per_combination } in rows {
        let _ = write!(
            text,
            "<tr><td class=n>{preferences}<td class=n>{combinations}<td class=n>{soups:.2}<td class=n>{one_for_all:.2}\
             <td class=n>{one_per_combination:.2}</tr>"
        );
    }
    Ok(text + "</table>")
}

fn samples(samples: &[Sample]) -> String {
    let mut text = String::from("<h2>Answers</h2><p>Not chosen: the first prompts, under the first combination.</p>");
    for Sample { prompt, answers } in samples {
        let _ = write!(text, "<h3>{}</h3>", escape(prompt));
        for (method, answer) in answers {
            let _ = write!(text, "{}<blockquote>{}</blockquote>", escape(method), escape(answer));
        }
    }
    text
}

fn estimate(value: &Estimate, digits: usize) -> String {
    let Estimate { mean, low, high } = value;
    format!("{mean:.digits$} [{low:.digits$}, {high:.digits$}]")
}

/// Text as it may stand in an element.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
