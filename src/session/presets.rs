//! Presets as both faces offer them: what there is, and a preset put in place of the rules that are there.

pub use crate::allocate::{Choice, Parameter, Preset};

use super::Error;
use super::jobs;
use super::live::Live;
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
pub fn apply(
    model: &Model,
    recipe: &Recipe,
    choice: &Choice,
    control: &Control,
) -> Result<(Recipe, Vec<String>), Error> {
    let now = Plan::new(model, recipe, true)?;
    let made = model.steadily(|| choice.recipe(model, control).map_err(Error::from))?;
    let mut applied = Recipe { rules: Vec::new(), overrides: Vec::new(), ..recipe.clone() };
    for name in &recipe.locked {
        if let Some(index) = model.find(name).filter(|&index| now.assignments[index].line.is_some()) {
            applied.set_one(name, now.assignments[index].scheme.clone());
        }
    }
    let mut skipped = Vec::new();
    for rule in made.rules {
        skipped.extend(applied.set_parsed(model, rule.pattern, rule.scheme)?);
    }
    for item in made.overrides {
        if recipe.locked.contains(&item.tensor) {
            skipped.push(item.tensor);
            continue;
        }
        applied.set_one(&item.tensor, item.scheme);
    }
    Plan::new(model, &applied, true)?;
    Ok((applied, skipped.iter().map(|name| printable(name)).collect()))
}

impl Live {
    /// Works out a preset behind the window, and puts it in place of the recipe's rules as one step when it is there.
    pub fn apply_preset(&mut self, choice: Choice) {
        self.last_preset = Some(choice);
        let (model, recipe) = (self.model.clone(), self.recipe().clone());
        let job = jobs::preset(model, recipe, choice, self.revision(), self.reporter.clone());
        self.running.preset = Some(job);
    }

    /// Takes in what came of it. What was turned meanwhile is not turned back: then the preset is not applied, and that is said.
    pub(super) fn take_preset(&mut self, choice: Choice, revision: u64, result: Result<(Recipe, Vec<String>), String>) {
        let name = choice.preset.name();
        let words = match result {
            Err(why) => why,
            Ok(_) if revision != self.revision() => {
                format!("Preset {name} was not applied: the recipe changed while it was worked out")
            }
            Ok((recipe, skipped)) => match self.change(recipe, &format!("preset {name}"), None, None) {
                Err(error) => error.to_string(),
                Ok(()) if skipped.is_empty() => return,
                Ok(()) => format!("Preset {name} left {} locked layers as they are", skipped.len()),
            },
        };
        self.troubles.say(words, None);
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::Cause;
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::{Decimal, Target};
    use std::path::Path;

    #[test]
    fn a_preset_takes_the_place_of_rules_and_leaves_locks_alone() {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let mut recipe = Recipe { target: Some(Target::Safetensors), ..Recipe::default() };
        recipe.set(&model, "*=int8").unwrap();
        recipe.locked = vec!["fc1.bias".into(), "fc2.weight".into()];
        let share = Decimal::parse("0.5");
        let schemes = |preset, share| {
            let choice = Choice { preset, share, round: None };
            let (applied, skipped) = apply(&model, &recipe, &choice, &Control::default()).unwrap();
            assert_eq!((applied.target, &applied.locked), (recipe.target, &recipe.locked));
            assert_eq!(skipped, ["fc2.weight"]);
            let plan = Plan::new(&model, &applied, false).unwrap();
            plan.assignments.iter().map(|a| a.scheme.to_string()).collect::<Vec<_>>()
        };
        let half = ["keep", "prune:0.5", "keep", "int8:row", "keep", "prune:0.5"];
        assert_eq!(schemes(Preset::Uniform, share), half);
        let paper = ["keep", "prune:0.92+codebook:64", "keep", "int8:row", "keep", "prune:0.74+codebook:64"];
        assert_eq!(schemes(Preset::DeepCompression, None), paper);
        let (lamp, stopped) = (Choice { preset: Preset::Lamp, share, round: None }, Control::default());
        stopped.cancel();
        let why = apply(&model, &recipe, &lamp, &stopped).map_err(Cause::from);
        assert_eq!(why.unwrap_err(), Cause::Cancelled, "which is told to nobody");
        for preset in Preset::ALL {
            assert!(
                preset.about().len() < 120
                    && preset.name().chars().all(|c| c.is_ascii_lowercase() || "-0123456789".contains(c))
            );
        }
    }
}
