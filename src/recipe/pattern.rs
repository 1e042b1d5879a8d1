//! Which tensors a line touches: a glob over the whole name, `re:` and a regex over the whole name, or a name in full.

use super::Error;
use crate::model::Model;
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// A compiled pattern that remembers its text.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Exact,
    /// `*`: every name, without asking.
    All,
    Glob(GlobMatcher),
    Regex(Regex),
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
    /// [`Error::Pattern`] when it is no valid glob or regex.
    pub fn new(text: &str) -> Result<Self, Error> {
        let fail = |what: String| Error::Pattern { text: text.to_owned(), what };
        let matcher = if let Some(regex) = text.strip_prefix("re:") {
            // Anchored at both ends; the group keeps alternatives together.
            let whole = regex::RegexBuilder::new(&format!("^(?:{regex})$")).size_limit(1 << 22).build();
            Matcher::Regex(whole.map_err(|e| fail(e.to_string()))?)
        } else if text == "*" {
            Matcher::All
        } else if text.contains(['*', '?', '[', '{']) {
            let glob =
                GlobBuilder::new(text).literal_separator(false).build().map_err(|e| fail(e.kind().to_string()))?;
            Matcher::Glob(glob.compile_matcher())
        } else {
            Matcher::Exact
        };
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// A pattern that names one tensor in full, whatever characters its name has.
    #[must_use]
    pub fn exactly(name: &str) -> Self {
        Self { text: name.to_owned(), matcher: Matcher::Exact }
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
        let names: Vec<String> = members.iter().map(|&i| regex::escape(&model.tensors[i].name)).collect();
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
            Matcher::Glob(glob) => glob.is_match(name),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }

    /// The tensors it touches, by position: weight matrices for a glob or regex, any float tensor for a full name.
    ///
    /// # Errors
    /// Says why when there is none: why those that match are left alone, or which names are near.
    pub fn touched(&self, model: &Model) -> Result<Vec<usize>, Error> {
        if self.is_exact() {
            return self.exact(model);
        }
        let matching: Vec<usize> = (0..model.tensors.len()).filter(|&i| self.matches(&model.tensors[i].name)).collect();
        let touched: Vec<usize> = matching.iter().copied().filter(|&i| model.tensors[i].is_weight_matrix()).collect();
        if !touched.is_empty() {
            return Ok(touched);
        }
        let reason = |&i: &usize| {
            let tensor = &model.tensors[i];
            tensor.why_left_alone().map(|why| format!("{} ({why})", crate::formats::error::printable(&tensor.name)))
        };
        let reasons: Vec<String> = matching.iter().filter_map(reason).take(3).collect();
        let why = if reasons.is_empty() {
            format!("no name matches; {}", near_names(&self.text, model))
        } else {
            format!(
                "it matches {}, but patterns touch float weight matrices only: {}; name a tensor in full to touch it",
                count(matching.len()),
                reasons.join(", ")
            )
        };
        Err(Error::TouchesNothing { pattern: self.text.clone(), why })
    }

    fn exact(&self, model: &Model) -> Result<Vec<usize>, Error> {
        let Some(index) = model.find(&self.text) else {
            let why = format!("there is no tensor of this name; {}", near_names(&self.text, model));
            return Err(Error::TouchesNothing { pattern: self.text.clone(), why });
        };
        let tensor = &model.tensors[index];
        if tensor.is_touchable() {
            return Ok(vec![index]);
        }
        let why = if tensor.is_coded() || tensor.side_of_codes {
            "it is stored as codes of an earlier quantization; --requantize is not built yet, open the source instead"
                .into()
        } else {
            format!("its dtype {} is not a float that can be compressed", tensor.dtype)
        };
        Err(Error::Untouchable { tensor: self.text.clone(), why })
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 tensor".into() } else { format!("{n} tensors") }
}

/// The three names nearest to a text, for a hint.
fn near_names(text: &str, model: &Model) -> String {
    let plain = text.trim_start_matches("re:").replace(['*', '?', '[', ']', '{', '}', '\\', '^', '$'], "");
    let mut ranked: Vec<(usize, &str)> =
        model.tensors.iter().take(5000).map(|t| (distance(&plain, &t.name), t.name.as_str())).collect();
    ranked.sort_unstable();
    let names: Vec<String> = ranked.iter().take(3).map(|(_, n)| crate::formats::error::printable(n)).collect();
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
    }

    #[test]
    fn near_is_near() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
