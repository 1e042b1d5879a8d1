//! Presets as both faces offer them: what there is, and a preset laid over the recipe that is there.

pub use crate::allocate::{Choice, Parameter, Preset};

use super::Error;
use crate::control::Control;
use crate::formats::error::printable;
use crate::model::Model;
use crate::recipe::{Plan, Recipe};

/// The recipe with a preset in place of its rules and overrides. Target, locks and notes stay, and locked tensors keep the
/// scheme that they have. Gives the locked tensors that the preset would have touched, too.
///
/// Reads the weights where [`Preset::reads_weights`] says so, which takes time: behind a window it belongs to a job.
///
/// # Errors
/// What [`Choice::recipe`] refuses, or a recipe that does not fit the model.
pub fn lay(model: &Model, recipe: &Recipe, choice: &Choice, control: &Control) -> Result<(Recipe, Vec<String>), Error> {
    let now = Plan::new(model, recipe, true)?;
    let made = choice.recipe(model, control)?;
    let mut laid = Recipe { rules: Vec::new(), overrides: Vec::new(), ..recipe.clone() };
    for name in &recipe.locked {
        if let Some(index) = model.find(name).filter(|&index| now.assignments[index].line.is_some()) {
            laid.set_one(name, now.assignments[index].scheme.clone());
        }
    }
    let mut skipped = Vec::new();
    for rule in made.rules {
        skipped.extend(laid.set_parsed(model, rule.pattern, rule.scheme)?);
    }
    for item in made.overrides {
        if recipe.locked.contains(&item.tensor) {
            skipped.push(item.tensor);
            continue;
        }
        laid.set_one(&item.tensor, item.scheme);
    }
    Plan::new(model, &laid, true)?;
    Ok((laid, skipped.iter().map(|name| printable(name)).collect()))
}
