use super::*;

/// What follows each of these statuses in a row.
fn next_steps(statuses: &[u16], token_was_accepted: bool) -> Vec<NextStep> {
    let mut retry_state = RetryState::default();
    let mut next_step = |status: &u16| {
        let status = StatusCode::from_u16(*status).unwrap();
        let error = CallError::status(GET_PAGE, Effect::Repeatable, status, None, None);
        retry_state.next_step(&error, token_was_accepted)
    };
    statuses.iter().map(&mut next_step).collect()
}

#[test]
fn a_denied_token_is_replaced_and_only_a_fresh_one_is_tried_again() {
    use NextStep::{Fail, RenewToken, RetryUnchanged};
    assert_eq!(next_steps(&[401, 401, 401], true), [RenewToken, RenewToken, Fail]);
    assert_eq!(next_steps(&[403, 403, 403], true), [RenewToken, RenewToken, Fail]);
    assert_eq!(next_steps(&[403, 403, 403], false), [RenewToken, RenewToken, Fail]);
    let with_one_token = [RetryUnchanged(1), RetryUnchanged(2), RenewToken];
    let expected = [&with_one_token[..], &with_one_token, &[RetryUnchanged(1), RetryUnchanged(2), Fail]];
    assert_eq!(next_steps(&[401; 9], false), expected.concat());
}

#[test]
fn a_rejected_request_is_repeated_once() {
    use NextStep::{Fail, RetryUnchanged};
    for status in [400, 422] {
        for token_was_accepted in [true, false] {
            assert_eq!(next_steps(&[status, status], token_was_accepted), [RetryUnchanged(1), Fail]);
        }
    }
    assert_eq!(next_steps(&[404], false), [Fail]);
}
