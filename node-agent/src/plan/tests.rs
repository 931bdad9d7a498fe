//! The plan against a world in memory: tables for each rule, and a random life for the laws.

mod cells;
mod changes;
mod crashes;
mod files;
mod guards;
mod laws;
mod leaving;
mod losses;
mod network;
mod pressure;
mod rules;
mod rules_late;
mod world;
