//! Which tensors a line touches: a glob over the whole name, `re:` and a regex over the whole name, or a name in full.
//!
//! A recipe may come from a stranger, and a pattern is a small program: how long, how deep and how large when compiled one
//! may be is bounded before anything is built from it.

use super::Error;
use crate::formats::error::printable;
use crate::model::{Model, Tensor};
use globset::GlobBuilder;
use regex::Regex;
use std::path::Path;
use std::sync::Arc;

/// A compiled pattern that remembers its text, and the line of a file it was read from.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
    weight: usize,
    read_at: Option<(Arc<Path>, usize)>,
}

#[derive(Clone, Debug)]
enum Matcher {
    Exact,
    /// `*`: every name, without asking.
    All,
    /// A glob's regex, which goes over bytes.
    Glob(regex::bytes::Regex),
    Regex(Regex),
}

/// Bytes of a glob: its reader goes one call deeper for each brace.
const GLOB_BYTES: usize = 4096;
/// Braces within braces.
const GLOB_DEPTH: usize = 16;
/// Bytes of a regex; the window writes long ones, a name for every expert of a model.
const REGEX_BYTES: usize = 1 << 18;
/// Bytes that a compiled pattern may take, tried in this order: what it weighs is known only by trying.
const WEIGHTS: [usize; 7] = [1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22];
/// Bytes that matching may keep beside a compiled pattern.
const MATCHING: usize = 1 << 18;

/// The smallest of the allowed sizes in which a pattern can be compiled.
fn compile<T>(build: impl Fn(usize) -> Result<T, regex::Error>) -> Result<(T, usize), String> {
    for weight in WEIGHTS {
        match build(weight) {
            Ok(built) => return Ok((built, weight)),
            Err(regex::Error::CompiledTooBig(_)) => {}
            // Its words are a drawing of the pattern on several lines; the last says what is wrong.
            Err(error) => {
                let told = error.to_string();
                return Err(told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned());
            }
        }
    }
    let most = WEIGHTS.iter().max().copied().unwrap_or_default();
    Err(format!("it takes more than the {most} bytes allowed when compiled; use fewer or shorter alternatives"))
}

/// Compiles a regex over the whole name.
fn regex(text: &str) -> Result<(Matcher, usize), String> {
    if text.len() > REGEX_BYTES {
        return Err(format!("it is {} bytes long, more than the {REGEX_BYTES} allowed for a regex", text.len()));
    }
    // Anchored at both ends; the group keeps alternatives together.
    let whole = format!("^(?:{text})$");
    let build = |weight| regex::RegexBuilder::new(&whole).size_limit(weight).dfa_size_limit(MATCHING).build();
    compile(build).map(|(regex, weight)| (Matcher::Regex(regex), weight))
}

/// Compiles a glob. Its own library would compile without a bound, and gives up with a panic.
fn glob(text: &str) -> Result<(Matcher, usize), String> {
    if text.len() > GLOB_BYTES {
        return Err(format!("it is {} bytes long, more than the {GLOB_BYTES} allowed for a glob", text.len()));
    }
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > GLOB_DEPTH {
            return Err(format!("more than the {GLOB_DEPTH} braces allowed stand within each other"));
        }
    }
    let built = GlobBuilder::new(text).literal_separator(false).build().map_err(|e| {
        let hint = if text.contains('[') { " (it is read as a glob; write [[] for a bracket of a name)" } else { "" };
        format!("{}{hint}", e.kind())
    })?;
    let build = |weight| {
        let mut builder = regex::bytes::RegexBuilder::new(built.regex());
        builder.dot_matches_new_line(true).size_limit(weight).dfa_size_limit(MATCHING).build()
    };
    compile(build).map(|(regex, weight)| (Matcher::Glob(regex), weight))
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Compiles a pattern's text.
    ///
    /// # Errors
    /// [`Error::Pattern`] when it is no valid glob or regex, or too large.
    pub fn new(text: &str) -> Result<Self, Error> {
        let compiled = if let Some(text) = text.strip_prefix("re:") {
            regex(text)
        } else if !text.is_empty() && text.bytes().all(|b| b == b'*') {
            Ok((Matcher::All, 0))
        } else if text.contains(['*', '?', '[', '{']) {
            glob(text)
        } else {
            Ok((Matcher::Exact, 0))
        };
        let (matcher, weight) = compiled.map_err(|what| Error::Pattern { text: text.to_owned(), what })?;
        Ok(Self { text: text.to_owned(), matcher, weight, read_at: None })
    }

    /// The same, remembering where it was read: its errors name the file and the line.
    #[must_use]
    pub fn read_at(mut self, path: &Arc<Path>, line: usize) -> Self {
        self.read_at = Some((path.clone(), line));
        self
    }

    /// Bytes that it may take when compiled, for whoever keeps many.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// A pattern that names one tensor in full, whatever characters its name has.
    #[must_use]
    pub fn exactly(name: &str) -> Self {
        Self { text: name.to_owned(), matcher: Matcher::Exact, weight: 0, read_at: None }
    }

    /// A pattern for all weight matrices that play the same role as tensor `index`: its name with the block number
    /// opened, where that finds just them, else their names one by one.
    ///
    /// # Errors
    /// When the names make no pattern that can be compiled.
    pub fn of_role(model: &Model, index: usize) -> Result<Self, Error> {
        let tensor = &model.tensors[index];
        let members: Vec<usize> = (0..model.tensors.len())
            .filter(|&i| model.tensors[i].role == tensor.role && model.tensors[i].is_weight_matrix())
            .collect();
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let number = tensor.name.split('.').position(is_number);
        let open = |(at, part)| if Some(at) == number { "*" } else { part };
        let text = tensor.name.split('.').enumerate().map(open).collect::<Vec<_>>().join(".");
        if let Ok(glob) = Self::new(&text)
            && !glob.is_exact()
            && glob.touched(model).is_ok_and(|found| found == members)
        {
            return Ok(glob);
        }
        Self::naming(model, &members)
    }

    /// A pattern for these tensors, which names them one by one.
    ///
    /// # Errors
    /// When the names make no pattern that can be compiled.
    pub fn naming(model: &Model, tensors: &[usize]) -> Result<Self, Error> {
        let names: Vec<String> = tensors.iter().map(|&i| regex::escape(&model.tensors[i].name)).collect();
        Self::new(&format!("re:{}", names.join("|")))
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names one tensor in full.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.matcher, Matcher::Exact)
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::All => true,
            Matcher::Exact => self.text == name,
            Matcher::Glob(glob) => glob.is_match(name.as_bytes()),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }

    /// The tensors it touches, by position: weight matrices for a glob or regex, any float tensor for a full name.
    ///
    /// # Errors
    /// Says why when there is none: why those that match are left alone, or which names are near.
    pub fn touched(&self, model: &Model) -> Result<Vec<usize>, Error> {
        let touched = if self.is_exact() { self.exact(model) } else { self.matrices(model) };
        touched.map_err(|error| match &self.read_at {
            Some((path, line)) => Error::File { path: path.to_path_buf(), line: *line, what: error.to_string() },
            None => error,
        })
    }

    fn matrices(&self, model: &Model) -> Result<Vec<usize>, Error> {
        let matching: Vec<usize> =
            (0..model.tensors.len()).filter(|&i| model.tensors[i].names().any(|name| self.matches(name))).collect();
        let touched: Vec<usize> = matching.iter().copied().filter(|&i| model.tensors[i].is_weight_matrix()).collect();
        if !touched.is_empty() {
            return Ok(touched);
        }
        let reason = |&i: &usize| {
            let tensor = &model.tensors[i];
            tensor.why_left_alone().map(|why| format!("{} ({why})", printable(&tensor.name)))
        };
        let reasons: Vec<String> = matching.iter().filter_map(reason).take(3).collect();
        let why = if !reasons.is_empty() {
            // Norms and biases may be among them: what was meant are the matrices.
            let coded = matching.iter().any(|&i| model.tensors[i].is_coded() && model.tensors[i].shows_weights());
            let next = match () {
                () if coded => "--requantize takes the values of codes, with a second loss",
                () if matching.iter().any(|&i| model.tensors[i].is_touchable()) => "name a tensor in full to touch it",
                () => "none of them can be touched; open the model that they were made from",
            };
            format!(
                "it matches {}, but patterns touch float weight matrices only: {}; {next}",
                count(matching.len()),
                reasons.join(", ")
            )
        } else if model.find(&self.text).is_some() {
            "a tensor has just this name, but * ? [ { are signs of a pattern: put each in brackets, as [[] for [, or \
             name the tensor in an [[override]] of a recipe"
                .into()
        } else {
            format!("no name matches; {}", near_names(&self.text, model))
        };
        Err(Error::TouchesNothing { pattern: self.text.clone(), why })
    }

    fn exact(&self, model: &Model) -> Result<Vec<usize>, Error> {
        if model.find(&self.text).is_none() {
            let why = format!("there is no tensor of this name; {}", near_names(&self.text, model));
            return Err(Error::TouchesNothing { pattern: self.text.clone(), why });
        }
        touchable(&self.text, model).map(|index| vec![index])
    }
}

/// The tensor of a name, when a line that names it in full may touch it.
pub(super) fn touchable(name: &str, model: &Model) -> Result<usize, Error> {
    let index = named(name, model)?;
    let tensor = &model.tensors[index];
    if tensor.is_touchable() {
        return Ok(index);
    }
    let why = if tensor.is_coded() || tensor.side_of_codes {
        if tensor.is_plain() {
            "it is stored as codes with their scales beside it, which cannot be quantized anew; open the source instead"
                .into()
        } else {
            "it is stored as codes of an earlier quantization; --requantize takes their values, with a second loss"
                .into()
        }
    } else {
        format!("its dtype {} is not a float that can be compressed", tensor.dtype)
    };
    Err(Error::Untouchable { tensor: name.to_owned(), why })
}

/// The tensor of a name, whatever characters the name has.
pub(super) fn named(name: &str, model: &Model) -> Result<usize, Error> {
    model.find(name).ok_or_else(|| Error::NoSuchTensor { name: name.to_owned(), why: near_names(name, model) })
}

fn count(n: usize) -> String {
    if n == 1 { "1 tensor".into() } else { format!("{n} tensors") }
}

/// The three names nearest to a text, for a hint.
fn near_names(text: &str, model: &Model) -> String {
    let plain = text.trim_start_matches("re:").replace(['*', '?', '[', ']', '{', '}', '\\', '^', '$'], "");
    let mut ranked: Vec<(usize, &str)> =
        model.tensors.iter().take(5000).flat_map(Tensor::names).map(|name| (distance(&plain, name), name)).collect();
    ranked.sort_unstable();
    let names: Vec<String> = ranked.iter().take(3).map(|(_, n)| printable(n)).collect();
    if names.is_empty() { "the model has no tensors".into() } else { format!("near names: {}", names.join(", ")) }
}

/// Levenshtein distance over the first 80 characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(80).collect(), b.chars().take(80).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_cross_dots_and_regexes_span_the_whole_name() {
        let hit = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().matches(name);
        assert!(hit("*.weight", "a.b.c.weight"));
        assert!(hit("layers.[0-3].*", "layers.2.x"));
        assert!(hit("{fc1,fc2}.weight", "fc2.weight"));
        assert!(hit("layers.[!0]*", "layers.12.w"));
        assert!(!hit("*.Weight", "a.weight"));
        assert!(hit(r"re:fc[12]\.weight", "fc1.weight"));
        assert!(!hit("re:fc", "fc1"));
        assert!(!hit("re:a|b", "ab"));
        assert!(hit("fc1.weight", "fc1.weight") && !hit("fc1.weight", "xfc1.weight"));
        assert!(Pattern::new("re:(").unwrap_err().is_usage());
        assert!(Pattern::new("[").unwrap_err().is_usage());
        assert!(hit("***", "a") && hit("a*", "a\n") && hit("é?", "éb"));
    }

    #[test]
    fn what_a_stranger_writes_is_bounded() {
        let told = |text: &str| match Pattern::new(text) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(told(&("{".repeat(30_000) + &"}".repeat(30_000))).contains("4096 allowed"));
        assert!(told(&("{".repeat(17) + &"}".repeat(17))).contains("16 braces"));
        assert!(told(&format!("re:{}", "x".repeat(1 << 19))).contains("262144 allowed"));
        assert!(told("re:(a{1000}){1000}").contains("when compiled"));
        assert!(told("x[").contains("[[]") && told("{a").contains("unclosed"));
        // The reason stays in sight behind the longest text.
        assert!(told(&("[".to_owned() + &"y".repeat(4000))).chars().count() < 400);
        let alternatives: Vec<String> = (0..600).map(|i| format!("a{i}*")).collect();
        assert_eq!(told(&format!("{{{}}}", alternatives.join(","))), "");
        let weight = |text: &str| Pattern::new(text).unwrap().weight();
        assert!(weight("model.layers.*.mlp.up_proj.weight") <= 1 << 14 && weight(r"re:.*\w{60}|fc.*") >= 1 << 19);
    }

    #[test]
    fn near_is_near() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
