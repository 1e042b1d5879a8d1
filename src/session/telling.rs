//! The choice under the hand, told to others: as text in one of its forms.

use super::live::Live;
use crate::estimate::total::bytes_only;
use crate::share::Told;
use crate::share::forms::Form;

impl Live {
    /// The choice in a form, letter by letter what the commands print of the same recipe.
    ///
    /// # Errors
    /// Why the model or the recipe has no words in it, in a sentence.
    pub fn words(&self, form: &Form) -> Result<String, String> {
        let (model, recipe, plan) = (&self.model, &self.recipe, &self.plan);
        let estimate = &bytes_only(model, plan, recipe);
        (form.words)(Told { model, recipe, plan, estimate }).map_err(|error| error.to_string())
    }
}
