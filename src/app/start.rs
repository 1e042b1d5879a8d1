//! A program that cannot open its window should say which package is missing, not how it fell.
//!
//! Checks before the window, plain sentences after a failed one, and the change to the software
//! window when OpenGL is not there. Nothing here knows the application: [`open`] takes closures.

use std::ffi::OsString;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, ExitStatus};
use std::sync::Once;

use winit::error::EventLoopError;

use super::soft::SoftError;

/// The command that installs everything a window under X11 needs, in Debian's names.
pub const PACKAGES: &str = "apt-get install --no-install-recommends \
    libx11-xcb1 libxcursor1 libxi6 libxkbcommon-x11-0 libgl1";

/// The same for Wayland.
pub const WAYLAND_PACKAGES: &str = "apt-get install --no-install-recommends \
    libegl1 libwayland-client0 libwayland-egl1 libxkbcommon0";

/// Command-line option that chooses the window; it must be known before any subcommand.
pub const RENDERER_OPTION: &str = "--renderer";

const NO_WINDOW_NEEDED: &str = "The commands inspect, estimate, export, verify, compare, evaluate, \
    preset, recipe, report and screenshot need no window.";

/// How the window is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renderer {
    /// With OpenGL, and if that fails in software.
    #[default]
    Auto,
    /// With OpenGL only.
    Gl,
    /// In software only.
    Soft,
}

impl Renderer {
    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Gl => "gl",
            Self::Soft => "soft",
        }
    }
}

/// What kept a window from opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No display is named in the environment, or nothing answers there.
    Display,
    /// A shared library of the window system is not installed.
    Library,
    /// OpenGL is missing or too old; the software window may still work.
    OpenGl,
    /// Anything else, the application's own start included.
    Other,
}

/// Why there is no window, in words for the person at the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind, for decisions.
    pub obstacle: Obstacle,
    /// One or two whole sentences.
    pub sentence: String,
}

impl Problem {
    fn new(obstacle: Obstacle, sentence: impl Into<String>) -> Self {
        Self { obstacle, sentence: sentence.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Problem {}

/// Tells whether the environment names no display at all; call it before anything opens a window.
///
/// `None` means that opening a window is worth a try. Systems whose displays are not named by
/// variables are never a problem here.
pub fn display_problem() -> Option<String> {
    let named_by_variables = cfg!(all(unix, not(target_vendor = "apple")));
    if named_by_variables { missing_display(|name| std::env::var_os(name)) } else { None }
}

fn missing_display(variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let names = ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"];
    if names.iter().any(set) {
        return None;
    }
    Some(format!(
        "There is no display to open a window on: DISPLAY and WAYLAND_DISPLAY are not set. \
         {NO_WINDOW_NEEDED}"
    ))
}

/// Explains why eframe could not run the window.
pub fn explain(error: &eframe::Error) -> Problem {
    match error {
        eframe::Error::WinitEventLoop(error) => explain_event_loop(error),
        eframe::Error::Winit(error) => explain_text(&format!("{error} {error:?}"))
            .unwrap_or_else(|| Problem::new(Obstacle::Other, format!("The window failed: {error}."))),
        eframe::Error::Glutin(_) | eframe::Error::NoGlutinConfigs(..) | eframe::Error::OpenGL(_) => opengl_problem(),
        eframe::Error::AppCreation(error) => {
            Problem::new(Obstacle::Other, format!("The workbench could not start: {error}."))
        }
    }
}

/// Explains why winit could not start or keep its event loop.
pub fn explain_event_loop(error: &EventLoopError) -> Problem {
    explain_text(&format!("{error} {error:?}"))
        .unwrap_or_else(|| Problem::new(Obstacle::Other, format!("The window system reported an error: {error}.")))
}

/// Whether a failed window is OpenGL's fault, so that the software window is worth a try.
pub fn is_opengl(error: &eframe::Error) -> bool {
    explain(error).obstacle == Obstacle::OpenGl
}

fn opengl_problem() -> Problem {
    let sentence = format!(
        "OpenGL is not available for the window. Install it with `{PACKAGES}`, or draw in \
         software with `{RENDERER_OPTION} {}`.",
        Renderer::Soft.name()
    );
    Problem::new(Obstacle::OpenGl, sentence)
}

/// Recognises winit's errors by their text: the types behind them are private to it.
fn explain_text(text: &str) -> Option<Problem> {
    let has = |part: &str| text.contains(part);
    let library = |packages: &str| {
        let sentence = format!(
            "A shared library of the window system is missing. Install what a window needs with \
             `{packages}`. {NO_WINDOW_NEEDED}"
        );
        Some(Problem::new(Obstacle::Library, sentence))
    };
    let display = |what: &str| Some(Problem::new(Obstacle::Display, format!("{what} {NO_WINDOW_NEEDED}")));
    if has("LibraryOpenError") || has("xlib's shared libraries") || has("libxkbcommon") {
        library(PACKAGES)
    } else if has("NoWaylandLib") {
        library(WAYLAND_PACKAGES)
    } else if has("XOpenDisplayFailed") {
        display("No X server answers at the display that DISPLAY names.")
    } else if has("NoCompositor") || has("Could not find wayland compositor") {
        display("No Wayland compositor answers at the socket that WAYLAND_DISPLAY names.")
    } else if has("neither WAYLAND_DISPLAY") {
        display("There is no display to open a window on.")
    } else {
        None
    }
}

/// Runs a window and turns the panic of a missing libxkbcommon into a [`Problem`].
///
/// The loader of that library panics where others return an error. Every other panic goes on.
///
/// # Errors
/// When the library is missing.
pub fn guard<T>(run: impl FnOnce() -> T) -> Result<T, Problem> {
    quieten_xkbcommon();
    // What the closure borrowed is not looked at again after a panic: the program ends.
    catch_unwind(AssertUnwindSafe(run)).or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        match explain_text(text) {
            Some(problem) if text.contains("xkbcommon") => Err(problem),
            _ => resume_unwind(panic),
        }
    })
}

/// Keeps the expected panic from printing its own message before ours; others print as ever.
fn quieten_xkbcommon() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("xkbcommon")) {
                loud(info);
            }
        }));
    });
}

/// Opens the window that `renderer` asks for and returns when it is closed.
///
/// `gl` runs eframe, `soft` the software window; at most one of them is called, because a process
/// can have only one event loop. When [`Renderer::Auto`] finds no OpenGL, this program starts
/// itself again with `--renderer soft` and all its other arguments.
///
/// # Errors
/// When no window could be opened, or the second process failed.
pub fn open(
    renderer: Renderer,
    gl: impl FnOnce() -> eframe::Result,
    soft: impl FnOnce() -> Result<(), SoftError>,
) -> Result<(), Problem> {
    if let Some(sentence) = display_problem() {
        return Err(Problem::new(Obstacle::Display, sentence));
    }
    if renderer == Renderer::Soft {
        return guard(soft)?.map_err(Problem::from);
    }
    let Err(error) = guard(gl)? else { return Ok(()) };
    let problem = explain(&error);
    if renderer == Renderer::Gl || problem.obstacle != Obstacle::OpenGl {
        return Err(problem);
    }
    eprintln!("OpenGL is not available; the window is drawn in software.");
    match restart_in_software() {
        Ok(status) if status.success() => Ok(()),
        // The second process has already said why.
        Ok(status) => Err(Problem::new(Obstacle::Other, format!("The software window: {status}."))),
        Err(error) => {
            let sentence = format!("The software window could not be started: {error}.");
            Err(Problem::new(Obstacle::Other, sentence))
        }
    }
}

/// Runs this program again with the software window: in place of this one where the system can do that, so that a signal
/// still reaches the window; elsewhere it is waited for.
///
/// # Errors
/// When the program file cannot be found or started.
pub fn restart_in_software() -> std::io::Result<ExitStatus> {
    let arguments = software_arguments(std::env::args_os().skip(1));
    let mut again = Command::new(std::env::current_exe()?);
    again.args(arguments);
    #[cfg(unix)]
    {
        Err(std::os::unix::process::CommandExt::exec(&mut again))
    }
    #[cfg(not(unix))]
    {
        again.status()
    }
}

/// The arguments of this run with the renderer replaced.
///
/// The option comes first: at the end it could stand behind `--`, where it would be a file name.
fn software_arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept: Vec<OsString> = vec![RENDERER_OPTION.into(), Renderer::Soft.name().into()];
    let joined = format!("{RENDERER_OPTION}=");
    let (mut value_follows, mut only_files) = (false, false);
    for argument in arguments {
        let text = argument.to_string_lossy();
        only_files |= text == "--";
        if value_follows {
            value_follows = false;
        } else if !only_files && text == RENDERER_OPTION {
            value_follows = true;
        } else if only_files || !text.starts_with(&joined) {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_no_display() {
        let only = |name: &'static str, value: &'static str| {
            missing_display(move |asked| (asked == name).then(|| value.into()))
        };
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
            assert_eq!(only(name, ":0"), None);
            let sentence = only(name, "").expect("an empty name is as good as none");
            for word in ["inspect", "estimate", "export", "verify", "compare", "evaluate"] {
                assert!(sentence.contains(word), "{sentence}");
            }
            assert!(sentence.contains("screenshot"));
        }
    }

    #[test]
    fn a_failed_gl_window_is_told_from_other_failures() {
        let lost = eframe::Error::WinitEventLoop(EventLoopError::RecreationAttempt);
        assert!(!is_opengl(&lost));
        let app = eframe::Error::AppCreation("no model".into());
        assert_eq!(explain(&app).sentence, "The workbench could not start: no model.");
        let problem = opengl_problem();
        assert_eq!(problem.obstacle, Obstacle::OpenGl);
        assert!(problem.sentence.contains(PACKAGES));
        assert!(problem.sentence.contains("--renderer soft"));
    }

    #[test]
    fn the_texts_of_the_window_system_become_sentences() {
        let cases = [
            ("Failed to load one of xlib's shared libraries", Obstacle::Library),
            ("Os(OsError { error: XNotSupported(XOpenDisplayFailed) })", Obstacle::Display),
            ("Os(OsError { error: WaylandError(Connection(NoCompositor)) })", Obstacle::Display),
            ("WaylandError(Connection(NoWaylandLib))", Obstacle::Library),
            ("neither WAYLAND_DISPLAY nor WAYLAND_SOCKET nor DISPLAY is set.", Obstacle::Display),
        ];
        for (text, obstacle) in cases {
            assert_eq!(explain_text(text).map(|problem| problem.obstacle), Some(obstacle), "{text}");
        }
        assert_eq!(explain_text("something else"), None);
    }

    #[test]
    fn only_the_panic_of_xkbcommon_is_caught() {
        let missing: Result<(), Problem> = guard(|| panic!("Library libxkbcommon-x11.so could not be loaded."));
        let problem = missing.expect_err("the panic is a problem now");
        assert!(problem.sentence.contains(PACKAGES));
        let other = catch_unwind(|| guard(|| panic!("a bug of our own")));
        assert!(other.is_err());
        assert_eq!(guard(|| 7), Ok(7));
    }

    #[test]
    fn the_second_process_gets_the_same_arguments() {
        let of = |arguments: &[&str]| {
            let kept = software_arguments(arguments.iter().map(OsString::from));
            kept.into_iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&[]), "--renderer soft");
        assert_eq!(of(&["open", "a.onnx"]), "--renderer soft open a.onnx");
        assert_eq!(of(&["--renderer", "auto", "a"]), "--renderer soft a");
        assert_eq!(of(&["--renderer=auto", "a"]), "--renderer soft a");
        assert_eq!(of(&["--", "--renderer=x"]), "--renderer soft -- --renderer=x");
    }
}
