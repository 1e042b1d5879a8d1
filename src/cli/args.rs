//! Every word the program understands, once: parsing, help and shell completions all come from these types.

pub use super::picture::{Renderer, ScreenshotArgs, ScreenshotOptions, Theme, WindowOptions};

use super::{Failure, help};
use crate::recipe::{Decimal, Error, Pattern, Scheme, Target};
use crate::session::Wish;
use crate::session::presets::Preset;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

/// Make neural networks smaller by hand: prune and quantize, see size and quality move, export exactly what you saw
#[derive(Debug, Parser)]
#[command(
    name = "spokeshave",
    version,
    override_usage = "spokeshave [MODEL] [RECIPE]...\n       spokeshave <COMMAND> ...",
    long_about = help::LONG,
    after_help = help::EXAMPLES,
    after_long_help = help::MANUAL
)]
pub struct Cli {
    /// A file, a folder in the Hugging Face layout, or `demo`; write ./inspect for a file named like a command
    #[arg(value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// How the window is drawn [default: auto]
    #[arg(long, value_enum, value_name = "HOW")]
    pub renderer: Option<Renderer>,
    /// Another checkpoint of the model, to be compared with in the window
    #[arg(long, value_name = "FILE")]
    pub beside: Option<PathBuf>,
    /// The recipe that the window starts with.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// What goes with every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; none opens the window.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Print one JSON document on stdout and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to compute with [default: one per core]; the answer does not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Read files in pieces instead of mapping them into memory
    #[arg(long, global = true)]
    pub no_mmap: bool,
    /// No progress and no notes on stderr, only errors
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the tensors of a model with exact statistics
    #[command(after_help = help::INSPECT)]
    Inspect(InspectArgs),
    /// Say what a recipe would cost and break, writing nothing
    #[command(after_help = help::ESTIMATE)]
    Estimate(EstimateArgs),
    /// Find a recipe for a budget (not built yet)
    Allocate(AllocateArgs),
    /// Write the compressed model, read it back and compare
    #[command(after_help = help::EXPORT)]
    Export(ExportArgs),
    /// Write a recipe that has a name: a way of spreading a budget from the literature
    #[command(after_help = help::PRESET)]
    Preset(PresetArgs),
    /// Print the recipe: as it is kept, as a command line, or for llama.cpp, llm-compressor or MLX; or read llama.cpp's
    #[command(after_help = help::RECIPE)]
    Recipe(RecipeCommandArgs),
    /// Write one page to show, or a table to compute with
    #[command(after_help = help::REPORT)]
    Report(ReportArgs),
    /// Check an exported file against its source, by the recipe inside it
    #[command(after_help = help::VERIFY)]
    Verify(VerifyArgs),
    /// Compare two models tensor by tensor, whatever their formats
    #[command(after_help = help::COMPARE)]
    Compare(CompareArgs),
    /// Measure the accuracy of the compressed model
    #[command(after_help = help::EVALUATE)]
    Evaluate(EvaluateArgs),
    /// Draw the window into a PNG file, without a display
    #[command(after_help = help::SCREENSHOT)]
    Screenshot(ScreenshotArgs),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::Inspect(_) => "inspect",
            Self::Estimate(_) => "estimate",
            Self::Allocate(_) => "allocate",
            Self::Export(_) => "export",
            Self::Preset(_) => "preset",
            Self::Recipe(_) => "recipe",
            Self::Report(_) => "report",
            Self::Verify(_) => "verify",
            Self::Compare(_) => "compare",
            Self::Evaluate(_) => "evaluate",
            Self::Screenshot(_) => "screenshot",
            Self::Completions { .. } => "completions",
        }
    }
}

/// What is done to the model.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// A recipe file (TOML)
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Give the tensors that PATTERN touches this scheme; repeatable, the last that matches holds
    #[arg(long, value_name = "PATTERN=SCHEME")]
    pub set: Vec<String>,
    /// The format to be written [default: the recipe's, else packed for a demo, gguf for a GGUF file, else safetensors]
    #[arg(long, value_name = "TARGET", value_parser = target_parser())]
    pub target: Option<Target>,
    /// Where the target cannot hold a scheme, take the nearest that it holds
    #[arg(long)]
    pub nearest: bool,
    /// Touch tensors that are already stored as codes, by their values: a second loss on top of the first
    #[arg(long)]
    pub requantize: bool,
    /// Importance of inputs, from llama.cpp (not built yet)
    #[arg(long, value_name = "FILE")]
    pub imatrix: Option<PathBuf>,
    /// Calibration data (not built yet)
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

fn target_parser() -> impl TypedValueParser<Value = Target> {
    let value = |target: Target| PossibleValue::new(target.name()).help(target.describe());
    PossibleValuesParser::new(Target::ALL.map(value)).try_map(|text| Target::from_str(&text))
}

impl RecipeArgs {
    /// The wish that these words make, refused before a model is opened when they are no such words.
    ///
    /// # Errors
    /// A setting that is malformed, or an option that is not built yet.
    pub fn wish(&self) -> Result<Wish, Failure> {
        self.set.iter().try_for_each(|setting| check_setting(setting))?;
        let unbuilt = [
            (self.imatrix.is_some(), "--imatrix", "leave it out: no scheme of this version needs data"),
            (self.calibration.is_some(), "--calibration", "leave it out: no scheme of this version needs data"),
        ];
        if let Some((_, option, instead)) = unbuilt.into_iter().find(|(given, ..)| *given) {
            return Err(Failure::not_built(option, instead));
        }
        let (recipe, set) = (self.recipe.clone(), self.set.clone());
        Ok(Wish { recipe, set, target: self.target, nearest: self.nearest, requantize: self.requantize })
    }

    fn is_empty(&self) -> bool {
        let flags = self.nearest || self.requantize || self.target.is_some();
        let files = self.recipe.is_some() || self.imatrix.is_some() || self.calibration.is_some();
        !flags && !files && self.set.is_empty()
    }
}

/// Whether a text is PATTERN=SCHEME at all. What it touches is settled when a model is open.
fn check_setting(setting: &str) -> Result<(), Error> {
    let (pattern, scheme) = setting.rsplit_once('=').ok_or_else(|| Error::NotASetting(setting.to_owned()))?;
    Scheme::from_str(scheme)?;
    Pattern::new(pattern).map(drop)
}

/// `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
}

/// `estimate`.
#[derive(Debug, Args)]
pub struct EstimateArgs {
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Estimate from sketches, at once and nearly right
    #[arg(long, conflicts_with = "bytes_only")]
    pub live: bool,
    /// Read no weights: what depends on their values is left open
    #[arg(long)]
    pub bytes_only: bool,
    /// How layers are weighted in fidelity
    #[arg(long, value_enum, value_name = "FORM", default_value = "chain")]
    pub fidelity_form: Form,
    /// What is done to it.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// How layers are weighted in fidelity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Every tensor counts in full
    Chain,
    /// Tensors share a block's weight (not built yet)
    Share,
    /// Later residual writes count less (not built yet)
    Prior,
}

/// `allocate`: refused by name, whatever follows.
#[derive(Debug, Args)]
pub struct AllocateArgs {
    /// Whatever was asked for
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The file to be written; a folder when MODEL is one
    #[arg(short, long, value_name = "OUT")]
    pub out: PathBuf,
    /// Replace OUT if it exists; a file of the model itself is never replaced
    #[arg(long)]
    pub force: bool,
    /// Remove what killed exports left in the folder of OUT first; without it they are only named
    #[arg(long)]
    pub clean: bool,
    /// Write only the masks of what is pruned: a safetensors file of BOOL tensors, 1 where an element stays
    #[arg(long, conflicts_with = "rewind")]
    pub mask_only: bool,
    /// Write FILE, an earlier checkpoint of MODEL, under the masks of what is pruned here
    #[arg(long, value_name = "FILE")]
    pub rewind: Option<PathBuf>,
    /// What is done to it.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// `preset`.
#[derive(Debug, Args)]
pub struct PresetArgs {
    /// Which
    #[arg(value_name = "NAME", value_parser = preset_parser())]
    pub name: Preset,
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The share of all weights to be pruned, from 0 to 1
    #[arg(long, value_name = "P", value_parser = share, conflicts_with = "round")]
    pub share: Option<Decimal>,
    /// The round of a ladder, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub round: Option<u32>,
    /// The recipe file to be written; without it the recipe is printed
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace FILE if it exists
    #[arg(long, requires = "out")]
    pub force: bool,
    /// The format that the recipe names [default: packed for a demo, gguf for a GGUF file, else safetensors]
    #[arg(long, value_name = "TARGET", value_parser = target_parser())]
    pub target: Option<Target>,
    /// Touch tensors that are already stored as codes, by their values: a second loss on top of the first
    #[arg(long)]
    pub requantize: bool,
}

/// `recipe`.
#[derive(Debug, Args)]
pub struct RecipeCommandArgs {
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// In whose words
    #[arg(long = "for", value_enum, value_name = "WHOM", default_value = "spokeshave")]
    pub whom: Whom,
    /// Read the schemes from llama.cpp's --tensor-type-file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recipe", "set"])]
    pub from_tensor_types: Option<PathBuf>,
    /// The file to be written; without it the text is printed
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace FILE if it exists
    #[arg(long, requires = "out")]
    pub force: bool,
    /// What is done to it.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// In whose words a recipe is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Whom {
    /// A recipe file
    Spokeshave,
    /// The command line that exports the same
    Command,
    /// llama-quantize's --tensor-type-file, and its command line on stderr
    #[value(name = "llama.cpp")]
    LlamaCpp,
    /// llm-compressor's recipe (YAML)
    LlmCompressor,
    /// The quantization block of MLX's config.json
    Mlx,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The file to be written: a page (.html) or a table (.csv)
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    pub force: bool,
    /// What is done to it.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

fn preset_parser() -> impl TypedValueParser<Value = Preset> {
    let value = |preset: &Preset| PossibleValue::new(preset.name()).help(preset.about());
    let values: Vec<PossibleValue> = Preset::ALL.iter().map(value).collect();
    let named = |text: String| Preset::ALL.iter().copied().find(|preset| preset.name() == text);
    PossibleValuesParser::new(values).try_map(move |text| named(text).ok_or("there is no such preset"))
}

fn share(text: &str) -> Result<Decimal, &'static str> {
    let share = Decimal::parse(text).filter(|share| share.at_most(1));
    share.ok_or("a share is written from 0 to 1, like 0.9, with at most 15 digits after the point")
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The source that was exported
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// What was written
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// One model
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The other
    #[arg(value_name = "B")]
    pub b: PathBuf,
}

/// `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A file, a folder in the Hugging Face layout, or `demo`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Run CMD through sh, {model} standing for a temporary export; its result is the last number it prints
    #[arg(long, value_name = "CMD {model}")]
    pub with: Option<String>,
    /// What is done to it.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

impl Cli {
    /// What the window is to open with, when no command was given.
    pub(super) fn window(&self) -> Result<WindowOptions, Failure> {
        Ok(WindowOptions {
            model: self.model.clone(),
            wish: self.recipe.wish()?,
            open: self.global.open_options(),
            renderer: self.renderer.unwrap_or_default(),
            beside: self.beside.clone(),
        })
    }

    /// A model or recipe before the command would be lost in silence.
    pub(super) fn check_nothing_before(&self, command: &Command) -> Result<(), Failure> {
        let given = self.model.is_some() || self.renderer.is_some() || self.beside.is_some();
        if !given && self.recipe.is_empty() {
            return Ok(());
        }
        let name = command.name();
        Err(Failure::Usage(format!("{name} comes first: write spokeshave {name} MODEL and its options after it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_setting_is_split_at_its_last_equals_sign() {
        assert!(check_setting("odd=name=int4").is_ok());
        assert!(check_setting("int4").unwrap_err().is_usage());
        assert!(check_setting("*=int9").unwrap_err().is_usage());
        assert!(check_setting("re:(=int4").unwrap_err().is_usage());
    }
}
