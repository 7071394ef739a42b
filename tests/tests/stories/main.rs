//! Stories of whole consortia: real processes, real sockets, real files.

mod bad_input;
mod by_hand;
mod crash;
mod demo;
mod program;
