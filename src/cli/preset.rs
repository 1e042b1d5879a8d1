//! `preset`: a recipe that has a name, made for a model and written out.

use super::args::{Global, PresetArgs};
use super::text::{self, Table};
use super::{Failure, json, progress};
use crate::export::atomic::write_whole;
use crate::export::check_not_source;
use crate::formats::error::{display_path, printable};
use crate::recipe::{Decimal, Plan, Recipe, file, plan};
use crate::session::Error;
use crate::session::presets::{self, Choice};
use serde_json::json;

/// Opens, makes the recipe, writes or prints it.
pub fn run(args: &PresetArgs, global: &Global) -> Result<(), Failure> {
    let model = global.open(&args.model)?;
    if let Some(out) = &args.out {
        super::recipe::check_out(out, args.force)?;
        check_not_source(&model, out).map_err(Error::from)?;
    }
    let model = if args.requantize { model.requantizing() } else { model };
    let target = args.target.unwrap_or(plan::default_target(&model));
    let empty = Recipe { target: Some(target), requantize: args.requantize, ..Recipe::default() };
    let choice = Choice { preset: args.name, share: args.share, round: args.round };
    let (recipe, _) =
        progress::watch(global.quiet, "reading", |control| presets::apply(&model, &empty, &choice, control))?;
    let resolved = Plan::new(&model, &recipe, true).map_err(Error::from)?;
    if recipe.needs_nearest(&model) {
        let target = target.name();
        let note = format!(
            "target {target} holds some of this only in a nearest form: give --nearest with the recipe, or another --target here"
        );
        global.notes(&[note]);
    }
    let text = file::print(&recipe);
    if let Some(out) = &args.out {
        // Somebody may have written there while the weights were read.
        super::recipe::check_out(out, args.force)?;
        write_whole(out, text.as_bytes()).map_err(Error::from)?;
    }
    let touched: Vec<usize> = (0..model.tensors.len()).filter(|&i| resolved.is_touched(i)).collect();
    let document = || {
        let one =
            |&i: &usize| json!({"name": model.tensors[i].name, "scheme": resolved.assignments[i].scheme.to_string()});
        json!({
            "preset": args.name.name(),
            "share": args.share.map(Decimal::to_f64),
            "round": args.round,
            "out": args.out.as_deref().map(json::path),
            "recipe": text,
            "tensors": touched.iter().map(one).collect::<Vec<_>>(),
        })
    };
    let row = |at: usize| {
        let name = touched.get(at).map(|&i| (&model.tensors[i], &resolved.assignments[i].scheme));
        name.map_or_else(Vec::new, |(tensor, scheme)| {
            vec![printable(&tensor.name), text::count(tensor.elements() as u64), scheme.to_string()]
        })
    };
    global.tell(document, || match &args.out {
        None => text.clone(),
        Some(out) => {
            let table = Table::new(&["<name", "elements", "<scheme"], touched.len(), row);
            format!("wrote {}\n\n{table}", display_path(out))
        }
    })
}
