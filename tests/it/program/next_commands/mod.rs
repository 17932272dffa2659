//! The next command in the closing words: after the corrections that they ask for, the command that they name is run and
//! does what they say. Where they name none, none helps.

mod data;
mod services;
mod states;

use yotpo_td::sandbox::{Glitch, GlitchKind, YotpoBehaviour};

use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE};
use crate::program::closing_words::{CORRECT_AND_RESUME, RESUME, next_command_to};

/// Runs the command in the last line, which must follow these words. It must load: from what was saved if the words say
/// so, otherwise from the first page.
#[track_caller]
fn follow(surroundings: &Surroundings, end: &Finished, words: &str) -> Finished {
    let command = next_command_to(words, end);
    let resumes = words == RESUME || words == CORRECT_AND_RESUME;
    let saved = if resumes { surroundings.saved_run().unwrap().rows } else { 0 };
    let mut fetched = surroundings.control().page_fetches();
    fetched.retain(|customer, _| *customer < saved);
    let next = surroundings.type_in(&command, &[]).finish();
    next.assert_code(0);
    assert_eq!(next.stdout.contains("(resumed)"), resumes, "{command}: {}", next.stdout);
    let again = surroundings.control().page_fetches();
    assert!(fetched.iter().all(|(customer, times)| again[customer] == *times), "{command}: {again:?}");
    next
}

/// Like [`follow`]; afterwards the table is exact and nothing is left behind.
#[track_caller]
fn follow_to_the_end(surroundings: &Surroundings, end: &Finished, words: &str) {
    follow(surroundings, end, words);
    surroundings.assert_exact_and_clean();
}

fn run_with(surroundings: &Surroundings, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = surroundings.sync(arguments);
    command.envs(variables.iter().copied());
    Running::start(command).finish()
}

/// The text between two others.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} after {before:?} in {text}")).0
}

/// The result of the counting query in `text`, and the count that it is compared with.
#[track_caller]
fn counted(surroundings: &Surroundings, text: &str, expected_suffix: &str) -> (u64, u64) {
    let time = between(text, &format!("SELECT COUNT(1) FROM {DATABASE}.{TABLE} WHERE time = "), " -- ");
    let time: i64 = time.parse().unwrap();
    let expected = between(text, &format!("WHERE time = {time} -- {expected_suffix}"), "\n");
    let expected = expected.split(' ').next().unwrap().parse().unwrap();
    let rows = surroundings.control().rows(DATABASE, TABLE).unwrap();
    (rows.filter(|row| row.as_ref().unwrap().time == time).count() as u64, expected)
}

/// A page that contains this many customers that cannot become rows.
fn glitch(page: u64, times: u32) -> YotpoBehaviour {
    let page = page.try_into().unwrap();
    let glitch = Some(Glitch { page, times, kind: GlitchKind::NumberAmongCustomers });
    YotpoBehaviour { glitch, ..YotpoBehaviour::default() }
}

/// The session of the saved run's set.
fn own_session(surroundings: &Surroundings) -> String {
    let nonce = surroundings.saved_run().unwrap().set.unwrap().nonce.to_string();
    let sessions = surroundings.control().sessions();
    sessions.into_iter().find(|session| session.name.contains(&nonce)).unwrap().name
}
