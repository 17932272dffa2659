//! Puts the mutants of one file behind switches.
//!
//! Each alternative stands between `/*<N*/` and `/*N>*/`, and all that belongs to the mutants of one place between `/*{N,N*/` and
//! `/*}*/`, so that errors of the compiler lead to the mutants that cause them. What cannot have a switch has none: constants, functions
//! that return some `impl`, and conditions with `let`. Functions are no longer constant, except for those that a constant needs.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ops::Range;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::edit::{Edit, Piece, Source};
use crate::{Mutant, Position};

pub struct Switches<'a> {
    source: &'a Source,
    /// The path of the function that says whether a mutant is on.
    function: &'static str,
    /// Number and replacement of the mutants at each place.
    mutants: BTreeMap<(String, Position), Vec<(usize, String)>>,
    /// Names of functions that stay constant.
    constant: &'a BTreeSet<String>,
    edits: Vec<Edit>,
    placed: BTreeSet<usize>,
}

fn position(at: LineColumn) -> Position {
    Position { line: at.line, column: at.column + 1 }
}

fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

/// Whether `let` is an operand of `&&`: then the operands cannot be moved.
fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'a> Switches<'a> {
    pub fn of(
        file: &str,
        mutants: &[(usize, &Mutant)],
        constant: &'a BTreeSet<String>,
        source: &'a Source,
    ) -> Result<Self, Box<dyn Error>> {
        let function = if file == "src/main.rs" {
            "yotpo_td::mutant_switch::is_on"
        } else {
            "crate::mutant_switch::is_on"
        };
        let mut by_place: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, mutant) in mutants {
            by_place
                .entry((mutant.genre.clone(), mutant.span.start))
                .or_default()
                .push((*number, mutant.replacement.clone()));
        }
        let mut switches = Self {
            source,
            function,
            mutants: by_place,
            constant,
            edits: Vec::new(),
            placed: BTreeSet::new(),
        };
        switches.visit_file(&syn::parse_file(&source.text)?);
        Ok(switches)
    }

    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.placed.iter().copied()
    }

    fn range(&self, node: &impl Spanned) -> Range<usize> {
        let span = node.span();
        self.source.offset(position(span.start()))..self.source.offset(position(span.end()))
    }

    fn at(&self, genre: &str, start: LineColumn) -> Vec<(usize, String)> {
        self.mutants.get(&(genre.to_owned(), position(start))).cloned().unwrap_or_default()
    }

    fn is_on(&self, number: usize) -> String {
        format!("{}({number})", self.function)
    }

    fn place(&mut self, numbers: impl IntoIterator<Item = usize>, range: Range<usize>, pieces: Vec<Piece>) {
        let numbers: Vec<usize> = numbers.into_iter().collect();
        let named = numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let pieces =
            [text(format!("/*{{{named}*/"))].into_iter().chain(pieces).chain([text("/*}*/")]).collect();
        self.placed.extend(numbers);
        self.edits.push(Edit { range, pieces });
    }

    /// `if is_on(1) { first } else if is_on(2) { second } else { unchanged }`.
    fn choice(&self, alternatives: impl IntoIterator<Item = (usize, String)>, unchanged: &str) -> String {
        let chosen: String = alternatives
            .into_iter()
            .map(|(number, alternative)| {
                format!("if {} {{ /*<{number}*/{alternative}/*{number}>*/ }} else ", self.is_on(number))
            })
            .collect();
        format!("{chosen}{{ {unchanged} }}")
    }

    /// Whether mutants of a function can have switches. A constant one is made an ordinary one, unless a constant needs it.
    fn prepare(&mut self, signature: &syn::Signature, item: &impl Spanned) -> bool {
        let Some(token) = &signature.constness else { return true };
        if self.constant.contains(&signature.ident.to_string()) {
            return false;
        }
        let span = item.span();
        let inside = position(span.start())..position(span.end());
        if self.mutants.keys().any(|(_, start)| inside.contains(start)) {
            self.edits.push(Edit { range: self.range(token), pieces: Vec::new() });
        }
        true
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        // The type of `impl` follows from every `return`.
        let is_opaque = self.source.text[self.range(&signature.output)].contains("impl ");
        let Some(first) = block.stmts.first().filter(|_| !is_opaque) else { return };
        for (number, replacement) in self.at("FnValue", first.span().start()) {
            let at = self.range(first).start;
            let switch =
                format!("if {} {{ /*<{number}*/return {replacement};/*{number}>*/ }} ", self.is_on(number));
            self.place([number], at..at, vec![text(switch)]);
        }
    }

    fn binary(&mut self, expression: &syn::ExprBinary) {
        let mutants = self.at("BinaryOperator", expression.op.span().start());
        if mutants.is_empty() || has_let(&expression.left) || has_let(&expression.right) {
            return;
        }
        let operator = self.source.text[self.range(&expression.op)].to_owned();
        let (left, right) =
            (Piece::Source(self.range(&*expression.left)), Piece::Source(self.range(&*expression.right)));
        let numbers: Vec<usize> = mutants.iter().map(|(number, _)| *number).collect();
        let alternative = |left: &str, right: &str| {
            let mutants = mutants
                .iter()
                .map(|(number, other)| (*number, format!("{left} {other} {right}")))
                .collect::<Vec<_>>();
            self.choice(mutants, &format!("{left} {operator} {right}"))
        };
        let pieces = match operator.as_str() {
            "&&" | "||" => {
                // The right operand is evaluated if the left one does not decide; a mutant decides the other way round.
                let comparison = if operator == "&&" { "!=" } else { "==" };
                let on = self.is_on(numbers[0]);
                vec![
                    text("(match ("),
                    left,
                    text(format!(") {{ __left => if __left {comparison} {on} {{ ")),
                    right,
                    text(" } else { __left } })"),
                ]
            }
            "==" | "!=" | "<" | "<=" | ">" | ">=" => {
                let choice = alternative("*__left", "*__right");
                vec![
                    text("(match (&("),
                    left,
                    text("), &("),
                    right,
                    text(format!(")) {{ (__left, __right) => {choice} }})")),
                ]
            }
            _ if operator.ends_with('=') => {
                let place = self.source.text[self.range(&*expression.left)].to_owned();
                let choice = alternative(&place, "__right");
                vec![text("(match ("), right, text(format!(") {{ __right => {choice} }})"))]
            }
            _ => {
                let choice = alternative("__left", "__right");
                vec![
                    text("(match (("),
                    left,
                    text("), ("),
                    right,
                    text(format!(")) {{ (__left, __right) => {choice} }})")),
                ]
            }
        };
        self.place(numbers, self.range(expression), pieces);
    }

    fn arm(&mut self, arm: &syn::Arm) {
        let deleted = self.at("MatchArm", arm.span().start());
        let not_deleted: Vec<String> =
            deleted.iter().map(|(number, _)| format!("!{}", self.is_on(*number))).collect();
        let mut numbers: Vec<usize> = deleted.iter().map(|(number, _)| *number).collect();
        let Some((_, guard)) = &arm.guard else {
            if !deleted.is_empty() {
                let at = self.range(&arm.pat).end;
                self.place(numbers, at..at, vec![text(format!(" if {} ", not_deleted.join(" && ")))]);
            }
            return;
        };
        let replaced = self.at("MatchArmGuard", guard.span().start());
        if has_let(guard) || (deleted.is_empty() && replaced.is_empty()) {
            return;
        }
        let mut condition = not_deleted;
        let mut before = String::from("(");
        for (number, value) in replaced {
            numbers.push(number);
            if value == "true" {
                before.push_str(&format!("{} || ", self.is_on(number)));
            } else {
                condition.push(format!("!{}", self.is_on(number)));
            }
        }
        condition.push(format!("{before}("));
        let range = self.range(guard);
        self.place(
            numbers,
            range.clone(),
            vec![text(condition.join(" && ")), Piece::Source(range), text("))")],
        );
    }

    fn field(&mut self, base: &syn::Expr, field: &syn::FieldValue) {
        let syn::Member::Named(name) = &field.member else { return };
        for (number, _) in self.at("StructField", field.span().start()) {
            let base = &self.source.text[self.range(base)];
            let switch =
                format!("if {} {{ /*<{number}*/({base}).{name}/*{number}>*/ }} else {{ ", self.is_on(number));
            let value = self.range(&field.expr);
            let name = if field.colon_token.is_none() { format!("{name}: ") } else { String::new() };
            self.place(
                [number],
                value.clone(),
                vec![text(format!("{name}{switch}")), Piece::Source(value), text(" }")],
            );
        }
    }
}

impl<'ast> Visit<'ast> for Switches<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if self.prepare(&item.sig, item) {
            self.function(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if self.prepare(&item.sig, item) {
            self.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}

    fn visit_type(&mut self, _: &'ast syn::Type) {}

    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_expr_binary(&mut self, expression: &'ast syn::ExprBinary) {
        self.binary(expression);
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast syn::ExprUnary) {
        let operator = self.source.text[self.range(&expression.op)].to_owned();
        for (number, _) in self.at("UnaryOperator", expression.op.span().start()) {
            let choice = self.choice([(number, "__value".to_owned())], &format!("{operator}__value"));
            let pieces = vec![
                text("(match ("),
                Piece::Source(self.range(&*expression.expr)),
                text(format!(") {{ __value => {choice} }})")),
            ];
            self.place([number], self.range(expression), pieces);
        }
        visit::visit_expr_unary(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.arm(arm);
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        if let Some(base) = &expression.rest {
            for field in &expression.fields {
                self.field(base, field);
            }
        }
        visit::visit_expr_struct(self, expression);
    }
}
