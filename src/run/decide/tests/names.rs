//! Names in the log.

use super::*;

#[test]
fn steps_results_and_endings_have_names_in_the_log() {
    assert_eq!(Step::ShowBallot(3).name(), "show_ballot");
    assert_eq!(Step::Finish(Ending::NoProgress).name(), "end_no_progress");
    let winner = other_winner(Mode::Append);
    assert_eq!(Ending::Loaded { winner, joined: true }.name(), "end_joined");
    assert_eq!(NO_BALLOT.name(), "no_ballot");
    assert_eq!(LOADED.name(), "ready");
    assert_eq!(TABLE_GONE.name(), "table_gone");
}
