//! Reading the text of a setting as a value of its type, within the bounds of its kind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::kind::Kind;
use super::site::Site;
use super::summary_format::SummaryFormat;
use crate::identity::{DatabaseName, Mode, RunId, StoreId, TableName};
use crate::telemetry::{ColorChoice, LogFormat};

/// A type that the value of a setting can have.
pub(super) trait FromSetting: Sized {
    /// The value of `text`; `None` if it is not one of `kind`.
    fn from_setting(kind: &Kind, text: &str) -> Option<Self>;
}

/// For whole numbers, of a count or of bytes.
macro_rules! whole_numbers {
    ($($number:ty),*) => { $(
        impl FromSetting for $number {
            fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
                let number = match kind {
                    Kind::Size { .. } => kind.size(text),
                    _ => kind.integer(text),
                };
                number?.try_into().ok()
            }
        }
    )* };
}

/// For choices and names, whose types know their texts.
macro_rules! texts {
    ($($text:ty),*) => { $(
        impl FromSetting for $text {
            fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
                kind.is_text(text).then(|| Self::from_str(text).ok())?
            }
        }
    )* };
}

whole_numbers!(u8, u32, u64, usize);
texts!(ColorChoice, DatabaseName, LogFormat, Mode, RunId, Site, StoreId, SummaryFormat, TableName);

impl FromSetting for f64 {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.number(text)
    }
}

impl FromSetting for bool {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.switch(text)
    }
}

impl FromSetting for Duration {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.duration(text)
    }
}

impl FromSetting for PathBuf {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.directory(text).or_else(|| kind.output_file(text))
    }
}

impl FromSetting for SocketAddr {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.listen_address(text)
    }
}

/// For addresses that receive metrics; those of the services are read by [`super::read::Reader::endpoint`].
impl FromSetting for Url {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.push_url(text)
    }
}

/// The text of a log filter.
impl FromSetting for String {
    fn from_setting(kind: &Kind, text: &str) -> Option<Self> {
        kind.log_filter(text)
    }
}
