//! The folder of kept recipes: one file per open model and window, a lock beside each, the newest few of what was left behind.

use super::kept::{Kept, Unreadable};
use crate::export::atomic::{folder_of, sync_folder};
use crate::formats::error::display_path;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Files of windows that are gone, kept at most; and as many damaged ones.
const MOST: usize = 20;
/// What is younger may belong to a window that is just opening.
const YOUNG: Duration = Duration::from_mins(1);
/// Bytes of a file at most; what is larger is neither read nor written.
const LARGEST: u64 = 16 << 20;
const KEPT: &str = "autosave";
const LOCK: &str = "lock";
const PART: &str = "part";
const DAMAGED: &str = "damaged";

/// Numbers the files of this process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Where the program keeps what is not a model's: `$SPOKESHAVE_STATE`, else the system's folder for a program's own data;
/// `None` where there is none.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("SPOKESHAVE_STATE") {
        return Some(folder);
    }
    // The same places as those of the window's preferences.
    if cfg!(windows) {
        Some(set("APPDATA")?.join("spokeshave").join("data"))
    } else if cfg!(target_os = "macos") {
        Some(set("HOME")?.join("Library/Application Support/spokeshave"))
    } else {
        let base = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
        Some(base.or_else(|| Some(set("HOME")?.join(".local/share")))?.join("spokeshave"))
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

/// What a window that is gone left behind.
#[derive(Clone, Debug)]
pub struct Left {
    /// What was kept.
    pub kept: Kept,
    /// The number of the place where its model was opened.
    pub key: u64,
    /// Its file.
    pub file: PathBuf,
}

impl Left {
    /// Deletes it.
    pub fn discard(&self) {
        // What will not go is offered again, which is the worst that can come of it.
        drop(std::fs::remove_file(&self.file));
    }
}

impl Shelf {
    /// The user's own; `None` where the system has no place for it.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        Some(Self { folder: state_folder()?.join("recovery") })
    }

    /// A shelf in a folder of one's own.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// A place for the recipe of the model with this key, of this window alone. It is chosen when there is something to write.
    pub(super) fn slot(&self, key: u64) -> Slot {
        Slot { shelf: self.clone(), key, place: None }
    }

    /// The first free name for this key, with its lock. A process of an earlier day may have had this one's number, and what
    /// it left is nobody's to write over.
    fn first_free(&self, key: u64) -> std::io::Result<Place> {
        for _ in 0..1000 {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let file = self.folder.join(format!("{key:016x}-{}-{number}.{KEPT}", std::process::id()));
            match File::create_new(file.with_extension(LOCK)) {
                Ok(lock) => {
                    let place = Place { file, lock };
                    if !place.file.exists() {
                        place.hold();
                        return Ok(place);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::ErrorKind::AlreadyExists.into())
    }

    /// What windows that are gone left behind, the newest first. Sets damaged files aside, and deletes what is too much.
    #[must_use]
    pub fn left(&self) -> Vec<Left> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let (mut left, mut damaged) = (Vec::new(), Vec::new());
        for path in entries.flatten().map(|entry| entry.path()) {
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if ending == DAMAGED {
                damaged.push((age_of(&path), path));
                continue;
            }
            if !matches!(ending, KEPT | LOCK | PART) || is_held(&path.with_extension(LOCK)) {
                continue;
            }
            if ending != KEPT {
                // Nobody's lock, or half a file: a killed program left it.
                if age_of(&path) > YOUNG {
                    drop(std::fs::remove_file(&path));
                }
                continue;
            }
            match read(&path) {
                Ok(kept) => {
                    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                    let key = name.split('-').next().and_then(|hash| u64::from_str_radix(hash, 16).ok());
                    left.push(Left { kept, key: key.unwrap_or_default(), file: path });
                }
                Err(Unreadable::Foreign) => {}
                Err(Unreadable::Damaged) => set_aside(&path),
            }
        }
        damaged.sort();
        damaged.iter().skip(MOST).for_each(|(_, path)| drop(std::fs::remove_file(path)));
        left.sort_by_key(|left| std::cmp::Reverse(left.kept.saved));
        if left.len() > MOST {
            left.drain(MOST..).for_each(|old| old.discard());
        }
        left
    }
}

/// Renames a file that cannot be trusted, so that it is neither read again nor lost. There is one of each name at most.
pub fn set_aside(path: &Path) {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{DAMAGED}"));
    if std::fs::rename(path, &name).is_err() {
        // A folder in the way of an earlier one: what cannot be moved is left, and is not trusted either.
        drop(std::fs::remove_file(path));
    }
}

/// How long ago a file was written; a moment ago, where that is not known.
fn age_of(path: &Path) -> Duration {
    let written = path.symlink_metadata().and_then(|metadata| metadata.modified()).ok();
    written.and_then(|written| written.elapsed().ok()).unwrap_or_default()
}

/// Whether a living window holds this lock.
fn is_held(lock: &Path) -> bool {
    if !lock.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(file) = File::open(lock) else { return false };
    // Where there are no locks at all, a recipe offered once too often is better than one never found again.
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn read(path: &Path) -> Result<Kept, Unreadable> {
    let damaged = |_| Unreadable::Damaged;
    let metadata = std::fs::metadata(path).map_err(damaged)?;
    // A pipe would block for ever.
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(Unreadable::Damaged);
    }
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)).map_err(damaged)?;
    Kept::parse(&text)
}

/// Where one window keeps the recipe of one open model.
#[derive(Debug)]
pub(super) struct Slot {
    shelf: Shelf,
    key: u64,
    place: Option<Place>,
}

impl Slot {
    /// Writes beside and renames, so that nobody ever reads half a file.
    ///
    /// # Errors
    /// Where it cannot be written, and why.
    pub(super) fn write(&mut self, kept: &Kept) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", display_path(&self.shelf.folder));
        let text = kept.print();
        if text.len() as u64 > LARGEST {
            return Err(format!("it has {} bytes, and {LARGEST} at most are kept", text.len()));
        }
        let place = match &mut self.place {
            Some(place) => place,
            none => {
                std::fs::create_dir_all(&self.shelf.folder).map_err(told)?;
                none.insert(self.shelf.first_free(self.key).map_err(told)?)
            }
        };
        place.write(text.as_bytes()).map_err(told)
    }

    /// Deletes what was written.
    pub(super) fn remove(&mut self) {
        if let Some(place) = &self.place {
            drop(std::fs::remove_file(&place.file));
        }
    }
}

/// The file in which one open model of this window is kept ([`Slot`]), with the lock that says so.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    lock: File,
}

impl Place {
    /// Locks it. Whoever looks whether it is held has it for a moment, and is waited for; a file system without locks
    /// still keeps recipes.
    fn hold(&self) {
        let mut tries = 0..100;
        while matches!(self.lock.try_lock(), Err(TryLockError::WouldBlock)) && tries.next().is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn write(&self, text: &[u8]) -> std::io::Result<()> {
        let part = self.file.with_extension(PART);
        let write = |mut file: File| file.write_all(text).and_then(|()| file.sync_all());
        let done = File::create(&part).and_then(write).and_then(|()| std::fs::rename(&part, &self.file));
        // Of use against a power cut; a file system that cannot do it has the file all the same.
        drop(sync_folder(&folder_of(&self.file)));
        if done.is_err() {
            drop(std::fs::remove_file(&part));
        }
        done
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_file(self.file.with_extension(LOCK)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Autosave, PAUSE};
    use super::*;
    use crate::model::{Model, OpenOptions, open};
    use crate::recipe::Recipe;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("spokeshave-shelf-{name}-{}", std::process::id()));
            drop(std::fs::remove_dir_all(&path));
            Self(path)
        }

        fn endings(&self) -> Vec<String> {
            let ending = |path: PathBuf| path.extension().unwrap().to_str().unwrap().to_owned();
            let mut all: Vec<String> =
                std::fs::read_dir(&self.0).unwrap().map(|entry| ending(entry.unwrap().path())).collect();
            all.sort();
            all
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn demo() -> Model {
        open(Path::new("demo"), &OpenOptions::default()).unwrap()
    }

    fn changed(scheme: &str) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.set_one("fc1.weight", scheme.parse().unwrap());
        recipe
    }

    fn keep(shelf: &Shelf, recipe: &Recipe) -> Autosave {
        let mut autosave = Autosave::new(shelf, &demo(), Recipe::default(), || {});
        assert!(autosave.look(1, recipe, Vec::new).is_some());
        std::thread::sleep(PAUSE + Duration::from_millis(10));
        assert_eq!(autosave.look(1, recipe, Vec::new), None);
        autosave
    }

    #[test]
    fn what_a_living_window_keeps_is_not_offered_and_what_it_leaves_is() {
        let folder = Folder::new("living");
        let shelf = Shelf::in_folder(&folder.0);
        let (first, second) = (keep(&shelf, &changed("int4")), keep(&shelf, &changed("int3")));
        while folder.0.read_dir().map_or(0, Iterator::count) < 4 {
            std::thread::yield_now();
        }
        assert!(shelf.left().is_empty(), "both are open");
        second.close(&changed("int2"), || vec!["fc1.weight".into()]);
        let left = shelf.left();
        assert_eq!((left.len(), left[0].kept.closed), (1, true));
        assert_eq!((&left[0].kept.recipe, left[0].key), (&changed("int2"), super::super::key_of(&demo())));
        assert_eq!(left[0].kept.selected, ["fc1.weight"]);
        first.close(&Recipe::default(), Vec::new);
        left[0].discard();
        assert_eq!(folder.endings(), Vec::<String>::new(), "a recipe taken back leaves nothing, and no lock stays");
    }

    #[test]
    fn what_a_process_of_the_same_number_left_is_not_written_over() {
        let folder = Folder::new("number");
        std::fs::create_dir_all(&folder.0).unwrap();
        let key = super::super::key_of(&demo());
        let earlier = Kept::of(&demo(), changed("int3")).print();
        for number in 0..200 {
            let name = format!("{key:016x}-{}-{number}.autosave", std::process::id());
            std::fs::write(folder.0.join(name), &earlier).unwrap();
        }
        keep(&Shelf::in_folder(&folder.0), &changed("int4")).close(&changed("int4"), Vec::new);
        let texts: Vec<String> =
            folder.0.read_dir().unwrap().map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap()).collect();
        assert_eq!((texts.len(), texts.iter().filter(|text| **text == earlier).count()), (201, 200));
    }

    #[test]
    fn a_saved_recipe_is_not_kept_twice() {
        let folder = Folder::new("saved");
        let shelf = Shelf::in_folder(&folder.0);
        let mut autosave = keep(&shelf, &changed("int4"));
        autosave.is_safe(&changed("int4"));
        autosave.close(&changed("int4"), Vec::new);
        assert!(shelf.left().is_empty());
        assert_eq!(folder.endings(), Vec::<String>::new());
    }

    #[test]
    fn damaged_files_are_set_aside_and_old_ones_go() {
        let folder = Folder::new("damaged");
        std::fs::create_dir_all(&folder.0).unwrap();
        let at = |name: &str| folder.0.join(name);
        let mut kept = Kept::of(&demo(), changed("int4"));
        for i in 0..MOST as u64 + 5 {
            kept.saved = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + i);
            std::fs::write(at(&format!("{i:016x}-9999999-0.autosave")), kept.print()).unwrap();
        }
        std::fs::write(at("a-1-0.autosave"), b"\xff\xfe garbage").unwrap();
        std::fs::write(at("b-1-0.autosave"), b"").unwrap();
        std::fs::create_dir(at("c-1-0.autosave")).unwrap();
        std::fs::write(at("d-1-0.autosave"), "spokeshave autosave 77 of the future\n").unwrap();
        for name in ["e-1-0.lock", "e-1-0.part"] {
            let file = File::create(at(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - 2 * YOUNG).unwrap();
        }
        std::fs::write(at("f-1-0.lock"), b"").unwrap();
        std::fs::write(at("notes.txt"), b"not ours").unwrap();
        let left = Shelf::in_folder(&folder.0).left();
        assert_eq!((left.len(), left[0].key), (MOST, MOST as u64 + 4));
        let endings = folder.endings();
        let count = |ending: &str| endings.iter().filter(|e| *e == ending).count();
        assert_eq!([count(KEPT), count(DAMAGED), count(LOCK), count(PART), count("txt")], [MOST + 1, 3, 1, 0, 1]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_once() {
        let folder = Folder::new("unwritable");
        std::fs::create_dir_all(&folder.0).unwrap();
        let blocked = folder.0.join("file");
        std::fs::write(&blocked, b"in the way").unwrap();
        let autosave = keep(&Shelf::in_folder(&blocked), &changed("int4"));
        let started = std::time::Instant::now();
        let failure = loop {
            match autosave.failure() {
                Some(failure) => break failure,
                None => assert!(started.elapsed() < Duration::from_secs(10)),
            }
        };
        assert!(failure.contains("unwritable") && failure.contains("file"), "{failure}");
        autosave.close(&changed("int4"), Vec::new);
    }
}
