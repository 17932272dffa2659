use std::collections::BTreeSet;

use crate::edit::Source;
use crate::switches::Switches;
use crate::{Mutant, Position, Span};

/// The source with these mutants, which begin where `start` is found first, behind switches; without the marks for the compiler's errors.
fn with_switches(source: &str, mutants: &[(&str, &str, &str)], constant: &[&str]) -> String {
    let mutant = |(genre, start, replacement): &(&str, &str, &str)| {
        let before = &source[..source.find(start).unwrap()];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        Mutant {
            file: "src/lib.rs".to_owned(),
            genre: (*genre).to_owned(),
            replacement: (*replacement).to_owned(),
            span: Span { start: Position { line, column } },
        }
    };
    let mutants: Vec<Mutant> = mutants.iter().map(mutant).collect();
    let numbered: Vec<_> = (1..).zip(&mutants).collect();
    let constant: BTreeSet<String> = constant.iter().map(|name| (*name).to_owned()).collect();
    let source = Source::new(source.to_owned());
    let switches = Switches::of("src/lib.rs", &numbered, &constant, &source).unwrap();
    let text = source.with(switches.edits()).replace("crate::mutant_switch::", "");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, marked)) = rest.split_once("/*") {
        plain.push_str(before);
        rest = marked.split_once("*/").unwrap().1;
    }
    plain + rest
}

#[test]
fn a_result_is_returned_before_the_first_statement() {
    let source = "fn f() -> u8 { let a = 1; a }";
    assert_eq!(
        with_switches(source, &[("FnValue", "let", "0"), ("FnValue", "let", "1")], &[]),
        "fn f() -> u8 { if is_on(1) { return 0; } if is_on(2) { return 1; } let a = 1; a }"
    );
}

#[test]
fn operators_that_compare_do_not_move_their_operands() {
    assert_eq!(
        with_switches(
            "fn f() { a < b }",
            &[("BinaryOperator", "<", "=="), ("BinaryOperator", "<", ">")],
            &[]
        ),
        "fn f() { (match (&(a), &(b)) { (__left, __right) => if is_on(1) { *__left == *__right } \
         else if is_on(2) { *__left > *__right } else { *__left < *__right } }) }"
    );
}

#[test]
fn operators_of_conditions_evaluate_the_right_operand_only_if_it_decides() {
    assert_eq!(
        with_switches("fn f() { a && b }", &[("BinaryOperator", "&&", "||")], &[]),
        "fn f() { (match (a) { __left => if __left != is_on(1) { b } else { __left } }) }"
    );
    assert_eq!(
        with_switches("fn f() { a || b }", &[("BinaryOperator", "||", "&&")], &[]),
        "fn f() { (match (a) { __left => if __left == is_on(1) { b } else { __left } }) }"
    );
    let with_let = "fn f() { if let Some(a) = b && c {} }";
    assert_eq!(with_switches(with_let, &[("BinaryOperator", "&&", "||")], &[]), with_let);
}

#[test]
fn operators_inside_one_another_have_their_own_switches() {
    assert_eq!(
        with_switches(
            "fn f() { a + b * c }",
            &[("BinaryOperator", "+", "-"), ("BinaryOperator", "*", "/")],
            &[]
        ),
        "fn f() { (match ((a), ((match ((b), (c)) { (__left, __right) => if is_on(2) { __left / __right } \
         else { __left * __right } }))) { (__left, __right) => if is_on(1) { __left - __right } else { __left + __right } }) }"
    );
    assert_eq!(
        with_switches("fn f() { a += 1; }", &[("BinaryOperator", "+=", "-=")], &[]),
        "fn f() { (match (1) { __right => if is_on(1) { a -= __right } else { a += __right } }); }"
    );
    assert_eq!(
        with_switches("fn f() { !a }", &[("UnaryOperator", "!", "")], &[]),
        "fn f() { (match (a) { __value => if is_on(1) { __value } else { !__value } }) }"
    );
}

#[test]
fn arms_and_guards_are_conditions() {
    assert_eq!(
        with_switches("fn f() { match a { 1 => b, _ => c } }", &[("MatchArm", "1 =>", "")], &[]),
        "fn f() { match a { 1 if !is_on(1)  => b, _ => c } }"
    );
    let guarded =
        [("MatchArm", "x if", ""), ("MatchArmGuard", "x > 1", "true"), ("MatchArmGuard", "x > 1", "false")];
    assert_eq!(
        with_switches("fn f() { match a { x if x > 1 => b, _ => c } }", &guarded, &[]),
        "fn f() { match a { x if !is_on(1) && !is_on(3) && (is_on(2) || (x > 1)) => b, _ => c } }"
    );
}

#[test]
fn a_deleted_field_has_the_value_of_the_base() {
    let fields = [("StructField", "x: 1", ""), ("StructField", "y,", "")];
    assert_eq!(
        with_switches("fn f() { S { x: 1, y, ..g() } }", &fields, &[]),
        "fn f() { S { x: if is_on(1) { (g()).x } else { 1 }, y: if is_on(2) { (g()).y } else { y }, ..g() } }"
    );
}

#[test]
fn functions_are_no_longer_constant_unless_a_constant_needs_it() {
    let source = "const fn f() -> u8 { 1 }\nconst A: u8 = 2 + 3;";
    let mutants = [("FnValue", "1 }", "0"), ("BinaryOperator", "+", "-")];
    assert_eq!(
        with_switches(source, &mutants, &[]),
        " fn f() -> u8 { if is_on(1) { return 0; } 1 }\nconst A: u8 = 2 + 3;"
    );
    assert_eq!(with_switches(source, &mutants, &["f"]), source);
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        with_switches("fn f() { (\"é\", !a) }", &[("UnaryOperator", "!", "")], &[]),
        "fn f() { (\"é\", (match (a) { __value => if is_on(1) { __value } else { !__value } })) }"
    );
}
