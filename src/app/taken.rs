//! Whether something stands where a file is to be written, without asking the disk in every frame.

use std::path::{Path, PathBuf};

/// Seconds for which an answer is believed.
const BELIEVED: f64 = 1.0;

/// What the disk said last of one path.
#[derive(Debug, Default)]
pub struct Taken {
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    path: PathBuf,
    /// On the clock of frames, in seconds.
    at: f64,
    is_taken: bool,
}

impl Taken {
    /// Whether something stands at a path. The disk is asked when the path is another one than before, or the answer old;
    /// `now` is the clock of frames, in seconds.
    pub fn is_taken(&mut self, path: &Path, now: f64) -> bool {
        let known = self.answer.as_ref().filter(|known| known.path == path && now - known.at < BELIEVED);
        if let Some(known) = known {
            return known.is_taken;
        }
        let is_taken = path.exists();
        self.answer = Some(Answer { path: path.to_owned(), at: now, is_taken });
        is_taken
    }

    /// Lets the disk be asked at the next question: something was just written, or is about to be.
    pub fn forget(&mut self) {
        self.answer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_asked_for_another_path_after_a_while_and_when_told_to() {
        let folder = std::env::temp_dir().join(format!("spokeshave-taken-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, other) = (folder.join("one"), folder.join("other"));
        let mut taken = Taken::default();
        assert!(!taken.is_taken(&one, 0.0));
        std::fs::write(&one, "x").unwrap();
        assert!(!taken.is_taken(&one, 0.9) && taken.is_taken(&one, 1.0));
        assert!(!taken.is_taken(&other, 1.0) && taken.is_taken(&one, 1.0));
        std::fs::remove_file(&one).unwrap();
        assert!(taken.is_taken(&one, 1.5));
        taken.forget();
        assert!(!taken.is_taken(&one, 1.5));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
