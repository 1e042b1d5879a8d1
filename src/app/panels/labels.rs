//! Labels of points in a plot: inside of it, and none over another, over a point or under a line where there is another place.

use egui::{Pos2, Rect, Vec2, pos2};

/// What is taken in a plot.
pub(super) struct Labels {
    area: Rect,
    taken: Vec<Rect>,
    lines: Vec<[Pos2; 2]>,
}

impl Labels {
    /// A plot in which nothing is taken.
    pub fn new(area: Rect) -> Self {
        Self { area, taken: Vec::new(), lines: Vec::new() }
    }

    /// No label comes over this.
    pub fn keep_free(&mut self, place: Rect) {
        self.taken.push(place);
    }

    /// No label comes over this line where there is another place for it.
    pub fn avoid(&mut self, line: [Pos2; 2]) {
        self.lines.push(line);
    }

    /// A place for a label of this size, `gap` away from a point; it is taken from then on. None where all would leave the
    /// plot or cover what is taken.
    pub fn place(&mut self, at: Pos2, size: Vec2, gap: Vec2) -> Option<Rect> {
        let free = |place: &Rect| self.area.contains_rect(*place) && !self.taken.iter().any(|t| t.intersects(*place));
        let clear = |place: &Rect| !self.lines.iter().any(|line| crosses(*place, *line));
        let beside = self.beside(at, size, gap);
        let found = beside.into_iter().find(|place| free(place) && clear(place));
        let found = found.or_else(|| beside.into_iter().find(free))?;
        self.taken.push(found);
        Some(found)
    }

    /// The same for a label that must be there: where nothing is free it covers something, inside of the plot.
    pub fn insist(&mut self, at: Pos2, size: Vec2, gap: Vec2) -> Rect {
        self.place(at, size, gap).unwrap_or_else(|| {
            let beside = self.beside(at, size, gap);
            let inside = beside.into_iter().find(|place| self.area.contains_rect(*place));
            let place = inside.unwrap_or(beside[0]);
            self.taken.push(place);
            place
        })
    }

    /// Under and over a point: on the side with more room, in the middle, on the other side; drawn in where it would stand out at
    /// the left or right.
    fn beside(&self, at: Pos2, size: Vec2, gap: Vec2) -> [Rect; 6] {
        let (left, right) = (at.x - gap.x - size.x, at.x + gap.x);
        let (near, far) = if at.x <= self.area.center().x { (right, left) } else { (left, right) };
        let (under, over) = (at.y + gap.y, at.y - gap.y - size.y);
        let most = (self.area.right() - size.x).max(self.area.left());
        let place = |x: f32, y: f32| Rect::from_min_size(pos2(x.clamp(self.area.left(), most), y), size);
        let middle = at.x - size.x / 2.0;
        [(near, under), (near, over), (middle, under), (middle, over), (far, under), (far, over)]
            .map(|(x, y)| place(x, y))
    }
}

/// Whether a line runs through a place.
fn crosses(place: Rect, [a, b]: [Pos2; 2]) -> bool {
    let along = b - a;
    let side = |corner: Pos2| along.x * (corner.y - a.y) - along.y * (corner.x - a.x) > 0.0;
    let corners = [place.left_top(), place.right_top(), place.left_bottom(), place.right_bottom()].map(side);
    Rect::from_two_pos(a, b).expand(0.5).intersects(place) && corners.iter().any(|&side| side != corners[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::vec2;

    const SIZE: Vec2 = vec2(20.0, 10.0);
    const GAP: Vec2 = vec2(4.0, 4.0);

    fn plot() -> Labels {
        Labels::new(Rect::from_min_max(pos2(0.0, 0.0), pos2(100.0, 100.0)))
    }

    #[test]
    fn labels_stay_inside_and_apart_or_away() {
        let mut labels = plot();
        let points = [pos2(1.0, 99.0), pos2(99.0, 99.0), pos2(99.0, 1.0), pos2(50.0, 50.0), pos2(51.0, 51.0)];
        let placed: Vec<Rect> = points.into_iter().filter_map(|at| labels.place(at, SIZE, GAP)).collect();
        assert_eq!(placed.len(), points.len());
        for (i, place) in placed.iter().enumerate() {
            assert!(labels.area.contains_rect(*place), "{place:?}");
            assert!(!placed[..i].iter().any(|other| other.intersects(*place)), "{place:?}");
        }
        // Many on one spot: what has no place is left out, and what must be there is.
        let many = (0..20).filter_map(|_| labels.place(pos2(50.0, 50.0), SIZE, GAP)).count();
        assert!(many < 6, "{many}");
        let place = labels.insist(pos2(50.0, 50.0), SIZE, GAP);
        assert!(labels.area.contains_rect(place));
    }

    #[test]
    fn a_line_is_kept_clear_of_where_there_is_another_place() {
        let (mut free, mut lined) = (plot(), plot());
        let at = pos2(30.0, 50.0);
        lined.avoid([pos2(30.0, 50.0), pos2(90.0, 70.0)]);
        let (first, other) = (free.place(at, SIZE, GAP).unwrap(), lined.place(at, SIZE, GAP).unwrap());
        assert!(crosses(first, lined.lines[0]) && !crosses(other, lined.lines[0]), "{first:?} {other:?}");
        assert!(!crosses(first, [pos2(0.0, 0.0), pos2(0.0, 90.0)]));
    }
}
