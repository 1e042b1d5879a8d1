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
use crate::recipe::{Override, Pattern, Plan, Quantize, Recipe, Rule, Scheme, Target};

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
    // It is cut at white space and at the first equals sign, and its patterns are read in small letters.
    let unsaid =
        |name: &str| name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=' || c.is_uppercase());
    if let Some(tensor) = model.tensors.iter().find(|tensor| tensor.shape.len() > 1 && unsaid(&tensor.name)) {
        let what = format!("the name {}", crate::formats::error::quoted(&tensor.name));
        let instead = "export it with --target gguf; llama.cpp loads the file all the same";
        return Err(Error::NoWords { program: "llama-quantize", what, instead });
    }
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

/// Names that one rule is made of.
const NAMED_AT_ONCE: usize = 500;
/// Entries of a file at most: the largest models have a tenth of that.
const MOST: usize = 20_000;
/// Lines that are told one by one.
const TOLD: usize = 20;

/// A `--tensor-type-file` as a recipe for the gguf target on a model, and what is to be said of it: lines that touch nothing. Its
/// first matching line counts there and our last here, so the order is turned. A tensor that has the named type already is kept. Of a
/// folder the names are meant that its tensors get in a GGUF file.
///
/// # Errors
/// The line that is no `PATTERN=TYPE`, or whose type is none that is written here.
pub fn recipe(text: &str, model: &Model) -> Result<(Recipe, Vec<String>), Error> {
    let mut list = List::of(model);
    for (at, line) in text.lines().enumerate() {
        for word in line.split_whitespace() {
            list.entry(word, model).map_err(|what| Error::Line { line: at + 1, what }).map(|said| {
                list.messages.extend(said.map(|said| format!("line {}: {said}", at + 1)));
            })?;
        }
    }
    if let more @ 1.. = list.messages.len().saturating_sub(TOLD) {
        list.messages.truncate(TOLD);
        list.messages.push(format!("{more} more lines touch nothing"));
    }
    list.recipe.rules.reverse();
    Ok((list.recipe, list.messages))
}

/// A list of types that is being read.
struct List<'a> {
    /// The names that patterns are searched for in, by position.
    names: Vec<&'a str>,
    /// Whether they are the tensors' own.
    own_names: bool,
    /// Matrices that no line has touched yet.
    open: Vec<usize>,
    entries: usize,
    recipe: Recipe,
    messages: Vec<String>,
}

impl<'a> List<'a> {
    fn of(model: &'a Model) -> Self {
        let converted = model.converted();
        let name = |i: usize| match converted {
            Some(made) => made.places[i].as_ref().map_or("", |place| place.name.as_str()),
            None => model.tensors[i].name.as_str(),
        };
        Self {
            names: (0..model.tensors.len()).map(name).collect(),
            own_names: converted.is_none(),
            open: (0..model.tensors.len()).filter(|&i| model.tensors[i].shape.len() > 1).collect(),
            entries: 0,
            recipe: Recipe { target: Some(Target::Gguf), ..Recipe::default() },
            messages: Vec::new(),
        }
    }

    /// Takes in one `PATTERN=TYPE`, and answers what is to be said of it.
    fn entry(&mut self, word: &str, model: &Model) -> Result<Option<String>, String> {
        self.entries += 1;
        if self.entries > MOST {
            return Err(format!("there are more than {MOST} entries"));
        }
        let shown = crate::formats::error::quoted(word);
        let (pattern, name) = word
            .split_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or_else(|| format!("{shown} is not PATTERN=TYPE, as in attn_v=q6_k"))?;
        let named = BlockType::from_name(name);
        let pattern = Pattern::new(&format!("re:.*(?:{}).*", pattern.to_lowercase())).map_err(|e| e.to_string())?;
        let matches = |i: &usize| pattern.matches(self.names[*i]);
        let (touched, others): (Vec<usize>, Vec<usize>) = self.open.iter().partition(|i| matches(i));
        let (same, changed): (Vec<usize>, Vec<usize>) =
            touched.into_iter().partition(|&i| named == Some(own(&model.tensors[i])));
        let scheme = match scheme_of(name) {
            // More bits than it has a tensor is not given.
            _ if (changed.is_empty() && named.is_some()) || named == Some(BlockType::F32) => Scheme::keep(),
            Some(scheme) => scheme,
            None => {
                return Err(format!(
                    "{shown}: no type of this name can be written; there are f16, bf16, q8_0, q6_k and the rest of --help's list"
                ));
            }
        };
        if same.is_empty() && changed.is_empty() {
            let matching: Vec<usize> = (0..self.names.len()).filter(matches).collect();
            let why = match () {
                () if matching.is_empty() => "touches no tensor: no name has that in it",
                () if matching.iter().all(|&i| model.tensors[i].shape.len() < 2) => {
                    "touches no tensor: norms and biases stay as they are"
                }
                () => "touches no tensor that is not named before",
            };
            return Ok(Some(format!("{shown} {why}")));
        }
        self.open = others;
        if !self.own_names {
            let all: Vec<usize> = if changed.is_empty() { same } else { changed };
            for some in all.chunks(NAMED_AT_ONCE) {
                let pattern = Pattern::naming(model, some).map_err(|e| e.to_string())?;
                self.recipe.rules.push(Rule { pattern, scheme: scheme.clone() });
            }
            return Ok(None);
        }
        // The list of a whole model has a line for each tensor, and rules are tried one after the other.
        if let ([one], [], true) = (changed.as_slice(), same.as_slice(), word.starts_with('^')) {
            self.recipe.overrides.push(Override { tensor: model.tensors[*one].name.clone(), scheme });
            return Ok(None);
        }
        if !changed.is_empty() {
            same.iter().for_each(|&i| self.recipe.set_one(&model.tensors[i].name, Scheme::keep()));
        }
        self.recipe.rules.push(Rule { pattern, scheme });
        Ok(None)
    }
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
        assert_eq!(shown, ["re:.*(?:ffn_down).*=q5_k", "re:.*(?:attn_v).*=q6_k"]);
        let [first] = read.overrides.as_slice() else { panic!("{:?}", read.overrides) };
        assert_eq!((first.tensor.as_str(), first.scheme.to_string().as_str()), ("blk.0.attn_v.weight", "f16"));
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
        assert!(told("=q8_0").contains("is not PATTERN=TYPE"));
    }

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(escaped("blk.0.attn_q.weight"), r"blk\.0\.attn_q\.weight");
    }
}
