//! The colours of the charts. `report.css` replaces each of them on a dark screen, so that a chart is drawn once for both.

use plotters::style::RGBColor;

/// A colour, and its class in the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) class: &'static str,
    pub(super) rgb: RGBColor,
}

const fn colour(class: &'static str, red: u8, green: u8, blue: u8) -> Colour {
    Colour { class, rgb: RGBColor(red, green, blue) }
}

pub(super) const INK: Colour = colour("ink", 0x1f, 0x23, 0x28);
pub(super) const MUTED: Colour = colour("muted", 0x57, 0x60, 0x6a);
pub(super) const GRID: Colour = colour("grid", 0xdd, 0xe3, 0xea);
pub(super) const BLUE: Colour = colour("blue", 0x0b, 0x61, 0xa4);
pub(super) const ORANGE: Colour = colour("orange", 0xb4, 0x54, 0x0a);
pub(super) const GREEN: Colour = colour("green", 0x1a, 0x7f, 0x37);
pub(super) const PURPLE: Colour = colour("purple", 0x7b, 0x3f, 0xa0);
pub(super) const RED: Colour = colour("red", 0xc0, 0x26, 0x2d);
pub(super) const TEAL: Colour = colour("teal", 0x0f, 0x76, 0x6e);
/// What limits something: the style sheet draws its lines dashed.
pub(super) const LIMIT: Colour = colour("limit", 0x6e, 0x77, 0x80);

/// All colours.
#[cfg(test)]
pub(super) const ALL: [Colour; 10] = [INK, MUTED, GRID, BLUE, ORANGE, GREEN, PURPLE, RED, TEAL, LIMIT];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_has_the_parts_that_it_is_given() {
        assert_eq!(colour("ink", 1, 2, 3), Colour { class: "ink", rgb: RGBColor(1, 2, 3) });
    }
}
