use super::*;

fn class_of(status: u16, effect: Effect) -> Class {
    let status = StatusCode::from_u16(status).unwrap();
    CallError::status("try", effect, status, None, None).class()
}

#[test]
fn every_status_has_a_class() {
    let classes: Vec<String> = (300..600)
        .map(|status| (class_of(status, Effect::Repeatable), class_of(status, Effect::CheckFirst)))
        .zip(300..)
        .filter(|((repeatable, _), _)| *repeatable != Class::Permanent)
        .filter(|(_, status)| *status <= 504)
        .map(|((repeatable, check_first), status)| format!("{status} {repeatable:?} {check_first:?}"))
        .collect();
    assert_eq!(
        classes,
        [
            "401 ExpiredToken ExpiredToken",
            "403 ExpiredToken ExpiredToken",
            "406 Transient Transient",
            "408 Transient Ambiguous",
            "429 Throttled Throttled",
            "500 Transient Ambiguous",
            "501 Transient Ambiguous",
            "502 Transient Ambiguous",
            "503 Transient Ambiguous",
            "504 Transient Ambiguous",
        ]
    );
}

#[test]
fn message_names_the_operation_and_the_source_the_cause() {
    let error = CallError::status(
        "fetch a page of customers",
        Effect::Repeatable,
        StatusCode::BAD_GATEWAY,
        Some("upstream gone".to_owned()),
        None,
    )
    .after(9, Some("--max-retries 8 exhausted".to_owned()));
    assert_eq!(
        error.to_string(),
        "could not fetch a page of customers after 9 attempts (--max-retries 8 exhausted)"
    );
    let source = Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the server returned 502 Bad Gateway: upstream gone");
}

#[test]
fn an_error_names_its_operation_and_the_first_server_that_is_known() {
    let error = CallError::status("try", Effect::Repeatable, StatusCode::BAD_GATEWAY, None, None);
    assert_eq!((error.operation(), error.server()), ("try", None));
    let error = error.with_server(&"one:443".into()).with_server(&"other:443".into());
    assert_eq!((error.operation(), error.server()), ("try", Some("one:443")));
    assert_eq!(error.to_string(), "could not try at one:443");
}

#[test]
fn each_class_has_its_name_in_logs() {
    let classes =
        [Class::Throttled, Class::Transient, Class::ExpiredToken, Class::Ambiguous, Class::Permanent];
    let names = ["throttled", "transient", "expired_token", "ambiguous", "permanent"];
    assert_eq!(classes.map(Class::name), names);
}

#[test]
fn a_limit_has_the_largest_unit_that_fits() {
    for (limit, words) in [
        (16 << 20, "16 MiB"),
        (64 << 10, "64 KiB"),
        (1_536, "1536 bytes"),
        (1_024, "1 KiB"),
        (1_000, "1000 bytes"),
        (0, "0 bytes"),
    ] {
        let problem = BodyProblem::TooLarge { limit };
        assert_eq!(problem.to_string(), format!("the response is larger than {words}"));
    }
}

#[test]
fn a_redirect_is_permanent_and_304_is_none() {
    let of = |status| {
        let status = StatusCode::from_u16(status).unwrap();
        let error = CallError::status("try", Effect::Repeatable, status, None, None);
        (error.is_redirect(), error.is_permanent())
    };
    for status in [300, 301, 302, 303, 307, 308] {
        assert_eq!(of(status), (true, true), "{status}");
    }
    assert_eq!(of(304), (false, false));
    assert_eq!(of(404), (false, true));
}
