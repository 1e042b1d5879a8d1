//! llama.cpp's own words for a mix: the file that `llama-quantize --tensor-type-file` reads, its command line, and the way back.
//!
//! A line is `PATTERN=TYPE`, the pattern a regular expression that is searched for in the tensor's name (`tools/quantize`), in
//! lower case. Where several match, the first counts. The list is heeded where the type on the command line is a quantized one, and
//! Q8_0 is the one that its own mixes leave as it is (`src/llama-quant.cpp`): so the command ends in Q8_0, whatever the list says.

use super::command::quoted;
use super::{Choice, Error};
use crate::formats::Dtype;
use crate::kernels::ggml::BlockType;
use crate::model::{Format, Model, Origin, Tensor};
use crate::recipe::{Pattern, Plan, Quantize, Recipe, Rule, Scheme, Target};

/// The name of a list that has none yet.
pub const LIST: &str = "types.txt";

/// The list of types and the command that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The text of the file.
    pub file: String,
    /// The command line.
    pub command: String,
}

/// What `llama-quantize` must be told to make the same choice; the list will be in a file of this name.
///
/// # Errors
/// A scheme that it has no words for: pruning, factors, or another kind of levels.
pub fn words(choice: Choice<'_>, list: &str) -> Result<Words, Error> {
    let Choice { model, plan, recipe } = choice;
    if model.format != Format::Gguf {
        return Err(Error::NoWords {
            program: "llama-quantize",
            what: format!("a {} model", model.format.name()),
            instead: "export it with --target gguf, which needs no llama-quantize",
        });
    }
    let mut file = String::new();
    for (i, tensor) in model.tensors.iter().enumerate().filter(|(_, tensor)| tensor.shape.len() > 1) {
        let stored = type_of(plan, model, i)?;
        file += &format!("^{}$={}\n", escaped(&tensor.name), stored.name().to_lowercase());
    }
    let input = match &model.origin {
        Origin::File(path) | Origin::Folder(path) => quoted(&path.to_string_lossy()),
        Origin::Demo(_) => String::new(),
    };
    let again = if recipe.requantize { " --allow-requantize" } else { "" };
    let command = format!("llama-quantize{again} --tensor-type-file {} {input} out.gguf Q8_0\n", quoted(list));
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

/// A `--tensor-type-file` as a recipe for the gguf target on a model, and what is to be said of it: lines that touch nothing. Its
/// first matching line counts there and our last here, so the order is turned. A tensor that has the named type already is kept.
///
/// # Errors
/// The line that is no `PATTERN=TYPE`, or whose type is none that is written here.
pub fn recipe(text: &str, model: &Model) -> Result<(Recipe, Vec<String>), Error> {
    let mut recipe = Recipe { target: Some(Target::Gguf), ..Recipe::default() };
    let mut messages = Vec::new();
    let mut open: Vec<&Tensor> = model.tensors.iter().filter(|tensor| tensor.shape.len() > 1).collect();
    for (at, line) in text.lines().enumerate() {
        for word in line.split_whitespace() {
            let wrong = |what: String| Error::Line { line: at + 1, what };
            if recipe.rules.len() == MOST {
                return Err(wrong(format!("there are more than {MOST} entries")));
            }
            let shown = crate::formats::error::quoted(word);
            let (pattern, name) =
                word.split_once('=').ok_or_else(|| wrong(format!("{shown} is not PATTERN=TYPE, as in attn_v=q6_k")))?;
            let named = BlockType::from_name(name);
            let pattern = Pattern::new(&format!("re:.*(?:{}).*", pattern.to_lowercase()));
            let pattern = pattern.map_err(|error| wrong(error.to_string()))?;
            let (touched, others) = open.into_iter().partition::<Vec<_>, _>(|tensor| pattern.matches(&tensor.name));
            open = others;
            let (same, changed): (Vec<_>, Vec<_>) = touched.into_iter().partition(|tensor| named == Some(own(tensor)));
            let scheme = match scheme_of(name) {
                _ if changed.is_empty() && named.is_some() => Scheme::keep(),
                Some(scheme) => scheme,
                None => {
                    return Err(wrong(format!(
                        "{shown}: no type of this name can be written; there are f16, bf16, q8_0, q6_k and the rest of --help's list"
                    )));
                }
            };
            if same.is_empty() && changed.is_empty() {
                messages.push(format!("line {}: {shown} touches no tensor that is not named before", at + 1));
                continue;
            }
            if !changed.is_empty() {
                same.iter().for_each(|tensor| recipe.set_one(&tensor.name, Scheme::keep()));
            }
            recipe.rules.push(Rule { pattern, scheme });
        }
    }
    recipe.rules.reverse();
    Ok((recipe, messages))
}

/// The type that a tensor has.
fn own(tensor: &Tensor) -> BlockType {
    tensor.block_type.unwrap_or(match tensor.dtype {
        Dtype::F16 => BlockType::F16,
        Dtype::BF16 => BlockType::BF16,
        _ => BlockType::F32,
    })
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

    fn model() -> Model {
        let shape = &[64_usize, 256][..];
        let names = ["blk.0.attn_v.weight", "blk.3.attn_v.weight", "blk.0.ffn_down.weight"];
        Model::named(&names.map(|name| (name.to_owned(), shape)), None)
    }

    #[test]
    fn a_list_of_types_becomes_rules_the_first_of_which_counts() {
        let text = "^blk\\.0\\.attn_v\\.weight$=f16\nATTN_V=q6_k  ffn_down=Q5_K\n";
        let (read, messages) = recipe(text, &model()).unwrap();
        assert_eq!((read.target, messages.len()), (Some(Target::Gguf), 0));
        let shown: Vec<String> = read.rules.iter().map(|r| format!("{}={}", r.pattern.text(), r.scheme)).collect();
        let wanted =
            ["re:.*(?:ffn_down).*=q5_k", "re:.*(?:attn_v).*=q6_k", "re:.*(?:^blk\\.0\\.attn_v\\.weight$).*=f16"];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn the_type_that_is_there_is_kept_and_a_line_for_nothing_is_told() {
        let (read, messages) = recipe("attn_v=f32\n^output\\.weight$=q6_k\nattn=q8_0 ffn=q4_0", &model()).unwrap();
        let schemes: Vec<String> = read.rules.iter().map(|rule| rule.scheme.to_string()).collect();
        assert_eq!(schemes, ["q4_0", "keep"]);
        let [output, attn] = messages.as_slice() else { panic!("{messages:?}") };
        assert!(output.contains("line 2") && attn.contains("line 3") && attn.contains("attn=q8_0"));
    }

    #[test]
    fn lines_that_say_nothing_are_told() {
        let told = |text: &str| recipe(text, &model()).unwrap_err().to_string();
        assert!(told("\nattn_v").contains("line 2"));
        assert!(told("attn_v=iq2_xxs").contains("no type"));
        assert!(told("attn_v=q9").contains("no type"));
        assert!(told("(=q8_0").contains("line 1"));
    }

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(escaped("blk.0.attn_q.weight"), r"blk\.0\.attn_q\.weight");
    }
}
