//! llama.cpp's own words for a mix: the file that `llama-quantize --tensor-type-file` reads, its command line, and the way back.
//!
//! A line is `PATTERN=TYPE`, the pattern a regular expression that is searched for in the tensor's name (`tools/quantize`), in
//! lower case. Where several match, the first whose type differs from the default counts.

use super::command::quoted;
use super::{Error, Told};
use crate::kernels::ggml::BlockType;
use crate::model::{Format, Model, Origin};
use crate::recipe::{Pattern, Plan, Quantize, Recipe, Rule, Scheme, Target};
use std::collections::BTreeMap;

/// The list of types and the command that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The text of the file.
    pub file: String,
    /// The command line.
    pub command: String,
}

/// What `llama-quantize` must be told to make the same choice.
///
/// # Errors
/// A scheme that it has no words for: pruning, factors, or another kind of levels.
pub fn words(told: Told<'_>) -> Result<Words, Error> {
    let Told { model, plan, recipe, .. } = told;
    if model.format != Format::Gguf {
        return Err(Error::NoWords {
            program: "llama-quantize",
            what: format!("a {} model", model.format.name()),
            instead: "export it with --target gguf, which needs no llama-quantize",
        });
    }
    let mut elements = BTreeMap::<BlockType, usize>::new();
    let mut file = String::new();
    for (i, tensor) in model.tensors.iter().enumerate().filter(|(_, tensor)| tensor.shape.len() > 1) {
        let stored = type_of(plan, model, i)?;
        *elements.entry(stored).or_default() += tensor.elements();
        file += &format!("^{}$={}\n", escaped(&tensor.name), stored.name().to_lowercase());
    }
    let most = elements.into_iter().max_by_key(|&(_, n)| n).map_or(BlockType::F16, |(block_type, _)| block_type);
    let input = match &model.origin {
        Origin::File(path) | Origin::Folder(path) => quoted(&path.to_string_lossy()),
        Origin::Demo(_) => String::new(),
    };
    let again = if recipe.requantize { " --allow-requantize" } else { "" };
    let command = format!("llama-quantize{again} --tensor-type-file types.txt {input} out.gguf {}\n", most.name());
    Ok(Words { file, command })
}

/// The type of a tensor under a plan.
fn type_of(plan: &Plan, model: &Model, index: usize) -> Result<BlockType, Error> {
    let outcome = plan.outcome(model, index);
    let scheme = outcome.scheme;
    let only_type = scheme.prune.is_none() && scheme.factorize.is_none() && !outcome.cut;
    let held = plan.target == Target::Gguf && only_type;
    if outcome.is_kept() || held {
        return Ok(crate::estimate::size::stored_type(outcome));
    }
    Err(Error::NoWords {
        program: "llama-quantize",
        what: format!("{} on {}", scheme, crate::formats::error::printable(&outcome.tensor.name)),
        instead: "export it with --target gguf; llama.cpp loads the file all the same",
    })
}

/// A name as a regular expression for itself.
fn escaped(name: &str) -> String {
    name.chars().flat_map(|c| (!c.is_alphanumeric() && c != '_').then_some('\\').into_iter().chain([c])).collect()
}

/// Lines of a file at most.
const MOST: usize = 100_000;

/// A `--tensor-type-file` as a recipe for the gguf target. Its first matching line counts there and our last here, so the order
/// is turned.
///
/// # Errors
/// The line that is no `PATTERN=TYPE`, or whose type is none that is written here.
pub fn recipe(text: &str) -> Result<Recipe, Error> {
    let mut rules = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in line.split_whitespace() {
            let wrong = |what: String| Error::Line { line: at + 1, what };
            if rules.len() == MOST {
                return Err(wrong(format!("there are more than {MOST} entries")));
            }
            let shown = crate::formats::error::quoted(word);
            let (pattern, name) =
                word.split_once('=').ok_or_else(|| wrong(format!("{shown} is not PATTERN=TYPE, as in attn_v=q6_k")))?;
            let scheme = scheme_of(name).ok_or_else(|| {
                wrong(format!("{shown}: no type of this name can be written; there are f16, bf16, q8_0, q6_k and the rest of --help's list"))
            })?;
            let pattern = Pattern::new(&format!("re:.*(?:{pattern}).*")).map_err(|error| wrong(error.to_string()))?;
            rules.push(Rule { pattern, scheme });
        }
    }
    rules.reverse();
    Ok(Recipe { target: Some(Target::Gguf), rules, ..Recipe::default() })
}

fn scheme_of(name: &str) -> Option<Scheme> {
    let quantize = match BlockType::from_name(name)? {
        BlockType::F16 => Quantize::F16,
        BlockType::BF16 => Quantize::Bf16,
        block_type if block_type.encodes() && block_type != BlockType::F32 => Quantize::Gguf(block_type),
        _ => return None,
    };
    // What the scheme language has no word for is no scheme.
    let scheme = Scheme::keep().with_quantize(Some(quantize));
    scheme.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_types_becomes_rules_the_first_of_which_counts() {
        let read = recipe("attn_v=q6_k  ffn_down=Q5_K\n^blk\\.0\\.attn_v\\.weight$=f16\n").unwrap();
        assert_eq!(read.target, Some(Target::Gguf));
        let shown: Vec<String> = read.rules.iter().map(|r| format!("{}={}", r.pattern.text(), r.scheme)).collect();
        let wanted =
            ["re:.*(?:^blk\\.0\\.attn_v\\.weight$).*=f16", "re:.*(?:ffn_down).*=q5_k", "re:.*(?:attn_v).*=q6_k"];
        assert_eq!(shown, wanted);
        assert!(read.rules[2].pattern.matches("blk.3.attn_v.weight"));
        assert!(!read.rules[1].pattern.matches("blk.3.attn_v.weight"));
    }

    #[test]
    fn lines_that_say_nothing_are_told() {
        let told = |text: &str| recipe(text).unwrap_err().to_string();
        assert!(told("\nattn_v").contains("line 2"));
        assert!(told("attn_v=iq2_xxs").contains("no type"));
        assert!(told("attn_v=f32").contains("no type"));
        assert!(told("(=q8_0").contains("line 1"));
    }

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(escaped("blk.0.attn_q.weight"), r"blk\.0\.attn_q\.weight");
    }
}
