//! Addresses that may be shown: without user names and passwords.

/// `https://user:password@host/` becomes `https://[redacted]@host/`; all else stays.
pub fn without_user_information(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://[redacted]{}", rest.get(user.len()..).unwrap_or_default()),
        None => word.to_owned(),
    }
}
