//! A file that is cut short under its map faults where it is read: here the fault becomes a flag, and the reader's answer an error.
//!
//! Reading a mapped page that lies wholly past the end of its file raises SIGBUS, which ends the program. Files are cut
//! while they are open (a download starts again, a training run saves over its checkpoint), so on Linux a handler takes
//! the faults that hit a map of ours. The contract has three parts:
//!
//! 1. Who maps a file keeps a [`Guard`] over it for as long as the map lives, and drops the guard first.
//! 2. A fault inside a guarded range sets the guard's flag, and then puts pages of zeros in place of the file from the page
//!    of the fault to the end of the map. The reader goes on, over zeros.
//! 3. Who read through the map asks [`Guard::is_cut`] *after* the bytes were used, and throws away what it made of them
//!    when the answer is yes. The flag stays up: nothing that comes out of such a map is believed again.
//!
//! Any other SIGBUS is not ours: the action that was there before is put back, and the fault happens again under it.
//!
//! The handler runs in the middle of anything, so it takes no lock and no memory: it walks a fixed table of atomics, each
//! entry with a version that is odd while it is being written. The entry of the map that faults cannot change meanwhile,
//! because the faulting thread is reading through a map whose guard is still held.
//!
//! Elsewhere there is no handler, and a file that is cut short under its map ends the program, as it always did.

/// Watches over one map. Drop it before the map goes.
#[derive(Debug)]
pub struct Guard {
    #[cfg(target_os = "linux")]
    slot: &'static linux::Slot,
}

#[cfg(target_os = "linux")]
impl Guard {
    /// Watches over a map's bytes; `None` when the table is full or no handler can be installed, and then the file should
    /// not be mapped.
    #[must_use]
    pub fn over(map: &[u8]) -> Option<Self> {
        linux::watch(map).map(|slot| Self { slot })
    }

    /// Whether the file was missing bytes under the map at any time before this call.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.slot.is_cut()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.free();
    }
}

#[cfg(not(target_os = "linux"))]
impl Guard {
    /// Nothing is watched here.
    #[must_use]
    pub fn over(_map: &[u8]) -> Option<Self> {
        Some(Self {})
    }

    /// Never known here.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{c_int, c_void};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    /// Maps that can be watched at a time; a model of more shards is read in pieces beyond that.
    const SLOTS: usize = 4096;

    /// One map: its addresses, and whether its file was cut. Free while `end` is 0.
    #[derive(Debug)]
    pub struct Slot {
        /// Odd while the entry is being written; whoever reads looks at it before and after.
        version: AtomicUsize,
        start: AtomicUsize,
        end: AtomicUsize,
        cut: AtomicBool,
    }

    static TABLE: [Slot; SLOTS] = [const {
        Slot {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
        }
    }; SLOTS];

    /// What SIGBUS did before.
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
    /// Bytes of a page, known before the handler is installed.
    static PAGE: AtomicUsize = AtomicUsize::new(4096);

    /// Enters a map into the table.
    pub fn watch(map: &[u8]) -> Option<&'static Slot> {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        if !INSTALLED.get_or_init(install) {
            return None;
        }
        let start = map.as_ptr().addr();
        let end = start.checked_add(map.len())?;
        TABLE.iter().find(|slot| slot.take(start, end))
    }

    impl Slot {
        /// Takes the entry, if it is free.
        fn take(&self, start: usize, end: usize) -> bool {
            let version = self.version.load(Ordering::Acquire);
            let free = version.is_multiple_of(2) && self.end.load(Ordering::Relaxed) == 0;
            // As long as the version is what it was, so is the entry.
            let mine = free
                && self
                    .version
                    .compare_exchange(version, version.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok();
            if mine {
                fence(Ordering::Release);
                self.cut.store(false, Ordering::Relaxed);
                self.start.store(start, Ordering::Relaxed);
                self.end.store(end, Ordering::Relaxed);
                self.version.store(version.wrapping_add(2), Ordering::Release);
            }
            mine
        }

        /// Gives the entry back.
        pub fn free(&self) {
            self.version.fetch_add(1, Ordering::AcqRel);
            fence(Ordering::Release);
            self.start.store(0, Ordering::Relaxed);
            self.end.store(0, Ordering::Relaxed);
            self.version.fetch_add(1, Ordering::Release);
        }

        /// Whether a fault was met. The fence keeps what was read through the map before the question: a thread that saw
        /// zeros put there by the handler, its own or another's, sees the flag that was set before them.
        pub fn is_cut(&self) -> bool {
            fence(Ordering::SeqCst);
            self.cut.load(Ordering::SeqCst)
        }

        /// The end of the range, if the address lies within.
        fn end_around(&self, address: usize) -> Option<usize> {
            let before = self.version.load(Ordering::Acquire);
            let (start, end) = (self.start.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            let steady = before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before;
            (steady && (start..end).contains(&address)).then_some(end)
        }
    }

    /// Installs the handler, once in the life of the process.
    #[expect(unsafe_code, reason = "the standard library has no signal handlers")]
    fn install() -> bool {
        // SAFETY: `sysconf` only answers. Both `sigaction` values are plain data for which all zeros is a valid state, and
        // are passed by valid pointers. The handler has the signature that SA_SIGINFO asks for, and is safe to run at any
        // moment (see there). It runs on the alternative stack where a thread has one.
        unsafe {
            if let Ok(page) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) {
                PAGE.store(page, Ordering::Relaxed);
            }
            let mut previous: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) != 0 {
                return false;
            }
            // Kept before the handler can run, which may be at once.
            if PREVIOUS.set(previous).is_err() {
                return false;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) == 0
        }
    }

    /// Takes a fault under a watched map, and leaves every other to the action that was there before.
    #[expect(unsafe_code, reason = "a signal handler is called by the system with raw pointers")]
    extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
        // SAFETY: the system passes a valid `info` for the length of the call, and for a fault (a positive code) its address
        // field is set. `__errno_location` is the thread's own. What is called is safe inside a handler: loads and stores
        // of atomics, `mmap` (on Linux a bare system call), `sigaction` and `raise`. The pages that are replaced lie inside
        // a map of ours that is alive, since the faulting thread is reading it; they are read-only before and after, and
        // no Rust value but bytes is formed over them.
        unsafe {
            let errno = *libc::__errno_location();
            let fault = (*info).si_code > 0;
            let address = if fault { (*info).si_addr().addr() } else { 0 };
            let broken_memory = matches!((*info).si_code, libc::BUS_MCEERR_AR | libc::BUS_MCEERR_AO);
            let taken = fault
                && !broken_memory
                && TABLE.iter().any(|slot| slot.end_around(address).is_some_and(|end| put_zeros(slot, address, end)));
            if !taken {
                let previous = PREVIOUS.get().map_or(std::ptr::null(), std::ptr::from_ref);
                libc::sigaction(signal, previous, std::ptr::null_mut());
                // A fault happens again by itself when the handler returns; a signal that somebody sent does not.
                if !fault {
                    libc::raise(signal);
                }
            }
            *libc::__errno_location() = errno;
        }
    }

    /// Flags the map, then puts zeros in place of the file from the page of `address` to the end of the map: what lies
    /// behind the end of a file is missing, all of it.
    #[expect(unsafe_code, reason = "pages are replaced under the reader")]
    fn put_zeros(slot: &Slot, address: usize, end: usize) -> bool {
        let page = PAGE.load(Ordering::Relaxed);
        let from = address - address % page;
        slot.cut.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let (protection, flags) = (libc::PROT_READ, libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: from `from` to `end` lie pages of one live map of ours, and MAP_FIXED replaces just those. Nothing was or
        // can be written through them. The owner unmaps the whole range later, whatever lies in it then.
        let put = unsafe { libc::mmap(std::ptr::without_provenance_mut(from), end - from, protection, flags, -1, 0) };
        put != libc::MAP_FAILED
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_entry_is_taken_once_and_speaks_for_its_range_only() {
            let slot = TABLE.last().unwrap();
            assert!(slot.take(0x1000, 0x3000) && !slot.take(0x5000, 0x6000));
            assert_eq!(slot.end_around(0x1000), Some(0x3000));
            assert_eq!(slot.end_around(0x2fff), Some(0x3000));
            assert_eq!((slot.end_around(0xfff), slot.end_around(0x3000)), (None, None));
            slot.free();
            assert_eq!(slot.end_around(0x1000), None);
            assert!(slot.take(0x5000, 0x6000) && !slot.is_cut());
            slot.free();
        }
    }
}
