//! The small drawings beside words. A drawing never stands alone: the word next to it says the same.

use maud::{Markup, html};

/// A drawing on a 16 by 16 grid, in the colour of the text around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Glyph {
    Check,
    Triangle,
    Diamond,
    Info,
    Square,
    Bars,
    Ring,
    Arrow,
    Back,
    Cross,
    Eye,
    Home,
    Incident,
    Stamp,
    Play,
    Book,
    Host,
    List,
    More,
    Person,
    Key,
    Sopwith,
}

impl Glyph {
    pub const ALL: [Glyph; 22] = [
        Self::Check,
        Self::Triangle,
        Self::Diamond,
        Self::Info,
        Self::Square,
        Self::Bars,
        Self::Ring,
        Self::Arrow,
        Self::Back,
        Self::Cross,
        Self::Eye,
        Self::Home,
        Self::Incident,
        Self::Stamp,
        Self::Play,
        Self::Book,
        Self::Host,
        Self::List,
        Self::More,
        Self::Person,
        Self::Key,
        Self::Sopwith,
    ];

    /// Returns the filled and the stroked part of the drawing.
    fn paths(self) -> (&'static str, &'static str) {
        match self {
            Self::Check => ("", "M3 8.5l3.5 3.5L13 4.5"),
            Self::Triangle => ("M8 1.5L15 14H1z", ""),
            Self::Diamond => ("M8 .8L15.2 8 8 15.2.8 8z", ""),
            Self::Info => ("M8 3.2a1.1 1.1 0 110 2.2 1.1 1.1 0 010-2.2z", "M8 7v5.5M6 12.5h4M6.2 7H8"),
            Self::Square => ("M2.5 2.5h11v11h-11z", ""),
            Self::Bars => ("M4 2.5h3v11H4zM9 2.5h3v11H9z", ""),
            Self::Ring => ("", "M8 3a5 5 0 110 10A5 5 0 018 3z"),
            Self::Arrow => ("", "M2.5 8h10M8.5 4l4 4-4 4"),
            Self::Back => ("", "M3 3v4h4M3.4 7A5 5 0 118 13"),
            Self::Cross => ("", "M3.5 3.5l9 9M12.5 3.5l-9 9"),
            Self::Eye => (
                "M8 6.2a1.8 1.8 0 110 3.6 1.8 1.8 0 010-3.6z",
                "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8z",
            ),
            Self::Home => ("", "M2.5 7.5L8 2.5l5.5 5v6h-4v-4h-3v4h-4z"),
            Self::Incident => ("", "M8 2l6.2 11.5H1.8zM8 6.5v3M8 11v.8"),
            Self::Stamp => ("", "M8 2a6 6 0 110 12A6 6 0 018 2zM5.3 8.2l2 2 3.5-4"),
            Self::Play => ("", "M4.5 2.8v10.4L13 8z"),
            Self::Book => ("", "M3.5 2h9v12h-9zM6 5.5h4M6 8h4M6 10.5h2.5"),
            Self::Host => ("", "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.1M5 11h.1"),
            Self::List => ("", "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.1M2.5 8h.1M2.5 12h.1"),
            Self::More => ("", "M3.5 8h.1M8 8h.1M12.5 8h.1"),
            Self::Person => (
                "",
                "M8 2.5a2.8 2.8 0 110 5.6A2.8 2.8 0 018 2.5zM2.8 13.8c.4-3 2.4-4.2 5.2-4.2s4.8 1.2 5.2 4.2",
            ),
            Self::Key => ("", "M5.5 7.5a3 3 0 110 6 3 3 0 010-6zM7.6 8.4l5.6-5.6M10.6 5.4l2.2 2.2"),
            Self::Sopwith => ("", "M1.5 5h13M1.5 10h13M4.5 5v5M11.5 5v5M8 2v11.5M6 13.5h4"),
        }
    }

    /// Returns the drawing, hidden from screen readers since a word says the same.
    pub fn svg(self) -> Markup {
        let (fill, stroke) = self.paths();
        html! {
            svg.glyph viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
                @if !fill.is_empty() { path d=(fill) fill="currentColor" {} }
                @if !stroke.is_empty() {
                    path d=(stroke) fill="none" stroke="currentColor" stroke-width="1.7"
                        stroke-linecap="round" stroke-linejoin="round" {}
                }
            }
        }
    }
}
