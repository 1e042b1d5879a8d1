//! Where masks are: a path as a recipe file says it, as this process opens it, and as an exported file says it.
//!
//! | where the scheme stands | what its path is relative to |
//! |---|---|
//! | a recipe file | that file's folder |
//! | `--set`, a recipe in memory | the working folder |
//! | the recipe inside an exported file | nothing: `mask:embedded`, the zeros of that file itself |

use super::{Error, Prune, Recipe, Scheme, file};
use crate::formats::gguf;
use crate::formats::packed_layout::MAGIC;
use crate::model::{Model, OpenOptions, Origin, open};
use std::io::Read;
use std::path::{Path, PathBuf};

impl Scheme {
    /// The same scheme as an exported file says it: its mask is in that file.
    #[must_use]
    pub fn embedded(&self) -> Self {
        let mut scheme = self.clone();
        if let Some(Prune::Mask { file }) = &mut scheme.prune {
            Prune::EMBEDDED.clone_into(file);
        }
        scheme
    }
}

impl Recipe {
    /// Gives every mask's file another name.
    fn rename_masks(&mut self, rename: impl Fn(&str) -> Option<String>) {
        let rules = self.rules.iter_mut().map(|rule| &mut rule.scheme);
        for scheme in rules.chain(self.overrides.iter_mut().map(|item| &mut item.scheme)) {
            if let Some(Prune::Mask { file }) = &mut scheme.prune
                && let Some(name) = rename(file)
            {
                *file = name;
            }
        }
    }

    /// Leaves masks where an exported file has them.
    pub(super) fn embed_masks(&mut self) {
        self.rename_masks(|_| Some(Prune::EMBEDDED.to_owned()));
    }

    /// Makes paths that were relative to a recipe file's folder relative to the working folder.
    pub(super) fn masks_from(&mut self, folder: &Path) {
        let seen = |name: &str| folder.join(name).to_string_lossy().into_owned();
        self.rename_masks(|name| (name != Prune::EMBEDDED && folder != Path::new("")).then(|| seen(name)));
    }

    /// The recipe as it is written to `path`: masks in that file's folder or below relative to it, others in full.
    #[must_use]
    pub fn written_to(&self, path: &Path) -> Self {
        let folder = whole(path).parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let mut recipe = self.with_whole_paths();
        recipe.rename_masks(|name| match &*Path::new(name).strip_prefix(&folder).ok()?.to_string_lossy() {
            Prune::EMBEDDED => Some(format!("./{}", Prune::EMBEDDED)),
            inside => Some(inside.to_owned()),
        });
        recipe
    }

    /// The same recipe whatever folder is worked in later.
    #[must_use]
    pub fn with_whole_paths(&self) -> Self {
        let mut recipe = self.clone();
        recipe.rename_masks(|name| {
            (name != Prune::EMBEDDED).then(|| whole(Path::new(name)).to_string_lossy().into_owned())
        });
        recipe
    }

    /// The recipe that an exported file carries, its masks taken from that file; `None` when it carries none.
    ///
    /// # Errors
    /// When it is no recipe.
    pub fn of_artifact(artifact: &Model) -> Result<Option<Self>, Error> {
        let path = match &artifact.origin {
            Origin::File(path) | Origin::Folder(path) => path.as_path(),
            Origin::Demo(name) => Path::new(name),
        };
        let Some(text) = artifact.embedded_recipe() else { return Ok(None) };
        let mut recipe = file::parse(text, path)?;
        let name = path.to_string_lossy();
        recipe.rename_masks(|known| (known == Prune::EMBEDDED).then(|| name.clone().into_owned()));
        Ok(Some(recipe))
    }
}

fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The recipe inside an exported file or folder that is given as a recipe; `None` when `path` is neither.
///
/// # Errors
/// When it cannot be opened, or carries no recipe.
pub(super) fn in_artifact(path: &Path) -> Result<Option<Recipe>, Error> {
    if !path.is_dir() && !begins_like_a_model(path) {
        return Ok(None);
    }
    let unreadable = |what: String| Error::Unreadable { path: path.to_path_buf(), what };
    let artifact = open(path, &OpenOptions::default()).map_err(|error| unreadable(error.to_string()))?;
    let recipe = Recipe::of_artifact(&artifact)?;
    recipe.map(Some).ok_or_else(|| unreadable("it is a model that carries no Spokeshave recipe".into()))
}

/// Whether a file begins as one of the containers that carry recipes; no text does.
fn begins_like_a_model(path: &Path) -> bool {
    let mut head = [0; 9];
    let regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let read = regular && std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok());
    read && (head.starts_with(&MAGIC) || head.starts_with(&gguf::MAGIC) || matches!(head, [.., 0, 0, 0, 0, b'{']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(recipe: &Recipe) -> Vec<String> {
        let rules = recipe.rules.iter().map(|rule| rule.scheme.to_string());
        rules.chain(recipe.overrides.iter().map(|item| item.scheme.to_string())).collect()
    }

    #[test]
    fn a_path_means_the_same_file_wherever_it_is_written() {
        let text = "version = 1\n[[rule]]\nmatch = '*'\nscheme = 'mask:b/m.spk+int4'\n[[override]]\ntensor = 'x'\nscheme = 'mask:/c/m.spk'\n[[override]]\ntensor = 'y'\nscheme = 'mask:embedded'\n";
        let mut recipe = file::parse(text, Path::new("a/r.toml")).unwrap();
        recipe.masks_from(Path::new("a"));
        assert_eq!(masks(&recipe), ["mask:a/b/m.spk+int4:row", "mask:/c/m.spk", "mask:embedded"]);
        assert_eq!(
            masks(&recipe.written_to(Path::new("a/other.toml"))),
            ["mask:b/m.spk+int4:row", "mask:/c/m.spk", "mask:embedded"]
        );
        assert_eq!(masks(&recipe.written_to(Path::new("/c/r.toml")))[1], "mask:m.spk");
        assert!(masks(&recipe.written_to(Path::new("/c/r.toml")))[0].ends_with("/a/b/m.spk+int4:row"));
        // A file that is called like the word is no word.
        let text = "version = 1\n[[rule]]\nmatch = '*'\nscheme = 'mask:./embedded'\n";
        let mut named = file::parse(text, Path::new("a/r.toml")).unwrap();
        named.masks_from(Path::new("a"));
        assert_eq!(masks(&named.written_to(Path::new("a/other.toml"))), ["mask:./embedded"]);
        recipe.embed_masks();
        assert_eq!(masks(&recipe), ["mask:embedded+int4:row", "mask:embedded", "mask:embedded"]);
    }
}
