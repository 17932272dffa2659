//! What the program promises, tested from outside.

#[cfg(test)]
#[cfg(test)]
#[cfg(test)]

mod fault_sweep;
mod harness;
mod http_limits;
mod loading;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod retry_safety;
mod row_corpus;
mod row_properties;
