//! A model of attempts and Treasure Data that uses the program's decision function and is searched exhaustively within
//! bounds.
//!
//! Each search allows some faults up to their bounds and ends when every state was visited. From every state, a lone
//! attempt runs to its end. `MODEL=full` also searches larger bounds.

#[cfg(test)]
mod attempt;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reduction;
#[cfg(test)]
mod request;
#[cfg(test)]
mod search;
#[cfg(test)]
mod treasure_data;
#[cfg(test)]
mod world;

#[cfg(test)]
mod searches;
