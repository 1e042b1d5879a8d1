//! Temporaries that killed exports left beside where they wrote, and how much room there is: looked up on a thread, because a
//! folder may be on a disk that takes its time.

use crate::export::atomic::folder_of;
use crate::export::space;
use crate::export::stale::{self, Stale};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

/// What was found about a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What killed exports left there.
    pub stale: Vec<Stale>,
    /// Bytes that can still be written there, where the system tells.
    pub free: Option<u64>,
}

/// A folder that is being looked at.
#[derive(Debug)]
pub struct Looking {
    folder: PathBuf,
    answer: Receiver<Look>,
    look: Option<Look>,
}

impl Looking {
    /// Begins to look at the folder that `out` will lie in; `wake` is called when that is done.
    #[must_use]
    pub fn beside(out: &Path, wake: impl FnOnce() + Send + 'static) -> Self {
        let folder = folder_of(out);
        let (sender, answer) = channel();
        let place = folder.clone();
        let look = move || {
            // Nobody may be waiting any more.
            drop(sender.send(Look { stale: stale::find(&place), free: space::free(&place) }));
            wake();
        };
        // Without a thread nothing is found, and nothing is said.
        drop(std::thread::Builder::new().name("spokeshave-leftovers".into()).spawn(look));
        Self { folder, answer, look: None }
    }

    /// Whether this is the folder that `out` will lie in.
    #[must_use]
    pub fn is_beside(&self, out: &Path) -> bool {
        self.folder == folder_of(out)
    }

    /// What was found, once it is.
    pub fn found(&mut self) -> Option<&Look> {
        if let Ok(look) = self.answer.try_recv() {
            self.look = Some(look);
        }
        self.look.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::atomic::{PREFIX, SUFFIX};

    #[test]
    fn what_a_killed_run_left_is_found_on_a_thread() {
        let folder = std::env::temp_dir().join(format!("spokeshave-looking-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{PREFIX}4000000000-0{SUFFIX}")), [0; 100]).unwrap();
        let (done, wait) = channel();
        let mut looking = Looking::beside(&folder.join("out.spk"), move || done.send(()).unwrap());
        wait.recv().unwrap();
        assert_eq!(looking.found().unwrap().stale.iter().map(|s| s.bytes).collect::<Vec<_>>(), [100]);
        assert!(looking.is_beside(&folder.join("other.spk")) && !looking.is_beside(Path::new("other.spk")));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
