//! Settings: from flags, environment, file and defaults to one immutable, checked [`Settings`].
//!
//! Owns the table of all settings ([`keys`]), their layers (flag > environment > file > default) and their checks.
//! All problems are found before any is reported. Secrets come only from the environment or from files named there.
//! It knows nothing of clap: `cli` makes its flags from the table.

mod endpoints;
mod environment;
mod export_settings;
mod file;
mod former_names;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
pub mod keys;
mod kind;
mod layers;
mod log_settings;
mod nearest;
mod output_settings;
mod overview;
mod problem;
mod proxy;
mod read;
mod schema;
mod setting;
mod settings;
mod settings_file;
mod site;
mod store_settings;
mod summary_format;
mod td_conf;
mod template;
mod user_information;
mod value;

pub use export_settings::{SettingsToDryRun, SettingsToExport, SettingsToLoad};
pub use file::FileLine;
pub use keys::{SECRETS, SETTINGS};
pub use kind::{ABOVE_ZERO, Kind};
pub use layers::{Layers, Origin, Source};
pub use log_settings::{has_color, log_settings};
pub use output_settings::{OutputSettings, output_settings};
pub use overview::{Overview, SecretOverview, SettingOverview};
pub use problem::{Problem, SettingsError};
pub use schema::schema;
pub use setting::{Group, Key, Presence, SecretSetting, Setting};
pub use settings::{AccountSettings, NamedRun, Settings, state_directory_from_layers};
pub use settings_file::SettingsFile;
pub use site::Site;
pub use store_settings::{SettingsToPreview, StoreSettings};
pub use summary_format::SummaryFormat;
pub use template::template;
pub use user_information::without_user_information;
