//! The scheme language, read and written: `keep`, or steps joined by `+` in the order prune, factorize, quantize.

use super::scheme::{Factorize, Prune, Quantize, Range, Scheme, Scope, Structure};
use super::{Decimal, Error, hints};
use crate::formats::error::quoted;
use crate::kernels::ggml::BlockType;
use crate::kernels::layout::Unit;
use std::fmt;
use std::str::FromStr;

/// GGUF's own block types by their words. MXFP4 has two conventions: `mxfp4` rounds halves to even, GGML to the lower level.
pub(super) const GGUF: [(&str, BlockType); 15] = [
    ("q8_0", BlockType::Q8_0),
    ("q6_k", BlockType::Q6_K),
    ("q5_k", BlockType::Q5_K),
    ("q4_k", BlockType::Q4_K),
    ("q3_k", BlockType::Q3_K),
    ("q2_k", BlockType::Q2_K),
    ("q5_0", BlockType::Q5_0),
    ("q5_1", BlockType::Q5_1),
    ("q4_0", BlockType::Q4_0),
    ("q4_1", BlockType::Q4_1),
    ("iq4_nl", BlockType::IQ4_NL),
    ("iq4_xs", BlockType::IQ4_XS),
    ("tq1_0", BlockType::TQ1_0),
    ("tq2_0", BlockType::TQ2_0),
    ("mxfp4_ggml", BlockType::MXFP4),
];

/// The word of a block type in the scheme language.
fn word_of(block_type: BlockType) -> &'static str {
    GGUF.iter().find(|known| known.1 == block_type).map_or(block_type.name(), |known| known.0)
}

impl FromStr for Scheme {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |what: String| Error::Scheme { text: text.to_owned(), what };
        if text == "keep" {
            return Ok(Self::keep());
        }
        let mut scheme = Self::keep();
        for step in steps(text) {
            let words: Vec<&str> = step.split(':').collect();
            let (name, suffixes) = words.split_first().map_or(("", &[][..]), |(n, s)| (*n, s));
            let later = scheme.quantize.is_some();
            if let Some(prune) = prune(name, suffixes, step).map_err(fail)? {
                if later || scheme.factorize.is_some() || scheme.prune.is_some() {
                    return Err(fail("steps go in the order prune, factorize, quantize, each at most once".into()));
                }
                scheme.prune = Some(prune);
            } else if let Some(factorize) = factorize(name, suffixes).map_err(fail)? {
                if later || scheme.factorize.is_some() {
                    return Err(fail("steps go in the order prune, factorize, quantize, each at most once".into()));
                }
                scheme.factorize = Some(factorize);
            } else if let Some(quantize) =
                quantize(name, suffixes).map_err(|what| fail(hints::in_small_letters(step).unwrap_or(what)))?
            {
                if later {
                    return Err(fail("there is at most one quantize step".into()));
                }
                scheme.quantize = Some(quantize);
            } else {
                let hint = hints::near(step).unwrap_or_else(|| {
                    "try keep, prune:0.5, int4:g64, f16, prune:0.5+int4:row, or q4_k for GGUF".to_owned()
                });
                return Err(fail(format!("unknown step {}; {hint}", quoted(step))));
            }
        }
        match scheme.contradiction() {
            Some(what) => Err(fail(what.into())),
            None => Ok(scheme),
        }
    }
}

/// The steps of a scheme. A mask's file may hold a `+`: what follows the last one is a step unless it reads like a path.
fn steps(text: &str) -> Vec<&str> {
    if !text.starts_with("mask:") {
        return text.split('+').collect();
    }
    let is_step = |step: &str| !step.contains(['/', '\\']) && !step.split(':').next().is_some_and(|w| w.contains('.'));
    match text.rsplit_once('+') {
        Some((file, step)) if is_step(step) => vec![file, step],
        _ => vec![text],
    }
}

fn share(text: Option<&&str>) -> Result<Decimal, String> {
    let text = text.ok_or("a share from 0 to 1 is missing, as in prune:0.5")?;
    let parsed = Decimal::parse(text).filter(|p| p.at_most(1));
    parsed.ok_or_else(|| {
        let text = quoted(text);
        format!("{text} is not a share from 0 to 1, written like 0.5 with at most 15 digits after the point")
    })
}

fn number(text: Option<&&str>, range: std::ops::RangeInclusive<u64>, what: &str) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{what} is missing"))?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parsed = text.parse().ok().filter(|n| digits && range.contains(n));
    parsed.ok_or_else(|| {
        format!("{what} is {}; it is a whole number from {} to {}", quoted(text), range.start(), range.end())
    })
}

fn no_more(rest: &[&str]) -> Result<(), String> {
    match rest.first() {
        None => Ok(()),
        Some(extra) => Err(format!("{} does not belong here", quoted(extra))),
    }
}

fn prune(name: &str, words: &[&str], step: &str) -> Result<Option<Prune>, String> {
    let rest = |from: usize| words.get(from..).unwrap_or_default();
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let one = |from: usize| no_more(rest(from));
    Ok(Some(match name {
        "prune" => {
            let share = share(words.first())?;
            let scope = match rest(1) {
                [] => Scope::Tensor,
                ["row"] => Scope::Row,
                ["global"] => Scope::Global,
                [other, ..] => return Err(format!("{} is not a scope; there are row and global", quoted(other))),
            };
            Prune::Magnitude { share, scope }
        }
        "nm" => {
            let m = number(words.get(1), 1..=64, "M")?;
            let n = number(words.first(), 1..=m, "N")?;
            one(2)?;
            Prune::Nm { n: narrow(n), m: narrow(m) }
        }
        "block" => {
            let (h, w) =
                words.first().and_then(|size| size.split_once('x')).ok_or("a size is missing, as in block:4x4:0.5")?;
            let side = 1..=u64::from(u32::MAX);
            let (height, width) = (number(Some(&h), side.clone(), "H")?, number(Some(&w), side, "W")?);
            one(2)?;
            Prune::Block { height: narrow(height), width: narrow(width), share: share(words.get(1))? }
        }
        "rows" | "cols" | "heads" | "ffn" => {
            one(1)?;
            let what = match name {
                "rows" => Structure::Rows,
                "cols" => Structure::Cols,
                "heads" => Structure::Heads,
                _ => Structure::Ffn,
            };
            Prune::Structured { what, share: share(words.first())? }
        }
        "random" => {
            one(2)?;
            Prune::Random { share: share(words.first())?, seed: number(words.get(1), 0..=u64::MAX, "SEED")? }
        }
        "wanda" => {
            one(1)?;
            Prune::Wanda { share: share(words.first())? }
        }
        "mask" => {
            let file =
                step.strip_prefix("mask:").filter(|f| !f.is_empty()).ok_or("a file is missing, as in mask:FILE")?;
            Prune::Mask { file: file.to_owned() }
        }
        _ => return Ok(None),
    }))
}

fn factorize(name: &str, words: &[&str]) -> Result<Option<Factorize>, String> {
    let step = match name {
        "rank" => Factorize::Rank(number(words.first(), 1..=u64::MAX, "R")?),
        "energy" => Factorize::Energy(share(words.first())?),
        _ => return Ok(None),
    };
    no_more(words.get(1..).unwrap_or_default())?;
    Ok(Some(step))
}

/// Takes the next word off the front when it is one of `any`.
fn take<'a>(words: &mut &[&'a str], any: &[&str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    any.contains(first).then(|| {
        *words = rest;
        *first
    })
}

fn quantize(name: &str, words: &[&str]) -> Result<Option<Quantize>, String> {
    let mut words = words;
    let group = |text: &str| text.trim_start_matches('g').parse().unwrap_or(64);
    let quantize = match name {
        "f16" => Quantize::F16,
        "bf16" => Quantize::Bf16,
        "fp8_e4m3" | "fp8_e5m2" => {
            Quantize::Fp8 { e5m2: name == "fp8_e5m2", row: take(&mut words, &["row"]).is_some() }
        }
        "mxfp4" => Quantize::Mxfp4,
        "nvfp4" => Quantize::Nvfp4,
        "nf4" => Quantize::Nf4(take(&mut words, &["g32", "g64", "g128"]).map_or(64, group)),
        "ternary" => Quantize::Ternary { row: take(&mut words, &["row"]).is_some() },
        "binary" => Quantize::Binary { row: take(&mut words, &["row"]).is_some() },
        "codebook" => {
            let k = number(words.first(), 2..=256, "K")?;
            words = words.get(1..).unwrap_or_default();
            let row = take(&mut words, &["row"]).is_some();
            Quantize::Codebook { k: u32::try_from(k).unwrap_or(256), row, best: take(&mut words, &["best"]).is_some() }
        }
        _ if name.starts_with("int") => return int(name, words).map(Some),
        _ => match GGUF.iter().find(|known| known.0 == name) {
            Some(known) => Quantize::Gguf(known.1),
            None => return Ok(None),
        },
    };
    no_more(words)?;
    Ok(Some(quantize))
}

fn int(name: &str, words: &[&str]) -> Result<Quantize, String> {
    let [b'i', b'n', b't', digit @ b'2'..=b'8'] = name.as_bytes() else {
        let bits = || format!("{}: integers have 2 to 8 bits, int2 to int8", quoted(name));
        return Err(hints::unglued(name).unwrap_or_else(bits));
    };
    let bits = u32::from(digit - b'0');
    let mut words = words;
    let unit = match take(&mut words, &["row", "tensor", "g32", "g64", "g128"]) {
        None | Some("row") => Unit::Row,
        Some("tensor") => Unit::Tensor,
        Some(group) => Unit::Group(group.trim_start_matches('g').parse().unwrap_or(64)),
    };
    let asymmetric = take(&mut words, &["asym"]).is_some();
    let a8 = words.last() == Some(&"a8");
    words = if a8 { &words[..words.len() - 1] } else { words };
    if a8 && (bits != 8 || unit != Unit::Row || asymmetric) {
        return Err("a8 (activations in 8 bits too) goes with int8:row alone".into());
    }
    let range = match words.split_first() {
        None => Range::Max,
        Some((&"max", rest)) => {
            words = rest;
            Range::Max
        }
        Some((&"mse", rest)) => {
            words = rest;
            Range::Mse
        }
        Some((percentile, rest)) => {
            let q = percentile.strip_prefix('p').and_then(Decimal::parse).filter(|q| q.at_most(100) && !q.is_zero());
            words = rest;
            Range::Percentile(q.ok_or_else(|| {
                format!("{} does not belong here; suffixes go unit (row, tensor, g32, g64, g128), asym, range (max, mse, p99.9), a8", quoted(percentile))
            })?)
        }
    };
    no_more(words)?;
    Ok(Quantize::Int { bits, unit, asymmetric, range, a8 })
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        steps.extend(self.prune.as_ref().map(ToString::to_string));
        steps.extend(self.factorize.as_ref().map(ToString::to_string));
        steps.extend(self.quantize.as_ref().map(ToString::to_string));
        f.write_str(if steps.is_empty() { "keep".to_owned() } else { steps.join("+") }.as_str())
    }
}

impl fmt::Display for Prune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magnitude { share, scope } => {
                write!(f, "prune:{share}")?;
                f.write_str(match scope {
                    Scope::Tensor => "",
                    Scope::Row => ":row",
                    Scope::Global => ":global",
                })
            }
            Self::Nm { n, m } => write!(f, "nm:{n}:{m}"),
            Self::Block { height, width, share } => write!(f, "block:{height}x{width}:{share}"),
            Self::Structured { what, share } => {
                let word = match what {
                    Structure::Rows => "rows",
                    Structure::Cols => "cols",
                    Structure::Heads => "heads",
                    Structure::Ffn => "ffn",
                };
                write!(f, "{word}:{share}")
            }
            Self::Random { share, seed } => write!(f, "random:{share}:{seed}"),
            Self::Wanda { share } => write!(f, "wanda:{share}"),
            Self::Mask { file } => write!(f, "mask:{file}"),
        }
    }
}

impl fmt::Display for Factorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rank(r) => write!(f, "rank:{r}"),
            Self::Energy(e) => write!(f, "energy:{e}"),
        }
    }
}

impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |row: &bool| if *row { ":row" } else { "" };
        match self {
            Self::Int { bits, unit, asymmetric, range, a8 } => {
                write!(f, "int{bits}:{}{}", unit_word(*unit), if *asymmetric { ":asym" } else { "" })?;
                match range {
                    Range::Max => Ok(()),
                    Range::Mse => f.write_str(":mse"),
                    Range::Percentile(q) => write!(f, ":p{q}"),
                }?;
                f.write_str(if *a8 { ":a8" } else { "" })
            }
            Self::F16 => f.write_str("f16"),
            Self::Bf16 => f.write_str("bf16"),
            Self::Fp8 { e5m2, row: r } => write!(f, "{}{}", if *e5m2 { "fp8_e5m2" } else { "fp8_e4m3" }, row(r)),
            Self::Mxfp4 => f.write_str("mxfp4"),
            Self::Nvfp4 => f.write_str("nvfp4"),
            Self::Nf4(group) => write!(f, "nf4:g{group}"),
            Self::Ternary { row: r } => write!(f, "ternary{}", row(r)),
            Self::Binary { row: r } => write!(f, "binary{}", row(r)),
            Self::Codebook { k, row: r, best } => {
                write!(f, "codebook:{k}{}{}", row(r), if *best { ":best" } else { "" })
            }
            Self::Gguf(block_type) => f.write_str(word_of(*block_type)),
        }
    }
}

/// How a unit is spelled as a suffix.
#[must_use]
pub(crate) fn unit_word(unit: Unit) -> String {
    match unit {
        Unit::Tensor => "tensor".into(),
        Unit::Row => "row".into(),
        Unit::Group(g) => format!("g{g}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_round_trips() {
        for (text, canonical) in [
            ("keep", "keep"),
            ("prune:0.50", "prune:0.5"),
            ("prune:1:row", "prune:1:row"),
            ("prune:0.9:global+int4", "prune:0.9:global+int4:row"),
            ("int2:tensor:asym:mse", "int2:tensor:asym:mse"),
            ("int8:g128:p99.9", "int8:g128:p99.9"),
            ("int4:asym", "int4:row:asym"),
            ("int4:max", "int4:row"),
            ("int8:a8", "int8:row:a8"),
            ("int8:row:p99.9:a8", "int8:row:p99.9:a8"),
            ("nm:2:4+bf16", "nm:2:4+bf16"),
            ("block:4x1:0.5", "block:4x1:0.5"),
            ("rows:0.25+rank:8+int8", "rows:0.25+rank:8+int8:row"),
            ("energy:0.9", "energy:0.9"),
            ("random:0.5:18446744073709551615", "random:0.5:18446744073709551615"),
            ("mask:a/b:c.safetensors+f16", "mask:a/b:c.safetensors+f16"),
            ("mask:a+b/c+d.spk", "mask:a+b/c+d.spk"),
            ("mask:a+b/c+int4.spk+int4:p99.9", "mask:a+b/c+int4.spk+int4:row:p99.9"),
            ("nf4", "nf4:g64"),
            ("fp8_e4m3:row", "fp8_e4m3:row"),
            ("codebook:64:row:best", "codebook:64:row:best"),
            ("ternary:row", "ternary:row"),
            ("q4_k", "q4_k"),
        ] {
            let scheme: Scheme = text.parse().unwrap();
            assert_eq!(scheme.to_string(), canonical);
            assert_eq!(canonical.parse::<Scheme>().unwrap(), scheme);
        }
    }

    #[test]
    fn wrong_texts_are_usage_errors() {
        for text in [
            "",
            "+",
            "kep",
            "keep+int4",
            "int1",
            "int9",
            "int4:g16",
            "int4:asym:g32",
            "int4:asym:p99",
            "int4:a8",
            "int8:g64:a8",
            "int8:asym:a8",
            "int8:a8:mse",
            "int4:p0",
            "int4:p101",
            "prune",
            "prune:",
            "prune:.5",
            "prune:50%",
            "prune:1.1",
            "prune:5e-1",
            "prune:0.5:col",
            "prune:0.5:row:row",
            "int4+prune:0.5",
            "prune:0.5+prune:0.5",
            "prune:0.5+rank:4",
            "nm:5:4",
            "nm:0:4",
            "nm:1:65",
            "rank:0",
            "f16:row",
            "codebook:1",
            "codebook:257",
            "random:0.5",
            "int4+f16",
            "mask:a.spk+int9",
            "mask:a.spk+",
            "mask:+int4",
            "mask:a.spk+rank:4",
            "q4_K",
            "INT4",
            "nf4:row",
            "prune:0.5+",
            "random:0.5:-1",
        ] {
            let error = text.parse::<Scheme>().unwrap_err();
            assert!(error.is_usage(), "{text}");
        }
    }
}
