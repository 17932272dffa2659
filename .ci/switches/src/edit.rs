//! Changes of a text that lie inside one another.

use std::ops::Range;

use crate::Position;

/// A part of what an edit puts in the place of its range.
pub enum Piece {
    Text(String),
    /// The text of this range, with the later edits inside it.
    Source(Range<usize>),
}

/// What replaces a range of bytes. An edit comes before those inside it.
pub struct Edit {
    pub range: Range<usize>,
    pub pieces: Vec<Piece>,
}

pub struct Source {
    pub text: String,
    lines: Vec<usize>,
}

impl Source {
    pub fn new(text: String) -> Self {
        let lines = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    /// The offset in bytes of a position, whose column counts characters.
    pub fn offset(&self, position: Position) -> usize {
        let line = self.lines[position.line - 1];
        let characters = self.text[line..].char_indices().map(|(at, _)| at).nth(position.column - 1);
        line + characters.unwrap_or(self.text.len() - line)
    }

    pub fn with(&self, edits: &[Edit]) -> String {
        let mut order: Vec<usize> = (0..edits.len()).collect();
        order.sort_by_key(|&index| (edits[index].range.start, !edits[index].range.is_empty(), index));
        self.rendered(0..self.text.len(), 0, edits, &order)
    }

    /// The text of a range with the edits inside it, from number `first` on.
    fn rendered(&self, range: Range<usize>, first: usize, edits: &[Edit], order: &[usize]) -> String {
        let mut text = String::new();
        let mut done = range.start;
        for &index in order {
            let edit = &edits[index];
            if index < first || edit.range.start < done || edit.range.end > range.end {
                continue;
            }
            text.push_str(&self.text[done..edit.range.start]);
            done = edit.range.end;
            for piece in &edit.pieces {
                match piece {
                    Piece::Text(piece) => text.push_str(piece),
                    Piece::Source(inside) => {
                        text.push_str(&self.rendered(inside.clone(), index + 1, edits, order))
                    }
                }
            }
        }
        text.push_str(&self.text[done..range.end]);
        text
    }
}
