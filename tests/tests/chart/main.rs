//! The chart as Helm renders it: what runs with which rights, and what a mistaken value says.

mod network;
mod pods;
mod programs;
mod rights;
mod values;
