//! Every form in which a choice is handed on as text, in one list: menus are made from it, and a new form is one line here.

use super::{Choice, Error, command, llama_cpp, llm_compressor, mlx};
use crate::recipe::file;

/// One way to say a choice.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What it is called, as a line of a menu.
    pub name: &'static str,
    /// What it is good for, in a sentence.
    pub about: &'static str,
    /// The text, or why this choice has none in this form.
    pub words: fn(Choice<'_>) -> Result<String, Error>,
}

/// Position of our own command line, which has a key of its own.
pub const COMMAND: usize = 0;

/// Every form.
pub const FORMS: &[Form] = &[
    Form { name: "Command line", about: "The command that exports the same again", words: command_line },
    Form { name: "Recipe", about: "A recipe file, for the commands and for other models", words: recipe },
    Form { name: "llama.cpp tensor types", about: "The file for llama-quantize --tensor-type-file", words: types },
    Form { name: "llama.cpp command", about: "The llama-quantize command that takes that file", words: quantize },
    Form {
        name: "llm-compressor recipe",
        about: "For llmcompressor.oneshot, without data",
        words: llm_compressor::recipe,
    },
    Form { name: "MLX quantization block", about: "What a config.json says for mlx-lm", words: mlx::block },
];

/// Our own command line.
///
/// # Errors
/// As [`command::command`].
pub fn command_line(choice: Choice<'_>) -> Result<String, Error> {
    command::command(choice.model, choice.recipe, choice.plan)
}

/// A recipe file, in its settled form.
///
/// # Errors
/// None; other forms have some.
pub fn recipe(choice: Choice<'_>) -> Result<String, Error> {
    Ok(file::print(&choice.recipe.settled(choice.model, choice.plan)))
}

fn types(choice: Choice<'_>) -> Result<String, Error> {
    llama_cpp::words(choice, llama_cpp::LIST).map(|words| words.file)
}

fn quantize(choice: Choice<'_>) -> Result<String, Error> {
    llama_cpp::words(choice, llama_cpp::LIST).map(|words| words.command)
}
