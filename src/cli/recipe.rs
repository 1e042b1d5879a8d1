//! `recipe`: the choice as text, in our own words or in those of another program; and back from theirs.

use super::args::{Global, RecipeCommandArgs, Whom};
use super::estimate::open;
use super::{Failure, json};
use crate::export::atomic::write_whole;
use crate::export::{check_not_source, check_replaced};
use crate::formats::error::{display_path, printable_up_to};
use crate::session::{Error, Request};
use crate::share::{Choice, forms, llama_cpp, llm_compressor, mlx};
use serde_json::json;
use std::io::Read;
use std::path::Path;

/// Bytes of a list of types that are read at most.
const LARGEST: u64 = 8 << 20;

/// Opens, puts the choice into words, writes or prints them.
pub fn run(args: &RecipeCommandArgs, global: &Global) -> Result<(), Failure> {
    let request = match &args.from_tensor_types {
        Some(list) => from_types(args, list, global)?,
        None => open(&args.model, &args.recipe, global)?,
    };
    if let Some(out) = &args.out {
        check_out(out, args.force)?;
        check_not_source(&request.model, out).map_err(Error::from)?;
    }
    let choice = Choice { model: &request.model, recipe: &request.recipe, plan: &request.plan };
    let list = args.out.as_deref().map_or(llama_cpp::LIST.into(), Path::to_string_lossy);
    if args.whom == Whom::Spokeshave && choice.recipe.settled(choice.model, choice.plan).needs_nearest(choice.model) {
        let note =
            "what is pruned together stays in one line, and some of it takes the nearest: give --nearest with it";
        global.notes(&[note.to_owned()]);
    }
    if let (true, locked @ 1..) = (args.whom != Whom::Spokeshave, choice.recipe.locked.len()) {
        let are = if locked == 1 { "1 lock is" } else { &format!("{locked} locks are") };
        global.notes(&[format!(
            "{are} not in it: they bind the window and allocate; hand the recipe on as a file to keep them"
        )]);
    }
    let words = match args.whom {
        Whom::Spokeshave => forms::recipe(choice).map(|text| (text, None)),
        Whom::Command => forms::command_line(choice).map(|text| (text, None)),
        Whom::LlamaCpp => llama_cpp::words(choice, &list).map(|words| (words.file, Some(words.command))),
        Whom::LlmCompressor => llm_compressor::recipe(choice).map(|text| (text, None)),
        Whom::Mlx => mlx::block(choice).map(|text| (text, None)),
    };
    let (text, beside) = words.map_err(|error| Failure::Told(error.to_string()))?;
    if let Some(out) = &args.out {
        write_whole(out, text.as_bytes()).map_err(Error::from)?;
    }
    // Beside a text on the standard output there is no place for it but the other one.
    let aside = beside.iter().filter(|_| args.out.is_none());
    global.notes(&aside.map(|command| command.trim_end().to_owned()).collect::<Vec<_>>());
    global.tell(
        || json!({"out": args.out.as_deref().map(json::path), "text": text, "command": beside}),
        || match &args.out {
            Some(out) => format!("wrote {}\n{}", display_path(out), beside.as_deref().unwrap_or_default()),
            None => text.clone(),
        },
    )
}

/// The request that a list of llama.cpp's types makes.
fn from_types(args: &RecipeCommandArgs, list: &Path, global: &Global) -> Result<Request, Failure> {
    let told = |what: String| Failure::Told(format!("{}: {what}", display_path(list)));
    let metadata = std::fs::metadata(list).map_err(|e| told(format!("cannot be opened: {e}")))?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        let (bytes, file) = (metadata.len(), metadata.is_file());
        return Err(told(if file {
            format!("it has {bytes} bytes, a list of types at most {LARGEST}")
        } else {
            "it is not a regular file".into()
        }));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(list).map_err(|e| told(format!("cannot be opened: {e}")))?;
    opened.take(LARGEST).read_to_end(&mut bytes).map_err(|e| told(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| told("it is not UTF-8 text".into()))?;
    let model = crate::model::open(&args.model, &global.open_options()).map_err(Error::from)?;
    let read = llama_cpp::recipe(&text, &model);
    let (recipe, messages) = read.map_err(|error| told(printable_up_to(&error.to_string(), 400)))?;
    global.notes(&messages);
    let wish = args.recipe.wish()?;
    let request = Request::with_recipe(&args.model, &global.open_options(), recipe, &wish)?;
    global.notes(&request.messages);
    Ok(request)
}

/// A file that is there is replaced only when told to.
pub(super) fn check_out(out: &Path, force: bool) -> Result<(), Failure> {
    Ok(check_replaced(out, force).map_err(Error::from)?)
}
