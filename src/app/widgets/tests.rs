//! Widgets driven the way people drive them: by pointer, by key, by screen reader.
//!
//! The harness fails by itself when a widget has no accessible name or a glyph is missing.

use egui::{Key, Modifiers, Role, Ui, pos2, vec2};
use egui_kittest::{Harness, kittest::Queryable as _};

use super::*;
use crate::app::theme;

/// A harness in the window's own look.
fn harness<'a, State: 'a>(state: State, mut draw: impl FnMut(&mut Ui, &mut State) + 'a) -> Harness<'a, State> {
    let mut harness = Harness::builder()
        .with_size(vec2(480.0, 320.0))
        .with_theme(egui::Theme::Dark)
        .with_context_setup(theme::install)
        .build_ui_state(
            move |ui, state| {
                ui.spacing_mut().item_spacing = vec2(8.0, 8.0);
                draw(ui, state);
            },
            state,
        );
    harness.run();
    harness
}

#[derive(Default)]
struct Heard {
    value: f64,
    changes: usize,
    starts: usize,
    stops: usize,
}

impl Heard {
    fn note(&mut self, response: &egui::Response) {
        self.changes += usize::from(response.changed());
        self.starts += usize::from(response.drag_started());
        self.stops += usize::from(response.drag_stopped());
    }
}

fn slider<'a>(value: f64) -> Harness<'a, Heard> {
    let heard = Heard { value, ..Heard::default() };
    harness(heard, |ui, heard| {
        let slider = Slider::new(&mut heard.value, 0.0..=100.0, "Share pruned")
            .step(0.5)
            .width(200.0)
            .mark(25.0, "break-even 25 %");
        let response = ui.add(slider);
        heard.note(&response);
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn slider_follows_a_drag_and_reports_its_ends() {
    let mut h = slider(0.0);
    let rect = h.get_by_role_and_label(Role::Slider, "Share pruned").rect();
    // The hit area reaches past the rail on both sides.
    let rail = rect.shrink2(vec2(7.0, 0.0));
    h.drag_at(pos2(rail.left() + 50.0, rail.center().y));
    h.run();
    assert!(close(h.state().value, 25.0), "{}", h.state().value);
    h.hover_at(pos2(rail.left() + 120.3, rail.center().y));
    h.run();
    assert!(close(h.state().value, 60.0), "{}", h.state().value);
    assert_eq!((h.state().starts, h.state().stops), (1, 0));
    h.hover_at(pos2(rail.right() + 90.0, rail.center().y));
    h.run();
    h.drop_at(pos2(rail.right() + 90.0, rail.center().y));
    h.run();
    assert!(close(h.state().value, 100.0));
    assert_eq!((h.state().starts, h.state().stops), (1, 1));
    assert_eq!(h.state().changes, 3);
}

#[test]
fn slider_grabbed_beside_the_middle_of_its_ring_does_not_jump() {
    let mut h = slider(50.0);
    let middle = h.get_by_label("Share pruned").rect().center();
    h.drag_at(middle + vec2(4.0, 1.0));
    h.run();
    assert!(close(h.state().value, 50.0), "{}", h.state().value);
    h.hover_at(middle + vec2(24.0, 1.0));
    h.run();
    assert!(close(h.state().value, 60.0), "{}", h.state().value);
    h.drop_at(middle + vec2(24.0, 1.0));
    h.run();
    assert_eq!(h.state().changes, 1);
}

#[test]
fn slider_takes_keys_once_it_has_the_focus() {
    let mut h = slider(50.0);
    h.key_press(Key::Tab);
    h.run();
    assert!(h.get_by_label("Share pruned").is_focused());
    let presses = [
        (Modifiers::NONE, Key::ArrowRight, 50.5),
        (Modifiers::SHIFT, Key::ArrowRight, 55.5),
        (Modifiers::NONE, Key::ArrowDown, 55.0),
        (Modifiers::SHIFT, Key::ArrowLeft, 50.0),
        (Modifiers::NONE, Key::Home, 0.0),
        (Modifiers::NONE, Key::ArrowLeft, 0.0),
        (Modifiers::NONE, Key::End, 100.0),
        (Modifiers::NONE, Key::PageDown, 95.0),
    ];
    for (modifiers, key, expected) in presses {
        h.key_press_modifiers(modifiers, key);
        h.run();
        assert!(close(h.state().value, expected), "{key:?}: {}", h.state().value);
    }
    assert!(h.get_by_label("Share pruned").is_focused());
}

#[test]
fn slider_answers_a_screen_reader() {
    let mut h = slider(50.0);
    h.get_by_label("Share pruned").set_value_accesskit(33.3);
    h.run();
    assert!(close(h.state().value, 33.5));
    h.get_by_label("Share pruned").increment_accesskit();
    h.run();
    assert!(close(h.state().value, 34.0));
    h.get_by_label("Share pruned").decrement_accesskit();
    h.run();
    assert!(close(h.state().value, 33.5));
    h.get_by_label("Share pruned").set_value_accesskit(1e9);
    h.run();
    assert!(close(h.state().value, 100.0));
    assert_eq!(h.state().changes, 4);
}

#[test]
fn slider_that_is_off_changes_nothing() {
    let mut h = harness(3.0, |ui, value| {
        let slider = Slider::new(value, 1.0..=8.0, "Bits").disabled(Some("off"));
        ui.add(slider);
    });
    let rect = h.get_by_label("Bits").rect();
    h.drag_at(rect.center());
    h.run();
    h.drop_at(rect.center());
    h.run();
    h.get_by_label("Bits").set_value_accesskit(8.0);
    h.run();
    assert!(close(*h.state(), 3.0));
}

#[test]
fn switch_turns_by_click_and_by_key() {
    let mut h = harness(false, |ui, on| {
        ui.add(Switch::new(on, "Prune"));
    });
    h.get_by_role_and_label(Role::Switch, "Prune").click();
    h.run();
    assert!(*h.state());
    h.get_by_label("Prune").focus();
    h.run();
    h.key_press(Key::Space);
    h.run();
    assert!(!*h.state());
    h.get_by_label("Prune").click_accesskit();
    h.run();
    assert!(*h.state());
}

#[test]
fn segmented_chooses_by_click_and_by_key_but_not_what_is_ruled_out() {
    let labels = ["tensor", "row", "global"];
    let mut h = harness((0, 0, 0), |ui, (bar, chips, changes)| {
        let one = ui.add(Segmented::new(bar, &labels, "Scope"));
        let reasons = [None, None, Some("the target has no global masks")];
        let two = Segmented::new(chips, &labels, "Shape").chips().disabled(&reasons);
        let two = ui.add(two);
        *changes += usize::from(one.changed()) + usize::from(two.changed());
    });
    h.get_by_role_and_label(Role::RadioButton, "Scope: global").click();
    h.run();
    h.get_by_label("Shape: row").click();
    h.run();
    assert_eq!(*h.state(), (2, 1, 2));
    h.get_by_label("Shape: global").click();
    h.run();
    assert_eq!(*h.state(), (2, 1, 2));
    h.get_by_label("Scope: row").focus();
    h.run();
    h.key_press(Key::Enter);
    h.run();
    assert_eq!(*h.state(), (1, 1, 3));
}

#[test]
fn tabs_open_by_click() {
    let mut h = harness(0, |ui, open| {
        ui.add(Tabs::new(open, &["Distribution", "Heat map", "Bytes"], "Views"));
    });
    h.get_by_role_and_label(Role::Tab, "Bytes").click();
    h.run();
    assert_eq!(*h.state(), 2);
}

#[test]
fn chip_and_icon_button_click() {
    let mut h = harness((0, 0, 0), |ui, (chip, icon, dead)| {
        *chip += usize::from(ui.add(Chip::new("pruned", *chip > 0)).clicked());
        let undo = IconButton::new(Icon::Undo, "Undo").shortcut("Ctrl+Z");
        *icon += usize::from(ui.add(undo).clicked());
        let redo = IconButton::new(Icon::Redo, "Redo").disabled(Some("nothing to redo"));
        *dead += usize::from(ui.add(redo).clicked());
    });
    for name in ["pruned", "Undo", "Redo"] {
        h.get_by_label(name).click();
        h.run();
    }
    assert_eq!(*h.state(), (1, 1, 0));
}

fn field<'a>() -> Harness<'a, Heard> {
    let heard = Heard { value: 45.0, ..Heard::default() };
    harness(heard, |ui, heard| {
        let field =
            ValueField::new(&mut heard.value, 0.0..=95.0, "Share pruned").unit("% pruned").decimals(1).step(0.5);
        let response = ui.add(field);
        heard.note(&response);
        let _elsewhere = ui.button("elsewhere");
    })
}

fn type_into(h: &mut Harness<'_, Heard>, text: &str, end: Key) {
    h.get_by_label("Share pruned").click();
    h.run();
    h.get_by_label("Share pruned").type_text(text);
    h.run();
    h.key_press(end);
    h.run();
}

#[test]
fn value_field_is_typed_into() {
    let mut h = field();
    type_into(&mut h, "62,5 %", Key::Enter);
    assert!(close(h.state().value, 62.5), "{}", h.state().value);
    assert_eq!(h.state().changes, 1);
    type_into(&mut h, "10", Key::Escape);
    assert!(close(h.state().value, 62.5));
    type_into(&mut h, "no number", Key::Enter);
    assert!(close(h.state().value, 62.5));
    type_into(&mut h, "400", Key::Enter);
    assert!(close(h.state().value, 95.0));
    assert_eq!(h.state().changes, 2);
}

#[test]
fn value_field_keeps_what_was_typed_when_the_pointer_leaves_for_another_control() {
    let mut h = field();
    h.get_by_label("Share pruned").click();
    h.run();
    h.get_by_label("Share pruned").type_text("70");
    h.run();
    h.get_by_label("elsewhere").click();
    h.run();
    assert!(close(h.state().value, 70.0), "{}", h.state().value);
}

#[test]
fn value_field_is_opened_dragged_and_stepped_without_typing() {
    let mut h = field();
    h.key_press(Key::Tab);
    h.run();
    h.key_press(Key::ArrowUp);
    h.run();
    assert!(close(h.state().value, 45.5));
    h.key_press(Key::Enter);
    h.run();
    h.get_by_label("Share pruned").type_text("50");
    h.run();
    h.key_press(Key::Enter);
    h.run();
    assert!(close(h.state().value, 50.0), "{}", h.state().value);
    assert!(h.get_by_label("Share pruned").is_focused());
    let start = h.get_by_label("Share pruned").rect().center();
    h.drag_at(start);
    h.run();
    h.hover_at(start + vec2(40.0, 0.0));
    h.run();
    h.drop_at(start + vec2(40.0, 0.0));
    h.run();
    assert!(close(h.state().value, 55.0), "{}", h.state().value);
    assert_eq!((h.state().starts, h.state().stops), (1, 1));
    h.get_by_label("Share pruned").set_value_accesskit(20.2);
    h.run();
    assert!(close(h.state().value, 20.0));
}

#[test]
fn wheel_over_the_field_moves_one_step_a_click() {
    let mut h = field();
    let centre = h.get_by_label("Share pruned").rect().center();
    h.hover_at(centre);
    h.run();
    h.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Line,
        delta: vec2(0.0, 1.0),
        phase: egui::TouchPhase::Move,
        modifiers: Modifiers::NONE,
        source: egui::MouseWheelSource::Wheel,
    });
    h.run();
    assert!(close(h.state().value, 45.5), "{}", h.state().value);
}

#[test]
fn pictures_have_names_and_kinds_have_words() {
    let mut hovered = None;
    let parts = [
        Part { name: "values", amount: 3.0, colour: theme::DARK.values },
        Part { name: "mask", amount: 1.0, colour: theme::DARK.mask },
    ];
    {
        let mut h = harness((), |ui, ()| {
            for kind in Kind::ALL {
                ui.add(KindChip::new(kind));
            }
            ui.add(KindChip::new(Kind::Live).about("Fidelity").stale(true));
            ui.add(Spark::new("values of fc1", &[0.0, 0.5, 1.0, f32::NAN], vec2(72.0, 16.0), theme::DARK.text2));
            ui.add(Bar::new("stored", 0.4));
            ui.add(Bar::new("exact pass", f32::NAN).progress());
            hovered = StackedBar::new("Where the bytes went", &parts).show(ui).hovered;
        });
        for word in ["exact", "live", "sampled", "measured", "Fidelity: live, out of date"] {
            h.get_by_label(word);
        }
        for name in ["values of fc1", "stored", "exact pass"] {
            h.get_by_label(name);
        }
        let name = "Where the bytes went: values 75.0 %, mask 25.0 %";
        let bar = h.get_by_label(name).rect();
        h.hover_at(bar.right_center() - vec2(4.0, 0.0));
        h.run();
    }
    assert_eq!(hovered, Some(1));
}

#[test]
fn values_snap_to_clean_numbers() {
    assert!(close(snap(0.300_000_04, 0.0, 1.0, 0.1), 0.3));
    assert_eq!(snap(0.7, 0.0, 1.0, 0.1).to_string(), "0.7");
    assert!(close(snap(98.0, 0.0, 99.0, 10.0), 99.0));
    assert!(close(snap(1e300, 0.0, 99.0, 10.0), 99.0));
    assert!(close(snap(f64::NAN, 2.0, 99.0, 10.0), 2.0));
    assert!(close(snap(3.3, 0.0, 8.0, 0.0), 3.3));
}
