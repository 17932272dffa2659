//! Settings: from flags, environment, file and defaults to one immutable, checked [`Settings`].
//!
//! Owns the list of all settings ([`SETTINGS`]), their layers (flag > environment > file > default) and their checks.
//! All problems are found before any is reported. Secrets come only from the environment or from files named there.
//! It knows nothing of clap: `cli` makes its flags from the list.

mod endpoints;
mod environment;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod layers;
mod log_settings;
mod problem;
mod proxy;
mod read;
mod setting;
mod settings;

pub use endpoints::EndpointOrigins;
pub use layers::{Layers, Source};
pub use log_settings::log_settings;
pub use problem::{Problem, SettingsError};
pub use setting::{FlagForm, SECRETS, SETTINGS, SecretSetting, Setting};
pub use settings::{AccountSettings, NamedRun, Settings, SummaryFormat, state_folder_from_layers};
