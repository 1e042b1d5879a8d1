//! The workbench itself: holds the session and the view, lays the panels out, and is the one place where commands are carried out.

use super::beside;
use super::command::{self, Command};
use super::dialogs;
use super::export_dialog::{file_stem, suggested_name};
use super::hand;
use super::panels;
use super::share;
use super::state::{Dialog, Preferences, Tab, View};
use super::taken::Taken;
use super::theme::{self, tokens};
use crate::export::atomic::write_whole;
use crate::export::check_not_source;
use crate::export::stale;
use crate::model::{Model, OpenOptions};
use crate::profile::Cache;
use crate::recipe::{self, Prune, Recipe, file};
use crate::session::autosave::{Autosave, Shelf};
use crate::session::live::{Live, Outcome};
use egui::{Context, Rect, Ui, UiBuilder, pos2, vec2};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a window that goes waits for an export to clean up behind itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The whole window, whatever draws it.
pub struct Workbench {
    pub(super) live: Option<Live>,
    pub(super) view: View,
    preferences: Preferences,
    pub(super) options: OpenOptions,
    cache: Option<Cache>,
    pub(super) shelf: Option<Shelf>,
    pub(super) autosave: Option<Autosave>,
    /// Whether the model that was open when the program ended may be offered beside the next one that is opened.
    pub(super) may_reopen: bool,
}

impl Workbench {
    /// A window without a model. Fonts and styles are set on `ctx`.
    #[must_use]
    pub fn new(ctx: &Context, preferences: Preferences, options: OpenOptions) -> Self {
        theme::install(ctx);
        ctx.set_theme(if preferences.dark { egui::Theme::Dark } else { egui::Theme::Light });
        let (live, view) = (None, View::of(None));
        Self { live, view, preferences, options, cache: None, shelf: None, autosave: None, may_reopen: false }
    }

    /// Keeps what is read of models in a cache from here on.
    pub fn keep_profiles(&mut self, cache: Option<Cache>) {
        self.cache = cache;
    }

    /// Opens a model with a recipe that was already resolved on it.
    pub fn adopt(&mut self, ctx: &Context, model: Arc<crate::model::Model>, recipe: Recipe) {
        if let Err(error) = self.take_over(ctx, model, recipe, None) {
            self.view.failure = Some(error.to_string());
        }
    }

    /// Opens a model; the recipe is in a file of the user's own when it is `base`.
    pub(super) fn take_over(
        &mut self,
        ctx: &Context,
        model: Arc<Model>,
        recipe: Recipe,
        base: Option<Recipe>,
    ) -> Result<(), recipe::Error> {
        let repaint = ctx.clone();
        let mut live = Live::new(model, recipe, self.cache.clone(), Arc::new(move || repaint.request_repaint()))?;
        self.close();
        self.view = View::of(Some(&live.model));
        if live.network.is_some() {
            live.show_images(panels::digits::IMAGES.to_vec());
        }
        self.view.notice = live.model.warnings.first().cloned();
        self.live = Some(live);
        self.begin_keeping(ctx, base);
        Ok(())
    }

    /// Says why there is no model.
    pub fn fail(&mut self, why: String) {
        self.view.failure = Some(why);
    }

    /// Why no model is open, if something went wrong.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.view.failure.as_deref()
    }

    /// Shows the empty state as it is when nothing went wrong.
    pub fn forget_failure(&mut self) {
        self.view.failure = None;
    }

    /// What survives a restart.
    #[must_use]
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    /// The session, when a model is open.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    /// Whether background work will still change the picture.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.live.as_ref().is_some_and(Live::is_busy)
    }

    /// Selects a tensor by its name.
    ///
    /// # Errors
    /// When no model is open or none of its tensors has this name.
    pub fn select(&mut self, name: &str) -> Result<(), String> {
        let live = self.live.as_ref().ok_or("no model is open")?;
        let index = live.model.find(name).ok_or_else(|| format!("there is no tensor named {name:?}"))?;
        self.view.select(index);
        self.view.reveal = true;
        Ok(())
    }

    /// Opens a tab of the selected layer.
    pub fn open_tab(&mut self, tab: Tab) {
        self.view.tab = tab;
    }

    /// Takes in what background work has sent. Call before [`Workbench::ui`].
    pub fn logic(&mut self, ctx: &Context) {
        if let Some(live) = &mut self.live {
            live.look_at(self.view.in_sight().collect());
            live.poll();
            if let Some(Outcome::Done(_)) = &live.outcome {
                self.view.exported = true;
            }
            beside::poll(live, &mut self.view);
            // What waits for a frame gets one. Progress is shown ten times a second; results wake the window themselves.
            if live.is_behind() {
                ctx.request_repaint();
            } else if live.is_busy() {
                ctx.request_repaint_after(Duration::from_millis(100));
            }
        }
        self.keep_recipe(ctx);
        for command in dialogs::poll_chooser(ctx, &mut self.view) {
            self.apply(ctx, command);
        }
    }

    /// Draws everything and carries out what the user asked for.
    pub fn ui(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        self.view.hand.begin_frame(&ctx);
        let dismissible = self.live.as_ref().and_then(|live| live.troubles.newest()).is_some_and(|t| !t.stays);
        let later = self.view.offer.is_some().then_some(Command::Later);
        let in_front = if dismissible { Some(Command::CloseBanner) } else { later };
        let mut commands = command::from_keys(ui, &self.view, in_front);
        let beside = self.live.is_some() && beside::takes_drops(&self.view);
        commands.extend(beside::dropped_file(&ctx, beside));
        self.follow_gesture(&ctx, &mut commands);
        ui.painter().rect_filled(ui.max_rect(), 0.0, tokens(ui).bg1);
        match &self.live {
            Some(live) => lay_out(ui, live, &mut self.view, &self.preferences, &mut commands),
            None => panels::welcome::welcome_ui(ui, &mut self.view, &mut commands),
        }
        dialogs::dialog_ui(&ctx, self.live.as_ref(), &mut self.view, &mut commands);
        dialogs::drop_hint_ui(&ctx, beside);
        if let Some(until) = self.view.hand.held.and_then(|held| held.until) {
            ctx.request_repaint_after(Duration::from_secs_f64((until - self.view.hand.now).max(0.0)));
        }
        self.view.hand.had_focus = ctx.memory(egui::Memory::focused).is_some();
        for command in commands {
            self.apply(&ctx, command);
        }
    }

    /// Every press begins a new gesture; Escape while the button is down takes back what the gesture did.
    fn follow_gesture(&mut self, ctx: &Context, commands: &mut Vec<Command>) {
        let depth = self.live.as_ref().map_or(0, |live| live.history().done());
        let (pressed, down, escape) =
            ctx.input(|i| (i.pointer.any_pressed(), i.pointer.any_down(), i.key_pressed(egui::Key::Escape)));
        if pressed {
            self.view.gesture += 1;
            self.view.depth_before = depth;
        }
        if escape && down && depth > self.view.depth_before {
            self.view.abandoned = Some(self.view.gesture);
            self.view.hand.held = None;
            commands.push(Command::Undo);
        }
    }

    /// Carries out one command.
    pub fn apply(&mut self, ctx: &Context, command: Command) {
        // What a tab needs to be drawn is no action of the user's, and takes no word of the last one away.
        match command {
            Command::WantSpectrum(index) => return self.live.iter_mut().for_each(|live| live.want_spectrum(index)),
            Command::WantComparisons(first) => {
                return self.live.iter_mut().for_each(|live| live.want_comparisons(first));
            }
            _ => {}
        }
        (self.view.refusal, self.view.done) = (None, None);
        if share::carry_out(ctx, self.live.as_mut(), &mut self.view, &command) {
            ctx.request_repaint();
            return;
        }
        match command {
            Command::AskOpen => self.view.dialog = Some(Dialog::Open { path: String::new() }),
            Command::Open(path) => self.open(ctx, &path).unwrap_or_else(|why| self.view.refusal = Some(why)),
            Command::CloseDialog => self.view.dialog = None,
            Command::Next(next) => self.next(ctx, next).unwrap_or_else(|why| self.view.refusal = Some(why)),
            Command::Requantize => self.open_anew(ctx, true).unwrap_or_else(|why| self.view.refusal = Some(why)),
            Command::Restore | Command::Reopen | Command::Discard | Command::Later => self.answer_offer(ctx, &command),
            Command::ToggleGuide => self.preferences.guide_hidden = !self.preferences.guide_hidden,
            Command::ToggleTheme => {
                self.preferences.dark = !self.preferences.dark;
                ctx.set_theme(if self.preferences.dark { egui::Theme::Dark } else { egui::Theme::Light });
            }
            other => {
                let opened = self.open_codes_for(ctx, &other);
                let Some(mut live) = self.live.take() else { return };
                let result = opened.and_then(|()| self.apply_to_live(&mut live, other));
                self.live = Some(live);
                match result {
                    Ok(true) => self.recipe_is_safe(),
                    Ok(false) => {}
                    Err(why) => self.view.refusal = Some(why),
                }
            }
        }
        ctx.request_repaint();
    }

    /// Gives whether the recipe is now one that the user has in a file.
    fn apply_to_live(&mut self, live: &mut Live, command: Command) -> Result<bool, String> {
        let view = &mut self.view;
        let text = |e: crate::recipe::Error| e.to_string();
        if let Some(result) = hand::carry_out(live, view, &command) {
            return result.map(|()| false).map_err(text);
        }
        view.hand.forget();
        match command {
            Command::Select(index) => view.select(index),
            Command::Pick(pick) => view.pick(live, pick),
            Command::Step(by) => view.step(live, by),
            Command::ToggleLock(index) if index < live.rows.len() => {
                live.toggle_locks(&view.rows_with(index)).map_err(text)?;
            }
            Command::SetTarget(_) | Command::SetTargetWithNearest(_) => retarget(live, view, &command).map_err(text)?,
            Command::Undo => live.undo(),
            Command::Redo => live.redo(),
            Command::AskExport | Command::AskSaveRecipe | Command::AskPreset | Command::AskMask => {
                ask(live, view, &command);
            }
            Command::ApplyPreset(choice) => {
                live.apply_preset(choice);
                view.dialog = None;
            }
            Command::AskBeside | Command::Beside(_) | Command::CancelBeside | Command::LetGo => {
                beside::carry_out(live, view, self.options, command);
            }
            Command::TakeMask(path) => take_mask(live, view, path).map_err(text)?,
            Command::SaveRecipe(path) => {
                save_recipe(live, view, path)?;
                return Ok(true);
            }
            Command::LoadRecipe(path) => {
                let recipe = file::read(&path).map_err(text)?;
                live.replace_recipe(recipe, "load a recipe").map_err(text)?;
                return Ok(true);
            }
            work => see_to(live, work),
        }
        Ok(false)
    }

    /// The window goes: the recipe is kept, and an export that is being written is stopped and cleaned up behind.
    pub fn leave(&mut self) {
        self.close();
        if let Some(live) = &self.live {
            live.end_export(PATIENCE);
        }
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        // What a panic interrupted was not closed: the next start offers it.
        if !std::thread::panicking() {
            self.leave();
        }
    }
}

/// A child of `ui` in `rect`.
pub fn pane<R>(ui: &mut Ui, rect: Rect, id: &str, add: impl FnOnce(&mut Ui) -> R) -> R {
    let builder = UiBuilder::new().max_rect(rect).id_salt(id);
    let mut child = ui.new_child(builder);
    // A little air at the sides: rings and grips at the end of their rail stand out past it.
    child.set_clip_rect(rect.expand2(vec2(8.0, 0.0)).intersect(ui.clip_rect()));
    add(&mut child)
}

/// Widths and heights of the frame, between the mock's 1024 and 1600 points.
fn lay_out(ui: &mut Ui, live: &Live, view: &mut View, preferences: &Preferences, commands: &mut Vec<Command>) {
    let full = ui.max_rect();
    let t = tokens(ui);
    let blend = ((full.width() - 1024.0) / (1600.0 - 1024.0)).clamp(0.0, 1.0);
    let left_width = egui::lerp(300.0..=432.0, blend);
    let right_width = egui::lerp(288.0..=336.0, blend);
    let header = Rect::from_min_size(full.min, vec2(full.width(), 48.0));
    let jobs = Rect::from_min_max(pos2(full.left(), full.bottom() - 32.0), full.max);
    let banner = Rect::from_min_size(
        header.left_bottom(),
        vec2(full.width(), panels::banner::height(live, view, full.height())),
    );
    let body = Rect::from_min_max(banner.left_bottom(), jobs.right_top());
    let left = Rect::from_min_size(body.min, vec2(left_width, body.height()));
    let right = Rect::from_min_max(pos2(body.right() - right_width, body.top()), body.max);
    let centre = Rect::from_min_max(left.right_top(), right.left_bottom());
    pane(ui, header, "header", |ui| panels::header::header_ui(ui, live, view, preferences, commands));
    pane(ui, banner, "banner", |ui| panels::banner::banner_ui(ui, live, view, commands));
    pane(ui, left, "layers", |ui| panels::layers::layers_ui(ui, live, view, preferences, commands));
    centre_ui(ui, centre, live, view, commands);
    right_ui(ui, right, live, view, commands);
    pane(ui, jobs, "jobs", |ui| panels::jobs::jobs_ui(ui, live, view, commands));
    let line = egui::Stroke::new(1.0, t.line);
    for x in [left.right(), right.left()] {
        ui.painter().vline(x, body.y_range(), line);
    }
    for y in [header.bottom(), jobs.top()] {
        ui.painter().hline(full.x_range(), y, line);
    }
}

fn centre_ui(ui: &mut Ui, rect: Rect, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let line = egui::Stroke::new(1.0, tokens(ui).line);
    let roomy = rect.height() > 800.0;
    let scheme_height = panels::scheme::height(rect.width(), roomy);
    let digits_height = if live.network.is_some() { panels::digits::height(rect.width(), roomy) } else { 0.0 };
    let scheme = Rect::from_min_max(pos2(rect.left(), rect.bottom() - scheme_height), rect.max);
    let digits = Rect::from_min_max(pos2(rect.left(), scheme.top() - digits_height), scheme.right_top());
    let layer = Rect::from_min_max(rect.min, digits.right_top());
    pane(ui, layer, "layer", |ui| panels::layer::layer_ui(ui, live, view, commands));
    if live.network.is_some() {
        pane(ui, digits, "digits", |ui| panels::digits::digits_ui(ui, live));
        ui.painter().hline(rect.x_range(), digits.top(), line);
    }
    pane(ui, scheme, "scheme", |ui| panels::scheme::scheme_ui(ui, live, view, commands));
    ui.painter().hline(rect.x_range(), scheme.top(), line);
}

fn right_ui(ui: &mut Ui, rect: Rect, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let wanted = panels::totals::height(live);
    let height = wanted.min(rect.height() - 128.0).max(200.0);
    let totals = Rect::from_min_size(rect.min, vec2(rect.width(), height));
    let plot = Rect::from_min_max(totals.left_bottom(), rect.max);
    pane(ui, totals, "totals", |ui| panels::totals::totals_ui(ui, live));
    pane(ui, plot, "tradeoff", |ui| panels::tradeoff::tradeoff_ui(ui, live, view, commands));
    ui.painter().hline(rect.x_range(), plot.top(), egui::Stroke::new(1.0, tokens(ui).line));
}

/// Opens the dialog that asks for what an action needs.
fn ask(live: &mut Live, view: &mut View, command: &Command) {
    match command {
        Command::AskExport => {
            live.outcome = None;
            live.forget_report();
            let path = suggested_name(live);
            view.dialog = Some(Dialog::Export { path, force: false, taken: Taken::default(), looking: None });
        }
        Command::AskSaveRecipe => {
            let saved = view.saved_as.as_ref().map(|path| path.display().to_string());
            let path = saved.unwrap_or_else(|| format!("{}.toml", file_stem(&live.model.name)));
            view.dialog = Some(Dialog::SaveRecipe { path, force: false, taken: Taken::default() });
        }
        Command::AskPreset => view.dialog = Some(Dialog::Preset { chosen: 0, percent: 80.0, round: 1.0 }),
        Command::AskMask => view.dialog = Some(Dialog::Mask { path: String::new() }),
        _ => {}
    }
}

/// Begins or stops work behind the window, or puts away what is left of it.
fn see_to(live: &mut Live, command: Command) {
    match command {
        Command::Export { out, force } => live.export(out, force),
        Command::CancelExport => live.cancel_export(),
        Command::CancelProfile => live.cancel_profile(),
        Command::ResumeProfile => live.resume_profile(),
        Command::Baseline => live.start_baseline(),
        Command::CloseBanner => drop(live.troubles.dismiss()),
        Command::RemoveLeftovers(stale) => {
            if let Err(error) = stale::remove(&stale) {
                live.troubles.say(format!("Not every leftover could be removed: {error}"), None);
            }
        }
        _ => {}
    }
}

/// Another target, at once where it holds what is chosen; else what it would hold is shown first.
fn retarget(live: &mut Live, view: &mut View, command: &Command) -> Result<(), recipe::Error> {
    match *command {
        Command::SetTarget(target) => match live.mapping(target) {
            Ok(mapped) if !mapped.is_empty() => view.dialog = Some(Dialog::Target { target, mapped }),
            _ => live.set_target(target)?,
        },
        Command::SetTargetWithNearest(target) => {
            live.set_target_with_nearest(target)?;
            view.dialog = None;
        }
        _ => {}
    }
    Ok(())
}

/// The zeros of another model, for what is selected.
fn take_mask(live: &mut Live, view: &mut View, path: PathBuf) -> Result<(), recipe::Error> {
    let file = std::path::absolute(&path).unwrap_or(path).display().to_string();
    let scheme = live.scheme(view.selected).clone().with_prune(Some(Prune::Mask { file }));
    let set = Command::SetScheme { scheme, what: "take a mask".into(), gesture: None };
    hand::carry_out(live, view, &set).unwrap_or(Ok(()))?;
    view.dialog = None;
    Ok(())
}

/// Writes the recipe into a file of the user's own.
fn save_recipe(live: &Live, view: &mut View, path: PathBuf) -> Result<(), String> {
    check_not_source(&live.model, &path).map_err(|e| e.to_string())?;
    let text = file::print(&live.recipe().written_to(&path));
    write_whole(&path, text.as_bytes()).map_err(|e| e.to_string())?;
    view.notice = Some(format!("recipe saved as {}", path.display()));
    view.saved_as = Some(path);
    view.dialog = None;
    Ok(())
}
