//! The regions of Treasure Data and their addresses, from Treasure Data's documentation.

use std::str::FromStr;

/// A region of Treasure Data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// `us01`.
    Us01,
    /// `ap01`.
    Ap01,
    /// `eu01`.
    Eu01,
    /// `ap02`.
    Ap02,
    /// `ap03`.
    Ap03,
}

impl Site {
    /// The word that users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us01 => "us01",
            Self::Ap01 => "ap01",
            Self::Eu01 => "eu01",
            Self::Ap02 => "ap02",
            Self::Ap03 => "ap03",
        }
    }

    /// The address of its API.
    pub(super) const fn address(self) -> &'static str {
        match self {
            Self::Us01 => "https://api.treasuredata.com",
            Self::Ap01 => "https://api.treasuredata.co.jp",
            Self::Eu01 => "https://api.eu01.treasuredata.com",
            Self::Ap02 => "https://api.ap02.treasuredata.com",
            Self::Ap03 => "https://api.ap03.treasuredata.com",
        }
    }
}

impl FromStr for Site {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let sites = [Self::Us01, Self::Ap01, Self::Eu01, Self::Ap02, Self::Ap03];
        sites.into_iter().find(|site| site.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_is_read_from_its_word_and_has_its_own_address() {
        for (word, address) in [
            ("us01", "https://api.treasuredata.com"),
            ("ap01", "https://api.treasuredata.co.jp"),
            ("eu01", "https://api.eu01.treasuredata.com"),
            ("ap02", "https://api.ap02.treasuredata.com"),
            ("ap03", "https://api.ap03.treasuredata.com"),
        ] {
            assert_eq!(word.parse().map(Site::address), Ok(address), "{word}");
        }
        assert_eq!("us02".parse::<Site>(), Err(()));
    }
}
