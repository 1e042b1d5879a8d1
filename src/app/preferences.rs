//! Preferences on disk that cannot be read are set aside before the window opens: the defaults are no reason not to start.
//!
//! The file is the toolkit's (`app.ron`). It is written in place, so a killed program can leave half of it.

use crate::export::atomic::{folder_of, write_whole};
use crate::session::autosave::{set_aside, state_folder};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a preferences file that are read at most.
const LARGEST: u64 = 16 << 20;

/// Where preferences are, when `SPOKESHAVE_STATE` says so; `None` leaves it to the toolkit, which takes the system's place.
pub fn path() -> Option<PathBuf> {
    let moved = std::env::var_os("SPOKESHAVE_STATE").is_some_and(|value| !value.is_empty());
    let folder = state_folder().filter(|_| moved)?;
    // What cannot be made is told by nobody: the window then forgets its preferences.
    drop(std::fs::create_dir_all(&folder));
    Some(folder.join("app.ron"))
}

/// Sets the preferences aside if they cannot be read.
pub fn check() {
    if let Some(file) = state_folder().map(|folder| folder.join("app.ron")) {
        check_file(&file);
    }
}

fn check_file(file: &Path) {
    let Ok(found) = std::fs::metadata(file) else { return };
    // A pipe would block for ever.
    let sound = found.is_file() && found.len() <= LARGEST && {
        let mut text = String::new();
        let read = std::fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
        // What the system will not let anybody read is not damaged.
        read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
            || read.is_ok() && is_ron(&text)
    };
    if !sound {
        set_aside(file);
    }
}

/// Whether the toolkit will understand the text: it is asked itself.
fn is_ron(text: &str) -> bool {
    entries(text).is_some()
}

fn entries(text: &str) -> Option<BTreeMap<String, String>> {
    eframe::get_value(&One(text.to_owned()), "")
}

/// A storage of one text, by which the toolkit reads and writes its own notation.
struct One(String);

impl eframe::Storage for One {
    fn get_string(&self, _key: &str) -> Option<String> {
        Some(self.0.clone())
    }
    fn set_string(&mut self, _key: &str, value: String) {
        self.0 = value;
    }
    fn remove_string(&mut self, _key: &str) {}
    fn flush(&mut self) {}
}

/// The toolkit's file for a window that the toolkit does not drive. Entries that are not this program's stay in it.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    all: BTreeMap<String, String>,
}

impl Store {
    /// The user's own; `None` where the system has no place for it. See [`check`], which comes first.
    pub fn of_user() -> Option<Self> {
        Some(Self::open(&state_folder()?.join("app.ron")))
    }

    fn open(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Self { file: file.to_path_buf(), all: entries(&text).unwrap_or_default() }
    }
}

impl eframe::Storage for Store {
    fn get_string(&self, key: &str) -> Option<String> {
        self.all.get(key).cloned()
    }

    fn set_string(&mut self, key: &str, value: String) {
        self.all.insert(key.to_owned(), value);
    }

    fn remove_string(&mut self, key: &str) {
        self.all.remove(key);
    }

    fn flush(&mut self) {
        let mut text = One(String::new());
        eframe::set_value(&mut text, "", &self.all);
        // As under the toolkit: a window that cannot keep its preferences forgets them.
        drop(std::fs::create_dir_all(folder_of(&self.file)));
        drop(write_whole(&self.file, text.0.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_set_aside_and_preferences_stay() {
        let folder = std::env::temp_dir().join(format!("spokeshave-preferences-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, aside) = (folder.join("app.ron"), folder.join("app.ron.damaged"));
        check_file(&file);
        for good in ["{}", "{\n    \"preferences\": \"(dark:false,guide_hidden:true)\",\n}"] {
            std::fs::write(&file, good).unwrap();
            check_file(&file);
            assert!(file.exists() && !aside.exists(), "{good}");
        }
        let deep = "[".repeat(1 << 20);
        let bad: [&[u8]; 6] =
            [b"", b"\xff\xfe", b"{\"preferences\": \"(da", b"not ron at all", deep.as_bytes(), &[0; 4096]];
        for bytes in bad {
            std::fs::write(&file, bytes).unwrap();
            check_file(&file);
            assert!(!file.exists() && aside.exists());
        }
        std::fs::remove_file(&aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        check_file(&file);
        assert!(!file.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_one_window_keeps_the_other_finds() {
        use eframe::Storage;
        let folder = std::env::temp_dir().join(format!("spokeshave-store-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        let file = folder.join("app.ron");
        let mut store = Store::open(&file);
        assert_eq!(store.get_string("preferences"), None);
        store.set_string("preferences", "(dark:false)".into());
        store.flush();
        // As the toolkit itself lays it out.
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written, r#"{"preferences":"(dark:false)"}"#);
        std::fs::write(&file, "{\n    \"egui\": \"()\",\n    \"preferences\": \"(dark:false)\",\n}").unwrap();
        let mut store = Store::open(&file);
        store.set_string("preferences", "(dark:true)".into());
        store.flush();
        let again = Store::open(&file);
        assert_eq!(
            [again.get_string("egui"), again.get_string("preferences")],
            ["()", "(dark:true)"].map(|t| Some(t.into()))
        );
        check_file(&file);
        assert!(file.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
