//! What a word that is no step was meant to be: one of ours with other letters or separators, cut short, or another program's.

use super::Scheme;
use super::scheme_text::GGUF;
use crate::formats::error::quoted;

/// Steps of our own beside GGUF's block types, each as it may be written.
const OURS: [&str; 21] = [
    "keep",
    "prune:0.5",
    "nm:2:4",
    "block:4x4:0.5",
    "rows:0.25",
    "cols:0.25",
    "heads:0.25",
    "ffn:0.25",
    "random:0.5:1",
    "rank:16",
    "energy:0.9",
    "f16",
    "bf16",
    "fp8_e4m3",
    "fp8_e5m2",
    "mxfp4",
    "nvfp4",
    "nf4",
    "ternary",
    "binary",
    "codebook:16",
];

/// What other programs call it, without separators, and the nearest that is said here.
const OTHERS: [(&str, &str); 15] = [
    ("fp16", "f16"),
    ("float16", "f16"),
    ("half", "f16"),
    ("bfloat16", "bf16"),
    ("e4m3", "fp8_e4m3"),
    ("e4m3fn", "fp8_e4m3"),
    ("fp8e4m3fn", "fp8_e4m3"),
    ("float8e4m3fn", "fp8_e4m3"),
    ("e5m2", "fp8_e5m2"),
    ("w8a8", "int8:row:a8"),
    ("w4a16", "int4:g128"),
    ("w8a16", "int8:row"),
    ("gptq", "int4:g128, the grid alone"),
    ("awq", "int4:g128:asym, the grid alone"),
    ("sparse", "prune:0.5"),
];

/// Words that may be meant at most, so that naming them helps.
const MOST: usize = 4;

/// The same step in small letters, where that is one.
pub(super) fn in_small_letters(step: &str) -> Option<String> {
    let small = step.to_ascii_lowercase();
    let known = small != step && small.parse::<Scheme>().is_ok();
    known.then(|| format!("words are in small letters: {small}"))
}

/// What a step that is unknown was meant to be. llama.cpp's mixes are no type of a tensor.
pub(super) fn near(step: &str) -> Option<String> {
    in_small_letters(step).or_else(|| {
        let small = step.to_ascii_lowercase();
        let (word, rest) = small.split_once(':').map_or((small.as_str(), None), |(word, rest)| (word, Some(rest)));
        mix(&small).or_else(|| of_others(word)).or_else(|| of_ours(word, rest)).or_else(|| n_of_m(&small))
    })
}

/// A whole number of bits with its group or range glued to it: `int4g64`, `int4-g64`.
pub(super) fn unglued(name: &str) -> Option<String> {
    let (bits, rest) = name.split_at_checked("int4".len())?;
    if rest.is_empty() {
        return None;
    }
    let step = format!("{bits}:{}", rest.trim_start_matches(['_', '-']));
    step.parse::<Scheme>().is_ok().then(|| format!("{}: try {step}", quoted(name)))
}

fn mix(small: &str) -> Option<String> {
    let (base, size) = small.rsplit_once('_')?;
    let mix = ["s", "m", "l", "xl"].contains(&size) && GGUF.iter().any(|(word, _)| *word == base);
    mix.then(|| format!("that is a mix of types over a whole model; one tensor takes {base}"))
}

fn of_others(word: &str) -> Option<String> {
    let ours = OTHERS.iter().find(|(theirs, _)| *theirs == bare(word)).map(|(_, ours)| ours);
    ours.map(|ours| format!("try {ours}"))
}

fn of_ours(word: &str, rest: Option<&str>) -> Option<String> {
    let word = bare(word);
    if word.is_empty() {
        return None;
    }
    let name = |step: &&str| bare(step.split(':').next().unwrap_or_default());
    let steps = || OURS.into_iter().chain(GGUF.iter().map(|(word, _)| *word));
    if let Some(same) = steps().find(|step| name(step) == word) {
        let with_rest = rest.map(|rest| format!("{}:{rest}", same.split(':').next().unwrap_or_default()));
        let fits = with_rest.filter(|step| step.parse::<Scheme>().is_ok());
        return Some(format!("try {}", fits.as_deref().unwrap_or(same)));
    }
    let longer: Vec<&str> = steps().filter(|step| name(step).starts_with(&word)).collect();
    (1..=MOST).contains(&longer.len()).then(|| format!("try {}", longer.join(" or ")))
}

fn n_of_m(small: &str) -> Option<String> {
    let step = format!("nm:{small}");
    step.parse::<Scheme>().is_ok().then(|| format!("try {step}"))
}

/// A word without what separates its parts.
fn bare(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_told_ours() {
        for (text, told) in [
            ("q4_K", "words are in small letters: q4_k"),
            ("INT4:ROW", "words are in small letters: int4:row"),
            ("int4:G64", "words are in small letters: int4:g64"),
            ("prune:0.5+Q4_K_M", "one tensor takes q4_k"),
            ("fp8", "try fp8_e4m3 or fp8_e5m2"),
            ("q4k", "try q4_k"),
            ("iq4", "try iq4_nl or iq4_xs"),
            ("nvfp", "try nvfp4"),
            ("prun:0.5", "try prune:0.5"),
            ("bf-16", "try bf16"),
            ("FP16", "try f16"),
            ("w8a8", "try int8:row:a8"),
            ("gptq", "try int4:g128, the grid alone"),
            ("e4m3", "try fp8_e4m3"),
            ("fp8-e4m3:row", "try fp8_e4m3:row"),
            ("2:4", "try nm:2:4"),
            ("int4g64", "try int4:g64"),
            ("int8_g32", "try int8:g32"),
            ("int9", "integers have 2 to 8 bits, int2 to int8"),
            ("q9", "or q4_k for GGUF"),
            ("x", "or q4_k for GGUF"),
        ] {
            let said = text.parse::<Scheme>().unwrap_err().to_string();
            assert!(said.ends_with(told), "{text}: {said}");
        }
    }

    #[test]
    fn every_word_that_is_offered_is_one() {
        let offered = OURS.into_iter().chain(OTHERS.iter().filter_map(|(_, ours)| ours.split(',').next()));
        offered.for_each(|step| drop(step.parse::<Scheme>().unwrap()));
    }
}
