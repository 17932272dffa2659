//! A model of attempts and Treasure Data, searched exhaustively within bounds, that calls the program's own decisions.
//!
//! Each search allows some faults, each so often as its bound says, and ends when every state was seen. From every state a
//! lone attempt is run to its end. `MODEL=full` searches larger bounds, too.

#[cfg(test)]
mod attempt;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod properties;
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
