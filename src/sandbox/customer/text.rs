//! Strings of generated customers, as they may appear in a response and as the Python job stored them.
//!
//! Owns hand-written pairs of JSON string literals: what the server sends, and the result of Python's
//! `json.dumps(json.loads(sent))`. The pairs are data, not the output of an encoder, so that a bug in an encoder cannot
//! affect both sides of a comparison.

/// A JSON string in both forms, including quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// As the Yotpo server sends it.
    pub(super) wire: &'static str,
    /// As the Python job stored it.
    pub(super) stored: &'static str,
}

const fn same(literal: &'static str) -> Text {
    Text { wire: literal, stored: literal }
}

const fn text(wire: &'static str, stored: &'static str) -> Text {
    Text { wire, stored }
}

pub(super) const FIRST_NAMES: &[Text] = &[
    same(r#""Ada""#),
    same(r#""Alex""#),
    same(r#""Emma""#),
    same(r#""Grace""#),
    same(r#""Jean-Luc""#),
    same(r#""Mary Ann""#),
    same(r#""Real""#),
    same(r#""Sean""#),
    text(r#""Zoë""#, r#""Zo\u00eb""#),
    text(r#""José""#, r#""Jos\u00e9""#),
    text(r#""Çağrı""#, r#""\u00c7a\u011fr\u0131""#),
    text(r#""İrem""#, r#""\u0130rem""#),
    text(r#""美咲""#, r#""\u7f8e\u54b2""#),
    text(r#""소연""#, r#""\uc18c\uc5f0""#),
    text(r#""مريم""#, r#""\u0645\u0631\u064a\u0645""#),
    text(r#""נועה""#, r#""\u05e0\u05d5\u05e2\u05d4""#),
];

pub(super) const LAST_NAMES: &[Text] = &[
    same(r#""Customer""#),
    same(r#""Johnson""#),
    same(r#""Lovelace""#),
    same(r#""O'Brien""#),
    same(r#""Rivera""#),
    same(r#""Smith & Sons""#),
    same(r#""van der Berg""#),
    same(r#""""#),
    text(r#""Müller-Lüdenscheidt""#, r#""M\u00fcller-L\u00fcdenscheidt""#),
    text(r#""Ångström""#, r#""\u00c5ngstr\u00f6m""#),
    text(r#""Beyoğlu""#, r#""Beyo\u011flu""#),
    text(r#""Şahin""#, r#""\u015eahin""#),
    text(r#""山田""#, r#""\u5c71\u7530""#),
    text(r#""Fran\u00E7ois""#, r#""Fran\u00e7ois""#),
    text(r#""𠮷野""#, r#""\ud842\udfb7\u91ce""#),
    text(r#""Fox 🦊""#, r#""Fox \ud83e\udd8a""#),
];

pub(super) const CITIES: &[Text] = &[
    same(r#""Anytown""#),
    same(r#""London""#),
    same(r#""New York""#),
    same(r#""Paris""#),
    same(r#""Springfield""#),
    same(r#""St. Louis""#),
    text(r#""São Paulo""#, r#""S\u00e3o Paulo""#),
    text(r#""İstanbul""#, r#""\u0130stanbul""#),
];

pub(super) const COMPANIES: &[Text] = &[
    same(r#""""#),
    same(r#""Test Co""#),
    same(r#""Example, Inc.""#),
    same("null"),
    text(r#""A\/B Testing""#, r#""A/B Testing""#),
    text(r#""株式会社テスト""#, r#""\u682a\u5f0f\u4f1a\u793e\u30c6\u30b9\u30c8""#),
];

pub(super) const TAGS: &[Text] = &[
    same(r#""Standard,Test,Demo""#),
    same(r#""vip,,summer_sale,loyalty-program,early-access,,repeat-buyer""#),
    same(r#""""#),
    same(r#"",""#),
    same("null"),
    text(r#""été,hiver""#, r#""\u00e9t\u00e9,hiver""#),
];

/// Everything in a JSON string that a careless encoder gets wrong.
pub(super) const ODD: &[Text] = &[
    same(r#""quote \" backslash \\ end""#),
    same(r#""\\u00e9 is not an escape""#),
    same(r#""\b\f\n\r\t""#),
    same(r#""\u0000\u0001\u001f""#),
    same(r#""</script><!-- & ' -->""#),
    same(r#""trailing backslash \\""#),
    same(r#""{\"json\": [\"inside\", 1e5]}""#),
    text(r#""\/slash\/""#, r#""/slash/""#),
    text(r#""\u0041\u005a \u0022 \u005c \u002f""#, r#""AZ \" \\ /""#),
    text(r#""\u000a\u0009\u000D\u0008\u000C""#, r#""\n\t\r\b\f""#),
    text("\"delete \u{7f} next line \u{85}\"", r#""delete \u007f next line \u0085""#),
    text("\"line \u{2028} paragraph \u{2029}\"", r#""line \u2028 paragraph \u2029""#),
    text("\"\u{feff}mark \u{ffff} \u{fffd}\"", r#""\ufeffmark \uffff \ufffd""#),
    text("\"no\u{a0}break zero\u{200b}width\"", r#""no\u00a0break zero\u200bwidth""#),
    text(r#""😀👨‍👩‍👧""#, r#""\ud83d\ude00\ud83d\udc68\u200d\ud83d\udc69\u200d\ud83d\udc67""#),
    text(r#""\uD83D\uDE00 \u00EB \uFFFD""#, r#""\ud83d\ude00 \u00eb \ufffd""#),
    text("\"\u{10ffff}\u{10000}\"", r#""\udbff\udfff\ud800\udc00""#),
    text("\"e\u{301} is not é\"", r#""e\u0301 is not \u00e9""#),
    text("\"\u{202e}right to left\u{202c}\"", r#""\u202eright to left\u202c""#),
    text(r#""\ud83d\/\uDE00""#, r#""\ud83d/\ude00""#),
    same(r#""lone \ud83d high""#),
    text(r#""lone \uDE00 low""#, r#""lone \ude00 low""#),
    same(r#""\udc00\ud800""#),
    text(r#""\ud83d😀""#, r#""\ud83d\ud83d\ude00""#),
];

/// Numbers that do not survive a conversion to float. Both forms are the same, because numbers are kept as sent.
pub(super) const NUMBERS: &[&str] = &[
    "7.5",
    "4.67",
    "5.0",
    "0",
    "-0",
    "-0.0",
    "1e5",
    "1E+5",
    "1e-7",
    "-1.5e-10",
    "1.10",
    "2.50",
    "0.1",
    "0.30000000000000004",
    "9007199254740993",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "3.141592653589793238462643383279502884",
    "1.7976931348623157e308",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sent_and_stored_as_written() {
        let (one, two) = (same("\"a\""), text("\"ü\"", "\"\\u00fc\""));
        assert_eq!((one.wire, one.stored), ("\"a\"", "\"a\""));
        assert_eq!((two.wire, two.stored), ("\"ü\"", "\"\\u00fc\""));
    }
}
